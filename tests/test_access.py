"""Who may call what: every route of the application has a scope, and what has none answers nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from laconic.compressors import Compressor
from laconic.service.__main__ import build
from laconic.service.access import Table, may
from laconic.service.app import create_app
from laconic.service.keys import SCOPES, new, read
from laconic.service.plain import names_only
from laconic.service.settings import Settings

from .conftest import listening, serving, wait_until

PUBLIC = {"/", "/livez", "/readyz", "/version", "/docs", "/openapi.json", "/playground/{name}", "/docs/{name}"}


def routes(app: FastAPI) -> Iterator[Any]:
    """Everything that the application routes to, also what is inside of included routers (FastAPI from 0.130 on)."""
    for route in app.routes:
        inside = getattr(route, "effective_route_contexts", None)
        yield from inside() if inside else [route]


def out() -> str:
    return "out"


def keys(path: Path) -> dict[str, dict[str, str]]:
    """Write a key for each scope; returns the headers that carry them."""
    made = {scope: new(scope, [scope]) for scope in SCOPES}
    path.write_text("\n".join(lines for _, lines in made.values()))
    return {scope: {"authorization": f"Bearer {key}"} for scope, (key, _) in made.items()}


@pytest.fixture(scope="module")
def guarded(compressor: Compressor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, FastAPI, Any]]:
    """A service with keys to which somebody has added routes of their own, in every way there is."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    headers = keys(path)
    app = create_app(Settings(api_keys_file=path), compressor)
    more = APIRouter()
    more.add_api_route("/v3/compress", out, methods=["GET", "POST"], include_in_schema=False)
    app.include_router(more)
    app.add_api_route("/v2/compress", out, methods=["GET", "POST"], include_in_schema=False)
    app.add_api_route("/v1/compress", out, methods=["PUT"], include_in_schema=False)
    app.add_route("/plain", lambda request: PlainTextResponse("out"))
    app.mount("/under", Mount("", routes=[Route("/v1/compress", lambda request: PlainTextResponse("out"))]))
    with listening(app) as address:
        wait_until(lambda: httpx.get(f"{address}/readyz").status_code == 200)
        yield address, app, headers


def test_every_route_but_a_few_needs_a_key(guarded: tuple[str, FastAPI, Any]) -> None:
    """Each route that is not on the short public list, with each of its methods, is 401, 404 or 405 without a key."""
    address, app, _ = guarded
    seen = {}
    for route in routes(app):
        for method in sorted(getattr(route, "methods", None) or {"GET"}):
            answer = httpx.request(method, address + route.path.replace("{name}", "index.html"))
            seen[method, route.path] = answer.status_code
    assert {path for (_, path), status in seen.items() if status == 200} == PUBLIC
    assert {status for (_, path), status in seen.items() if path not in PUBLIC} <= {401, 404, 405}
    assert {path for (_, path), status in seen.items() if status == 401} >= {
        *("/v1/compress", "/compress", "/v1/compress/batch", "/v1/chat/completions", "/v1/encode", "/v1/expand"),
        *("/v1/cache", "/v1/models", "/v1/recipes", "/metrics"),
    }


