"""Shared parts: a model without weights, the embedded one, and a service on a real socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import hypothesis
import pytest
import uvicorn
from starlette.types import ASGIApp

from laconic.compressors import Compressor, Parts, parts
from laconic.models import FakeBackend, HfReader, Model, Scheduler, TextTokenizer
from laconic.models.catalogue import EMBEDDED
from laconic.models.fake_backend import FAKE_CARD
from laconic.service.app import create_app
from laconic.service.server import Config, Server
from laconic.service.settings import Settings

hypothesis.settings.register_profile("laconic", deadline=None)  # a busy machine is not a failure
hypothesis.settings.load_profile("laconic")


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a process keeps for its account is kept elsewhere than in the developer's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


# files of tests, longest first
LONGEST = ("test_training", "test_raybatch", "test_scaleout", "test_llmlingua1", "test_profiles", "test_playground")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take longest go first, so that none is begun when the others are done."""
    order = {name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda i: order.get(i.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return TextTokenizer(EMBEDDED / "laconic-mini" / "tokenizer.json")


@pytest.fixture(scope="session")
def reader(tokenizer: TextTokenizer) -> HfReader:
    return HfReader("laconic-mini", tokenizer)


@pytest.fixture(scope="session")
def fake_model(tokenizer: TextTokenizer) -> Model:
    return Model(card=FAKE_CARD, tokenizer=tokenizer, backend=Scheduler(FakeBackend(), 2), profile="fake")


@pytest.fixture(scope="session")
def fake_parts(fake_model: Model) -> Parts:
    return parts("token.v1", fake_model)


@pytest.fixture(scope="session")
def compressor() -> Compressor:
    """The real thing: embedded weights under ONNX Runtime."""
    made = Compressor(workers=2)
    made.warm()
    return made


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def listening(app: ASGIApp, *, abort: bool = False, log_level: str = "warning") -> Iterator[str]:
    """The address of `app` while it runs on a free port of the loopback interface; `abort` ends it in mid-answer."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, ws="none", log_level=log_level))
    with running(server, abort=abort):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(server: uvicorn.Server, *, abort: bool = False) -> Iterator[uvicorn.Server]:
    """The server in a thread of its own, from when it has started until it is to end."""
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield server
    finally:
        server.should_exit = True
        server.force_exit = abort
        thread.join(10)


@contextmanager
def serving(
    settings: Settings, compressor: Compressor | None = None, *, probe: str = "/readyz", seconds: float = 20
) -> Iterator[str]:
    """The service's address while it runs, once `probe` answers 200."""
    app, port = create_app(settings, compressor), free_port()
    at = settings.model_copy(update={"host": "127.0.0.1", "port": port})
    with running(Server(Config(app, at), app.state.laconic)):
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{address}{probe}").status_code == 200, seconds)
        yield address


def wait_until(good, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if good():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError("not ready in time")


@pytest.fixture(scope="session")
def address(compressor: Compressor) -> Iterator[str]:
    with serving(Settings(max_documents=50, max_characters=200_000, max_body_bytes=1_000_000), compressor) as url:
        yield url
