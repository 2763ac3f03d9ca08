"""How uvicorn is run: what the measurements chose, in one place for `footfall up` and the benchmarks."""

from typing import Any

from footfall.collect.protocol import CollectorProtocol

CONNECTIONS_MAX = 10_000


def serve_options() -> dict[str, Any]:
    """Keyword arguments for uvicorn.Config, besides the application, host and port.

    `proxy_headers` must stay off: uvicorn would rewrite the peer's address by a header, and address.py alone decides
    whom to believe. The access log would write addresses. The server header tells nobody anything.
    """
    return {
        "loop": "uvloop",
        "http": CollectorProtocol,
        "ws": "none",
        "interface": "asgi3",
        "lifespan": "off",
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "limit_concurrency": CONNECTIONS_MAX,
        "backlog": 4_096,
        "timeout_graceful_shutdown": 10,
    }
