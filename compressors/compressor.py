"""The room's front door: recipes, models and readers by name, opened once and kept."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from laconic.models import (
    Card,
    Catalogue,
    HfReader,
    Model,
    ModelError,
    load_model,
    load_ranker,
    load_tokenizer,
    open_reader,
)
from laconic.models.forks import after_fork
from laconic.models.readers import ReaderError

from .cached import Store
from .latent import LatentEncoder, Precision
from .pipeline import Pipeline
from .recipes import DEFAULT, MODELS, RECIPES, parts
from .score_lexical import bm25
from .stages import Ranker, Reader
from .texts import Texts
from .types import InvalidRequest, Request, Result, UnknownName

DEFAULT_MODEL, SOFT_MODEL = "laconic-mini", "laconic-soft"


def by_words(query: str, texts: Sequence[str]) -> list[float]:
    """The ranker `bm25`."""
    return [float(x) for x in bm25(query, texts)]


class Compressor:
    """Compress in process: `Compressor()(Request(...))`. Thread-safe; models open at first use or by `warm`.

    With a `store`, scores and latents of segments are kept there (see `cached` and `latent`); for `expand_seconds`,
    where that is not 0, their texts too.
    """

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        profile: str = "cpu-int8",
        workers: int | None = None,
        models_dir: Path | None = None,
        readers_dir: Path | None = None,
        tiktoken_cache: Path | None = None,
        store: Store | None = None,
        latents: Precision = "float16",
        most_numbers: int | None = None,
        expand_seconds: float = 0,
    ) -> None:
        self.catalogue = Catalogue(extra=models_dir)
        self.model_name, self.profile, self.workers = model, profile, workers
        self.store, self.latents, self.most_numbers = store, latents, most_numbers
        self.texts = Texts(store, expand_seconds) if store is not None and expand_seconds else None
        self._readers_dir, self._tiktoken_cache = readers_dir, tiktoken_cache
        self._models: dict[str, Model] = {}
        self._readers: dict[str, Reader] = {}
        self._rankers: dict[str, Ranker] = {}
        self._pipelines: dict[tuple[str | None, ...], Pipeline] = {}
        self._begin_anew()
        after_fork(self, Compressor._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()

    def __call__(
        self,
        request: Request,
        *,
        recipe: str = DEFAULT,
        model: str | None = None,
        reader: str | None = None,
        ranker: str | None = None,
    ) -> Result:
        """Run one request; raises LaconicError for what the caller can mend, ModelError for what only we can."""
        return self.pipeline(recipe, model, reader, ranker)(request)

    def pipeline(
        self, recipe: str = DEFAULT, model: str | None = None, reader: str | None = None, ranker: str | None = None
    ) -> Pipeline:
        """The bound pipeline, the same one whenever it is asked for; raises UnknownName."""
        name = recipe, model, reader, ranker
        if (known := self._pipelines.get(name)) is not None:
            return known
        bound = parts(recipe, self.model_of(recipe, model), self.store)
        made = RECIPES[recipe].pipeline(bound, self.reader(reader), self.ranker(ranker) if ranker else None)
        return self._pipelines.setdefault(name, made)

    def ranker(self, name: str) -> Ranker:
        """What ranks documents in the place of a recipe's own scores: `bm25`, or a model. Raises UnknownName."""
        if name == "bm25":
            return by_words
        with self._lock:
            if name not in self._rankers:
                try:
                    folder = self.catalogue.folder(name)
                except LookupError as e:
                    raise UnknownName(str(e), param="ranker") from None
                found = self.catalogue.cards()[name]
                if isinstance(found, Card) and found.kind != "ranker":
                    raise InvalidRequest(f"{found.name} is a {found.kind}, not a ranker", param="ranker")
                self._rankers[name] = load_ranker(folder, self.profile)
            return self._rankers[name]

    def model_of(self, recipe: str, name: str | None = None) -> Model | None:
        """The opened model that a recipe runs, by name or its kind's own, or None. Raises UnknownName."""
        known = RECIPES.get(recipe)
        if known is None or (known.kind is None and name is None):
            return None
        if name is None and known.kind in MODELS and self._kind != known.kind:
            name = MODELS[known.kind]
        return self.model(name)

    @cached_property
    def _kind(self) -> str | None:
        """What the default model is."""
        card = self.catalogue.cards().get(self.model_name)
        return card.kind if isinstance(card, Card) else None

    def model(self, name: str | None = None) -> Model:
        """An opened model by name (default: the one this compressor was made for); raises UnknownName."""
        name = name or self.model_name
        with self._lock:
            if name not in self._models:
                try:
                    folder = self.catalogue.folder(name)
                except LookupError as e:
                    raise UnknownName(str(e), param="model") from None
                self._models[name] = load_model(folder, self.profile, self.workers)
            return self._models[name]

    def reader(self, name: str | None = None) -> Reader:
        """A reader by name; a model's name means its own tokenizer. Raises UnknownName."""
        name = name or self.model_name
        if name in self._readers:
            return self._readers[name]
        opened: Reader
        try:
            if name in self._models:
                opened = HfReader(name, self._models[name].tokenizer)
            elif name in self.catalogue.folders():
                opened = HfReader(name, load_tokenizer(self.catalogue.folder(name)))
            else:
                opened = open_reader(name, self._readers_dir, self._tiktoken_cache)
        except ReaderError as e:
            raise UnknownName(str(e), param="reader") from None
        self._readers[name] = opened
        return opened

    def encoder(self, model: str | None = None) -> LatentEncoder:
        """What turns documents into latents; raises UnknownName, or InvalidRequest for a model that makes none."""
        return LatentEncoder(self.model(model or SOFT_MODEL), self.store, self.latents, self.most_numbers)

    def opened(self) -> dict[str, Model]:
        """The models open now, by name."""
        return dict(self._models)

    def close(self) -> None:
        """End the lanes of all opened models, and what the store has under way."""
        for model in self.opened().values():
            model.backend.close()
        if self.store is not None:
            self.store.close()

    def warm(self) -> Model:
        """Open the default model and run it once; raises ModelError."""
        from .types import Budget, Document

        opened = self.model()
        document = Document(text="laconic is ready. It answers.")
        try:
            self(Request(documents=[document], budget=Budget(kind="rate", value=0.5), query="ready?"))
        except RuntimeError as e:
            raise ModelError(f"the first forward failed: {e}") from e
        return opened
