-- Lets leases end later: what BullMQ's extendLock does, many jobs at a time. The jobs stay in the set of those that may
-- have stalled, where `reserve` put them; the lock decides.
--
-- ARGV: prefix, then for each delivery: token, lease in ms, how many jobs, their ids
local prefix, at = ARGV[1], 2
while ARGV[at] do
  local token, lease_ms, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  for place = at + 3, at + 2 + count do
    local lock = prefix .. ARGV[place] .. ":lock"
    if redis.call("GET", lock) == token then -- else the lease is over, and somebody else may have the job
      redis.call("PEXPIRE", lock, lease_ms)
    end
  end
  at = at + 3 + count
end
return 1
