"""Runs a process: everything, or one half of it; starts in any order of its backends, and stops in the order that
loses nothing.

Starting: the port is open at once and answers 503 until every backend is there, however long that takes.
Stopping: the server takes no more requests and answers those it has; the collector's last group is committed; the
worker finishes the write under way and gives back what it had not begun; then the backends are closed.
"""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, contextmanager

import structlog
import uvicorn

from footfall import __version__
from footfall.api.app import ApiContext, build_api, build_probes
from footfall.collect.app import Collector, build_collector
from footfall.collect.serve_options import serve_options
from footfall.door import is_loopback
from footfall.entrance import App, Entrance
from footfall.errors import Misconfigured
from footfall.queue.intake import Intake
from footfall.settings import AuthMode, Settings, address
from footfall.wire import Half, Parts, chosen, open_parts
from footfall.worker import Worker

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which re-raises SIGTERM before our backends are closed."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._entrance = Entrance(settings.cors_origins)
        super().__init__(uvicorn.Config(self._entrance, host=settings.host, port=port, **serve_options()))

    def lead_to(self, app: App) -> None:
        """Serve *app*: to new connections itself, so that it may have its short cut, and to old ones by the entrance.

        uvicorn makes the protocol of each connection from its config.
        """
        self._entrance.lead_to(app)
        self.config.app = self.config.loaded_app = app

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to `run`."""
        yield

    def ask_to_stop(self) -> None:
        """Stop in order; asked again, without waiting for requests under way."""
        self.force_exit = self.should_exit
        self.should_exit = True


class _Nobody:
    """Stands where the server is in a process that listens nowhere."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()

    async def serve(self) -> None:
        """Until it is time to stop."""
        await self._stopping.wait()

    def lead_to(self, app: App) -> None:
        """There is nobody to lead."""

    def ask_to_stop(self) -> None:
        """Stop."""
        self._stopping.set()


async def run(settings: Settings, half: Half, announce: Callable[[str], None]) -> None:
    """Run *half* in this process until SIGTERM or SIGINT, and tell *announce* where it is once it works.

    Raises Misconfigured for what keeps it from starting; a server that is down does not, it is waited for.
    """
    port = settings.worker_port if half is Half.WORKER else settings.port
    if port is not None:
        _refuse_taken_port(settings, port)
    log.info("starting", version=__version__, half=half.value, auth=settings.auth.value, **chosen(settings, half))
    server = _Nobody() if port is None else _Server(settings, port)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.ask_to_stop)
    serving = asyncio.create_task(server.serve())
    try:
        async with AsyncExitStack() as stack:
            opening = asyncio.create_task(stack.enter_async_context(open_parts(settings, half, on_wait=_tell_wait)))
            await asyncio.wait({opening, serving}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                await _work(opening.result(), half, server, serving, announce)
            else:
                opening.cancel()
                await asyncio.wait({opening})
    finally:
        server.ask_to_stop()
        await serving
        log.info("stopped")


async def _work(
    parts: Parts, half: Half, server: _Server | _Nobody, serving: asyncio.Task[None], announce: Callable[[str], None]
) -> None:
    """Move events and answer requests until *serving* ends."""
    worker = (
        None if half is Half.API else Worker(parts.queue, parts.store, concurrency=parts.settings.queue_concurrency)
    )
    collector = None if half is Half.WORKER else _collector(parts, worker)
    server.lead_to(collector or build_probes(_context(parts, worker, Intake(parts.queue))))
    working = asyncio.create_task(worker.run()) if worker else None
    log.info("working", queue=parts.queue.kind, store=parts.store.kind, registry=parts.registry.kind)
    for sentence in parts.queue.advice:
        log.warning(sentence)
    _announce(parts.settings, half, announce)
    try:
        await serving
    finally:
        if collector:
            await collector.close()
        if worker and working:
            await worker.stop()
            await asyncio.wait({working})  # cancelled where a write did not end in time: no failure of ours


def _context(parts: Parts, worker: Worker | None, intake: Intake) -> ApiContext:
    return ApiContext(
        settings=parts.settings,
        store=parts.store,
        queue=parts.queue,
        intake=intake,
        registry=parts.registry,
        door=parts.door,
        sites=parts.sites,
        worker_status=lambda: worker.status if worker else None,
        started_at=time.monotonic(),
    )


def _collector(parts: Parts, worker: Worker | None) -> Collector:
    intake = Intake(parts.queue)
    api = build_api(_context(parts, worker, intake))
    return build_collector(parts.settings, intake, parts.registry, parts.sites, parts.door, inner=api)


def _tell_wait(what: str, error: Exception) -> None:
    log.warning("a server is not there and is waited for", part=what, error=str(error))


def _announce(settings: Settings, half: Half, announce: Callable[[str], None]) -> None:
    """What a person at the terminal wants to know now."""
    if half is Half.WORKER:
        announce(f"Footfall {__version__} is working: a worker without pages.")
        return
    announce(f"Footfall {__version__} is running. Open {address(settings)}")
    if settings.auth is AuthMode.ON or (settings.auth is AuthMode.AUTO and not is_loopback(settings.host)):
        announce('Reading needs a key here: .venv/bin/footfall keys create "my browser" --scope read')


def _refuse_taken_port(settings: Settings, port: int) -> None:
    """Say it before anything is opened, and in the words of our settings."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, port))
        except OSError as error:
            name = "PORT" if port == settings.port else "WORKER_PORT"
            raise Misconfigured(f"HOST, {name}: can not listen on {settings.host}:{port}: {error.strerror}") from error
