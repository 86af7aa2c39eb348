"""Every failure in one shape, each with its status: `{"error": {type, code, message, param, request_id}}`."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from laconic.client.wire import ErrorAnswer, ErrorDetail
from laconic.compressors import LaconicError
from laconic.models import Cancelled, DeadlineExceeded, EngineError, ModelError

from .admission import Overloaded

log = logging.getLogger("laconic")


class TooLarge(LaconicError):
    """The body, the documents' number or their characters exceed this service's limits."""

    code, status = "too_large", 413


class NotReady(LaconicError):
    """The model is still loading, or the process is shutting down."""

    code, status = "not_ready", 503


TYPES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    429: "overloaded",
    404: "not_found",
    405: "invalid_request",
    413: "too_large",
    415: "invalid_request",
}


def answer(status: int, kind: str, code: str, message: str, param: str | None, request_id: str) -> JSONResponse:
    detail = ErrorDetail(type=kind, code=code, message=message, param=param, request_id=request_id)
    return JSONResponse(ErrorAnswer(error=detail).model_dump(), status)


def request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def of(error: LaconicError, request_id: str) -> JSONResponse:
    """The answer to an error of ours, with the headers its status asks for."""
    kind = TYPES.get(error.status, "invalid_request" if error.status < 500 else "unavailable")
    made = answer(error.status, kind, error.code, error.message, error.param, request_id)
    if isinstance(error, Overloaded):
        made.headers["retry-after"] = str(math.ceil(error.retry_after))
        made.headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    if isinstance(error, NotReady):
        made.headers["retry-after"] = "2"
    if error.status == 401:
        made.headers["www-authenticate"] = "Bearer"
    return made


async def on_laconic(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LaconicError)
    return of(error, request_id(request))


async def on_cancelled(request: Request, error: Exception) -> JSONResponse:
    return answer(499, "invalid_request", "client_gone", "the client closed the connection", None, request_id(request))


async def on_deadline(request: Request, error: Exception) -> JSONResponse:
    message = "the answer would come after the request's timeout_ms"
    return answer(504, "unavailable", "deadline_exceeded", message, "timeout_ms", request_id(request))


async def on_engine(request: Request, error: Exception) -> JSONResponse:
    return answer(500, "internal", "engine_failed", str(error), None, request_id(request))


async def on_model(request: Request, error: Exception) -> JSONResponse:
    return answer(503, "unavailable", "model_unavailable", str(error), "model", request_id(request))


async def on_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]  # its `input` is the caller's text: never repeated
    place = [str(p) for p in first["loc"] if p not in ("body", "query")]
    broken = first["type"] == "json_invalid"
    message = "the body is not JSON" if broken else first["msg"].removeprefix("Value error, ")
    status, code = (400, "invalid_json") if broken else (422, "invalid_field")
    return answer(
        status, "invalid_request", code, message, None if broken else ".".join(place) or None, request_id(request)
    )


async def on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = TYPES.get(error.status_code, "error")
    code = HTTPStatus(error.status_code).name.lower()
    made = answer(error.status_code, kind, code, str(error.detail), None, request_id(request))
    made.headers.update(error.headers or {})
    return made


async def on_defect(request: Request, error: Exception) -> JSONResponse:
    log.error("defect", exc_info=error, extra={"request_id": request_id(request)})
    message = "this is a defect of the service; its log has the details under this request_id"
    made = answer(500, "internal", "internal", message, None, request_id(request))
    made.headers["x-request-id"] = request_id(request)  # this handler stands outside the middleware
    return made


def install(app: FastAPI) -> None:
    app.add_exception_handler(LaconicError, on_laconic)
    app.add_exception_handler(ModelError, on_model)
    app.add_exception_handler(Cancelled, on_cancelled)
    app.add_exception_handler(DeadlineExceeded, on_deadline)
    app.add_exception_handler(EngineError, on_engine)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_defect)
