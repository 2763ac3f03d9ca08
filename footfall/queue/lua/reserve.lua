-- Leases one delivery: a job, and with a fresh one the fresh jobs of its lane behind it, up to the limits.
--
-- ARGV: prefix, attempts, arguments of `recover`, keys and arguments of moveToActive, most jobs, events, bytes
-- Returns for each job: id, data, events, attempts made, times stalled, times started, the reason to fail it at once
-- or nil, "1" if it was in the failed set before or nil.
--@include recover
--@bullmq moveToActive
local prefix, call, keys, args = ARGV[1], cmsgpack.unpack(ARGV[3]), cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[5])
local jobs_max, events_max, bytes_max = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
recover(call, prefix, tonumber(ARGV[2]))

-- The next job as BullMQ moves it. One whose hash is gone (evicted, or deleted by hand) is no job: it is cleared away.
local function take()
  while true do
    local moved = moveToActive(keys, args)
    if type(moved[1]) ~= "table" then
      return nil
    end
    local id = moved[2]
    local job = prefix .. id
    local data = redis.call("HGET", job, "data")
    if data then
      redis.call("SADD", prefix .. "stalled", id) -- what BullMQ's own check does first; the lock still decides
      local found = redis.call("HMGET", job, "events", "atm", "stc", "ats", "defa", "wasFailed")
      if found[5] then
        redis.call("HINCRBY", job, "ats", -1) -- it is not tried again, only failed
      end
      return {id, data, found[1], found[2], found[3], found[4], found[5], found[6]}
    end
    redis.call("LREM", prefix .. "active", 1, id)
    redis.call("DEL", job, job .. ":lock")
  end
end

local function is_live(id)
  return tonumber(redis.call("HGET", prefix .. id, "priority") or 0) == 0
end

local function next_id()
  return redis.call("LINDEX", call.wait, -1) or redis.call("ZRANGE", call.prioritized, 0, 0)[1]
end

local first = take()
if not first then
  return {}
end
local jobs = {first}
if tonumber(first[6] or 0) > 1 or first[7] or first[8] then
  return jobs -- an attempt of its own
end
local live, events, bytes = is_live(first[1]), tonumber(first[3] or 0), #first[2]
while #jobs < jobs_max do
  local id = next_id()
  if not id or is_live(id) ~= live then
    break
  end
  local started, failure, count = unpack(redis.call("HMGET", prefix .. id, "ats", "defa", "events"))
  events = events + tonumber(count or 0)
  bytes = bytes + redis.call("HSTRLEN", prefix .. id, "data")
  if started or failure or not count or events > events_max or bytes > bytes_max then
    break
  end
  local job = take()
  if not job then
    break
  end
  jobs[#jobs + 1] = job
end
return jobs
