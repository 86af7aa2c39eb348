"""What a caller of the service needs; imports none of the other rooms.

Made for frameworks: `langchain`, `middleware`, `llamaindex`, `haystack`. For latents: `latents`, `embeds`.
"""

from .bodies import FAIL_OPEN
from .client import AsyncClient, Client
from .coded import restore
from .core import Health
from .errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    LaconicError,
    NotFound,
    Overloaded,
    ServiceFailure,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from .wire import BatchAnswer, BudgetBody, CompressAnswer, CompressRequest, DocumentAnswer, DocumentBody, KeepBody

__all__ = [
    "FAIL_OPEN",
    "AsyncClient",
    "BatchAnswer",
    "BudgetBody",
    "Client",
    "CompressAnswer",
    "CompressRequest",
    "DeadlineExceeded",
    "DocumentAnswer",
    "DocumentBody",
    "Forbidden",
    "Health",
    "InvalidRequest",
    "KeepBody",
    "LaconicError",
    "NotFound",
    "Overloaded",
    "ServiceFailure",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "restore",
]
