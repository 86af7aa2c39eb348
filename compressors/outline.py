"""What follows from a text alone, whatever is asked and by whom: made when first wanted, kept for the next request."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import numpy as np

from laconic.models.recent import remembered

from . import units as cutting
from .depend import together
from .repeat import said
from .titles import title_of
from .types import Units

_NAMES = re.compile(r"(?<=[a-z,;] )[A-Z]\w+")  # within a sentence: every first word has a capital


class Outline:
    """One text as tokenizers can take it, cut and looked through once; safe to share between threads."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._made: dict[str, tuple[object, object]] = {}

    @cached_property
    def sentences(self) -> Units:
        return cutting.sentences(self.text)

    @cached_property
    def together(self) -> Units:
        """Sentences as they can be kept."""
        return together(self.text, self.sentences)

    @cached_property
    def owners(self) -> np.ndarray:
        """The sentence that each of `together` begins in; int64 [N]."""
        return cutting.owners(self.sentences, self.together.starts)

    @cached_property
    def said(self) -> np.ndarray:
        """What each of `together` says, as a hash; int64 [N]."""
        return said(self.text, self.together)

    @cached_property
    def title(self) -> str:
        return title_of(self.text)

    @cached_property
    def names(self) -> frozenset[str]:
        """Words that are names by their looks."""
        return frozenset(_NAMES.findall(self.text))

    def known(self, what: str, given: object) -> Any:
        """What was kept under a name for the same object `given`; None where nothing was."""
        found = self._made.get(what)
        return found[1] if found is not None and found[0] is given else None

    def keep(self, what: str, given: object, value: object) -> None:
        """Keep one value under a name: what follows from the text and from something `given`."""
        self._made[what] = (given, value)


@remembered
def outline(text: str) -> Outline:
    return Outline(text)
