"""Every failure in one shape, each with its status: `{"error": {type, code, message, param, request_id}}`."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from laconic.client.wire import ErrorAnswer, ErrorDetail
from laconic.compressors import LaconicError, UnknownName
from laconic.models import Cancelled, DeadlineExceeded, EngineError, ModelError

from .admission import Overloaded
from .plain import names_only

log = logging.getLogger("laconic")


class NotReady(LaconicError):
    """The model is still loading, or the process is shutting down."""

    code, status = "not_ready", 503


class NotJson(LaconicError):
    """A body that is no JSON, or not what its content encoding says."""

    code, status = "invalid_json", 400


class InvalidField(LaconicError):
    """A body that is JSON and no request; `param` is the field."""

    code, status = "invalid_field", 422


class WrongType(LaconicError):
    """A body whose content type or encoding is not taken. A foreign page cannot send the one that is without asking."""

    code, status = "unsupported_media_type", 415


class Stalled(LaconicError):
    """A body that did not arrive in time."""

    code, status = "request_timeout", 408


SHAPES = ("ChatRequest", "CompressRequest")  # which of its bodies a route took one for: no field of it
TYPES = {401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large", 429: "overloaded"}


def describe(error: Exception, request_id: str) -> tuple[int, ErrorDetail]:
    """Status and detail of anything that can go wrong; what is not known here is a defect, logged and not told."""
    param: str | None = None
    if isinstance(error, LaconicError):
        status, code, message, param = error.status, error.code, error.message, error.param
    elif isinstance(error, ModelError):
        status, code, message, param = 503, "model_unavailable", str(error), "model"
    elif isinstance(error, Cancelled):
        status, code, message = 499, "client_gone", "the client closed the connection"
    elif isinstance(error, DeadlineExceeded):
        status, code, param = 504, "deadline_exceeded", "timeout_ms"
        message = str(error) or "the answer would come after the request's timeout_ms"
    elif isinstance(error, EngineError):
        status, code, message = 500, "engine_failed", str(error)
    elif isinstance(error, (RequestValidationError, ValidationError)):
        status, code = 422, "invalid_field"
        message, param = invalid(error)
    elif isinstance(error, HTTPException):
        status, message = error.status_code, str(error.detail)
        code = TYPES.get(status) or HTTPStatus(status).name.lower()
    else:
        log.error("defect", exc_info=error, extra={"request_id": request_id})
        status, code = 500, "internal"
        message = "this is a defect of the service; its log has the details under this request_id"
    if (
        isinstance(error, (ModelError, EngineError, NotReady, UnknownName))
        and (short := names_only(message)) != message
    ):
        log.warning("told without its paths: %s", message, extra={"request_id": request_id})
        message = short
    kind = TYPES.get(status, "invalid_request" if status < 500 else "internal" if status == 500 else "unavailable")
    return status, ErrorDetail(type=kind, code=code, message=message, param=param, request_id=request_id)


def invalid(error: RequestValidationError | ValidationError) -> tuple[str, str | None]:
    """Message and field of the first problem; its `input` is the caller's text and never repeated."""
    first: dict[str, Any]
    if isinstance(error, ValidationError):
        first = {**error.errors(include_url=False, include_context=False, include_input=False)[0]}
        inside = first["loc"]
    else:
        first = error.errors()[0]
        inside = first["loc"][1:]
    place = [str(p) for p in inside if p not in SHAPES]
    return str(first["msg"]).removeprefix("Value error, "), ".".join(place) or None


def respond(status: int, detail: ErrorDetail) -> JSONResponse:
    return JSONResponse(ErrorAnswer(error=detail).model_dump(), status)


def of(error: Exception, request_id: str) -> JSONResponse:
    """The answer to an error, with the headers its status asks for."""
    made = respond(*describe(error, request_id))
    if isinstance(error, Overloaded):
        made.headers["retry-after"] = str(math.ceil(error.retry_after))
        made.headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    if isinstance(error, NotReady):
        made.headers["retry-after"] = "2"
    if made.status_code == 401:
        made.headers["www-authenticate"] = "Bearer"
    if isinstance(error, HTTPException):
        made.headers.update(error.headers or {})
    return made


def request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


async def on_error(request: Request, error: Exception) -> JSONResponse:
    return of(error, request_id(request))


async def on_defect(request: Request, error: Exception) -> JSONResponse:
    made = of(error, request_id(request))
    made.headers["x-request-id"] = request_id(request)  # this handler stands outside the middleware
    return made


def install(app: FastAPI) -> None:
    known = (LaconicError, ModelError, Cancelled, DeadlineExceeded, EngineError, RequestValidationError, HTTPException)
    for kind in known:
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(Exception, on_defect)
