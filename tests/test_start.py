"""A start that goes wrong: what failed is named, by health, by the log, and by the exit code; secrets are not."""

from __future__ import annotations

import httpx
import pytest

from laconic.compressors import Compressor
from laconic.models import Model
from laconic.service.settings import Settings

from .conftest import serving, wait_until


class Broken(Compressor):
    """A compressor that cannot be warmed, for a reason of the machine's."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def warm(self, name: str | None = None) -> Model:
        raise self.error


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("can't start new thread"), TypeError("odd")])
def test_a_start_that_nobody_foresaw_is_named(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever ends the loading of the model, /readyz says so, /livez asks for a new process, the log has the text."""
    with serving(Settings(), Broken(error), probe="/version") as address:
        wait_until(lambda: "loading" not in httpx.get(f"{address}/readyz").text, 5)
        ready, alive = httpx.get(f"{address}/readyz"), httpx.get(f"{address}/livez")
        assert (ready.status_code, alive.status_code) == (503, 503)
        assert type(error).__name__ in ready.json()["error"]["message"]
        assert str(error) not in ready.text + alive.text
        asked = httpx.post(f"{address}/v1/compress", json={"text": "a", "budget": {"rate": 0.5}})
        assert asked.status_code == 503
    assert str(error) in caplog.text


def test_a_model_that_is_not_there_is_no_reason_to_die() -> None:
    """What a setting or a volume mends is for /readyz: the process answers its liveness."""
    with serving(Settings(model="nobody"), probe="/version") as address:
        wait_until(lambda: "loading" not in httpx.get(f"{address}/readyz").text, 5)
        assert httpx.get(f"{address}/readyz").status_code == 503
        assert httpx.get(f"{address}/livez").status_code == 200
