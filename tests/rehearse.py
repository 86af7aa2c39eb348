"""The image's Dockerfile carried out and its outcome put to use, where no container engine is: `make rehearse-image`.

Needs root, debootstrap and a CPython of the image's minor version (`--python`, one that was built from source, such as
pyenv's); downloads Debian's packages and those of the lock. What an engine would do beside this: docs/container.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from .conftest import free_port
from .dockerfile import stages
from .scratch_engine import Container, Engine, sh

ROOT = Path(__file__).parent.parent
DOC = "usr/share/doc/laconic"
INSTALLED = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"


def say(name: str, good: bool, note: object = "") -> bool:
    print(f"{'ok  ' if good else 'FAIL'}  {name}{f': {note}' if note else ''}", flush=True)
    return good


def contents(box: Container) -> list[bool]:
    """What is in the image and what must not be."""
    root = box.root
    installed: dict[str, str] = json.loads(box.inside("python", "-c", INSTALLED).stdout)
    listed = json.loads((root / DOC / "sbom.cdx.json").read_text())["components"]
    named = {c["name"]: c["version"] for c in listed}
    bare = [c["name"] for c in listed if not c.get("licenses")]
    cards = sorted(root.glob("opt/laconic/lib/python3*/site-packages/laconic/models/pretrained/*/card.json"))
    tools = [t for t in ("cc", "gcc", "c++", "make", "ld", "curl") if box.inside("which", t).returncode == 0]
    caches = [p for p in ("root/.cache", "wheels", "src", "sbom.cdx.json") if (root / p).exists()]
    write = box.inside("touch", "/opt/laconic/new").stderr.strip()
    return [
        say("the SBOM lists what is installed, and nothing else", named == installed, f"{len(named)} distributions"),
        say("each with its licence", not bare, bare),
        say("licence files", all((root / DOC / f).is_file() for f in ("LICENSE", "NOTICE"))),
        say("the embedded models", len(cards) >= 3, [c.parent.name for c in cards]),
        say("no pip in the environment, no compiler, no leftovers", not (tools + caches) and "pip" not in installed),
        say("the root cannot be written", "Read-only" in write, write),
        say("laconic doctor", (done := box.inside("laconic", "doctor")).returncode == 0, done.stderr),
        say("size", True, sh("du", "-sxm", "--exclude=tmp", root).split()[0] + " MB, Debian and Python included"),
    ]


def service(box: Container, address: str) -> list[bool]:
    """The service as the image starts it: ready, asked, looked at, told to end."""
    good = [say("unhealthy while nothing runs", not box.healthy())]
    start = time.monotonic()
    process = box.start()
    try:
        while not box.healthy() and time.monotonic() < start + 60 and process.poll() is None:
            time.sleep(0.2)
        good.append(say("HEALTHCHECK passes", box.healthy(), f"{time.monotonic() - start:.1f} s after the start"))
        asked = (ROOT / "docs/examples/question.json").read_text()
        answer = httpx.post(f"{address}/v1/compress", content=asked, headers={"content-type": "application/json"})
        good.append(say("/v1/compress", answer.status_code == 200 and "Emily" in answer.json()["text"]))
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines())
        rights = [status[k].split()[0] for k in ("Uid", "CapEff", "CapBnd", "NoNewPrivs")]
        good.append(say("user 10001, no capability", rights == ["10001", "0" * 16, "0" * 16, "1"], rights))
        good.append(say("it is process 1", status["NSpid"].split()[-1] == "1"))
        good.append(say("resident", True, status["VmRSS"].strip()))
        start = time.monotonic()
        os.kill(int(child), signal.SIGTERM)
        code = process.wait(30)
        good.append(say("SIGTERM ends it with 0", code == 0, f"{code} after {time.monotonic() - start:.1f} s"))
    finally:
        if process.poll() is None:
            process.kill()
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--python", type=Path, default=Path(sys.base_prefix), help="prefix of a CPython of that version"
    )
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--base", type=Path, help="folder that keeps Debian with Python for the next time")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work is None:  # who removes the folder must not see what is mounted in it: the host's /dev would go too
        with tempfile.TemporaryDirectory() as work:
            apart = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", __spec__.name]
            return subprocess.call([*apart, *sys.argv[1:], "--work", work])
    engine = Engine(stages((ROOT / "Dockerfile").read_text()), ROOT, args.work, args.python, args.base)
    port = free_port()
    box = Container(engine, args.target, LACONIC_PORT=str(port))
    print("".join(f"      {name}: {seconds:.0f} s\n" for name, seconds in engine.seconds.items()), end="")
    return 0 if all(contents(box) + service(box, f"http://127.0.0.1:{port}")) else 1


if __name__ == "__main__":
    sys.exit(main())
