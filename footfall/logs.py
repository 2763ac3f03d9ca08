"""Logging set up once: structlog for us and for every library that uses the standard logging module."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from footfall.settings import LogFormat, Settings

_SHARED: list[structlog.types.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]
_QUIET = (
    *("httpx", "httpcore", "uvicorn.error"),
    # What these say from debug up holds credentials, addresses or whole requests.
    *("aiobotocore", "aiohttp", "boto3", "botocore", "clickhouse_connect", "pymongo", "redis", "urllib3"),
)


def configure(settings: Settings) -> None:
    """Send every log line to standard error in LOG_FORMAT, from LOG_LEVEL up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_machine_format() if settings.log_format is LogFormat.JSON else _person_format())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


@contextmanager
def also_to(handler: logging.Handler | None) -> Iterator[None]:
    """Meanwhile, send every line to *handler* too, as JSON; at the end it is closed, and has sent what it had."""
    if handler is None:
        yield
        return
    handler.setFormatter(_machine_format())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _machine_format() -> logging.Formatter:
    return _format(structlog.processors.format_exc_info, structlog.processors.JSONRenderer())


def _person_format() -> logging.Formatter:
    # A plain traceback: the rich one shows every local variable, and with them addresses and keys.
    plain = structlog.dev.plain_traceback
    return _format(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain))


def _format(*last: structlog.types.Processor) -> logging.Formatter:
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=processors)
