"""The chart's README from the comments of its values: `python helm/readme.py` writes it, tests hold it up to date."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

CHART = Path(__file__).parent / "laconic"
HEAD = """# laconic, the chart

```sh
helm install laconic helm/laconic --set image.repository=registry.example/laconic
helm test laconic --logs
```

The guide is [docs/kubernetes.md](../../docs/kubernetes.md), a production install [values-prod.yaml](values-prod.yaml).
Keys that are not in this table are refused. This page is made of the comments in [values.yaml](values.yaml) by
`python helm/readme.py`.

| value | unless set | |
|---|---|---|
"""
LINE = re.compile(r"^( *)([A-Za-z0-9_]+):(?: (.*))?$")


class Row(NamedTuple):
    """One documented value: its path, the YAML it is unless set, and what it is."""

    path: str
    default: str
    note: str


def rows(text: str) -> list[Row]:
    """The values that have a comment which begins with `# --`, in order."""
    found: list[Row] = []
    path: list[str] = []
    note = ""
    for line in text.splitlines():
        if line.lstrip().startswith("# -- "):
            note = line.partition("# -- ")[2]
        elif m := LINE.match(line):
            path[len(m[1]) // 2 :] = [m[2]]
            if note:
                found.append(Row(".".join(path), m[3] or "see values.yaml", note))
            note = ""
    return found


def readme(text: str) -> str:
    """The page for the text of a values.yaml."""
    cells = (
        (f"`{r.path}`", r.default if r.default.startswith("see ") else f"`{r.default}`", r.note) for r in rows(text)
    )
    return HEAD + "".join(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in row)} |\n" for row in cells)


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme((CHART / "values.yaml").read_text()))
