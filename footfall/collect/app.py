"""The collector, a raw ASGI application before everything else: a body comes in, 202 goes out once it is durable."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import structlog

from footfall.address import Sender, sender_of
from footfall.collect import answers
from footfall.collect.access import Access
from footfall.collect.admit import USER_AGENT_CHARS_MAX, Admission, Incoming, Known, Origin, overridden
from footfall.collect.answers import Answer, BatchAnswer, Cors
from footfall.collect.batcher import Batcher
from footfall.collect.body import Bodies, Gone, Receive
from footfall.collect.dialects.footfall import Batch, decode_lines, decode_many, decode_one
from footfall.collect.gate import Gate, Knock
from footfall.door import Caller, Door
from footfall.enrich import bot, client
from footfall.enrich.place import Places
from footfall.errors import STATUS, Fault, FootfallError, Invalid, MethodNotAllowed
from footfall.event import Event, encode
from footfall.metrics import EVENTS_ACCEPTED, EVENTS_DROPPED, EVENTS_REJECTED, REQUESTS_REFUSED
from footfall.queue.base import Queue
from footfall.queue.intake import Intake
from footfall.registry.base import Registry
from footfall.settings import Settings
from footfall.sites import Sites
from footfall.visitor import Salts

AsgiScope = Mapping[str, Any]
Send = Callable[[Any], Awaitable[None]]
Respond = Callable[[Answer], None]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

ONE_BYTES_MAX = 64 * 1024
MANY_BYTES_MAX = 5 * 1024 * 1024

_JSON_TYPES = frozenset({b"application/json", b"text/plain", b""})
_REFUSED = frozenset({401, 403, 413, 429, 503})
_YES = frozenset({"", "1", "true", "yes"})
_NO = frozenset({"0", "false", "no"})
_LINES_TYPE = b"application/x-ndjson"

_BUG = "a request for the collector failed"

log = structlog.stdlib.get_logger(__name__)


class _Request(NamedTuple):
    """What is needed of a request, read once."""

    headers: Mapping[bytes, bytes]
    knock: Knock
    received_at_ms: int
    is_strict: bool

    def origin(self) -> Origin:
        knock = self.knock
        user_agent = self.headers.get(b"user-agent", b"")[:USER_AGENT_CHARS_MAX].decode("latin-1")
        return Origin(knock.sender.ip, user_agent, self.received_at_ms, knock.key is not None)


class Collector:
    """Answers POST and OPTIONS of /api/event and /api/events, and hands every other scope to *inner*."""

    def __init__(
        self, batcher: Batcher, admission: Admission, access: Access, settings: Settings, inner: AsgiApp
    ) -> None:
        self._batcher = batcher
        self._access = access
        self._admission = admission
        self._gate = access.gate
        self._cors = Cors(settings.cors_origins)
        self._trusted = settings.trusted_proxies
        self._bodies = Bodies()
        self._inner = inner
        self._routes = {
            "/api/event": self._collect_one,
            "/api/event/": self._collect_one,
            "/api/events": self._collect_many,
            "/api/events/": self._collect_many,
        }

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """One request, or another scope for *inner*."""
        collect = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if collect is None:
            await self._inner(scope, receive, send)
            return
        headers = dict(scope["headers"])
        try:
            start, body, _ = await self._answer(collect, scope, headers, receive)
        except Gone:
            return
        await send(start)
        await send(body)

    async def close(self) -> None:
        """Take no more events; return when those that were taken are durable and their requests answered."""
        await self._batcher.close()

    def quick(self, scope: AsgiScope, body: bytes, respond: Respond) -> bool:
        """Take a POST of one event without a task or an await, and call *respond* once it is durable.

        False, with nothing done, where something has to be fetched first: then the request goes the ordinary way.
        For uvicorn this is worth half of what a request costs (protocol.py).
        """
        headers = dict(scope["headers"])
        cors = self._cors.headers(headers.get(b"origin"))
        try:
            if (
                b"authorization" in headers
                or b"content-encoding" in headers
                or _content_type(headers) not in _JSON_TYPES
            ):
                return False
            request = self._request(scope, headers, sender_of(scope, self._trusted), None)
            incoming = decode_one(body, request.received_at_ms)
            origin = request.origin()
            self._gate.check_event(request.knock, incoming, request.received_at_ms)
            known = self._admission.known(incoming, origin)
            if known is None:
                self._gate.give_back(request.knock)
                return False
            event = self._admitted(incoming, request, origin, known)
            self._batcher.add((encode(event),), partial(self._done, request.received_at_ms, event, cors, respond))
        except FootfallError as error:
            _count_refusal(error)
            respond(answers.refusal(error, cors))
        except Exception:  # the HTTP edge, as below
            log.exception(_BUG, path=scope["path"])
            respond(answers.failure(cors))
        return True

    def _done(
        self, received_at_ms: int, event: Event, cors: answers.Headers, respond: Respond, error: BaseException | None
    ) -> None:
        if error is None:
            respond(_accepted(event, received_at_ms, cors))
        elif isinstance(error, FootfallError):
            _count_refusal(error)
            respond(answers.refusal(error, cors))
        else:
            log.error("a put failed in a way that no queue may", exc_info=error)
            respond(answers.failure(cors))

    async def _answer(
        self,
        collect: Callable[[_Request, Receive], Awaitable[Answer]],
        scope: AsgiScope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
    ) -> Answer:
        method = scope["method"]
        origin = headers.get(b"origin")
        if method == "OPTIONS":
            return self._cors.preflight(origin)
        try:
            if method != "POST":
                raise MethodNotAllowed(f"{method} is not possible here; POST an event")
            sender = sender_of(scope, self._trusted)
            authorization = headers.get(b"authorization")
            key = None if authorization is None else await self._gate.key(authorization, sender)
            return await collect(self._request(scope, headers, sender, key), receive)
        except FootfallError as error:
            _count_refusal(error)
            return answers.refusal(error, self._cors.headers(origin))
        except Gone:
            raise
        except Exception:  # the HTTP edge: a bug is logged and answered, and never shown
            log.exception(_BUG, path=scope["path"])
            return answers.failure(self._cors.headers(origin))

    def _request(
        self, scope: AsgiScope, headers: Mapping[bytes, bytes], sender: Sender, key: Caller | None
    ) -> _Request:
        knock = self._gate.knock(sender, headers, key)
        return _Request(headers, knock, time.time_ns() // 1_000_000, _is_strict(scope["query_string"]))

    async def _collect_one(self, request: _Request, receive: Receive) -> Answer:
        headers = request.headers
        _refuse_encoding(headers)
        if _content_type(headers) not in _JSON_TYPES:
            raise Invalid(Fault("Content-Type", "must be application/json or text/plain"))
        body = await self._bodies.read(receive, headers.get(b"content-length"), ONE_BYTES_MAX)
        incoming = decode_one(body, request.received_at_ms, is_strict=request.is_strict)
        origin = request.origin()
        self._gate.check_event(request.knock, incoming, request.received_at_ms)
        known = self._admission.known(incoming, origin) or await self._access.one(request.knock, incoming, origin)
        event = self._admitted(incoming, request, origin, known)
        await self._batcher.put((encode(event),))
        return _accepted(event, request.received_at_ms, self._cors.headers(headers.get(b"origin")))

    def _admitted(self, incoming: Incoming, request: _Request, origin: Origin, known: Known) -> Event:
        self._gate.check_site(request.knock, known.site, incoming.site_id)
        return self._admission.admit(incoming, overridden(incoming, origin), known)

    async def _collect_many(self, request: _Request, receive: Receive) -> Answer:
        batch = await self._read_batch(request, receive)
        origin = request.origin()
        try:
            incoming, knowns, rejected = await self._access.many(request.knock, batch, origin)
        except Invalid as error:
            EVENTS_REJECTED.inc(len(batch.incoming) + len(batch.rejected))
            return answers.refusal(error, self._cors.headers(request.headers.get(b"origin")))
        events = self._admission.admit_all(incoming, origin, knowns)
        await self._batcher.put([encode(event) for event in events])
        reasons = Counter(event.drop_reason for event in events if event.drop_reason)
        for reason, count in reasons.items():
            EVENTS_DROPPED.labels(reason).inc(count)
        EVENTS_ACCEPTED.inc(len(events) - reasons.total())
        EVENTS_REJECTED.inc(len(rejected))
        body = BatchAnswer(True, len(events), rejected, reasons, _since_ms(request.received_at_ms))
        return answers.batch(body, self._cors.headers(request.headers.get(b"origin")))

    async def _read_batch(self, request: _Request, receive: Receive) -> Batch:
        _refuse_encoding(request.headers)
        content_type = _content_type(request.headers)
        if content_type != _LINES_TYPE and content_type not in _JSON_TYPES:
            raise Invalid(Fault("Content-Type", "must be application/json, application/x-ndjson or text/plain"))
        body = await self._bodies.read(receive, request.headers.get(b"content-length"), MANY_BYTES_MAX)
        decode = decode_lines if content_type == _LINES_TYPE else decode_many
        batch = decode(body, request.received_at_ms, is_strict=request.is_strict)
        self._gate.charge_batch(request.knock, len(batch.incoming) + len(batch.rejected))
        return batch


def _count_refusal(error: FootfallError) -> None:
    status = STATUS[type(error)]
    if isinstance(error, Invalid):
        EVENTS_REJECTED.inc()
    elif status in _REFUSED:
        REQUESTS_REFUSED.labels(str(status)).inc()


def _accepted(event: Event, received_at_ms: int, cors: answers.Headers) -> Answer:
    took_ms = _since_ms(received_at_ms)
    if event.drop_reason:
        EVENTS_DROPPED.labels(event.drop_reason).inc()
        return answers.dropped(took_ms, event.drop_reason, cors)
    EVENTS_ACCEPTED.inc()
    return answers.accepted(took_ms, cors)


def _content_type(headers: Mapping[bytes, bytes]) -> bytes:
    sent = headers.get(b"content-type", b"")
    return sent if sent in _JSON_TYPES else sent.partition(b";")[0].strip().lower()


def _refuse_encoding(headers: Mapping[bytes, bytes]) -> None:
    if headers.get(b"content-encoding", b"identity").strip().lower() not in {b"identity", b""}:
        raise Invalid(Fault("Content-Encoding", "must be left out: bodies are read as they are, not compressed"))


def _is_strict(query: bytes) -> bool:
    """Whether `?strict` is on; bare it is. Raises Invalid for what says neither yes nor no."""
    if b"strict" not in query:
        return False
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    asked = [value.lower() for name, value in pairs if name == "strict"]
    if not asked or asked[-1] in _NO:
        return False
    if asked[-1] not in _YES:
        raise Invalid(Fault("strict", "must be 1, true or yes, or 0, false or no"))
    return True


def _since_ms(received_at_ms: int) -> int:
    return max(0, time.time_ns() // 1_000_000 - received_at_ms)


def build_collector(
    settings: Settings, queue: Queue | Intake, registry: Registry, sites: Sites, door: Door, *, inner: AsgiApp
) -> Collector:
    """The collector before *inner*. Raises Misconfigured for a GEOIP_DATABASE that can not be read."""
    # Else the first event would hold up the loop for 0.1 s while the matchers are built.
    bot.warm_up()
    client.warm_up()
    admission = Admission(sites, Salts(registry), Places(settings.geoip_database))
    access = Access(Gate(settings, door), sites, admission)
    return Collector(Batcher(queue), admission, access, settings, inner)
