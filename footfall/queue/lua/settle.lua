-- Ends the lease of jobs: done, delayed or failed; and keeps the ledger, in one step with BullMQ's own script.
--
-- KEYS: the ledger, the ages
-- ARGV: prefix, token, list of operations: kind, keys and arguments of BullMQ's script, the places in them that
-- depend on the job, ids; and for a job of which only a part fails: its new data and number of events
-- Returns how many jobs still had this lease.
--@bullmq moveToFinished
--@bullmq moveToDelayed
local prefix, token, settled = ARGV[1], ARGV[2], 0

local function count(field, events)
  redis.call("HINCRBY", KEYS[1], field, events)
end

for _, operation in ipairs(cmsgpack.unpack(ARGV[3])) do
  local keys, args = operation.keys, operation.args
  for _, id in ipairs(operation.ids) do
    local job = prefix .. id
    if redis.call("GET", job .. ":lock") == token then -- else the lease is over, and somebody else may have the job
      local events = tonumber(redis.call("HGET", job, "events") or 0)
      keys[operation.key_at], args[operation.id_at] = job, id
      local result
      if operation.kind == "delayed" then
        result = moveToDelayed(keys, args)
      else
        result = moveToFinished(keys, args)
      end
      if type(result) == "number" and result < 0 then
        return redis.error_reply("BullMQ refused to move the job " .. id .. ": " .. result)
      end
      settled = settled + 1
      if operation.kind ~= "delayed" then
        count("unfinished", -events)
        redis.call("ZREM", KEYS[2], id)
      end
      if operation.kind == "done" then
        count("done", events)
      elseif operation.kind == "failed" then
        if operation.data then
          redis.call("HSET", job, "data", operation.data, "events", operation.events)
          count("done", events - operation.events)
          events = operation.events
        end
        redis.call("HSET", job, "wasFailed", "1")
        count("failed", events)
        count("failed_jobs", 1)
      end
    end
  end
end
return settled
