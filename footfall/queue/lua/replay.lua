-- Puts failed jobs back to wait, with all their attempts and without the times that they stalled.
--
-- KEYS: the ledger, the ages
-- ARGV: prefix, keys and arguments of BullMQ's script, the places in them that depend on the job; then ids
-- Returns how many of them were in the failed set.
--@bullmq reprocessJob
local prefix, call, replayed = ARGV[1], cmsgpack.unpack(ARGV[2]), 0
for i = 3, #ARGV do
  local id = ARGV[i]
  local job = prefix .. id
  call.keys[call.key_at], call.args[call.id_at] = job, id
  if reprocessJob(call.keys, call.args) == 1 then
    local events, put_at = unpack(redis.call("HMGET", job, "events", "timestamp"))
    redis.call("HDEL", job, "stc", "defa")
    redis.call("ZADD", KEYS[2], put_at or 0, id)
    redis.call("HINCRBY", KEYS[1], "failed", -tonumber(events or 0))
    redis.call("HINCRBY", KEYS[1], "failed_jobs", -1)
    redis.call("HINCRBY", KEYS[1], "unfinished", tonumber(events or 0))
    replayed = replayed + 1
  end
end
return replayed
