"""Scores and codes kept across requests: in memory, and in Redis where there is one."""

from .lru import Lru
from .remote import Remote
from .tiers import Tiers, open_store

__all__ = ["Lru", "Remote", "Tiers", "open_store"]
