"""After a fork: a client, a compressor, a lane and a Redis tier made before it work in both processes, or say why not.

Every fork happens in a process of its own, which has the threads of what is tried and no others.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from laconic.client import FAIL_OPEN, Client, ServiceFailure
from laconic.models import Model
from laconic.service.settings import Settings

from .conftest import free_port, serving
from .redis_server import RedisServer, executable
from .test_client import Stub, answer, asking, both
from .test_edge import With

ASKS = 40  # of each process, side by side
SPLIT = """
import asyncio, json, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of what is tried here

def child(work, seconds=30):
    '''What `work` returns in a forked process, or what became of that process; it ends as any other.'''
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(seconds)
        os.write(there, json.dumps(work()).encode())
        sys.exit(0)
    os.close(there)
    def came():
        with os.fdopen(here) as pipe:
            said = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return json.loads(said) if status == 0 else f"status {status} after {said or 'nothing'}"
    return came

def error(call):
    try:
        return call()
    except Exception as e:
        return [type(e).__name__, str(e)]
"""


def split(script: str, *given: str) -> Any:
    """What the script prints, as JSON."""
    command = [sys.executable, "-c", SPLIT + script, *given]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    assert "Traceback" not in found.stderr, found.stderr  # old tokenizers print a hint
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def url(fake_model: Model) -> Iterator[str]:
    with serving(Settings(), With(fake_model)) as address:
        yield address


WHOLE = """
from laconic.client import AsyncClient, Client
from laconic.client.adapter import Asking
url, whole = sys.argv[1], {"recipe": "lexical.v1", "budget": {"rate": 1}}
"""
CALLS = {
    "sync": """
client = Client(url, retries=0)
def ask(texts):
    return [client.compress([t], **whole).text for t in texts]
""",
    "async": """
client = AsyncClient(url, retries=0)
async def asked(texts):
    return [(await client.compress([t], **whole)).text for t in texts]
loop, here = asyncio.new_event_loop(), os.getpid()
def ask(texts):
    return loop.run_until_complete(asked(texts)) if os.getpid() == here else asyncio.run(asked(texts))
""",
    "adapter": """
asking = Asking(url=url, fail_open=False, retries=0, **whole)
def ask(texts):
    return [asking.ask([t], None).text for t in texts]
""",
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_client_used_before_a_fork_gives_each_process_its_own_answers(url: str, kind: str) -> None:
    """Parent and children side by side, on a client with a connection open, get no answer of each other's."""
    script = """
def wrong(name):
    texts = [f"{name} asks for number {n}." for n in range(int(sys.argv[2]))]
    return [pair for pair in zip(texts, ask(texts)) if len(set(pair)) > 1]
ask(["before"])
children = [child(lambda n=n: wrong(f"child {n}")) for n in range(2)]
found = error(lambda: wrong("parent"))
print(json.dumps([found, *(c() for c in children), wrong("afterwards")]))
"""
    assert split(WHOLE + CALLS[kind] + script, url, str(ASKS)) == [[], [], [], []]


def test_what_cannot_survive_a_fork_says_so(url: str) -> None:
    """An httpx client of one's own that was used, a loop, a batch half taken; one that was not used yet goes on."""
    script = """
import httpx
used, fresh = (Client(url, http=httpx.Client(), fail_open=True) for _ in range(2))
used.health()
loop, client = asyncio.new_event_loop(), AsyncClient(url, fail_open=True)
loop.run_until_complete(client.health())
batch = Client(url).compress_batch({"text": "a b", **whole} for _ in range(100))
next(batch)
own = child(lambda: [
    error(lambda: used.compress(["a"]).text),
    fresh.compress(["a"], **whole).text,
    error(lambda: loop.run_until_complete(client.compress(["a"])).text),
    error(lambda: len(list(batch))),
])()
print(json.dumps([own, used.compress(["a"], **whole).text, 1 + len(list(batch))]))
"""
    (used, fresh, loop, batch), parent, rows = split(WHOLE + script, url)
    assert used == ["LaconicError", "an httpx client of your own does not survive a fork once it was used: "
                    "make another in the child"]  # fmt: skip
    assert loop[0] == batch[0] == "LaconicError"
    assert "an event loop does not survive a fork" in loop[1]
    assert "a batch does not survive a fork" in batch[1]
    assert (fresh, parent, rows) == ("a", "a", 100)


