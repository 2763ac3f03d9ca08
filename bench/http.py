"""A blocking HTTP/1.1 client of forty lines: what it costs must not show in what is measured."""

import json
import socket
from types import TracebackType
from typing import Any

from bench.rows import NotMeasured

TIMEOUT_S = 60.0
ANSWER_BYTES_MAX = 16 * 1024**2
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


def post(path: str, body: bytes, content_type: str = "application/json", user_agent: str = "footfall-bench") -> bytes:
    """A whole POST request, ready to be sent as often as wanted."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {user_agent}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def get(path: str) -> bytes:
    """A whole GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: footfall-bench\r\n\r\n".encode()


def answer_bytes(received: bytes | bytearray) -> int | None:
    """How long the answer that *received* begins with is in all; None while its head is not there yet."""
    head_end = received.find(_HEAD_END)
    if head_end < 0:
        return None
    head = received[:head_end].lower()
    at = head.find(_LENGTH)
    if at < 0:
        return head_end + len(_HEAD_END)
    line_end = head.find(b"\r\n", at)
    length = head[at + len(_LENGTH) : line_end if line_end >= 0 else None]
    return head_end + len(_HEAD_END) + int(length)


class Connection:
    """One connection to 127.0.0.1 that is kept; one request at a time."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises NotMeasured when the server hangs up, OSError for the network."""
        self._socket.sendall(request)
        received = bytearray()
        while True:
            piece = self._socket.recv(65_536)
            received += piece
            length = answer_bytes(received)
            if length is not None and len(received) >= length:
                break
            if not piece or len(received) > ANSWER_BYTES_MAX:
                raise NotMeasured("the server ended a connection in the middle of an answer")
        head_end = received.find(_HEAD_END)
        return int(received[9:12]), bytes(received[head_end + len(_HEAD_END) :])

    def json(self, path: str) -> Any:
        """The decoded answer to a GET. Raises NotMeasured for any status but 200."""
        status, body = self.exchange(get(path))
        if status != 200:
            raise NotMeasured(f"GET {path} was answered {status}: {body[:300].decode(errors='replace')}")
        return json.loads(body)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
