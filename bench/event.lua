-- wrk's requests: the body of the first curl anyone sends, each by a visitor of its own, on two hundred paths.
local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(args)
    prefix = args[1] .. "-" .. number .. "-"
    count = 0
    head = "POST /api/event HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port
        .. "\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: "
end

function request()
    count = count + 1
    local body = '{"site_id": "my-website", "event_type": "pageview", "path": "/products/' .. count % 200
        .. '", "user_id": "user-' .. prefix .. count .. '"}'
    return head .. #body .. "\r\n\r\n" .. body
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\nRESULT {"requests": %d, "duration_us": %d, "bad_status": %d, "broken": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
        summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
