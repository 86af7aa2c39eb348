"""LiteLLM's proxy with its `headroom` guardrail pointed at this service: its users change one address.

LiteLLM pins packages that others of the tests need newer, so it may live in an environment of its own:
LACONIC_TEST_LITELLM names that environment's Python.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from laconic.compressors import Compressor
from laconic.service.keys import new
from laconic.service.settings import Settings

from .conftest import free_port, serving, wait_until
from .test_docs import ROOT, blocks
from .test_fronts import CHAT, FACTS
from .upstream import Upstream, upstream

OWN = os.environ.get("LACONIC_TEST_LITELLM")
if not OWN and importlib.util.find_spec("litellm") is None:
    pytest.skip("needs litellm[proxy] in a Python that LACONIC_TEST_LITELLM names", allow_module_level=True)
RUN = "import sys; from litellm.proxy.proxy_cli import run_server; sys.argv[0] = 'litellm'; run_server()"
CONFIG = """
model_list:
  - model_name: stand-in
    litellm_params:
      model: openai/stand-in
      api_base: {upstream}
      api_key: sk-upstream
general_settings:
  master_key: sk-proxy
"""
LATER = [  # a second exchange: of the first one's the proxy posts what may be compressed
    *CHAT[:5],
    {"role": "user", "content": f"Keep this in mind.\n\n{FACTS}\n\nWhen was it signed?"},
    {"role": "assistant", "content": "In 1932."},
    {"role": "user", "content": "Who signed it?"},
]


@pytest.fixture(scope="module")
def model() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(compressor: Compressor, model: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The proxy's address; it knows a key of a running service's, and the upstream."""
    folder: Path = tmp_path_factory.mktemp("litellm")
    key, lines = new("litellm")
    (folder / "keys.toml").write_text(lines)
    with serving(Settings(upstream_min_tokens=50, api_keys_file=folder / "keys.toml"), compressor) as laconic:
        config, port = folder / "config.yaml", free_port()
        (guardrail,) = blocks("yaml", (ROOT / "docs" / "fronts.md").read_text())
        address = guardrail.replace("http://127.0.0.1:8000", laconic)
        config.write_text(CONFIG.format(upstream=model.url) + address)
        command = [
            OWN or sys.executable,
            "-c",
            RUN,
            "--config",
            str(config),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": "", "LACONIC_KEY": key}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: httpx.get(f"{url}/health/liveliness", timeout=5).status_code == 200, 120)
            yield url
        except TimeoutError:
            raise TimeoutError((folder / "log").read_text()[-3000:]) from None
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize("stream", [False, True])
def test_the_guardrail_compresses(proxy: str, model: Upstream, stream: bool) -> None:
    """A chat through the proxy is answered, and the model reads old results of tools and old context compressed."""
    body = {"model": "stand-in", "messages": LATER, "stream": stream}
    response = httpx.post(
        f"{proxy}/v1/chat/completions", json=body, headers={"authorization": "Bearer sk-proxy"}, timeout=60
    )
    assert response.status_code == 200, response.text
    assert "signed." in response.text
    assert response.headers["x-litellm-applied-guardrails"] == "laconic"
    sent = model.messages
    assert [m["role"] for m in sent] == [m["role"] for m in LATER]
    assert sent[0]["content"] == sent[4]["content"] == FACTS  # the system's, the model's own
    assert sent[7] == LATER[7]
    assert sent[3]["tool_call_id"] == sent[2]["tool_calls"][0]["id"] == "call_1"
    for short, long in ((sent[3]["content"], FACTS), (sent[5]["content"], LATER[5]["content"])):
        assert "Ada Lovelace" in short
        assert len(short) < 0.7 * len(long)
    assert sent[5]["content"].endswith("When was it signed?")
    assert model.headers[-1]["authorization"] == "Bearer sk-upstream"