@both
def test_an_answer_to_another_request_is_a_failure_that_names_it(kind: str) -> None:
    """Also where it is an error of another request's; ids that proxies made, doubled or dropped are none."""
    other = {"x-request-id": "laconic-" + "0" * 32}
    for status, body in ((200, answer()), (422, {"error": {}})):
        with Stub((status, other, body)) as stub, asking(kind, stub.url) as compress:
            with pytest.raises(ServiceFailure) as e:
                compress(["mine"])
            assert (e.value.code, len(stub.asked)) == ("foreign_answer", 1)
            assert other["x-request-id"] in e.value.message
            assert e.value.request_id == stub.asked[0]["headers"]["x-request-id"]
            found = compress(["mine"], fail_open=True)
            assert (found.text, found.warnings[0].split(":")[0]) == ("mine", FAIL_OPEN)
    for made in ({"x-request-id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}, {"x-request-id": ""}, {}):
        with Stub((200, made, answer())) as stub, asking(kind, stub.url) as compress:
            assert compress(["mine"]).text == "a"


def test_the_service_answers_under_the_id_it_was_given(url: str) -> None:
    """Else no client could tell whose answer it holds."""
    with Client(url) as client:
        assert client.compress(["a b"], recipe="lexical.v1").id.startswith("laconic-")


FAKE = """
from laconic.compressors.flight import Flights
from laconic.models import FakeBackend, ModelInput, Scheduler
from laconic.models.recent import Recent
from laconic.service.cache.lru import Lru
asked = [ModelInput(query=(1, 2), segment=(1, 5, 6, 2), skip=1, count=2)]
def run(lane):
    return len(lane.run(asked))
"""


def test_a_lane_opened_before_a_fork_works_in_the_child() -> None:
    """Whatever held its lock, ran or waited in it at that moment; what runs in torch says at once that it cannot."""
    script = """
class Slow(FakeBackend):
    def forward(self, inputs, alone):
        time.sleep(0.2)
        return super().forward(inputs, alone)
lane, torch = Scheduler(Slow(), 1), Scheduler(FakeBackend(), 1, forks=False)
waiting = [threading.Thread(target=run, args=(lane,), daemon=True) for _ in range(3)]
for t in waiting:
    t.start()
while not lane.tokens_waiting:
    time.sleep(0.001)
with lane._lock:  # as another thread of the parent may have it
    own = child(lambda: [run(lane), lane.trouble(), lane.tokens_waiting, error(lambda: run(torch))])
print(json.dumps([own(), run(lane), run(torch)]))
"""
    (child, trouble, waiting, torch), parent, alive = split(FAKE + script)
    assert (child, trouble, waiting, parent, alive) == (1, None, 0, 1, 1)
    assert torch[0] == "EngineError"
    assert "open it in the process that uses it" in torch[1]


def test_what_is_kept_and_under_way_at_a_fork_holds_nobody_up() -> None:
    """Locks that another thread held are open, and what another thread was computing is computed again."""
    script = """
memory, words, flights, going = Lru(10_000), Recent(), Flights(), threading.Event()
memory.put({b"k": b"v"}), words.put("k", "v")
def compute(keys):
    going.set()
    time.sleep(3)
    return ["late"]
threading.Thread(target=flights.run, args=([b"k"], compute), daemon=True).start()
going.wait()
with memory._lock, words._lock, flights._lock:
    own = child(lambda: [memory.get([b"k"])[0].decode(), words.get("k"), flights.run([b"k"], lambda _: ["own"])[b"k"]])
print(json.dumps(own()))
"""
    assert split(FAKE + script) == ["v", "v", "own"]


LOCAL = """
from laconic.service.local import LocalClient
text = "It rained. The treaty was signed by Ada. Lunch was good. "
def ask(more=""):
    found = local.compress([text + more], "Who signed the treaty?", unit="sentence")
    return [found.text, found.usage.cache_hits]
"""


def test_a_compressor_used_before_a_fork_works_in_the_child_which_then_ends() -> None:
    """Same answers in both, also from sessions that had a pool of threads, whose end nobody waits for for ever."""
    script = """
from laconic.models.onnx_backend import OnnxBackend, Wide
local = LocalClient(workers=2, cache_bytes=0)
forward = local._compressor.model().backend.forward
if forward._wide is forward._narrow:  # a machine of one core
    folder = local._compressor.catalogue.folder("laconic-mini")
    forward._wide = [Wide(folder / n, 2) for n in forward.card.files["cpu-int8"]]
before = ask()[0]
with local._compressor._lock:
    children = [child(lambda: ask()[0]) for _ in range(2)]
children.append(child(lambda: "unused"))
print(json.dumps([before, ask()[0], *(c() for c in children)]))
"""
    before, parent, *children = split(LOCAL + script)
    assert "Ada" in before
    assert [parent, *children] == [before, before, before, "unused"]


@pytest.mark.skipif(executable() is None, reason="no redis-server here")
def test_redis_is_reached_from_both_sides_of_a_fork(tmp_path: Path) -> None:
    """The child reads what the parent wrote, on a connection of its own, and ends; the parent's goes on working."""
    server = RedisServer(tmp_path, free_port())
    script = """
from laconic.service.cache import links, remote
remote.READ = links.CONNECT = 5.0  # a busy machine is not a Redis that is away
local = LocalClient(workers=1, cache_bytes=0, redis_url=sys.argv[1])
def settled(more):
    found = ask(more)
    local._compressor.store.remote.settle()
    time.sleep(0.2)
    return found[1]
def own():
    found = [ask("seen")[1], settled("child's")]
    local.close()
    return found
settled("seen")
children = [child(own)(), child(lambda: "unused")()]
print(json.dumps([*children, ask("seen")[1], ask("child's")[1], settled("new"), ask("new")[1]]))
"""
    try:
        found = split(LOCAL + script, server.url)
    finally:
        server.kill()
    assert found == [[1, 0], "unused", 1, 1, 0, 1]


def test_onnx_runtime_calls_nobody() -> None:
    """Where it can send telemetry it has begun a thread for that once it is imported; none is here."""
    script = """
import numpy  # which may have threads of its own
before = len(os.listdir("/proc/self/task"))
from laconic.models import onnx_backend
print(json.dumps([os.environ["ORT_DISABLE_TELEMETRY"], len(os.listdir("/proc/self/task")) - before]))
"""
    assert split(script) == ["1", 0]
