"""The service under pressure, over real sockets: keys, admission, deadlines, faults, shutdown, telemetry."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from laconic.compressors import Compressor
from laconic.models import FakeBackend, Model, ModelInput, ModelOutput, Scheduler, TextTokenizer
from laconic.models import scheduler as scheduler_module
from laconic.models.fake_backend import FAKE_CARD
from laconic.service.admission import Admission, Overloaded
from laconic.service.keys import BURST, LOOK, Keys, KeysError, Unauthorized, new, read
from laconic.service.settings import Settings
from laconic.service.telemetry import JsonLines

from .conftest import free_port, serving, wait_until

SENTENCE = "The bridge at mile seven was built by Ada Lovelace in the year of the flood. "
LONG = SENTENCE * 400  # many segments


class Slow(FakeBackend):
    """A forward that takes its time, counts, and fails on demand."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.count, self.fail = seconds, 0, False

    def forward(self, inputs: Sequence[ModelInput], alone: bool) -> list[ModelOutput]:
        time.sleep(self.seconds)
        self.count += 1
        if self.fail:
            raise RuntimeError("the device is gone")
        return super().forward(inputs, alone)


class With(Compressor):
    """A compressor whose default model is given."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._models[self.model_name] = model


@pytest.fixture
def slow(tokenizer: TextTokenizer) -> Iterator[tuple[Slow, With]]:
    forward = Slow(0.02)
    lane = Scheduler(forward, 1)
    yield forward, With(Model(card=FAKE_CARD, tokenizer=tokenizer, backend=lane, profile="fake"))
    lane.close()


def body(text: str = SENTENCE, **more: object) -> dict[str, object]:
    return {"text": text, "query": "who built the bridge?", "budget": {"rate": 0.5}, **more}


def post(address: str, key: str | None = None, **more: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{address}/v1/compress", json=body(**more), headers=headers, timeout=60)  # type: ignore[arg-type]


def key_file(path: Path, *names: str, **extra: str) -> dict[str, str]:
    """Write keys for the names; returns them by name."""
    made = {n: new(n) for n in names}
    path.write_text("\n".join(lines + extra.get(n, "") for n, (_, lines) in made.items()))
    return {n: key for n, (key, _) in made.items()}


def test_keys_over_http(slow: tuple[Slow, With], tmp_path: Path) -> None:
    """No key, a wrong one, a right one, one without the scope; health needs none; nothing of a key is in an answer."""
    path = tmp_path / "keys.toml"
    keys = key_file(path, "team", "ops")
    path.write_text(path.read_text().replace('name = "ops"', 'name = "ops"', 1))
    text = path.read_text().split("[[key]]")
    path.write_text("[[key]]".join([*text[:2], text[2].replace('["compress"]', '["admin"]')]))
    with serving(Settings(api_keys_file=path), slow[1]) as address:
        missing, wrong = post(address), post(address, "lac_nonsense")
        assert missing.status_code == wrong.status_code == 401
        assert missing.headers["www-authenticate"] == "Bearer"
        assert missing.json()["error"]["type"] == "unauthorized"
        assert "nonsense" not in wrong.text
        assert post(address, keys["team"]).status_code == 200
        assert post(address, keys["ops"]).json()["error"]["code"] == "forbidden"
        scrape = httpx.get(f"{address}/metrics", headers={"authorization": f"Bearer {keys['ops']}"})
        assert 'laconic_rejected_total{reason="unauthorized"} 2.0' in scrape.text
        assert httpx.get(f"{address}/metrics").status_code == 401
        assert httpx.get(f"{address}/livez").status_code == 200
        assert "HTTPBearer" in httpx.get(f"{address}/openapi.json").text


def test_a_refused_key_is_refused_before_the_body(slow: tuple[Slow, With], tmp_path: Path) -> None:
    """The answer comes while the client has sent headers only."""
    key_file(tmp_path / "keys.toml", "team")
    with serving(Settings(api_keys_file=tmp_path / "keys.toml"), slow[1]) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as s:
            s.sendall(b"POST /v1/compress HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\n")
            assert b" 401 " in s.recv(4096)


def test_keys_reload(tmp_path: Path) -> None:
    """A changed file counts within seconds; a broken one leaves the last good keys."""
    now, path = [0.0], tmp_path / "keys.toml"
    old = key_file(path, "a")["a"]
    keys = Keys(path, clock=lambda: now[0])
    assert keys.check(f"Bearer {old}", "compress").name == "a"
    fresh = key_file(path, "b", "c")["b"]
    now[0] += LOOK
    assert keys.check(f"bearer {fresh}", "compress").name == "b"
    with pytest.raises(Unauthorized):
        keys.check(f"Bearer {old}", "compress")
    for broken in ("[[key]", '[[key]]\nname = "x"\n', ""):
        path.write_text(broken + " " * len(broken))
        now[0] += LOOK
        if broken:
            assert keys.check(f"Bearer {fresh}", "compress").name == "b"
    with pytest.raises(Unauthorized):  # an empty file is a good one: nobody may ask
        keys.check(f"Bearer {fresh}", "compress")


def test_bad_key_files_are_named(tmp_path: Path) -> None:
    """What is wrong is said without repeating a hash."""
    path = tmp_path / "keys.toml"
    path.write_text('[[key]]\nname = "a"\nsha256 = "topsecret"\n')
    with pytest.raises(KeysError, match=r"key\.0\.sha256") as caught:
        read(path)
    assert "topsecret" not in str(caught.value)
    with pytest.raises(KeysError, match="No such file"):
        read(tmp_path / "none.toml")
    key_file(path, "a")
    path.write_text(path.read_text() * 2)
    with pytest.raises(KeysError, match="same name"):
        read(path)
    path.write_text(path.read_text().replace('"a"', '"b"', 1))
    with pytest.raises(KeysError, match="same key"):
        read(path)


def test_a_keys_rate(tmp_path: Path) -> None:
    """What a key owes beyond its burst must run off, and Retry-After says when it will have."""
    now, path = [100.0], tmp_path / "keys.toml"
    given = key_file(path, "a", a="tokens_per_second = 10\n")["a"]
    keys = Keys(path, clock=lambda: now[0])
    key = keys.check(f"Bearer {given}", "compress")
    keys.allow(key)
    keys.spend(key, 10 * BURST + 50)
    with pytest.raises(Overloaded) as caught:
        keys.allow(key)
    assert caught.value.retry_after == pytest.approx(5)
    now[0] += 5.1
    keys.allow(key)


def test_admission_predicts_from_what_it_saw() -> None:
    """Work that took ten seconds teaches a rate; a request that would be late is refused with the time to wait."""
    now = [0.0]
    a = Admission(rate=200.0, clock=lambda: now[0])
    for _ in range(5):
        with a.admit(1000, 60):
            now[0] += 10.0
    assert a.rate == pytest.approx(100, rel=0.05)
    with a.admit(1000, 60):
        with pytest.raises(Overloaded) as caught, a.admit(1000, 5):
            pass
        assert 12 < caught.value.retry_after < 20
        with a.admit(1000, 60):
            assert a.requests == 2
    assert a.requests == a.outstanding == 0
    with a.admit(1e9, 5):  # an idle service tries
        pass


def test_who_comes_back_when_told_finds_room() -> None:
    """Newcomers do not take the room of a request that returns in its time; a promise that lapses holds nothing."""
    now = [0.0]
    a = Admission(rate=100.0, clock=lambda: now[0])
    with a.admit(300, 60):
        with pytest.raises(Overloaded) as caught, a.admit(100, 4, ident=1):
            pass
        after = caught.value.retry_after
        a.outstanding -= 100 * after  # work done meanwhile
        now[0] += after
        with pytest.raises(Overloaded), a.admit(100, 4, ident=2):
            pass
        with a.admit(100, 4, ident=1):
            pass
        now[0] += 10
        assert a._reserved(3, 4) == 0
        a.outstanding += 100 * after


def test_overload_is_refused_with_a_time(slow: tuple[Slow, With]) -> None:
    """More than can be done in time: 429s with both headers; what was accepted is answered in time."""
    with serving(Settings(timeout_ms=2000, concurrency=4), slow[1]) as address, ThreadPoolExecutor(40) as pool:
        for _ in range(6):
            post(address, text=SENTENCE * 40)
        began = time.monotonic()
        answers = list(pool.map(lambda _: (post(address, text=SENTENCE * 40), time.monotonic() - began), range(40)))
        codes = {a.status_code for a, _ in answers}
        assert codes == {200, 429}
        assert all(seconds < 4 for _, seconds in answers)
        refused = next(a for a, _ in answers if a.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert int(refused.headers["retry-after-ms"]) >= 50
        assert refused.json()["error"]["code"] == "overloaded"
        metrics = httpx.get(f"{address}/metrics").text
        assert "laconic_queue_requests 0.0" in metrics


def test_a_deadline_is_kept(slow: tuple[Slow, With]) -> None:
    """An idle service tries, and says 504 when the time is over; the rest of the work is dropped."""
    with serving(Settings(), slow[1]) as address:
        start = time.monotonic()
        late = post(address, text=LONG, timeout_ms=200)
        assert late.status_code == 504
        assert late.json()["error"]["param"] == "timeout_ms"
        assert time.monotonic() - start < 2
        lane = slow[1].model().backend
        wait_until(lambda: lane.tokens_waiting == 0, 2)
        assert post(address, timeout_ms=5000).status_code == 200


def test_a_disconnect_stops_the_work(slow: tuple[Slow, With]) -> None:
    """Within a segment of the client closing its connection, no forward of its request begins any more."""
    forward, compressor = slow
    forward.seconds = 0.05
    with serving(Settings(), compressor) as address:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/v1/compress", json=body(LONG), timeout=httpx.Timeout(5, read=0.4))
        wait_until(lambda: compressor.model().backend.tokens_waiting == 0, 2)
        seen = forward.count
        time.sleep(0.3)
        assert forward.count <= seen + 1
        assert 'laconic_cancelled_total{stage="client"} 1.0' in httpx.get(f"{address}/metrics").text


def test_a_failing_forward_is_that_requests_500(slow: tuple[Slow, With]) -> None:
    """The one error shape, the lane alive, the next request answered."""
    forward, compressor = slow
    with serving(Settings(), compressor) as address:
        forward.fail = True
        failed = post(address)
        assert failed.status_code == 500
        assert failed.json()["error"]["code"] == "engine_failed"
        assert "device" not in failed.text
        forward.fail = False
        assert post(address).status_code == 200
        assert httpx.get(f"{address}/livez").status_code == 200


def test_livez_tells_of_a_stuck_lane(slow: tuple[Slow, With], monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward that does not come back is not healthy."""
    forward, compressor = slow
    with serving(Settings(), compressor) as address, ThreadPoolExecutor(1) as pool:
        forward.seconds = 0.6
        running = pool.submit(post, address)
        monkeypatch.setattr(scheduler_module, "STALLED", 0.1)
        wait_until(lambda: httpx.get(f"{address}/livez").status_code == 503, 3)
        running.result()
        wait_until(lambda: httpx.get(f"{address}/livez").status_code == 200, 3)


