"""The image's files agree with each other and with the service; `make rehearse-image` carries them out."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from laconic.service.cache.secret import own_file
from laconic.service.settings import Settings

from . import rehearse, scratch_engine
from .conftest import free_port
from .dockerfile import context, environment, last, lineage, stages

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
STAGES = stages((ROOT / "Dockerfile").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = {"cpu": ("cpu", "otel"), "gpu": ("rank", "otel")}  # as `make locks` has them
PINNED = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
OURS = ("laconic", "laconic-gpu")


def settings_in(text: str) -> set[str]:
    return {name.lower() for name in re.findall(r"LACONIC_([A-Z_]+)", text)} - {"config"}


def lock(name: str) -> dict[str, str]:
    text = (ROOT / f"docker/requirements-{name}.txt").read_text()
    return {canonicalize_name(n): v for n, v in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


def direct(*extras: str) -> Iterator[Requirement]:
    """What pyproject.toml asks for, extras of its own followed."""
    for text in [*PROJECT["project"]["dependencies"], *(r for e in extras for r in OPTIONAL[e])]:
        requirement = Requirement(text)
        if requirement.name == "laconic":
            yield from direct(*requirement.extras)
        else:
            yield requirement


OPTIONAL: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]


def test_targets() -> None:
    """`gpu` is there, and what is built when nobody says is `cpu`."""
    assert list(STAGES)[-1] == "cpu" and "gpu" in STAGES


def test_images_are_pinned_by_digest() -> None:
    """Whatever is pulled is named by tag and digest."""
    bases = {s.base for s in STAGES.values()} - set(STAGES)
    pulled = {s["image"] for s in COMPOSE["services"].values() if "build" not in s}
    assert len(bases) == 1 and pulled
    assert all(PINNED.fullmatch(image) for image in bases | pulled)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_nobody_runs_as_root(target: str) -> None:
    """The last USER is the number that Kubernetes can see is not root; nothing is run or written to disk after it."""
    assert last(STAGES, target, "USER").text == "10001:10001"
    steps = [s for stage in lineage(STAGES, target) for s in stage.steps]
    after = steps[[s.word for s in steps].index("USER") :]
    assert not [s for s in after if s.word in ("RUN", "USER", "VOLUME")][1:]
    assert not [s for stage in STAGES.values() for s in stage.steps if s.word == "ADD"]


def test_builders_stay_out() -> None:
    """No stage with a builder's tools is below a target, only copied from."""
    for target in ("cpu", "gpu"):
        assert [s.name for s in lineage(STAGES, target)] == ["base", "runtime", target]


def test_what_is_copied_is_there() -> None:
    """Sources come from an earlier stage or from a file that .dockerignore lets in."""
    files, earlier = context(ROOT), set[str]()
    for stage in STAGES.values():
        for step in (s for s in stage.steps if s.word == "COPY"):
            *sources, _ = step.words
            if "from" in step.flags:
                assert step.flags["from"] in earlier
                assert all(s.startswith("/") for s in sources)
            else:
                assert all(s == "." or any(f == s or f.startswith(f"{s}/") for f in files) for s in sources), step
        earlier.add(stage.name)


def test_the_context_is_the_package() -> None:
    """Every file of every package is in the build's context; tests, documentation, history and bytecode are not."""
    files, setup = context(ROOT), PROJECT["tool"]["setuptools"]
    for room in setup["package-dir"].values():
        tracked = subprocess.run(["git", "ls-files", room], cwd=ROOT, capture_output=True, text=True).stdout.split()
        shipped = [f for f in tracked if not f.endswith(".md") and (ROOT / f).exists()]
        assert set(shipped) <= set(files)
    assert "models/pretrained/laconic-mini/card.json" in files and "service/playground/index.html" in files
    assert {f.split("/")[0] for f in files if "/" in f} == {*setup["package-dir"].values(), "docker"}
    assert not [f for f in files if "__pycache__" in f]


def test_dockerignore_is_read_as_the_builder_reads_it(tmp_path: Path) -> None:
    """The last matching line counts, for a file or a folder above it; `*` stays in one folder, `**/` does not."""
    (tmp_path / ".dockerignore").write_text("# a comment\n*\n!kept\n**/cache\nkept/*.log\n!kept/one.log\n")
    inside = ["kept/a", "kept/one.log", "kept/deep/b", "kept/deep/c.log"]
    outside = ["left", "kept/two.log", "kept/cache/d", "kept/deep/cache/e", "other/f"]
    for name in inside + outside:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert context(tmp_path) == sorted(inside)


