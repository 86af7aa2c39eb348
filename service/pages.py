"""Pages for browsers: the playground at `/`, the API at `/docs`, and their files. Nothing is from outside."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException

from .access import may

KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def files(folder: str) -> dict[str, Path]:
    """A page's files by name, as they are at start: no path leads elsewhere."""
    return {p.name: p for p in (Path(__file__).parent / folder).iterdir() if p.suffix in KINDS}


FILES, VIEWER = files("playground"), files("viewer")
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; "  # pictures in the viewer's own style sheet
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "cache-control": "no-cache",  # after an upgrade the page and its files must be of one version
}


@may.public.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """The playground for who asks for HTML; JSON for everyone else."""
    if browser(request.headers.get("accept", "")):
        answer = sent(FILES, "index.html")
    else:
        root = request.app.state.laconic.settings.root_path
        answer = JSONResponse({"service": "laconic", "docs": f"{root}/docs", "compress": f"{root}/v1/compress"})
    answer.headers["vary"] = "accept"
    return answer


@may.public.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> Response:
    """What the API takes and answers."""
    root = request.app.state.laconic.settings.root_path
    return JSONResponse({**request.app.openapi(), **({"servers": [{"url": root}]} if root else {})})


@may.public.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """The API, to read and to try."""
    return sent(VIEWER, "index.html")


@may.public.get("/docs/{name}", include_in_schema=False)
async def viewer(name: str) -> Response:
    """A file of that page."""
    return sent(VIEWER, name)


@may.public.get("/playground/{name}", include_in_schema=False)
async def file(name: str) -> Response:
    """A file of the playground."""
    return sent(FILES, name)


def browser(accept: str) -> bool:
    """Whether an `Accept` header names HTML and not JSON; what takes anything (curl, clients) is a program."""
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return "text/html" in kinds and "application/json" not in kinds


def sent(found: dict[str, Path], name: str) -> Response:
    if (path := found.get(name)) is None:
        raise HTTPException(404)
    return FileResponse(path, media_type=KINDS[path.suffix], headers=HEADERS)
