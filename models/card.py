"""A card: the declared facts of a model. Code reads facts from here and never from a model's name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal


class CardError(ValueError):
    """A card that is missing, unreadable, or contradicted by its files."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What a head's scores mean.

    `temperature` and `offset` turn them into probabilities; `coherence` (with a query, and without one) and
    `relevance_weight` say how token, sentence and segment scores combine; `recall_levels` has, rising, a share of
    evidence that may be wanted and the lowest level to keep for it (see compressors.recall).
    """

    temperature: float = 1.0
    offset: float = 0.0
    coherence: float = 0.0
    coherence_unasked: float = 0.0
    relevance_weight: float = 0.0
    relevance: Sequence[float] = (1.0, 0.0)  # temperature and offset of a document's score
    recall_levels: Sequence[tuple[float, float]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)  # data, training, measurements: for people


@dataclass(frozen=True, kw_only=True)
class LateFacts(Scoring):
    """The coder and head of `late.v1`: their files by profile, and bytes per token."""

    files: Mapping[str, Sequence[str]]
    code: int


@dataclass(frozen=True, kw_only=True)
class EduFacts:
    """The head that finds discourse units: its files by profile, and the bias of every signed distance in units.

    A token begins a unit where its logit is above `start`. `depth` is taken from a unit's score, without a query, for
    every unit it depends on. `keep` are the weights of its
    keep logits where nothing is asked, none where it has none; `coherence` is a sentence's share in such a score.
    """

    files: Mapping[str, Sequence[str]]
    distance: Sequence[float]
    start: float = 0.0
    depth: float = 0.0
    keep: Sequence[float] = ()
    coherence: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LatentFacts:
    """What a soft compressor makes: `rates` are the numbers of tokens that one latent may stand for.

    `decoders` maps the name of each decoder that reads its latents to the width of that decoder's embeddings, the
    default first; `before` and `after` is what the decoder wants to read around them. `spread` says that the decoder
    counts positions as in the text: a latent stands in the middle of the tokens it stands for.
    """

    rates: Sequence[int]
    decoders: Mapping[str, int]
    before: str = ""
    after: str = ""
    spread: bool = False


@dataclass(frozen=True, kw_only=True)
class Card(Scoring):
    """What `card.json` beside the weights says.

    `kind` is what the model is: a `scorer` as laconic-mini, a token `classifier` as LLMLingua-2's, a `causal` language
    model, a `soft` compressor, which has `latent`, or a `ranker` of documents. `segment_tokens`, `query_tokens`,
    `title_tokens` are the longest text, query and title in tokens; `evaluators` are the layers and heads of a language
    model that look back to what answers a question (EHPC); `files` maps each profile to its ONNX files (see
    OnnxBackend); `sha256` covers every file.
    """

    name: str
    revision: str
    summary: str
    licence: str
    files: Mapping[str, Sequence[str]]
    sha256: Mapping[str, str]
    kind: Literal["scorer", "classifier", "causal", "soft", "ranker"] = "scorer"
    segment_tokens: int = 240
    query_tokens: int = 64
    title_tokens: int = 16
    late: LateFacts | None = None
    edu: EduFacts | None = None
    latent: LatentFacts | None = None
    evaluators: Sequence[tuple[int, int]] = ()

    @staticmethod
    def read(folder: Path) -> Card:
        """Parse `folder/card.json`; raises CardError with what is wrong."""
        path = folder / "card.json"
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            made = {f: kind(**known.pop(f)) for f, kind in PARTS.items() if known.get(f)}
            card = Card(**{**known, **made})
            card.check_names()
            return card
        except FileNotFoundError:
            raise CardError(f"{path} does not exist") from None
        except (AttributeError, TypeError, ValueError) as e:
            raise CardError(f"{path} is not a card: {e}") from None

    def check_names(self) -> None:
        """Raises ValueError for the name of a file that is none inside the folder: absolute, or with `..`."""
        by_profile = [self.files, *(head.files for head in (self.late, self.edu) if head)]
        lists = [[names] if isinstance(names, str) else names for files in by_profile for names in files.values()]
        for name in {*self.sha256, *(name for names in lists for name in names)}:
            if not name or "\\" in name or name[1:2] == ":" or name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"{name[:80]!r} is no name of a file in its folder")

    def write(self, folder: Path) -> None:
        """Write `folder/card.json`."""
        (folder / "card.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def verify(self, folder: Path, names: list[str]) -> None:
        """Check the sha256 of the named files; raises CardError at the first that differs."""
        root = folder.resolve()
        for name in names:
            if name not in self.sha256:
                raise CardError(f"{folder / name} is not listed on the card")
            if not (folder / name).resolve().is_relative_to(root):
                raise CardError(f"{folder / name} leads out of the model's folder: put the file itself there")
            if digest(folder / name) != self.sha256[name]:
                raise CardError(f"{folder / name} is not the file the card was written for")


PARTS: Mapping[str, Any] = {"late": LateFacts, "edu": EduFacts, "latent": LatentFacts}


def digest(path: Path) -> str:
    """sha256 of a file, hexadecimal; raises CardError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _old(file)
    except OSError as e:
        raise CardError(f"{path} cannot be read: {e.strerror}") from None


def _old(file: Any) -> str:  # Python 3.10 has no file_digest
    h = hashlib.sha256()
    while block := file.read(1 << 20):
        h.update(block)
    return h.hexdigest()
