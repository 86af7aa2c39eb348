"""Which family of soft compressors a folder holds, and its card: a row of FAMILIES each, by files, never by names.

Cards are made from configurations and from the headers of files; nothing here asks for memory, torch or a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..card import Card, CardError, LatentFacts
from . import arc_layout, generic_layout, lclm_layout


class Declared(Protocol):
    """What every family's folder says of itself; `files` are all that is read of it but the tokenizer."""

    @property
    def latent(self) -> LatentFacts: ...
    @property
    def window(self) -> int: ...
    @property
    def files(self) -> Sequence[str]: ...


@dataclass(frozen=True, kw_only=True)
class Family:
    """A layout of files. `module` and `opener` name what runs it in torch: `opener(card, folder, device, dtype)`."""

    summary: str
    applies: Callable[[Path], bool]
    read: Callable[[Path], Declared]  # raises CardError
    module: str
    opener: str
    tokenizer: str = "tokenizer.json"
    whose: str = "the encoder's"  # tokenizer it is, for who has to fetch it

    def card(self, folder: Path, name: str, revision: str, profiles: Sequence[str]) -> Card:
        """What a folder declares, its weights unread; raises CardError with the file and tensor that are wrong."""
        declared = self.read(folder)
        if not (folder / self.tokenizer).is_file():
            raise CardError(f"{folder / self.tokenizer} does not exist: save the fast tokenizer there, {self.whose}")
        return Card(
            name=name,
            revision=revision,
            summary=f"{self.summary}, a folder as published",
            licence="see where it came from",
            files={p: [] for p in profiles},
            sha256={},
            kind="soft",
            segment_tokens=declared.window,
            latent=declared.latent,
        )

    def files(self, folder: Path) -> Sequence[str]:
        """Names of all that is read; raises CardError."""
        return (*self.read(folder).files, self.tokenizer)


FAMILIES = (
    Family(
        summary="a soft compressor with a soft.json",
        applies=generic_layout.applies,
        read=generic_layout.Generic.read,
        module="generic",
        opener="open_generic",
    ),
    Family(
        summary="LCLM",
        applies=lclm_layout.applies,
        read=lclm_layout.Lclm.read,
        module="lclm",
        opener="open_lclm",
        tokenizer="encoder/tokenizer.json",
    ),
    Family(
        summary="ARC-Encoder",
        applies=arc_layout.applies,
        read=arc_layout.Arc.read,
        module="arc",
        opener="open_arc",
        whose="Llama 3's, which does not come with the weights",
    ),
)


def family(folder: Path) -> Family | None:
    """The row of FAMILIES that a folder's files are laid out as."""
    return next((f for f in FAMILIES if f.applies(folder)), None)
