"""What a caller of the service needs; imports none of the other rooms."""

from .wire import BudgetBody, CompressAnswer, CompressRequest, DocumentAnswer, DocumentBody, KeepBody

__all__ = ["BudgetBody", "CompressAnswer", "CompressRequest", "DocumentAnswer", "DocumentBody", "KeepBody"]
