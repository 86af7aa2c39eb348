"""Token ids in, arrays out: backends, cards, tokenizers and the loading of weights."""

from .backend import Backend, ModelInput, ModelOutput
from .card import Card
from .catalogue import Catalogue
from .fake_backend import FakeBackend
from .load import Model, ModelError, load_model, load_tokenizer
from .readers import HfReader, TiktokenReader, open_reader
from .tokenizer import Encoded, TextTokenizer

__all__ = [
    "Backend",
    "Card",
    "Catalogue",
    "Encoded",
    "FakeBackend",
    "HfReader",
    "Model",
    "ModelError",
    "ModelInput",
    "ModelOutput",
    "TextTokenizer",
    "TiktokenReader",
    "load_model",
    "load_tokenizer",
    "open_reader",
]
