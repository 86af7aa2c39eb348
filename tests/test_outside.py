"""What proxies and browsers make of the service: names, prefixes, request lines, other origins."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from laconic.compressors import Compressor
from laconic.service.access import may
from laconic.service.app import create_app
from laconic.service.keys import new
from laconic.service.settings import OURS, Settings

from .conftest import listening, serving

BODY = {"text": "One. Two.", "budget": {"rate": 0.5}}
ORIGIN = "https://app.example"
ASKED = {"origin": ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}


def raw(address: str, line: str, *headers: str, body: bytes = b"") -> tuple[int, Any]:
    """The status and parsed body of a request whose first line is sent as it stands."""
    host, _, port = address.removeprefix("http://").partition(":")
    head = "\r\n".join([line, "connection: close", f"content-length: {len(body)}", *headers, "", ""])
    with socket.create_connection((host, int(port)), timeout=10) as s:
        s.sendall(head.encode() + body)
        found = b"".join(iter(lambda: s.recv(65536), b""))
    status, _, rest = found.partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(rest) if rest else None


def test_a_page_that_points_its_name_here_reads_nothing(address: str) -> None:
    """On loopback without keys a foreign name in `Host` is 421 on every route; addresses and localhost are answered."""
    for host in (
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "a@127.0.0.1",
    ):
        for path in ("/", "/v1/cache", "/livez", "/nope", "/docs"):
            answer = httpx.get(address + path, headers={"host": host})
            assert (answer.status_code, answer.json()["error"]["code"]) == (421, "misdirected_request"), (host, path)
        assert httpx.post(f"{address}/v1/compress", json=BODY, headers={"host": host}).status_code == 421
    for host in ("localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "[::1]:8000", "192.0.2.7", "me.localhost"):
        assert httpx.get(f"{address}/livez", headers={"host": host}).status_code == 200, host
    assert raw(address, "GET /livez HTTP/1.0")[0] == 200


@pytest.mark.parametrize(
    ("given", "host", "status"),
    [
        ({"allowed_hosts": "a.example, *.b.example"}, "A.example:80", 200),
        ({"allowed_hosts": "a.example, *.b.example"}, "x.b.example", 200),
        ({"allowed_hosts": "a.example, *.b.example"}, "b.example", 421),
        ({"allowed_hosts": "a.example, *.b.example"}, "xb.example", 421),
        ({"allowed_hosts": "a.example"}, "10.0.0.1:8000", 200),
        ({"allowed_hosts": "*"}, "anything.example", 200),
        ({"uds": "/run/laconic.sock"}, "anything.example", 200),
        ({"host": "0.0.0.0"}, "laconic.team.svc.cluster.local", 200),
        ({"host": "0.0.0.0", "allowed_hosts": "a.example"}, "laconic.team.svc.cluster.local", 421),
        ({"api_keys_file": "keys"}, "anything.example", 200),
    ],
)
def test_names_are_a_setting(
    compressor: Compressor, tmp_path: Path, given: dict[str, Any], host: str, status: int
) -> None:
    """Listed names are answered to; unlisted ones are where there are keys, or the service is not on loopback."""
    if "api_keys_file" in given:
        given = {"api_keys_file": tmp_path / "keys.toml"}
        given["api_keys_file"].write_text(new("a")[1])
    with listening(create_app(Settings(**given), compressor)) as address:
        assert httpx.get(f"{address}/version", headers={"host": host}).status_code == status


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/version", "/v1/models", "/v1/recipes", "/openapi.json", "/"])
def test_absolute_request_lines(address: str, path: str) -> None:
    """A request line with scheme and host, as proxies are sent it, is the same request (RFC 9112, 3.2.2)."""
    assert raw(address, f"GET http://127.0.0.1:8000{path} HTTP/1.1", "host: 127.0.0.1:8000")[0] == 200
    body = json.dumps(BODY).encode()
    line = "POST HTTP://localhost/v1/compress?x=1 HTTP/1.1"
    assert raw(address, line, "host: localhost", "content-type: application/json", body=body)[0] == 200
    assert raw(address, "GET http://127.0.0.1 HTTP/1.1", "host: 127.0.0.1")[1]["service"] == "laconic"
    assert raw(address, "GET http://127.0.0.1/nope HTTP/1.1", "host: 127.0.0.1")[0] == 404


def test_below_a_proxys_prefix(compressor: Compressor) -> None:
    """With a root path, requests with the prefix and without it are the same, and what is told has it."""
    with serving(Settings(root_path="/tools/laconic"), compressor) as address:
        below = f"{address}/tools/laconic"
        for path in ("/livez", "/v1/models", "/docs", "/playground/style.css"):
            assert httpx.get(below + path).content == httpx.get(address + path).content
        assert httpx.post(f"{below}/v1/compress", json=BODY).status_code == 200
        assert httpx.get(f"{below}/openapi.json").json()["servers"] == [{"url": "/tools/laconic"}]
        assert httpx.get(f"{below}/").json()["docs"] == "/tools/laconic/docs"
        assert httpx.get(below).headers["location"] == "/tools/laconic/"
        assert httpx.get(f"{address}/tools/laconicx").status_code == 404
        assert raw(address, "GET http://127.0.0.1/tools/laconic/livez HTTP/1.1", "host: x")[0] == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("root_path", v)
            for v in ("laconic", "/", "/a/", "/v1", "/v1/x", "/docs", "/a b", "/a//b", "//evil.example")
        ),
        *(("cors_origins", v) for v in ("app.example", "https://app.example/", "https://a/b", "null", "https://*.a")),
        *(("allowed_hosts", v) for v in ("http://a", "a:8000", "a/b", "*a", "a..b")),
    ],
)
def test_settings_that_mean_nothing_are_refused(name: str, value: str) -> None:
    """What would never match, or would hide a path of the service, is said at start."""
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})


def test_our_own_paths_are_no_prefix() -> None:
    """The first part of every declared path is among those that a root path may not have."""
    firsts = {route.path.split("/")[1] for _, router in may.all() for route in router.routes}  # type: ignore[attr-defined]
    assert firsts | {"metrics"} == {"", *OURS}


def test_lists_may_be_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a TOML file what has commas between elsewhere may be a list."""
    (tmp_path / "laconic.toml").write_text('cors_origins = ["https://a.example", "https://b.example"]\n')
    monkeypatch.setenv("LACONIC_CONFIG", str(tmp_path / "laconic.toml"))
    assert Settings().cors_origins == "https://a.example,https://b.example"


