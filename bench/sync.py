"""How fast the disk itself makes something durable: no accepted event can be quicker."""

import os
import tempfile
import time
from pathlib import Path

WRITES = 500
BLOCK = b"x" * 16_384
BLOCKS = 64


def sync_ms(folder: Path) -> list[float]:
    """Milliseconds of each of a few hundred writes of 16 KiB with fdatasync, over the same megabyte of one file."""
    took_ms: list[float] = []
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        for number in range(WRITES):
            os.pwrite(file.fileno(), BLOCK, number % BLOCKS * len(BLOCK))
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            took_ms.append((time.perf_counter() - began_s) * 1000)
    return took_ms
