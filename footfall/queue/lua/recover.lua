-- Gives back the jobs whose lease ran out. BullMQ's script puts every one of them at the head of the live lane and lets
-- it come again without end; here an import goes back to its own lane, and one that had its last attempt is marked to
-- be failed by the next worker, in the way that BullMQ has for it ("defa").
--@bullmq moveStalledJobsToWait
local function recover(call, prefix, attempts)
  for _, id in ipairs(moveStalledJobsToWait(call.keys, call.args)) do
    local job = prefix .. id
    local made, stalled, priority = unpack(redis.call("HMGET", job, "atm", "stc", "priority"))
    if tonumber(made or 0) + tonumber(stalled or 0) >= attempts then
      redis.call("HSET", job, "defa", call.reason)
    end
    if tonumber(priority or 0) > 0 then
      redis.call("LREM", call.wait, -1, id)
      redis.call("ZADD", call.prioritized, tonumber(priority) * 0x100000000, id)
    end
  end
end
