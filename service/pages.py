"""The playground: one page for browsers at `/` and the files it is made of. No build step, nothing from outside."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException

from .access import may

FOLDER = Path(__file__).parent / "playground"
KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
FILES = {p.name: p for p in FOLDER.iterdir() if p.suffix in KINDS}
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "cache-control": "no-cache",  # after an upgrade the page and its files must be of one version
}


@may.public.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """The playground for who asks for HTML; JSON for everyone else."""
    if browser(request.headers.get("accept", "")):
        answer = sent("index.html")
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
    return get_swagger_ui_html(openapi_url="openapi.json", title="laconic")


@may.public.get("/playground/{name}", include_in_schema=False)
async def file(name: str) -> Response:
    """A file of the page, by its name: only what was in the folder at start, so no path leads elsewhere."""
    if name not in FILES:
        raise HTTPException(404)
    return sent(name)


def browser(accept: str) -> bool:
    """Whether an `Accept` header names HTML and not JSON; what takes anything (curl, clients) is a program."""
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return "text/html" in kinds and "application/json" not in kinds


def sent(name: str) -> Response:
    path = FILES[name]
    return FileResponse(path, media_type=KINDS[path.suffix], headers=HEADERS)
