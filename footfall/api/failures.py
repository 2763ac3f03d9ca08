"""Every failure, whoever raised it, as the one error shape of the contract."""

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from footfall.errors import STATUS, ErrorBody, Fault, FootfallError, error_body, error_headers

log = structlog.stdlib.get_logger(__name__)

_SAID_BY_STATUS = {404: "there is nothing at this address", 405: "this address is not for that method"}


def _refused(_: Request[Any, Any, Any], error: FootfallError) -> Response[ErrorBody]:
    status = STATUS.get(type(error))
    if status is None:
        return _failed(_, error)
    return Response(error_body(error), status_code=status, headers=error_headers(error))


def _refused_by_framework(_: Request[Any, Any, Any], error: HTTPException) -> Response[ErrorBody]:
    if error.status_code >= 500:
        return _failed(_, error)
    said = _SAID_BY_STATUS.get(error.status_code)
    details = () if said else (Fault("request", error.detail[:200]),)
    body = ErrorBody(success=False, error=said or "Validation failed", details=details)
    return Response(body, status_code=error.status_code, headers=dict(error.headers or {}))


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorBody]:
    log.error("a request failed for a reason of ours", path=request.scope["path"], exc_info=error)
    body = ErrorBody(success=False, error="Internal error; the server's log says more", details=())
    return Response(body, status_code=500)


HANDLERS: ExceptionHandlersMap = {
    FootfallError: _refused,
    HTTPException: _refused_by_framework,
    Exception: _failed,
}
