-- How much there is. The sums of events are kept by our scripts; where somebody has moved or removed jobs by other means
-- (a dashboard), the numbers of jobs no longer agree, and the events are counted anew, job by job.
--
-- KEYS: the ledger, the ages
-- ARGV: prefix, now
-- Returns: ready, active, delayed, failed (jobs); unfinished, failed, done, received (events); the oldest's put at or -1
local prefix, now = ARGV[1], tonumber(ARGV[2])
local lists = {"wait", "paused", "active"}
local sets = {"prioritized", "delayed"}
local n, total = {}, 0
for _, name in ipairs(lists) do
  n[name] = redis.call("LLEN", prefix .. name)
  total = total + n[name]
end
for _, name in ipairs(sets) do
  n[name] = redis.call("ZCARD", prefix .. name)
  total = total + n[name]
end
local failed = redis.call("ZCARD", prefix .. "failed")

local function recount(ids, is_unfinished)
  local sum = 0
  for _, id in ipairs(ids) do
    local events, put_at = unpack(redis.call("HMGET", prefix .. id, "events", "timestamp"))
    sum = sum + tonumber(events or 0)
    if is_unfinished then
      redis.call("ZADD", KEYS[2], put_at or now, id)
    end
  end
  return sum
end

local known_failed = tonumber(redis.call("HGET", KEYS[1], "failed_jobs") or 0)
if total ~= redis.call("ZCARD", KEYS[2]) or failed ~= known_failed then
  redis.call("DEL", KEYS[2])
  local unfinished = 0
  for _, name in ipairs(lists) do
    unfinished = unfinished + recount(redis.call("LRANGE", prefix .. name, 0, -1), true)
  end
  for _, name in ipairs(sets) do
    unfinished = unfinished + recount(redis.call("ZRANGE", prefix .. name, 0, -1), true)
  end
  local failed_events = recount(redis.call("ZRANGE", prefix .. "failed", 0, -1), false)
  redis.call("HSET", KEYS[1], "unfinished", unfinished, "failed", failed_events, "failed_jobs", failed)
end
local due = redis.call("ZCOUNT", prefix .. "delayed", 0, (now + 1) * 0x1000 - 1)
local sums = redis.call("HMGET", KEYS[1], "unfinished", "failed", "done", "received")
local oldest = redis.call("ZRANGE", KEYS[2], 0, 0, "WITHSCORES")[2]
return {
  n.wait + n.paused + n.prioritized + due, n.active, n.delayed - due, failed,
  tonumber(sums[1] or 0), tonumber(sums[2] or 0), tonumber(sums[3] or 0), tonumber(sums[4] or 0),
  math.floor(tonumber(oldest or -1))
}
