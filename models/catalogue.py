"""Names to folders: the embedded models, and those an operator adds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .card import Card, CardError
from .hf import applies, read_card

EMBEDDED = Path(__file__).parent / "pretrained"


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Model folders, with a `card.json` or in Hugging Face's layout, under the embedded one and the operator's."""

    extra: Path | None = None

    def folders(self) -> dict[str, Path]:
        """Every model's folder by name; the operator's shadow the embedded."""
        roots = [EMBEDDED, *([self.extra] if self.extra else [])]
        found = (p for root in roots for p in sorted(root.glob("*")))
        return {p.name: p for p in found if (p / "card.json").is_file() or applies(p)}

    def folder(self, name: str) -> Path:
        """Raises LookupError with the names there are."""
        found = self.folders()
        if name not in found:
            raise LookupError(f"no model {name[:80]!r}; there are {', '.join(sorted(found)) or 'none'}")
        return found[name]

    def cards(self) -> dict[str, Card | CardError]:
        """Each model's card, or what is wrong with it."""
        out: dict[str, Card | CardError] = {}
        for name, folder in self.folders().items():
            try:
                out[name] = read_card(folder)
            except CardError as e:
                out[name] = e
        return out
