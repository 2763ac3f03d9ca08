"""Our Lua around BullMQ's: every step of a job is the script of the official package, and in the same atomic step our
ledger is kept, many jobs at a time.

The package's Worker runs a processor for each job and its Queue adds jobs without the count of their events, so neither
fits a port of batches with leases. What they stand on does: the scripts in the package's `commands` folder, whose keys
and arguments are made by its Scripts class or, where that gives none out, here. A package whose scripts take other
keys is refused at the start: their number is in the name of each file.
"""

import json
from functools import cache
from importlib import resources
from typing import Any

import msgpack
from bullmq.backoffs import Backoffs
from bullmq.job import Job
from bullmq.redis_connection import SCRIPT_DEFINITIONS, RedisConnection, loadScript
from bullmq.scripts import Scripts

from footfall.errors import Misconfigured
from footfall.queue.base import Lane
from footfall.queue.bullmq_connection import Client
from footfall.queue.bullmq_jobs import IMPORT_PRIORITY

Argument = bytes | str | int | float

EXPECTED = {
    "addStandardJob": "addStandardJob-9.lua",
    "addPrioritizedJob": "addPrioritizedJob-9.lua",
    "moveToActive": "moveToActive-11.lua",
    "moveToDelayed": "moveToDelayed-11.lua",
    "moveToFinished": "moveToFinished-14.lua",
    "moveStalledJobsToWait": "moveStalledJobsToWait-9.lua",
    "reprocessJob": "reprocessJob-9.lua",
    "removeJob": "removeJob-2.lua",
}
STALLED_CHECK_MS = 900
"""All workers together look for leases that ran out no more often than this."""
STALLED_MAX = 2**31 - 1
"""How often a job may stall is ours to say: a lease that runs out is an attempt like any other."""
METRICS_MINUTES = 24 * 60
"""Of completed and failed jobs, for the dashboards that draw BullMQ's metrics."""
LEASE_RAN_OUT = "the lease ran out on the last attempt: the worker died, or its write took longer than the lease"
_ID = "the id of the job"
"""Stands for it in keys and arguments that are made once for many jobs."""


def pack(value: object) -> bytes:
    """For cmsgpack.unpack in Lua, which knows no binary type: bytes and text are both its strings."""
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


def check_package() -> None:
    """Raise Misconfigured if the installed bullmq has other scripts than these pages were written for."""
    other = [name for name, file in EXPECTED.items() if SCRIPT_DEFINITIONS.get(name) != file]
    if other:
        raise Misconfigured(
            f"the installed bullmq package has other scripts than this version of Footfall knows ({', '.join(other)}): "
            "run `pip install 'footfall[redis]'` again"
        )


@cache
def lua(name: str, add: str = "") -> str:
    """The text of lua/*name*.lua with the scripts that it asks for: ours as they are, BullMQ's each as a function.

    *add* names the script that is meant by "add".
    """
    lines = []
    for line in resources.files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8").splitlines():
        if line.startswith("--@include "):
            lines.append(lua(line.removeprefix("--@include ")))
        elif line.startswith("--@bullmq "):
            function = line.removeprefix("--@bullmq ")
            script = loadScript(SCRIPT_DEFINITIONS[add if function == "add" else function])
            lines.append(f"local function {function}(KEYS, ARGV)\n{script}\nend")
        else:
            lines.append(line)
    return "\n".join(lines)


class _Owner:
    """What a Job of the package wants to know of its queue."""

    def __init__(self, name: str) -> None:
        self.backend = None
        self.qualifiedName = name
        self.opts = {"metrics": {"maxDataPoints": METRICS_MINUTES}}


