"""Runs a process: opens the parts, starts worker and server, and stops both in the order that loses nothing.

Stopping: the server takes no more requests and answers those it has; the collector's last group is committed; the
worker finishes the write under way and gives back what it had not begun; then the files are closed.
"""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http import HTTPStatus

import httpx
import structlog
import uvicorn

from footfall import __version__
from footfall.api.app import ApiContext, build_api
from footfall.collect.app import Collector, build_collector
from footfall.collect.serve_options import serve_options
from footfall.door import is_loopback
from footfall.errors import InUse, Misconfigured
from footfall.queue.base import Queue
from footfall.queue.intake import Intake
from footfall.settings import AuthMode, Settings
from footfall.wire import Parts, open_parts, open_store
from footfall.worker import Worker

STUCK_S = 30.0
"""A queue from which nothing has gone for so long is no longer waited for."""
DRAIN_POLL_S = 0.1

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which re-raises SIGTERM before our files are closed."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_started()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to `up`."""
        yield

    def ask_to_stop(self) -> None:
        """Stop in order; asked again, without waiting for requests under way."""
        self.force_exit = self.should_exit
        self.should_exit = True


def _application(parts: Parts, worker: Worker) -> Collector:
    intake = Intake(parts.queue)
    api = build_api(
        ApiContext(
            settings=parts.settings,
            store=parts.store,
            queue=parts.queue,
            intake=intake,
            registry=parts.registry,
            door=parts.door,
            sites=parts.sites,
            worker_status=lambda: worker.status,
            started_at=time.monotonic(),
        )
    )
    return build_collector(parts.settings, intake, parts.registry, parts.sites, parts.door, inner=api)


def address(settings: Settings) -> str:
    """Where a person on this machine opens it."""
    host = "localhost" if settings.host in {"0.0.0.0", "::", "127.0.0.1"} else settings.host  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


async def up(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run everything in this process until SIGTERM or SIGINT, and tell *announce* where it is once it answers.

    Raises Misconfigured for what keeps it from starting.
    """
    _refuse_taken_port(settings)
    async with open_parts(settings) as parts:
        worker = Worker(parts.queue, parts.store, concurrency=settings.queue_concurrency)
        app = _application(parts, worker)
        config = uvicorn.Config(app, host=settings.host, port=settings.port, **serve_options())
        server = _Server(config, lambda: _announce(settings, announce))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.ask_to_stop)
        working = asyncio.create_task(worker.run())
        log.info(
            "starting",
            version=__version__,
            queue=parts.queue.kind,
            store=parts.store.kind,
            registry=parts.registry.kind,
            data_dir=str(settings.data_dir),
            auth=settings.auth.value,
        )
        if settings.use_sqs and settings.redis_host:
            log.warning("the queue is SQS: USE_SQS wins over REDIS_HOST, which is set as well and not used")
        for sentence in parts.queue.advice:
            log.warning(sentence)
        try:
            await server.serve()
        finally:
            await app.close()
            await worker.stop()
            await working
            log.info("stopped")


def _announce(settings: Settings, announce: Callable[[str], None]) -> None:
    """What a person at the terminal wants to know now."""
    announce(f"Footfall {__version__} is running. Open {address(settings)}")
    if settings.auth is AuthMode.ON or (settings.auth is AuthMode.AUTO and not is_loopback(settings.host)):
        announce('Reading needs a key here: .venv/bin/footfall keys create "my browser" --scope read')


def _refuse_taken_port(settings: Settings) -> None:
    """Say it before anything is opened, and in the words of our settings."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise Misconfigured(
                f"HOST, PORT: can not listen on {settings.host}:{settings.port}: {error.strerror}"
            ) from error


async def store_waiting(settings: Settings, queue: Queue, site_id: str, import_id: str) -> int | None:
    """See to it that all that waits in *queue* now is stored; how many events of this import are in the store then.

    Where no other process holds the store, a worker runs here for as long as it takes. Where one does, its own worker
    is waited for, as long as it gets on; None if it does not, or does not say how many there are.
    """
    try:
        store = await open_store(settings)
    except InUse:
        return await _stored_by_another(settings, queue, site_id, import_id)
    try:
        worker = Worker(queue, store, concurrency=settings.queue_concurrency)
        working = asyncio.create_task(worker.run())
        drained = await _drained(queue)
        await worker.stop()
        await working
        return (await store.ledger(site_id, import_id)).stored if drained else None
    finally:
        await store.close()


async def _stored_by_another(settings: Settings, queue: Queue, site_id: str, import_id: str) -> int | None:
    if not await _drained(queue):
        return None
    question = {"site_id": site_id, "import_id": import_id}
    async with httpx.AsyncClient(base_url=address(settings), timeout=10) as http:
        try:
            answer = await http.get("/api/ledger", params=question)
        except httpx.TransportError:
            return None
    return int(answer.json()["data"]["stored"]) if answer.status_code == HTTPStatus.OK else None


async def _drained(queue: Queue) -> bool:
    """Wait until what is unfinished now is finished. False when nothing moves any more."""
    began_s = time.monotonic()
    fewest, moved_s = 2**63, began_s
    while True:
        depth = await queue.depth()
        if depth.unfinished_events == 0 or depth.oldest_s < time.monotonic() - began_s:
            return True
        if depth.unfinished_events < fewest:
            fewest, moved_s = depth.unfinished_events, time.monotonic()
        if time.monotonic() - moved_s > STUCK_S:
            return False
        await asyncio.sleep(DRAIN_POLL_S)
