"""A connection to the file of SqliteQueue: how it is set up, and how a new file gets its tables."""

import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from footfall.errors import Misconfigured, Unavailable

VERSION = 1
"""PRAGMA user_version of the files that this code reads and writes."""
PAGE_BYTES = 8_192
"""By measurement: with 4 KiB a put of 1,000 events was slower, with 16 KiB a put of one event wrote 48 KiB of log."""
BUSY_MS = 2_000
"""How long a transaction waits for another process to let go of the file."""
LOG_BYTES_MAX = 8 * 1024**2
"""How much may be written to the log before its pages are copied to the file."""


def full(max_bytes: int) -> Unavailable:
    """What a put is told that would take the queue over its limit."""
    return Unavailable(f"the queue is full: QUEUE_MAX_BYTES is {max_bytes} bytes")


def connect(path: Path, *, fsync: bool) -> sqlite3.Connection:
    """A connection of the calling thread, set up; a new file gets its tables.

    Raises Misconfigured for a file that is no queue, or one of a newer version; sqlite3.Error.
    """
    db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
    try:
        _prepare(db, path, fsync=fsync)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path, *, fsync: bool) -> None:
    try:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
        raise Misconfigured(f"{path} is not a queue of Footfall's, or is damaged ({error}): move it away") from error
    if version > VERSION:
        raise Misconfigured(
            f"{path} was written by a newer Footfall: its queue version is {version}, this one knows {VERSION}; update"
        )
    db.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
    # Copying the log into the file is the keeper's work, not that of the unlucky put that crosses a threshold.
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"PRAGMA journal_size_limit = {4 * LOG_BYTES_MAX}")
    # Some builds overwrite what is deleted with zeros, which made an ack of 50 jobs 30 times slower.
    db.execute("PRAGMA secure_delete = OFF")
    if version == 0:
        db.execute("BEGIN IMMEDIATE")
        try:
            if db.execute("PRAGMA user_version").fetchone() == (0,):  # no other process was faster
                for statement in _statements(files(__package__).joinpath("sqlite.sql").read_text("utf-8")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            db.rollback()
            raise
        db.commit()


def _statements(script: str) -> Iterator[str]:
    """The statements of *script*, one by one: executescript() would end the transaction they belong to."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