def test_no_page_may_call_unless_told(address: str) -> None:
    """By default no answer, to a preflight or a request, has a header that would let a foreign page read it."""
    asked = httpx.options(f"{address}/v1/compress", headers=ASKED)
    sent = httpx.post(f"{address}/v1/compress", json=BODY, headers={"origin": ORIGIN})
    assert not [k for answer in (asked, sent) for k in answer.headers if k.startswith("access-control")]


def test_origins_that_were_named_may_call(compressor: Compressor, tmp_path: Path) -> None:
    """A preflight needs no key; a request does; other origins, and cookies, are not let in; refusals can be read."""
    key, lines = new("web")
    (tmp_path / "keys.toml").write_text(lines)
    settings = Settings(
        cors_origins=f"{ORIGIN},http://localhost:3000", api_keys_file=tmp_path / "keys.toml", max_body_bytes=1024
    )
    with serving(settings, compressor) as address:
        url = f"{address}/v1/compress"
        asked = httpx.options(url, headers=ASKED)
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert "access-control-allow-credentials" not in asked.headers
        for origin in ("https://app.example.evil", "http://app.example", "null"):
            assert "access-control-allow-origin" not in httpx.options(url, headers={**ASKED, "origin": origin}).headers
        who = {"origin": ORIGIN, "authorization": f"Bearer {key}"}
        long = {"text": "One. " * 1000}
        for headers, body, status in ((who, BODY, 200), ({"origin": ORIGIN}, BODY, 401), (who, long, 413)):
            sent = httpx.post(url, json=body, headers=headers)
            assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert (
            "access-control-allow-origin" not in httpx.post(url, json=BODY, headers={**who, "origin": "null"}).headers
        )


def test_any_origin_only_if_said(compressor: Compressor) -> None:
    """`*` is any origin, still without cookies."""
    with serving(Settings(cors_origins="*"), compressor) as address:
        sent = httpx.post(
            f"{address}/v1/compress", json=BODY, headers={"origin": "https://any.example", "cookie": "a=b"}
        )
        assert sent.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in sent.headers
