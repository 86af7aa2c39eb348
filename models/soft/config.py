"""What `soft.json` says: the generic soft compressor, "an encoder, a pooling, a projector", as a handful of choices.

It expresses CompLLM (segments alone, concatenated latents), COCOM and PISCO (memory tokens), SKIM (learned tokens
behind the text), xRAG (one embedding of the whole), GMSA (merged groups, then aligning layers) and ComprExIT (layers
gathered before positions), whose own files cannot be loaded or are not published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from ..card import CardError

Pooling = Literal["mean", "memory", "query", "last"]
FILE = "soft.json"
LIMITS = {"window": (1, 131_072), "rate": (1, 65_536), "width": (1, 65_536), "depth": (0, 64)}


@dataclass(frozen=True, kw_only=True)
class SoftConfig:
    """Choices of a generic soft compressor.

    - `pooling`: `mean` of each group of `rate` states; states of `memory` tokens behind the text; learned `query`
      vectors that attend to all states; the `last` state of each group.
    - `rates`: tokens to a latent that it was trained for; `window`: text tokens of a segment at most.
    - `decoders`: width of each decoder's embeddings; the first is the default, each has a projector of its own.
    - `gather`: encoder layers whose states are mixed by learned weights, by number; negative ones count from the last.
    - `align`: transformer layers over the latents before they are projected.
    - `projector`: width inside the projector, 0 for a single linear map.
    - `prefix` and `suffix`: special tokens around the text; `causal`: whether the encoder sees what stands before only.
    - `skip`: encoder and decoder share their table of words, and a latent begins as the sum of its words' embeddings,
      over the root of their number: what is learned is what that leaves out.
    - `before`, `after`, `spread`: see LatentFacts.
    """

    rates: Sequence[int]
    window: int
    decoders: Mapping[str, int]
    pooling: Pooling = "mean"
    gather: Sequence[int] = (-1,)
    align: int = 0
    projector: int = 0
    prefix: Sequence[int] = ()
    suffix: Sequence[int] = ()
    causal: bool = False
    before: str = ""
    after: str = ""
    spread: bool = False
    skip: bool = False

    @property
    def slots(self) -> int:
        """Most latents of one segment."""
        return -(-self.window // min(self.rates))

    @staticmethod
    def read(folder: Path) -> SoftConfig:
        """Parse `folder/soft.json`; raises CardError with what is wrong."""
        path = folder / FILE
        try:
            found = SoftConfig(**json.loads(path.read_text(encoding="utf-8")))
            found.check()
        except OSError as e:
            raise CardError(f"{path} cannot be read: {e.strerror}") from None
        except (AttributeError, TypeError, ValueError) as e:
            raise CardError(f"{path} is not the configuration of a soft compressor: {e}") from None
        return found

    def write(self, folder: Path) -> None:
        """Write `folder/soft.json`."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def check(self) -> None:
        """Raises ValueError for what no model can be."""
        if self.pooling not in get_args(Pooling):
            raise ValueError(f"pooling {self.pooling!r} is none of {', '.join(get_args(Pooling))}")
        if not self.rates or not self.decoders or not self.gather:
            raise ValueError("rates, decoders and gather name at least one each")
        given = [("window", self.window), ("depth", self.align), ("width", max(1, self.projector))]
        given += [("rate", r) for r in self.rates] + [("width", w) for w in self.decoders.values()]
        for what, value in given:
            low, high = LIMITS[what]
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"a {what} of {value!r} is not in {low} to {high}")
        for f in fields(self):
            if f.name in ("prefix", "suffix", "gather") and not all(isinstance(v, int) for v in getattr(self, f.name)):
                raise ValueError(f"{f.name} is a list of whole numbers")
