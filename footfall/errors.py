"""The closed list of failures, and the one table from failure to HTTP status.

Whatever goes wrong in any room is raised as one of these. A driver's own exceptions are translated in one place of
its adapter; anything else that escapes is a bug.
"""

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with an input: which field, and what is allowed."""

    field: str
    message: str


class FootfallError(Exception):
    """The base of every failure that Footfall raises on purpose."""


class Invalid(FootfallError):
    """The input breaks a rule; *faults* names every wrong field, not the first alone."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"{fault.field} {fault.message}" for fault in faults))
        self.faults = faults


class Unauthorized(FootfallError):
    """Nobody said who is asking, or said it wrongly; *faults* names the fields that need it, where there are any."""

    def __init__(self, message: str = "", *faults: Fault) -> None:
        super().__init__(message)
        self.faults = faults


class Forbidden(FootfallError):
    """We know who is asking, and they may not; *faults* names the fields that need more, where there are any."""

    def __init__(self, message: str = "", *faults: Fault) -> None:
        super().__init__(message)
        self.faults = faults


class NotFound(FootfallError):
    """There is nothing at this address or under this name."""


class MethodNotAllowed(FootfallError):
    """The address is right and the verb is not."""


class Conflict(FootfallError):
    """Somebody else has changed it meanwhile: nothing was changed; look again, and decide again."""


class TooLarge(FootfallError):
    """The body is over the limit; the message names the limit in bytes."""


class Overloaded(FootfallError):
    """The sender is over its rate limit and should come back after *retry_after_s* seconds."""

    def __init__(self, message: str, retry_after_s: int = 1, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.faults = faults


class Unavailable(FootfallError):
    """A backend is down, full or too slow: nothing was accepted, and the same call is worth repeating."""

    def __init__(self, message: str, retry_after_s: int = 2) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unstorable(FootfallError):
    """The store can not take this batch however often it is asked; some event in it is poison."""


class Misconfigured(FootfallError):
    """The settings can not be run; *problems* lists every one of them as a sentence."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class InUse(Misconfigured):
    """Another process holds what only one may hold."""


STATUS: dict[type[FootfallError], int] = {
    Invalid: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    Conflict: 409,
    TooLarge: 413,
    Overloaded: 429,
    Unavailable: 503,
}


class ErrorBody(msgspec.Struct):
    """What every error answer looks like on the wire, *details* too where it is empty."""

    success: bool
    error: str
    details: tuple[Fault, ...]


def error_body(error: FootfallError) -> ErrorBody:
    """The body that tells a client about *error*."""
    if isinstance(error, Invalid):
        return ErrorBody(success=False, error="Validation failed", details=error.faults)
    details = error.faults if isinstance(error, Unauthorized | Forbidden | Overloaded) else ()
    return ErrorBody(success=False, error=str(error), details=details)


def error_headers(error: FootfallError) -> dict[str, str]:
    """The headers that go with *error*: when to come back, or how to say who one is."""
    if isinstance(error, Overloaded | Unavailable):
        return {"retry-after": str(error.retry_after_s)}
    if isinstance(error, Unauthorized):
        return {"www-authenticate": "Bearer"}
    return {}
