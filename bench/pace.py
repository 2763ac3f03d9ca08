"""An open loop: events leave when they are due, however slow the answers are, and waiting counts from then.

A closed loop (wrk) sends the next request when the last one is answered, so a server that stands still for a second
is asked nothing in that second, and its worst second is missing from the percentiles ("coordinated omission"). Here
arrivals are a Poisson process, drawn beforehand; an event that finds every connection busy waits, and the wait is its.
"""

import gc
import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from threading import Event

from bench.http import answer_bytes
from bench.rows import NotMeasured, percentile

CONNECTIONS = 128
LATE_S_MAX = 15.0
"""After the last event is due: what is not answered by then counts as lost."""
_GOOD = b"HTTP/1.1 202"
_SEED = 20_240_115


class Paced:
    """What came of it. Times in milliseconds, from the moment an event was due to the end of its answer."""

    def __init__(self) -> None:
        self.took_ms: list[float] = []
        self.own_lag_ms: list[float] = []
        """How late this program itself was in seeing that an event is due; a part of *took_ms*."""
        self.refused = 0
        self.lost = 0
        self.seconds = 0.0

    @property
    def per_s(self) -> float:
        """Events answered a second."""
        return len(self.took_ms) / self.seconds

    def check(self, wanted_per_s: float) -> None:
        """Raise NotMeasured unless the load was the one asked for, and every event was accepted."""
        if self.refused or self.lost:
            raise NotMeasured(f"{self.refused} events were refused and {self.lost} never answered")
        if not 0.9 < self.per_s / wanted_per_s < 1.1:
            raise NotMeasured(f"the load was {self.per_s:,.0f}/s instead of {wanted_per_s:,.0f}/s")
        if percentile(self.own_lag_ms, 0.99) > 0.5 * percentile(self.took_ms, 0.99) > 5:
            raise NotMeasured("this machine was too busy for the load generator itself to keep time")


def pace(port: int, per_s: float, seconds: float, request: Callable[[int], bytes], stop: Event | None = None) -> Paced:
    """Send *request(n)* to *port* at *per_s* on average until *seconds* are over, or *stop* is set."""
    sender = _Sender(port, request)
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        return sender.run(per_s, seconds, stop or Event())
    finally:
        sender.close()
        if was_collecting:
            gc.enable()


class _Sender:
    """The connections and the events that are due or under way."""

    def __init__(self, port: int, request: Callable[[int], bytes]) -> None:
        self._request = request
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._idle: list[int] = []
        self._due: deque[float] = deque()
        self._busy: dict[int, tuple[float, bytearray]] = {}
        """Connection -> when its event was due, and what has come of the answer."""
        self._sent = 0
        self._paced = Paced()
        for _ in range(CONNECTIONS):
            one = socket.create_connection(("127.0.0.1", port), timeout=10)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setblocking(False)
            self._sockets[one.fileno()] = one
            self._poll.register(one.fileno(), select.EPOLLIN)
            self._idle.append(one.fileno())

    def close(self) -> None:
        """Hang up everywhere."""
        self._poll.close()
        for one in self._sockets.values():
            one.close()

    def run(self, per_s: float, seconds: float, stop: Event) -> Paced:
        gap_s = random.Random(_SEED).expovariate
        clock, due, paced = time.perf_counter, self._due, self._paced
        began_s = now_s = clock()
        end_s = began_s + seconds
        next_s = began_s + gap_s(per_s)
        while True:
            now_s = clock()
            while next_s <= now_s and next_s < end_s:
                due.append(next_s)
                paced.own_lag_ms.append((now_s - next_s) * 1000)
                next_s += gap_s(per_s)
            while due and self._idle:
                self._send(due.popleft())
            is_over = next_s >= end_s
            if is_over and not due and not self._busy:
                break
            if stop.is_set() or now_s > end_s + LATE_S_MAX:
                # Whoever stops it wants no more of it; what is under way is not lost, it is not waited for.
                paced.lost = 0 if stop.is_set() else len(due) + len(self._busy)
                break
            self._sleep(0.5 if is_over else min(0.5, next_s - clock()))
        paced.seconds = min(clock(), end_s) - began_s
        return paced

    def _sleep(self, seconds: float) -> None:
        """Until an answer comes or the time is over; epoll itself counts milliseconds, select counts microseconds."""
        if seconds > 0:
            select.select([self._poll.fileno()], [], [], seconds)
        for number, _ in self._poll.poll(0):
            self._receive(number)

    def _send(self, due_s: float) -> None:
        number = self._idle.pop()
        request = self._request(self._sent)
        self._sent += 1
        if self._sockets[number].send(request) != len(request):
            raise NotMeasured("a request did not fit into an idle connection")
        self._busy[number] = (due_s, bytearray())

    def _receive(self, number: int) -> None:
        piece = self._sockets[number].recv(65_536)
        if not piece or number not in self._busy:
            raise NotMeasured("the server ended a connection")
        due_s, received = self._busy[number]
        received += piece
        length = answer_bytes(received)
        if length is None or len(received) < length:
            return
        if received.startswith(_GOOD):
            self._paced.took_ms.append((time.perf_counter() - due_s) * 1000)
        else:
            self._paced.refused += 1
        del self._busy[number]
        self._idle.append(number)