@pytest.mark.parametrize("path", ["/v2/compress", "/v3/compress", "/plain", "/under/v1/compress"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_route_that_declares_nothing_answers_nobody(
    guarded: tuple[str, FastAPI, Any], path: str, method: str
) -> None:
    """Added past the routers, a route is not there: with or without a key, in the one shape."""
    address, _, headers = guarded
    for who in ({}, *headers.values()):
        answer = httpx.request(method, address + path, headers=who)
        assert answer.status_code == 404
        assert method == "HEAD" or answer.json()["error"]["code"] == "not_found"
    put = httpx.put(f"{address}/v1/compress", headers=headers["compress"])  # nor does it gain a method
    assert (put.status_code, put.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("POST", "/v1/compress", {"compress"}),
        ("POST", "/compress", {"compress"}),
        ("POST", "/v1/compress/batch", {"compress"}),
        ("POST", "/v1/encode", {"compress"}),
        ("POST", "/v1/expand", {"compress"}),
        ("POST", "/v1/chat/completions", {"chat"}),
        ("GET", "/v1/models", set(SCOPES)),
        ("GET", "/v1/recipes", set(SCOPES)),
        ("GET", "/v1/cache", {"admin"}),
        ("DELETE", "/v1/cache", {"admin"}),
        ("GET", "/metrics", {"admin"}),
        ("HEAD", "/metrics", {"admin"}),
    ],
)
def test_a_key_may_what_its_scopes_say(
    guarded: tuple[str, FastAPI, Any], method: str, path: str, takes: Sequence[str]
) -> None:
    """A key of one scope is 403 on the routes of the others; passing chats on, which costs money, is a scope apart."""
    address, _, headers = guarded
    allowed = {s for s, h in headers.items() if httpx.request(method, address + path, headers=h).status_code != 403}
    assert allowed == set(takes)


def test_paths_that_look_alike_are_not_there(guarded: tuple[str, FastAPI, Any]) -> None:
    """No spelling of a path leads round the table."""
    address, _, _ = guarded
    for path in (
        "/v1/compress/",
        "//v1/compress",
        "/V1/compress",
        "/v1/./compress",
        "/v1/compress%00",
        "/v1%2fcompress%0a",
    ):
        request = httpx.Request("POST", address, extensions={"target": path.encode()})
        with httpx.Client() as client:
            assert client.send(request).status_code == 404, path


def test_other_methods_are_told(guarded: tuple[str, FastAPI, Any]) -> None:
    """OPTIONS and 405 name the methods there are; neither needs a key or says more."""
    address, _, _ = guarded
    asked = httpx.options(f"{address}/v1/cache")
    assert (asked.status_code, asked.headers["allow"], asked.content) == (204, "DELETE, GET, HEAD, OPTIONS", b"")
    wrong = httpx.patch(f"{address}/v1/cache")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS")
    assert wrong.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/version", "/metrics", "/v1/models", "/docs"])
def test_head_is_get_without_the_body(address: str, path: str) -> None:
    """Probes and balancers that ask with HEAD get the status and headers of GET."""
    head, get = httpx.head(address + path), httpx.get(address + path)
    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_only_routes_can_be_declared() -> None:
    """A router inside another, whose routes the table would not see, is an error at start."""
    outer, inner = APIRouter(), APIRouter()
    outer.mount("/x", inner)
    with pytest.raises(TypeError, match="only plain routes"):
        Table([("public", outer)])
    assert Table(may.all()).find("/v1/compress")


def test_without_keys_everything_else_is_as_with_them(compressor: Compressor) -> None:
    """Where there are no keys a route that declares nothing is still not there."""
    app = create_app(Settings(), compressor)
    app.add_api_route("/v2/compress", out, methods=["POST"])
    with listening(app) as address:
        assert httpx.post(f"{address}/v2/compress").status_code == 404


def test_the_command_makes_keys_with_scopes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`laconic key NAME --scope …` prints lines that admit it to just these, and `compress` where none is said."""
    for flags, scopes in (([], ["compress"]), (["--scope", "chat", "--scope", "admin"], ["chat", "admin"])):
        args = build().parse_args(["key", "team", *flags])
        assert args.run(args, Settings()) == 0
        path = tmp_path / "keys.toml"
        path.write_text(capsys.readouterr().out)
        assert [k.scopes for k in read(path)] == [scopes]


@pytest.mark.parametrize(
    ("given", "admin"),
    [
        ({"host": "127.0.0.1"}, True),
        ({"host": "::1"}, True),
        ({"host": "localhost"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "::"}, False),
        ({"host": "192.0.2.7"}, False),
        ({"uds": "/run/laconic.sock"}, False),
        ({"host": "0.0.0.0", "admin_without_keys": True}, True),
    ],
)
def test_without_keys_who_comes_from_afar_is_no_admin(
    compressor: Compressor, given: dict[str, Any], admin: bool
) -> None:
    """Figures and the cache are for this machine, or for everybody only where that was said; texts are for all."""
    with listening(create_app(Settings(**given), compressor)) as address:
        wait_until(lambda: httpx.get(f"{address}/readyz").status_code == 200)
        seen = [httpx.get(f"{address}/metrics"), httpx.head(f"{address}/metrics"), httpx.delete(f"{address}/v1/cache")]
        assert [answer.status_code == 403 for answer in seen] == [not admin] * 3
        assert admin or "--admin-without-keys" in seen[0].json()["error"]["message"]
        assert httpx.get(f"{address}/v1/models").status_code == 200


@pytest.mark.parametrize(
    ("given", "level", "words"),
    [
        ({}, "INFO", ["every program of this machine", "empty the cache"]),
        ({"host": "0.0.0.0"}, "WARNING", ["WHOEVER REACHES 0.0.0.0 port 8000 may compress"]),
        ({"uds": "/run/laconic.sock"}, "WARNING", ["WHOEVER REACHES /run/laconic.sock may compress"]),
        ({"host": "::", "admin_without_keys": True}, "WARNING", ["WHOEVER", "read /metrics"]),
        ({"host": "::", "upstream_url": "http://a/v1", "upstream_key_file": ""}, "WARNING", ["with the key of"]),
    ],
)
def test_the_start_says_who_may_what(
    compressor: Compressor,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    given: dict[str, Any],
    level: str,
    words: list[str],
) -> None:
    """Without keys the first line of the log says what anybody may do, loudly where anybody is beyond this machine."""
    if "upstream_key_file" in given:
        given = {**given, "upstream_key_file": tmp_path / "key"}
        given["upstream_key_file"].write_text("sk-of-the-operator")
    caplog.set_level("INFO")
    with listening(create_app(Settings(**given), compressor)):
        (line,) = [r for r in caplog.records if "no API keys" in r.getMessage()]
    assert line.levelname == level
    assert all(word in line.getMessage() for word in words)
    assert ("empty the cache" in line.getMessage()) == Settings(**given).opens_admin


def test_tenants_see_names_and_the_log_paths(
    compressor: Compressor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No answer says where the service's files lie, whatever is wrong with them; the log does."""
    models, readers = tmp_path / "models", tmp_path / "readers"
    card = {"name": "m", "revision": "1", "summary": "", "licence": "", "files": {"cpu-int8": ["x"]}, "sha256": {}}
    for name, text in (
        ("broken", "{"),
        ("unlisted", json.dumps(card)),
        ("absent", json.dumps({**card, "sha256": {"x": "0"}})),
    ):
        (models / name).mkdir(parents=True)
        (models / name / "card.json").write_text(text)
    readers.mkdir()
    (readers / "odd.json").write_text("{")
    settings = Settings(models_dir=models, readers_dir=readers, tiktoken_cache=tmp_path / "cache", workers=1)
    with serving(settings) as address:
        told = [httpx.get(f"{address}/v1/models").text]
        for asked in (
            {"model": "broken"},
            {"model": "unlisted"},
            {"model": "absent"},
            {"reader": "odd"},
            {"reader": "cl100k_base"},
        ):
            for recipe in ("token.v1", "lexical.v1"):
                told.append(
                    httpx.post(f"{address}/v1/compress", json={"text": "A. B.", "recipe": recipe, **asked}).text
                )
    with serving(Settings(models_dir=models, model="absent"), probe="/livez") as address:
        wait_until(lambda: "loading" not in httpx.get(f"{address}/readyz").text)
        told += [httpx.get(f"{address}/readyz").text, httpx.post(f"{address}/v1/compress", json={"text": "A."}).text]
    assert not [text for text in told if str(tmp_path) in text or "models/" in text.replace("/v1/models", "")]
    assert "card.json is not a card" in told[0]
    assert str(models) in caplog.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/srv/models/a/card.json is not a card: see /docs", "card.json is not a card: see /docs"),
        ("(No such file: '/srv/a/b.onnx'), /srv/a/", "(No such file: 'b.onnx'), a folder"),
        (r"C:\models\a.json cannot be read", "a.json cannot be read"),
        ("https://a.example/b/c and/or 3/4/5, ../../x", "https://a.example/b/c and/or 3/4/5, ../../x"),
    ],
)
def test_names_only(text: str, told: str) -> None:
    """Absolute paths lose all but their last name; URLs, fractions and what is no path keep theirs."""
    assert names_only(text) == told


def test_models_are_a_list_for_openais_clients_too(address: str) -> None:
    """`/v1/models` has `object` and `data` beside its own rows."""
    found = httpx.get(f"{address}/v1/models").json()
    assert found["object"] == "list"
    assert {row["id"] for row in found["data"]} == {row["name"] for row in found["models"]}
    assert {row["object"] for row in found["data"]} == {"model"}
