"""A batch as a client sends it: pages of a few requests, each asked for again as a whole where it got lost.

HTTP clients read nothing before they have sent everything, and the service stops reading while its answers are not
taken. So a page is small enough to lie in the buffers on the way, and more than one is on the way at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .bodies import dumped, line, untouched
from .errors import InvalidRequest, LaconicError, ServiceFailure, of_detail
from .wire import BatchAnswer, CompressRequest, ErrorDetail

ROWS, BYTES = 16, 65_536  # of a page, at most; a single request may be larger


@dataclass(frozen=True, kw_only=True)
class Row:
    """One request of a batch, or what is wrong with it."""

    index: int
    body: CompressRequest | None = None
    line: bytes = b""
    error: InvalidRequest | None = None


class Pager:
    """Gathers requests into pages, in order."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._count = self._bytes = 0

    def add(self, given: CompressRequest | Mapping[str, Any]) -> list[Row]:
        """The page that is full now, or nothing."""
        row = row_of(self._count, given)
        self._count += 1
        full = self.rest() if len(self._rows) == ROWS or self._bytes + len(row.line) > BYTES else []
        self._rows.append(row)
        self._bytes += len(row.line)
        return full

    def rest(self) -> list[Row]:
        """What was gathered, which it forgets."""
        rows, self._rows, self._bytes = self._rows, [], 0
        return rows


def row_of(index: int, given: CompressRequest | Mapping[str, Any]) -> Row:
    try:
        body = line(given)
        return Row(index=index, body=body, line=dumped(body) + b"\n")
    except InvalidRequest as e:
        return Row(index=index, error=e)


def answers(content: bytes, count: int) -> list[BatchAnswer]:
    """The lines of a page's answer; raises ValueError where one is missing."""
    found = [BatchAnswer.model_validate_json(x, extra="ignore") for x in content.splitlines() if x.strip()]
    if [a.index for a in found] != list(range(count)):
        raise ValueError(f"{len(found)} lines for {count} requests")
    return found


def joined(rows: Sequence[Row], found: Sequence[BatchAnswer], opens: bool) -> list[BatchAnswer]:
    """An answer for each row, under its number in the whole batch."""
    left = iter(found)
    return [refused(r.index, r.error) if r.error else opened(r, next(left), opens) for r in rows]


def opened(row: Row, answer: BatchAnswer, opens: bool) -> BatchAnswer:
    """Where it is to fail open, a request that the service failed is answered with its input, its error beside it."""
    update: dict[str, Any] = {"index": row.index}
    if opens and answer.error is not None and row.body is not None:
        failure = of_detail(answer.status, answer.error)
        if isinstance(failure, ServiceFailure):
            update["answer"] = untouched(row.body, failure)
    return answer.model_copy(update=update)


def refused(index: int, error: LaconicError) -> BatchAnswer:
    """An error as a line, of a request that no service saw."""
    ours = isinstance(error, InvalidRequest)
    detail = ErrorDetail(
        type="invalid_request" if ours else "unavailable",
        code=error.code,
        message=error.message,
        param=error.param,
        request_id=error.request_id or "",
    )
    return BatchAnswer(index=index, status=error.status or (422 if ours else 503), error=detail)
