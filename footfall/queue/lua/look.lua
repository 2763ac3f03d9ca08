-- Whether a job is ready, and when the next delayed one will be.
--
-- ARGV: prefix, attempts, arguments of `recover`
-- Returns: 1 when one is ready, else 0; the due time of the next delayed job in ms since 1970, or -1
--@include recover
local prefix, call = ARGV[1], cmsgpack.unpack(ARGV[3])
recover(call, prefix, tonumber(ARGV[2]))
if redis.call("HEXISTS", prefix .. "meta", "paused") == 1 then
  return {0, -1}
end
local ready = redis.call("LLEN", call.wait) + redis.call("ZCARD", call.prioritized) > 0
local next = redis.call("ZRANGE", prefix .. "delayed", 0, 0, "WITHSCORES")
return {ready and 1 or 0, next[2] and math.floor(tonumber(next[2]) / 0x1000) or -1}
