"""Carries out a Dockerfile in folders and runs the outcome, where there is no container engine; Linux, as root.

Its base is not the image that FROM names but what that image is made from: Debian's packages, by debootstrap, with a
CPython of the same minor version at /usr/local. Network, memory and processors are the host's; layers are not kept.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from .dockerfile import Stage, context, environment, last, lineage

PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
DEBIAN = "http://deb.debian.org/debian"
# what the official image adds to slim Debian for its Python
LIBRARIES = (
    "ca-certificates,libbz2-1.0,libexpat1,libffi8,libgdbm6,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,"
    "libuuid1,netbase,tzdata,zlib1g"
)
# how the outside is reached from here: of the machine, never of an image
OUTSIDE = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE")


def sh(*words: str | Path, **more: object) -> str:
    """What a command prints; CalledProcessError with what it said otherwise."""
    done = subprocess.run([str(w) for w in words], text=True, stdout=subprocess.PIPE, **more)  # type: ignore[call-overload]
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout)
    return str(done.stdout)


def mount(*words: str | Path) -> None:
    sh("mount", *words)


class Engine:
    """Stages become folders under `work`, each made once; `below` is the base's, kept for the next time if given."""

    def __init__(self, stages: dict[str, Stage], source: Path, work: Path, prefix: Path, below: Path | None) -> None:
        self.stages, self.source, self.work, self.prefix = stages, source, work, prefix
        self.below = below or work / "(base)"
        self.seconds: dict[str, float] = {}

    def image(self, name: str) -> Path:
        """The root folder of a stage, made if it is not there, with what it needs."""
        root = self.work / name
        if root.exists():
            return root
        stage = self.stages[name]
        below = self.image(stage.base) if stage.base in self.stages else self.base(stage.base)
        others = {s.flags["from"] for s in stage.steps if "from" in s.flags}
        for other in sorted(others):
            self.image(other)
        start = time.monotonic()
        sh("cp", "-a", "--reflink=auto", below, root)
        for n, step in enumerate(stage.steps):
            if step.word == "RUN":
                self.run(root, name, n, step.text)
            elif step.word == "WORKDIR":
                (root / step.text.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif step.word == "COPY":
                origin = self.work / step.flags["from"] if "from" in step.flags else self.context()
                self.copy(root, self.folder(name, n), origin, step.words)
        self.seconds[name] = time.monotonic() - start
        return root

    def base(self, image: str) -> Path:
        root = self.below
        if (root / "usr/local/bin/python3").exists():
            return root
        release, minor = re.findall(r"slim-(\w+)", image)[0], re.findall(r"python:(3\.\d+)", image)[0]
        start = time.monotonic()
        sh("debootstrap", "--variant=minbase", f"--include={LIBRARIES}", release, root, DEBIAN)
        lib = root / "usr/local/lib" / f"python{minor}"
        leave = shutil.ignore_patterns("__pycache__", "test", "tests", "site-packages", "config-*")
        shutil.copytree(self.prefix / "lib" / f"python{minor}", lib, ignore=leave, symlinks=True)
        shutil.copytree(self.prefix / "lib" / f"python{minor}/site-packages/pip", lib / "site-packages/pip")
        for found in (self.prefix / "lib" / f"python{minor}/site-packages").glob("pip-*.dist-info"):
            shutil.copytree(found, lib / "site-packages" / found.name)
        binary = root / "usr/local/bin"
        shutil.copy(self.prefix / f"bin/python{minor}", binary)
        for library in (self.prefix / "lib").glob(f"libpython{minor}.so*"):
            shutil.copy(library, root / "usr/local/lib")
        sh("chroot", root, "/sbin/ldconfig")
        for alias in ("python", "python3"):
            (binary / alias).symlink_to(f"python{minor}")
        self.seconds["(base)"] = time.monotonic() - start
        return root

    def folder(self, name: str, upto: int) -> str:
        """The working folder before a stage's step `upto`."""
        stages = lineage(self.stages, name)
        found = [s.text for stage in stages[:-1] for s in stage.steps if s.word == "WORKDIR"]
        return ["/", *found, *(s.text for s in stages[-1].steps[:upto] if s.word == "WORKDIR")][-1]

    def run(self, root: Path, name: str, n: int, command: str) -> None:
        values = environment(self.stages, name, PATH=PATH, HOME="/root")
        values |= {k: v for k in (*OUTSIDE, *map(str.lower, OUTSIDE)) if (v := os.environ.get(k))}
        with ExitStack() as mounted:  # undoes each that was made, whichever of the others fails
            for place in ("proc", "dev", "etc/resolv.conf", "etc/ssl/certs"):
                what = ("-t", "proc", "proc") if place == "proc" else ("--bind", Path("/", place).resolve())
                mount(*what, root / place)
                mounted.callback(sh, "umount", root / place)
            sh("chroot", root, "env", "-C", self.folder(name, n), "/bin/sh", "-c", command, env=values)

    def context(self) -> Path:
        """The files that a build gets to see, owned by root."""
        root = self.work / "(context)"
        for name in [] if root.exists() else context(self.source):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.source / name, root / name)
        return root

    def copy(self, root: Path, folder: str, origin: Path, words: list[str]) -> None:
        """Folders' contents or files, with modes, owners and links as they are at `origin`."""
        *sources, to = words
        target = root / os.path.join(folder, to).lstrip("/")  # noqa: PTH118  # an absolute `to` wins
        for source in (origin / s.lstrip("/") for s in sources):
            whole = source.is_dir()
            (target if whole or to.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
            sh("cp", "-a", f"{source}/." if whole else source, target)


class Container:
    """A stage's ENTRYPOINT and CMD as process 1 of its own, as the image's USER without any capability, on a root that
    cannot be written but for /tmp."""

    def __init__(self, engine: Engine, name: str, **variables: str) -> None:
        self.engine, self.name = engine, name
        self.root = engine.image(name)
        self.user, self.group = last(engine.stages, name, "USER").text.split(":")
        self.variables = environment(engine.stages, name, PATH=PATH) | variables
        mount("--bind", self.root, self.root)
        mount("-o", "remount,ro,bind", self.root)
        mount("-t", "tmpfs", "tmpfs", self.root / "tmp")
        mount("--bind", "/dev", self.root / "dev")
        mount("-t", "proc", "proc", self.root / "proc")

    def command(self, *words: str) -> list[str]:
        folder = self.engine.folder(self.name, len(self.engine.stages[self.name].steps))
        bare = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        who = ["setpriv", f"--reuid={self.user}", f"--regid={self.group}", *bare]
        return ["chroot", str(self.root), "env", "-C", folder, *who, *words]

    def inside(self, *words: str, **more: object) -> subprocess.CompletedProcess[str]:
        """Another process in it, as `docker exec` has it."""
        made = {"capture_output": True, "text": True, "env": self.variables, **more}
        return subprocess.run(self.command(*words), **made)  # type: ignore[call-overload, no-any-return]

    def start(self) -> subprocess.Popen[bytes]:
        words = [w for part in ("ENTRYPOINT", "CMD") for w in last(self.engine.stages, self.name, part).words]
        alone = ["unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root / 'proc'}"]
        return subprocess.Popen([*alone, *self.command(*words)], env=self.variables)

    def healthy(self) -> bool:
        """What HEALTHCHECK's command says."""
        return self.inside(*last(self.engine.stages, self.name, "HEALTHCHECK").command).returncode == 0
