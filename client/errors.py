"""What can go wrong, as a tree: what the caller must mend, and what the service failed to do."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from http import HTTPStatus

from pydantic import ValidationError

from .wire import ErrorAnswer, ErrorDetail


class LaconicError(Exception):
    """Root of every error of the client. `code` is stable, `param` names the field, `request_id` is in the log there.

    `status` is the answer's, None where none came; `retry_after` the seconds that the service asked to be left alone.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "internal",
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.code, self.param = message, status, code, param
        self.request_id, self.retry_after = request_id, retry_after


class InvalidRequest(LaconicError):
    """The request contradicts itself or holds what no service takes; asking again changes nothing."""


class Unauthorized(LaconicError):
    """No API key, or one that the service does not know."""


class Forbidden(LaconicError):
    """The key is known and may not do this."""


class NotFound(LaconicError):
    """A recipe, model or reader that is not installed there, or no laconic at this address."""


class TooLarge(LaconicError):
    """More bytes, documents or characters than the service takes at once."""


class ServiceFailure(LaconicError):
    """Not the caller's fault: a defect there, an answer that cannot be read, or one of the kinds below.

    So is what somebody on the way refused (a proxy's limit, a firewall, a login page): it says nothing of the request.
    These are what `fail_open` covers.
    """


class Overloaded(ServiceFailure):
    """The service could not answer in time, or the key has used up what it may; it said when to come back."""


class Unavailable(ServiceFailure):
    """Nobody answers at this address, or whoever does is not ready."""


class DeadlineExceeded(ServiceFailure):
    """The answer did not come, or would not have come, within `timeout`."""


KINDS: dict[int, type[LaconicError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: Unavailable,
    413: TooLarge,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}


# What an answer means that the service did not write: a wrong address or password is for the caller to mend
ON_THE_WAY: dict[int, type[LaconicError]] = {
    401: Unauthorized,
    404: NotFound,
    405: NotFound,
    407: Unauthorized,
    **{status: kind for status, kind in KINDS.items() if issubclass(kind, ServiceFailure)},
}
SMALL = "a proxy on the way takes no body as large as this: raise its limit (nginx: client_max_body_size)"


def of_answer(status: int, content: bytes, request_id: str, retry_after: float | None = None) -> LaconicError:
    """The error of an answer, whether the service itself wrote it or somebody on the way to it."""
    try:
        detail = ErrorAnswer.model_validate_json(content, extra="ignore").error
    except ValidationError:
        names = HTTPStatus.__members__.values()
        code = next((s.name.lower() for s in names if s == status), "unknown_status")
        message = f"an answer with the status {status}, and not in the shape of this service's errors"
        if status == 413:
            code, message = "proxy_too_large", SMALL
        detail = ErrorDetail(type="unknown", code=code, message=message, param=None, request_id=request_id)
        return made(ON_THE_WAY.get(status, ServiceFailure), status, detail, retry_after)
    return of_detail(status, detail, retry_after)


def of_detail(status: int, detail: ErrorDetail, retry_after: float | None = None) -> LaconicError:
    """The error that a service described."""
    kind = KINDS.get(status, InvalidRequest if 400 <= status < 500 else ServiceFailure)
    return made(kind, status, detail, retry_after)


def made(kind: type[LaconicError], status: int, detail: ErrorDetail, retry_after: float | None) -> LaconicError:
    return kind(
        detail.message,
        status=status,
        code=detail.code,
        param=detail.param,
        request_id=detail.request_id,
        retry_after=retry_after,
    )


def of_validation(error: ValidationError) -> InvalidRequest:
    """The first problem of a request that was never sent; its `input` is the caller's text and is not repeated."""
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return InvalidRequest(f"{place}: {message}" if place else message, code="invalid_field", param=place or None)


def told(headers: Mapping[str, str]) -> float | None:
    """Seconds that the service asked to be left alone, if it did; a date counts from now."""
    exact, plain = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        seconds = float(plain or math.nan) if exact is None else float(exact) / 1000
    except ValueError:
        seconds = until(plain or "")
    return max(0.0, seconds) if math.isfinite(seconds) else None


def until(date: str) -> float:
    """Seconds until an HTTP date; NaN for what is none."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return math.nan