class Calls:
    """Keys and arguments of BullMQ's scripts, for the queue *name* under *prefix*."""

    def __init__(self, client: Client, prefix: str, name: str, *, attempts: int, backoff_ms: int) -> None:
        self._scripts = Scripts(prefix, name, RedisConnection(client))
        self._owner = _Owner(f"{prefix}:{name}")
        self._attempts = attempts
        self._backoff = {"type": "exponential", "delay": backoff_ms}
        self.prefix = f"{prefix}:{name}:"

    def back_off_ms(self, tries: int) -> int:
        """BullMQ's back-off after this many tries."""
        strategy = Backoffs.builtin_strategies["exponential"](self._backoff["delay"])
        return int(strategy(tries, "exponential", None, None))

    def _keys(self, *names: str) -> list[str]:
        keys: list[str] = self._scripts.getKeys(list(names))
        return keys

    def add_keys(self, lane: Lane) -> bytes:
        """The keys of addStandardJob or addPrioritizedJob."""
        if lane is Lane.LIVE:
            names = ("wait", "paused", "meta", "id", "completed", "delayed", "active", "events", "marker")
        else:
            names = ("marker", "meta", "id", "prioritized", "delayed", "completed", "active", "events", "pc")
        return pack(self._keys(*names))

    def add_args(self, job_id: str, name: str, data: object, lane: Lane, put_at_ms: int) -> list[Argument]:
        """The arguments of the same."""
        options: dict[str, object] = {"attempts": self._attempts, "backoff": self._backoff}
        if lane is Lane.IMPORT:
            options["priority"] = IMPORT_PRIORITY
        options |= {"removeOnComplete": True, "timestamp": put_at_ms}
        job = Job(self._owner, name, data, options, job_id)
        return [*self._scripts.addJobArgs(job), put_at_ms]

    def recover(self, now_ms: int) -> bytes:
        """What lua/recover.lua wants."""
        keys = self._keys(
            "stalled", "wait", "active", "stalled-check", "meta", "paused", "marker", "events", "repeat"
        )  # fmt: skip
        wait, prioritized = self._keys("wait", "prioritized")
        args = [str(STALLED_MAX), self.prefix, str(now_ms), str(STALLED_CHECK_MS)]
        return pack({"keys": keys, "args": args, "wait": wait, "prioritized": prioritized, "reason": LEASE_RAN_OUT})

    def activate(self, token: str, now_ms: int, lease_ms: int) -> tuple[bytes, bytes]:
        """Keys and arguments of moveToActive."""
        keys = self._keys(
            "wait", "active", "prioritized", "events", "stalled", "limiter", "delayed", "paused", "meta", "pc", "marker"
        )  # fmt: skip
        options = pack({"token": token, "lockDuration": lease_ms, "limiter": None})
        return pack(keys), pack([self.prefix, str(now_ms), options])

    def done(self, token: str, now_ms: int) -> dict[str, Any]:
        """moveToFinished, for a job that is done."""
        keys, args = self._scripts.moveToCompletedArgs(self._job(), None, True, token, False)
        return _operation("done", keys, _at(args, now_ms), self._scripts.toKey(_ID))

    def fail(self, token: str, now_ms: int, error: str, tries: int) -> dict[str, Any]:
        """moveToFinished, for a job that is set aside."""
        error = _sendable(error)
        fields = {"failedReason": error, "stacktrace": json.dumps([error])}
        job = self._job()
        job.attemptsMade = tries - 1
        keys, args = self._scripts.moveToFailedArgs(job, error, False, token, False, fields)
        return _operation("failed", keys, _at(args, now_ms), self._scripts.toKey(_ID))

    def delay(self, token: str, now_ms: int, error: str, tries: int) -> dict[str, Any]:
        """moveToDelayed, for a job that is tried again after its back-off."""
        error = _sendable(error)
        fields = {"failedReason": error, "stacktrace": json.dumps([error])}
        keys, args = self._scripts.moveToDelayedArgs(
            _ID, now_ms, token, self.back_off_ms(tries), {"fieldsToUpdate": fields}
        )
        return _operation("delayed", keys, args, self._scripts.toKey(_ID))

    def reprocess(self) -> bytes:
        """reprocessJob: the attempts begin anew; how often it was started is kept, for that makes it a redelivery."""
        keys = [
            self._scripts.toKey(_ID),
            *self._keys("events", "failed", "wait", "meta", "active", "marker", "prioritized", "pc"),
        ]
        args = [_ID, "LPUSH", "failedReason", "failed", "1", "0"]
        return pack(_operation("replay", keys, args, self._scripts.toKey(_ID)))

    def remove(self) -> bytes:
        """removeJob."""
        keys = [self._scripts.toKey(_ID), *self._keys("repeat")]
        return pack(_operation("purge", keys, [_ID, "0", self.prefix], self._scripts.toKey(_ID)))

    def _job(self) -> Any:  # noqa: ANN401 - the package has no types
        return Job(self._owner, "", None, {"attempts": self._attempts}, _ID)


def _sendable(error: str) -> str:
    """Without halves of characters, which UTF-8 has no place for; they come from text that a store refuses."""
    return error.encode("utf-8", "replace").decode()


def _at(args: list[Any], now_ms: int) -> list[Any]:
    """moveToFinished takes the time as its second argument; the package's own is another clock's."""
    return [args[0], now_ms, *args[2:]]


def _operation(kind: str, keys: list[str], args: list[Any], job_key: str) -> dict[str, Any]:
    """As Lua wants it: arguments as Redis would pass them, and where in both the job is named, counted from 1."""
    as_passed = [arg if isinstance(arg, bytes) else str(arg) for arg in args]
    return {
        "kind": kind,
        "keys": keys,
        "args": as_passed,
        "key_at": keys.index(job_key) + 1,
        "id_at": as_passed.index(_ID) + 1,
    }
