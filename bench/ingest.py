"""Load for a running Footfall: single events or batches over keep-alive connections, each answered before the next.

`python -m bench.ingest http://127.0.0.1:3000 --batch 1000 --seconds 5 --connections 8` prints one line. One process of
Python sends some 20,000 requests a second at most: for single events at the limit of the server, use wrk with `--lua`,
which prints a script for it, and compare with nginx on the same machine in the same run.
"""

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
USERS = 5_000
PATHS = 50
REQUESTS_PREPARED = 200

WRK_SCRIPT = f"""\
-- wrk -t1 -c64 -d10s --latency -s this.lua http://127.0.0.1:3000
local headers = {{["Content-Type"] = "application/json", ["User-Agent"] = "{BROWSER}"}}
local number = 0
request = function()
  number = number + 1
  return wrk.format("POST", "/api/event", headers, '{{"site_id":"my-website","event_type":"pageview",' ..
    '"path":"/products","user_id":"user-' .. (number % {USERS}) .. '"}}')
end
"""


@dataclass
class Load:
    """What was sent, and how long each answer took."""

    events: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)
    """Answers other than 202, by status."""

    def latency_ms(self, share: float) -> float:
        """The latency that *share* of the requests stayed within."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0

    def line(self) -> str:
        """The figures, for a person."""
        figures = f"{self.events / self.seconds:,.0f} events/s, p50 {self.latency_ms(0.5):.1f} ms"
        return f"{figures}, p99 {self.latency_ms(0.99):.1f} ms, refused {self.refused or 'none'}"


def request_bytes(host: str, batch: int, number: int) -> bytes:
    """One whole HTTP request with *batch* events; 0: one event for /api/event."""
    events = [
        {
            "site_id": "my-website",
            "event_type": "pageview",
            "path": f"/products/{(number + index) % PATHS}",
            "user_id": f"user-{(number * 7 + index) % USERS}",
        }
        for index in range(batch or 1)
    ]
    body = json.dumps(events if batch else events[0], separators=(",", ":")).encode()
    path = "/api/events" if batch else "/api/event"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {BROWSER}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run(url: str, *, batch: int, seconds: float, connections: int, per_second: float = 0.0) -> Load:
    """Send for *seconds*. With *per_second*, so many requests a second in all, timed from when each was due."""
    host = urlsplit(url).netloc
    name, _, port = host.partition(":")
    requests = [request_bytes(host, batch, number) for number in range(REQUESTS_PREPARED if not batch else 4)]
    load = Load()
    started_s = time.perf_counter()

    async def connection(number: int) -> None:
        reader, writer = await asyncio.open_connection(name, int(port or 80), limit=2**20)
        pause_s = connections / per_second if per_second else 0.0
        due_s = started_s + pause_s * number / connections
        while (now_s := time.perf_counter()) < started_s + seconds:
            if pause_s:
                await asyncio.sleep(max(0.0, due_s - now_s))
            begun_s = due_s if pause_s else now_s
            due_s += pause_s
            writer.write(requests[len(load.latencies_s) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            load.latencies_s.append(time.perf_counter() - begun_s)
            if status == 202:
                load.events += batch or 1
            else:
                load.refused[status] = load.refused.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(connection(number) for number in range(connections)))
    load.seconds = time.perf_counter() - started_s
    return load


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:3000")
    parser.add_argument("--batch", type=int, default=0, help="events per request; 0: single events")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--per-second", type=float, default=0.0, help="requests per second in all; 0: as many as go")
    parser.add_argument("--lua", action="store_true", help="print a script for wrk instead")
    options = parser.parse_args()
    if options.lua:
        print(WRK_SCRIPT)
        return
    load = run(
        options.url,
        batch=options.batch,
        seconds=options.seconds,
        connections=options.connections,
        per_second=options.per_second,
    )
    print(asyncio.run(load).line())


if __name__ == "__main__":
    main()
