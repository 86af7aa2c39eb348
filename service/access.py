"""Who may call what: a route is on the router of its scope, and what is on none of them is refused.

Add a route with `@may.compress.post("/v1/…")`; one that is added to the application in any other way answers nobody.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fastapi import APIRouter

from .keys import Scope
from .settings import Settings

Access = Scope | Literal["public", "known"]


@dataclass(frozen=True, kw_only=True)
class Routers:
    """The service's own routes, by who may call them: anybody, every known key, or keys with that scope."""

    public: APIRouter = field(default_factory=APIRouter)
    known: APIRouter = field(default_factory=APIRouter)
    compress: APIRouter = field(default_factory=APIRouter)
    chat: APIRouter = field(default_factory=APIRouter)
    admin: APIRouter = field(default_factory=APIRouter)

    def all(self) -> list[tuple[Access, APIRouter]]:
        return [
            ("public", self.public),
            ("known", self.known),
            ("compress", self.compress),
            ("chat", self.chat),
            ("admin", self.admin),
        ]


may = Routers()


@dataclass(frozen=True, kw_only=True)
class Row:
    """A declared path: its template, what matches it, and the scope of each method."""

    path: str
    pattern: re.Pattern[str]
    methods: dict[str, Access]


class Table:
    """What routers declare, looked up before the body is read and before the application routes anything."""

    def __init__(self, declared: Iterable[tuple[Access, APIRouter]]) -> None:
        rows: dict[str, Row] = {}
        for access, router in declared:
            for route in router.routes:
                # one inside another router, or a mounted application, declares nothing
                if (path := getattr(route, "path_regex", None)) is None or not getattr(route, "methods", None):
                    raise TypeError(f"only plain routes can be declared: {route!r}")
                row = rows.setdefault(route.path, Row(path=route.path, pattern=path, methods={}))  # type: ignore[attr-defined]
                row.methods.update(dict.fromkeys(route.methods, access))  # type: ignore[attr-defined]
        for row in rows.values():
            if "GET" in row.methods:
                row.methods["HEAD"] = row.methods["GET"]
        self.rows: Sequence[Row] = list(rows.values())

    def find(self, path: str) -> Row | None:
        """The declared row of a request's path (decoded, without a proxy's prefix), or None."""
        return next((row for row in self.rows if row.pattern.fullmatch(path)), None)


def told(settings: Settings) -> tuple[int, str] | None:
    """Level and text of what an operator should know about who may do what; None where there are API keys."""
    if settings.api_keys_file is not None:
        return None
    may = ["compress"]
    if settings.upstream_url:
        own = " with the key of --upstream-key-file" if settings.upstream_key_file else ""
        may.append(f"pass chats on to the upstream{own}")
    may += ["read /metrics", "empty the cache"] if settings.opens_admin else []
    near, place = settings.is_near, settings.uds or f"{settings.host} port {settings.port}"
    who = "every program of this machine" if near else f"WHOEVER REACHES {place}"
    text = f"no API keys (--api-keys-file): {who} may {', '.join(may)}"
    return (logging.INFO if near else logging.WARNING), text