def test_answers_carry_timing_and_safe_headers(address: str) -> None:
    """`Server-Timing` names the stages; headers that browsers heed are set."""
    found = post(address)
    stages = [part.split(";")[0] for part in found.headers["server-timing"].split(", ")]
    assert stages == ["parse", "queue", "infer", "assemble"]
    assert found.headers["x-content-type-options"] == "nosniff"


def test_metrics_on_their_own_port(slow: tuple[Slow, With]) -> None:
    """With `metrics_port` the main port has none."""
    port = free_port()
    with serving(Settings(metrics_port=port), slow[1]) as address:
        post(address)
        assert httpx.get(f"{address}/metrics").status_code == 404
        found = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert 'laconic_requests_total{code="200",route="/v1/compress"} 1.0' in found
        assert "laconic_model_info" in found
        assert "process_resident_memory_bytes" in found


def test_logs_are_json_without_bodies() -> None:
    """One object per line with the request's facts."""
    record = logging.LogRecord("laconic.access", logging.INFO, "", 0, "%s", ("POST",), None)
    record.route, record.status = "/v1/compress", 200
    row = json.loads(JsonLines().format(record))
    assert row["message"] == "POST"
    assert row["route"] == "/v1/compress"
    assert "exception" not in row


@pytest.mark.parametrize("drain", [0.0, 1.5])
def test_sigterm_loses_no_accepted_request(drain: float) -> None:
    """A real process under load gets SIGTERM: what it accepted is answered, and what comes while it drains; exit 0."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # equal sentences would be scored once: without a cache they are work
    off = {"LACONIC_CACHE_BYTES": "0", "LACONIC_LOG_FORMAT": "json"}
    env = {**os.environ, **off, "LACONIC_DRAIN_SECONDS": str(drain)}
    command = [sys.executable, "-m", "laconic.service", "serve", "--port", str(port)]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: httpx.get(f"{address}/readyz").status_code == 200, 30)
            with ThreadPoolExecutor(4) as pool:
                running = [pool.submit(post, address, text=LONG) for _ in range(4)]
                gauge = "laconic_queue_requests 4.0"
                wait_until(lambda: gauge in httpx.get(f"{address}/metrics").text, 10)
                process.send_signal(signal.SIGTERM)
                if drain:
                    wait_until(lambda: httpx.get(f"{address}/readyz").status_code == 503, 2)
                    late = post(address)
                    assert late.status_code == 200
                    assert late.headers["connection"] == "close"
                assert [f.result().status_code for f in running] == [200] * 4
            assert process.wait(15) == 0
        finally:
            process.kill()
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr if line.startswith("{")]
    done = [line for line in lines if line.get("route") == "/v1/compress" and line["status"] == 200]
    assert sum(line["tokens_in"] > 1000 for line in done) == 4
    assert not any("Lovelace" in json.dumps(line) for line in lines)


def test_idle_and_slow_clients_do_not_matter(slow: tuple[Slow, With]) -> None:
    """Hundreds of connections that say nothing or half a request, and others are answered."""
    with serving(Settings(), slow[1]) as address:
        host, port = address.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(300)]
        for s in idle[:100]:
            s.sendall(b"POST /v1/compress HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\n{")
        try:
            assert post(address).status_code == 200
        finally:
            for s in idle:
                s.close()
        assert threading.active_count() < 60


def figure(address: str, name: str) -> float:
    """A number that /metrics shows; 0 where it does not yet."""
    found = re.search(rf"^{re.escape(name)} (.+)$", httpx.get(f"{address}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def answered(address: str) -> float:
    """Requests that were computed or, on a busy machine, refused; whether anybody read it or not."""
    refused = figure(address, 'laconic_requests_total{code="429",route="/v1/compress"}')
    return figure(address, 'laconic_stage_duration_seconds_count{stage="assemble"}') + refused


def test_a_client_that_does_not_read_holds_nobody_up(slow: tuple[Slow, With]) -> None:
    """Answers of megabytes to clients that never read them: other requests are served, nothing stays accepted."""
    body = json.dumps({"text": SENTENCE * 20_000, "budget": {"rate": 0.9}, "recipe": "lexical.v1"}).encode()
    head = (
        b"POST /v1/compress HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    with serving(Settings(max_characters=5_000_000), slow[1]) as address:
        host, port = address.removeprefix("http://").split(":")
        deaf = []
        for _ in range(10):  # more than there are slots
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect((host, int(port)))
            s.sendall(head % len(body) + body)
            deaf.append(s)
        try:
            done = 'laconic_requests_total{code="200",route="/v1/compress"} '
            wait_until(lambda: answered(address) == 10 and figure(address, "laconic_queue_requests") == 0, 60)
            assert done + "10.0" not in httpx.get(f"{address}/metrics").text  # answers not taken are not done
            assert post(address).status_code == 200
            assert done in httpx.get(f"{address}/metrics").text
        finally:
            for s in deaf:
                s.close()


def test_a_batch_client_that_does_not_read_is_not_computed_for(slow: tuple[Slow, With]) -> None:
    """Lines are taken only as answers are: what waits is a window, not the batch."""
    line = json.dumps({"text": SENTENCE * 400, "budget": {"rate": 0.9}, "recipe": "lexical.v1"}).encode() + b"\n"
    with serving(Settings(), slow[1]) as address:
        host, port = address.removeprefix("http://").split(":")
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect((host, int(port)))
        s.settimeout(2)
        s.sendall(
            b"POST /v1/compress/batch HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        sent = 0
        with pytest.raises(TimeoutError):  # the service stops reading, so the sender's socket fills
            for _ in range(2000):
                s.sendall(b"%x\r\n" % len(line) + line + b"\r\n")
                sent += 1
        assert sent < 2000
        assert post(address).status_code == 200
        s.close()
        wait_until(lambda: "laconic_queue_requests 0.0" in httpx.get(f"{address}/metrics").text, 20)