def test_dockerfiles_are_read_as_the_builder_reads_them() -> None:
    """Lines join over comments, stages inherit, an ENV sees what was before it, the last of an instruction counts."""
    text = "FROM a AS one\nENV A=1 \\\n# between\n    B=$A-2\nUSER 1\nFROM one AS two\nENV A=3 PATH=/x:$PATH\nUSER 2\n"
    found = stages(text)
    assert environment(found, "two", PATH="/bin") == {"A": "3", "B": "-2", "PATH": "/x:/bin"}
    assert last(found, "two", "USER").text == "2" and last(found, "one", "USER").text == "1"
    for wrong in ("RUN true\n", "FROM a\n"):
        with pytest.raises(ValueError, match="line 1"):
            stages(wrong)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_locks_hold_what_the_package_asks_for(target: str) -> None:
    """Every direct dependency is pinned to a version that pyproject.toml admits; all files have hashes."""
    locked = lock(target)
    for requirement in direct(*EXTRAS[target]):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement
    text = (ROOT / f"docker/requirements-{target}.txt").read_text()
    assert len(re.findall(r"^[\w.-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)) == len(locked)
    assert "git+" not in text and "file:" not in text


def test_both_images_have_the_same_packages() -> None:
    """The GPU's image is the CPU's and more, with the PyTorch that CI tests; the CPU's has none."""
    assert lock("cpu").items() <= lock("gpu").items()
    assert "torch" not in lock("cpu")
    pin = (ROOT / "docker/constraints.txt").read_text().split()[0]
    assert pin == f"torch=={lock('gpu')['torch']}" and pin in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_environment_is_settings(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its LACONIC_* variables are settings that load; it listens to all, on the port that it exposes."""
    found = environment(STAGES, target, PATH="/usr/bin")
    for name, value in found.items():
        if name.startswith("LACONIC_"):
            assert name.removeprefix("LACONIC_").lower() in Settings.model_fields
            monkeypatch.setenv(name, value)
    made = Settings()
    assert made.host == "0.0.0.0"
    assert str(made.port) == last(STAGES, target, "EXPOSE").text
    assert found["HOME"] == "/tmp"
    words = [*last(STAGES, target, "ENTRYPOINT").words, *last(STAGES, target, "CMD").words]
    assert words == ["laconic", "serve"] and words[0] in PROJECT["project"]["scripts"]


def health(**variables: str) -> subprocess.CompletedProcess[str]:
    """HEALTHCHECK's own command, of this interpreter and this checkout."""
    python, options, script = last(STAGES, "cpu", "HEALTHCHECK").command
    assert (python, script) == ("python", "/opt/health.py")
    command = [sys.executable, options, str(ROOT / "docker/health.py")]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})


def test_health_check_of_the_service(address: str) -> None:
    """It passes against a service that is ready, and says what is wrong where nothing listens."""
    assert health(LACONIC_PORT=address.rsplit(":", 1)[1]).returncode == 0
    port = str(free_port())
    done = health(LACONIC_PORT=port)
    assert done.returncode == 1 and f"no answer on port {port}" in done.stderr


def test_a_rehearsals_folder_is_removed_where_no_mount_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What mounts is another process, with mounts of its own and a folder that this one makes and removes."""
    seen = []

    def interrupted(command: list[str]) -> int:
        seen.append((command, Path(command[-1]).is_dir()))
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["rehearse", "--target", "gpu"])
    monkeypatch.setattr(subprocess, "call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rehearse.main()
    ((command, there),) = seen
    assert command[:4] == ["unshare", "--mount", "--propagation", "private"]
    assert command[-4:-1] == ["--target", "gpu", "--work"] and there
    assert not Path(command[-1]).exists()


@pytest.mark.parametrize("wrong", [("mount", "ssl/certs"), ("umount", "dev"), ("chroot", "")])
def test_what_a_step_mounts_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, str]) -> None:
    """Whatever fails, mounting, the step or the undoing itself: all that was mounted is undone, nothing else."""
    done: dict[str, list[str]] = {"mount": [], "umount": [], "chroot": []}

    def sh(*words: str | Path, **_: object) -> str:
        word, *_, target = map(str, words)
        done[word].append(target)
        if word == wrong[0] and target.endswith(wrong[1]):
            raise subprocess.CalledProcessError(1, word)
        return ""

    monkeypatch.setattr(scratch_engine, "sh", sh)
    engine = scratch_engine.Engine(STAGES, ROOT, tmp_path, tmp_path, None)
    with pytest.raises(subprocess.CalledProcessError):
        engine.run(tmp_path, "cpu", 0, "true")
    made = done["mount"][:-1] if wrong[0] == "mount" else done["mount"]
    assert len(made) >= 3 and done["umount"] == made[::-1]


@contextmanager
def answering(status: int, tls: Path | None = None) -> Iterator[str]:
    """A port that answers /readyz with `status`, anything else with 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trusted.load_cert_chain(tls)
            server.socket = trusted.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_port)
        server.shutdown()


