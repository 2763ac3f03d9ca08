-- Adds jobs and counts their events, all of it or nothing. A job that is there already is the repetition of a put whose
-- answer was lost: it is left alone.
--
-- KEYS: the ledger (hash), the ages (zset of unfinished job -> put at)
-- ARGV: prefix, keys of BullMQ's script; then for each job: id, events, put at, and four arguments of BullMQ's script
-- Returns how many events were added.
--@bullmq add
local prefix, keys, received = ARGV[1], cmsgpack.unpack(ARGV[2]), 0
for i = 3, #ARGV, 7 do
  local id, events, put_at = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  if redis.call("EXISTS", prefix .. id) == 0 then
    local result = add(keys, {ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]})
    if type(result) == "number" and result < 0 then
      return redis.error_reply("BullMQ refused the job: " .. result)
    end
    redis.call("HSET", prefix .. id, "events", events)
    redis.call("ZADD", KEYS[2], put_at, id)
    received = received + events
  end
end
if received > 0 then
  redis.call("HINCRBY", KEYS[1], "received", received)
  redis.call("HINCRBY", KEYS[1], "unfinished", received)
end
return received
