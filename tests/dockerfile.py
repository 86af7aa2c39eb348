"""What a Dockerfile and a .dockerignore say, as far as ours go; `tests/scratch_engine.py` carries it out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One instruction: its word in capitals, what follows it on one line, where it stands."""

    word: str
    text: str
    line: int

    @cached_property
    def flags(self) -> dict[str, str]:
        """`--name=value` before anything else."""
        return dict(re.findall(r"--([\w-]+)=(\S+)", self.text.split("[")[0]))

    @cached_property
    def words(self) -> list[str]:
        """The arguments: of the form in brackets or split as a shell would, flags left out."""
        rest = re.sub(r"^(?:--[\w-]+=\S+\s+)*", "", self.text)
        found: list[str] = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
        return found

    @cached_property
    def command(self) -> list[str]:
        """What HEALTHCHECK runs: the words in brackets after its CMD."""
        found: list[str] = json.loads(self.text.partition("CMD ")[2])
        return found


@dataclass
class Stage:
    """From `FROM` to the next one; `base` is an image or an earlier stage."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)


def steps(text: str) -> Iterator[Step]:
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if not line.lstrip().startswith("#")]
    joined, start = "", 0
    for n, line in lines:
        start = start if joined else n
        joined += line.rstrip("\\")
        if line.endswith("\\"):
            continue
        if joined.strip():
            word, _, rest = joined.strip().partition(" ")
            yield Step(word.upper(), " ".join(rest.split()), start)
        joined = ""


def stages(text: str) -> dict[str, Stage]:
    """All stages by name, in order; ValueError for an instruction outside of one or a stage without a name."""
    found: dict[str, Stage] = {}
    stage: Stage | None = None
    for step in steps(text):
        if step.word == "FROM":
            match step.words:
                case [base, "AS" | "as", name]:
                    stage = found[name] = Stage(name, base)
                case _:
                    raise ValueError(f"line {step.line}: a stage has a name")
        elif stage is None:
            raise ValueError(f"line {step.line}: {step.word} before any FROM")
        else:
            stage.steps.append(step)
    return found


def lineage(found: dict[str, Stage], name: str) -> list[Stage]:
    """The stages that `name` is made of, the one on an image first."""
    stage = found[name]
    return [*(lineage(found, stage.base) if stage.base in found else []), stage]


def environment(found: dict[str, Stage], name: str, **given: str) -> dict[str, str]:
    """The variables a container of this stage starts with, `given` those of the image below."""
    values = dict(given)
    for stage in lineage(found, name):
        for step in stage.steps:
            if step.word == "ENV":
                values |= {k: expand(v, values) for k, _, v in (w.partition("=") for w in step.words)}
    return values


def expand(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ""), text)


def last(found: dict[str, Stage], name: str, word: str) -> Step:
    """The instruction that counts where the last one does: USER, WORKDIR, ENTRYPOINT, CMD, HEALTHCHECK."""
    return [s for stage in lineage(found, name) for s in stage.steps if s.word == word][-1]


def context(root: Path) -> list[str]:
    """The files that a build gets to see: .dockerignore's last line that matches a path or a folder above it counts."""
    rules = []
    for line in (root / ".dockerignore").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            pattern = line.strip().lstrip("!").strip("/")
            rules.append((re.compile(regex(pattern)), line.startswith("!")))

    def seen(path: Path) -> bool:
        parts = path.relative_to(root).parts
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        verdicts = [kept for rule, kept in rules if any(rule.fullmatch(p) for p in above)]
        return verdicts[-1] if verdicts else True

    # folders that no line lets in need no looking into: .git and environments are large
    tops = [p for p in root.iterdir() if p.is_file() or seen(p)]
    files = (f for top in tops for f in ([top] if top.is_file() else top.rglob("*")))
    return sorted(f.relative_to(root).as_posix() for f in files if f.is_file() and seen(f))


def regex(pattern: str) -> str:
    """Go's filepath.Match with `**` for any number of folders, as the builder has it."""
    return (
        re.escape(pattern)
        .replace(r"\*\*/", "(?:.*/)?")
        .replace(r"\*\*", ".*")
        .replace(r"\*", "[^/]*")
        .replace(r"\?", "[^/]")
    )
