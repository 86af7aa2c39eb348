"""Adapters as chains use them: copied, pickled and changed after use; and what a proxy's answers come to."""

from __future__ import annotations

import copy
import importlib.util
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from laconic.client import FAIL_OPEN, Client, InvalidRequest, NotFound, ServiceFailure, TooLarge, Unauthorized
from laconic.client.adapter import Asking
from laconic.models import Model
from laconic.service.local import LocalClient
from laconic.service.settings import Settings

from .conftest import serving
from .test_client import ERROR, Stub, asking, both
from .test_edge import With

WHOLE: dict[str, Any] = {"recipe": "lexical.v1", "budget": {"rate": 1}, "fail_open": False, "retries": 0}
TEXT = "The treaty was signed by Ada."


def langchain() -> tuple[type, Callable[[Any], str]]:
    from langchain_core.documents import Document

    from laconic.client.langchain import LaconicCompressor

    return LaconicCompressor, lambda made: made.compress_documents([Document(TEXT)], "who?")[0].page_content


def transformer() -> tuple[type, Callable[[Any], str]]:
    from langchain_core.documents import Document

    from laconic.client.langchain import LaconicTransformer

    return LaconicTransformer, lambda made: made.transform_documents([Document(TEXT)])[0].page_content


def llama_index() -> tuple[type, Callable[[Any], str]]:
    from llama_index.core.schema import NodeWithScore, TextNode

    from laconic.client.llamaindex import LaconicPostprocessor

    given = [NodeWithScore(node=TextNode(text=TEXT))]
    return LaconicPostprocessor, lambda made: made.postprocess_nodes(given, query_str="who?")[0].text


def haystack() -> tuple[type, Callable[[Any], str]]:
    from haystack import Document

    from laconic.client.haystack import LaconicCompressor

    return LaconicCompressor, lambda made: made.run("who?", [Document(content=TEXT)])["documents"][0].content


def bare() -> tuple[type, Callable[[Any], str]]:
    return Asking, lambda made: made.ask([TEXT], "who?").text


def needs(make: Callable[[], Any], package: str) -> Any:
    missing = package and importlib.util.find_spec(package) is None
    why = f"needs {package}: make dev brings it"
    return pytest.param(make, marks=pytest.mark.skipif(bool(missing), reason=why), id=make.__name__)


adapters = pytest.mark.parametrize(
    "make",
    [
        needs(bare, ""),
        needs(langchain, "langchain_core"),
        needs(transformer, "langchain_core"),
        needs(llama_index, "llama_index"),
        needs(haystack, "haystack"),
    ],
)


@pytest.fixture(scope="module")
def url(fake_model: Model) -> Iterator[str]:
    with serving(Settings(), With(fake_model)) as address:
        yield address


@adapters
def test_an_adapter_can_be_copied_and_pickled_after_use(url: str, make: Any) -> None:
    """Each copy answers, with connections of its own: it goes on when the one it came from is closed."""
    kind, ask = make()
    made = kind(url=url, **WHOLE)
    assert ask(made) == TEXT
    copies = [copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))]
    if hasattr(made, "model_copy"):
        copies += [made.model_copy(), made.model_copy(deep=True)]
    getattr(made, "asking", made).close()
    assert [ask(c) for c in copies] == [TEXT] * len(copies)
    assert ask(made) == TEXT


@adapters
def test_what_is_changed_after_use_counts(url: str, make: Any) -> None:
    """Address, key and rules as well as what is asked for; in the original, and in a copy made with changes."""
    kind, ask = make()
    away = "http://127.0.0.1:9"
    made = kind(url=away, **WHOLE)
    asks = getattr(made, "asking", made)
    with pytest.raises(ServiceFailure):
        ask(made)
    asks.fail_open = True
    assert ask(made) == TEXT
    asks.fail_open = False
    made.url = url
    assert ask(made) == TEXT
    asks.recipe = "token.v9"
    with pytest.raises(NotFound):
        ask(made)
    asks.recipe = "lexical.v1"
    if hasattr(made, "model_copy"):
        with pytest.raises(ServiceFailure):
            ask(made.model_copy(update={"url": away}))
    with Stub((401, {}, ERROR)) as stub:
        made.url, asks.api_key = stub.url, "secret"
        with pytest.raises(Unauthorized):
            ask(made)
        assert stub.asked[0]["headers"]["authorization"] == "Bearer secret"


