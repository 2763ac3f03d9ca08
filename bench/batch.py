"""Batches: how many events a second become durable, and how many a second are stored for good."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

from bench.bodies import BATCH_EVENTS, Kind, batches
from bench.http import Connection
from bench.processes import Footfall, footfall
from bench.rows import NotMeasured, Row, median, spread, verdict
from bench.run import Run, timed

DURABLE_FLOOR = 200_000
STORED_FLOOR = 50_000
SENDERS = 4
BODIES = 100
"""Prepared requests of each kind, sent in turn; more would only fill memory."""
BACKLOG_MAX = 300_000
"""While more events wait than this, the senders pause: what is measured is the store, not the queue."""
WARM_S = 0.5


class _Senders:
    """A few connections that send prepared batches as fast as they are answered."""

    def __init__(self, ours: Footfall, prepared: list[bytes]) -> None:
        self._ours = ours
        self._prepared = prepared
        self.may_send = threading.Event()
        self.may_send.set()

    def send(self, seconds: float) -> int:
        """Send for so long; how many events were accepted."""
        until_s = time.perf_counter() + seconds
        with ThreadPoolExecutor(SENDERS, "sender") as pool:
            counts = [pool.submit(self._one, number, until_s) for number in range(SENDERS)]
            return sum(count.result() for count in counts)

    def _one(self, number: int, until_s: float) -> int:
        accepted = 0
        with Connection(self._ours.port) as connection:
            # Each begins elsewhere, so that no two send the same body at the same moment.
            for request in islice(cycle(self._prepared), number * len(self._prepared) // SENDERS, None):
                while not self.may_send.wait(0.1) and time.perf_counter() < until_s:
                    pass
                if time.perf_counter() >= until_s:
                    break
                status, body = connection.exchange(request)
                if status != 202 or b'"rejected":[]' not in body:
                    raise NotMeasured(f"a batch was answered {status}: {body[:300].decode(errors='replace')}")
                accepted += BATCH_EVENTS
        return accepted


def batch(run: Run) -> list[Row]:
    """POST /api/events with 1,000 events each, durable; three kinds of bodies in turn."""
    run.say(f"preparing {BODIES * len(Kind):,} batches")
    prepared = {kind: batches(kind, BODIES) for kind in Kind}
    per_s: dict[Kind, list[float]] = {kind: [] for kind in Kind}
    with footfall(run.folder("batch")) as ours:
        sent = sum(_Senders(ours, prepared[kind]).send(WARM_S) for kind in Kind)
        _expect(ours, sent)
        for number in range(run.plan.rounds):
            for kind in Kind:
                run.say(f"round {number + 1} of {run.plan.rounds}: {kind}")
                with timed() as clock:
                    accepted = _Senders(ours, prepared[kind]).send(run.plan.round_s)
                per_s[kind].append(accepted / clock.seconds)
                sent += accepted
                _expect(ours, sent)
    return [
        Row(
            step="batch",
            figure=f"batches, durable: {kind}",
            measured=f"{median(found):,.0f} events/s ({spread(found)})",
            floor=f"{DURABLE_FLOOR:,}/s",
            verdict=verdict(median(found) >= DURABLE_FLOOR),
            how=f"POST /api/events, {BATCH_EVENTS:,} events each, {SENDERS} connections, {len(found)} rounds of "
            f"{run.plan.round_s:.0f} s in turn, each begun with an empty queue; the worker stores meanwhile",
            values={"per_s": median(found), "per_s_min": min(found), "per_s_max": max(found)},
        )
        for kind, found in per_s.items()
    ]


def _expect(ours: Footfall, sent: int) -> None:
    """Wait until everything is stored. Raises NotMeasured unless it is what was accepted, to the event."""
    stored = ours.settle().stored
    if stored != sent:
        raise NotMeasured(f"{sent:,} events were accepted, and {stored:,} are stored")


def stored(run: Run) -> list[Row]:
    """From the first post until everything is stored, with the backlog held small."""
    prepared = batches(Kind.LINES, BODIES)
    with footfall(run.folder("stored")) as ours:
        warm = _Senders(ours, prepared).send(WARM_S)
        _expect(ours, warm)
        run.say(f"sending for {run.plan.sustained_s:.0f} s, at most {BACKLOG_MAX:,} waiting")
        senders = _Senders(ours, prepared)
        is_over, highest = threading.Event(), [0]
        with timed() as clock, ThreadPoolExecutor(1, "brake") as pool:
            braking = pool.submit(_brake, ours, senders, is_over, highest)
            try:
                accepted = senders.send(run.plan.sustained_s)
            finally:
                is_over.set()
            braking.result()
            _expect(ours, warm + accepted)
    per_s = accepted / clock.seconds
    return [
        Row(
            step="stored",
            figure="accepted to stored, sustained",
            measured=f"{per_s:,.0f} events/s",
            floor=f"{STORED_FLOOR:,}/s",
            verdict=verdict(per_s >= STORED_FLOOR),
            how=f"{accepted:,} events in batches, first post to the balanced ledger: {clock.seconds:.1f} s; "
            f"the senders pause while over {BACKLOG_MAX:,} wait (most seen: {highest[0]:,})",
            values={"per_s": per_s, "events": accepted, "seconds": clock.seconds, "backlog_max": highest[0]},
        )
    ]


def _brake(ours: Footfall, senders: _Senders, is_over: threading.Event, highest: list[int]) -> None:
    """Let them send only while the backlog is small; looking costs the server a small question each time."""
    with Connection(ours.port) as connection:
        while not is_over.wait(0.2):
            waiting = connection.json("/api/ledger")["data"]["waiting"]
            highest[0] = max(highest[0], waiting)
            if waiting > BACKLOG_MAX:
                senders.may_send.clear()
            else:
                senders.may_send.set()
    senders.may_send.set()