def test_health_check_of_a_service_that_drains() -> None:
    """503 is not healthy."""
    with answering(503) as port:
        done = health(LACONIC_PORT=port)
    assert done.returncode == 1 and "503" in done.stderr


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate with openssl")
def test_health_check_over_tls(tmp_path: Path) -> None:
    """Where the service has a certificate, it is asked over TLS, whoever signed it."""
    pem = tmp_path / "both.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*make, "-subj", "/CN=x", "-keyout", pem, "-out", tmp_path / "c"], check=True, capture_output=True)
    pem.write_text(pem.read_text() + (tmp_path / "c").read_text())
    with answering(200, pem) as port:
        assert health(LACONIC_PORT=port, LACONIC_TLS_CERT=str(pem)).returncode == 0
        assert health(LACONIC_PORT=port).returncode == 1


def test_compose_gives_nobody_more_than_needed() -> None:
    """Read-only, no capability, no new privileges; published on the loopback interface only; Redis not at all."""
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and "/tmp" in service["tmpfs"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged") and not service.get("cap_add")
        if name in OURS:
            assert service["volumes"] == ["state:/var/lib/laconic"]
            assert all(p.startswith("127.0.0.1:") and p.endswith(f":{Settings().port}") for p in service["ports"])
    redis = COMPOSE["services"]["redis"]
    assert "ports" not in redis and "volumes" not in redis and redis["user"] and redis["networks"] == ["cache"]
    assert COMPOSE["networks"]["cache"]["internal"]


def test_compose_starts_what_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets exist, variables are settings, all share one Redis by its name and wait for nothing; time to drain."""
    for name in OURS:
        service = COMPOSE["services"][name]
        assert service["build"]["target"] in STAGES and service["image"] == f"laconic:{service['build']['target']}"
        assert "depends_on" not in service and "healthcheck" not in service  # the image has its own
        assert {"default", "cache"} == set(service["networks"])
        for variable, value in service["environment"].items():
            assert variable.removeprefix("LACONIC_").lower() in Settings.model_fields
            monkeypatch.setenv(variable, value)
        made = Settings()
        assert made.redis_url and made.redis_url.get_secret_value() == "redis://redis:6379/0"
        assert float(service["stop_grace_period"].rstrip("s")) > made.drain_seconds + made.grace_seconds
    assert COMPOSE["services"]["laconic-gpu"]["profiles"] == ["gpu"]
    assert "profiles" not in COMPOSE["services"]["laconic"]


def test_services_of_compose_share_the_secret_they_make(monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume lies where the image's user keeps what it makes; a new volume is that user's, as the folder is."""
    for target in ("cpu", "gpu"):
        monkeypatch.setenv("XDG_STATE_HOME", environment(STAGES, target, PATH="")["XDG_STATE_HOME"])
        for name in OURS:
            assert COMPOSE["services"][name]["volumes"] == [f"{next(iter(COMPOSE['volumes']))}:{own_file().parent}"]
        runs = " ".join(s.text for stage in lineage(STAGES, target) for s in stage.steps if s.word == "RUN")
        assert f"--owner 10001 --group 10001 --mode 700 {own_file().parent}" in runs


def test_redis_of_compose_forgets_rather_than_grows() -> None:
    """Nothing on disk, a limit below the container's own, the least used goes first; its health is looked at."""
    redis = COMPOSE["services"]["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert (
        options["--maxmemory-policy"] == "allkeys-lru" and options["--save"] == "" and options["--appendonly"] == "no"
    )
    assert int(options["--maxmemory"].removesuffix("mb")) < int(redis["mem_limit"].removesuffix("m"))
    assert redis["healthcheck"]["test"] == ["CMD", "redis-cli", "ping"]


def test_the_guide_names_what_exists() -> None:
    """docs/container.md: variables are settings, targets are stages."""
    text = (ROOT / "docs/container.md").read_text()
    assert settings_in(text) <= set(Settings.model_fields)
    assert set(re.findall(r"--target (\w+)", text)) <= set(STAGES)