def test_copies_share_a_backend(url: str) -> None:
    """What a backend is made of cannot be copied and need not be; a LocalClient of its own settings can."""
    with Client(url) as client:
        made = Asking(backend=client, **WHOLE)
        found = [copy.deepcopy(made), copy.copy(made), made.model_copy(deep=True)]
        assert all(f.backend is client for f in found)
    local = pickle.loads(pickle.dumps(LocalClient(workers=1, fail_open=True)))
    assert local.core.rules.fail_open
    assert local._compressor.workers == 1
    local.close()
    with pytest.raises(TypeError, match="make it where it is used"):
        pickle.dumps(LocalClient(local._compressor))


@both
@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (413, b"<html>413 Request Entity Too Large</html>", ServiceFailure),
        (413, ERROR, TooLarge),
        (400, b"<html>400 Bad Request</html>", ServiceFailure),
        (400, ERROR, InvalidRequest),
        (403, b"<html>blocked by the firewall</html>", ServiceFailure),
        (431, b"", ServiceFailure),
        (302, b"", ServiceFailure),
        (200, b"<html>please log in</html>", ServiceFailure),
        (404, b"<html>nothing here</html>", NotFound),
        (405, b"<html>no POST here</html>", NotFound),
        (401, b"<html>who are you?</html>", Unauthorized),
    ],
)
def test_what_somebody_on_the_way_refused_is_not_the_callers_fault(
    kind: str, status: int, body: Any, error: type[Exception]
) -> None:
    """Where the service did not speak it fails open, but for a wrong address or password; its own words never."""
    with Stub((status, {}, body)) as stub, asking(kind, stub.url, retries=0) as compress:
        with pytest.raises(error) as e:
            compress([TEXT])
        assert type(e.value) is error
        if error is ServiceFailure:
            found = compress([TEXT], fail_open=True)
            assert (found.text, found.warnings[0].split(":")[0]) == (TEXT, FAIL_OPEN)
        else:
            with pytest.raises(error):
                compress([TEXT], fail_open=True)
        if (status, error) == (413, ServiceFailure):
            assert e.value.code == "proxy_too_large"
            assert "client_max_body_size" in e.value.message
            assert len(stub.asked) == 2


@pytest.mark.skipif(importlib.util.find_spec("haystack") is None, reason="needs haystack: make dev brings it")
def test_haystack_saves_what_was_changed_and_loads_it_where_it_is_allowed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key's place, not the key; newer versions load a component only from modules they were told of."""
    from haystack import Pipeline
    from haystack.utils import Secret

    monkeypatch.setenv("HAYSTACK_DESERIALIZATION_ALLOWLIST", "laconic.client.haystack")
    monkeypatch.setenv("LACONIC_TEST_KEY", "lac_secret")
    kind, ask = haystack()
    made = kind(url="http://127.0.0.1:9", **WHOLE)
    made.url, made.api_key = url, Secret.from_env_var("LACONIC_TEST_KEY")
    made.asking.options = {"unit": "sentence"}
    pipeline = Pipeline()
    pipeline.add_component("shorter", made)
    saved = pipeline.dumps()
    assert "lac_secret" not in saved
    back = Pipeline.loads(saved).get_component("shorter")
    assert ask(back) == TEXT
    assert back.asking.model_dump() == made.asking.model_dump()
    assert back.asking.api_key.get_secret_value() == "lac_secret"
