-- Removes failed jobs for good.
--
-- KEYS: the ledger
-- ARGV: prefix, keys and arguments of BullMQ's script, the places in them that depend on the job; then ids
-- Returns how many events they held.
--@bullmq removeJob
local prefix, call, purged = ARGV[1], cmsgpack.unpack(ARGV[2]), 0
for i = 3, #ARGV do
  local id = ARGV[i]
  local job = prefix .. id
  if redis.call("ZSCORE", prefix .. "failed", id) then
    local events = tonumber(redis.call("HGET", job, "events") or 0)
    call.keys[call.key_at], call.args[call.id_at] = job, id
    if removeJob(call.keys, call.args) == 1 then
      redis.call("HINCRBY", KEYS[1], "failed", -events)
      redis.call("HINCRBY", KEYS[1], "failed_jobs", -1)
      purged = purged + events
    end
  end
end
return purged
