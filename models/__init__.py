"""Token ids in, arrays out: backends, cards, tokenizers and the loading of weights."""

from . import quiet as quiet
from .backend import (
    Backend,
    Coded,
    CodeInput,
    EduInput,
    EduOutput,
    Input,
    LateInput,
    LatentInput,
    LossInput,
    LossOutput,
    ModelInput,
    ModelOutput,
)
from .card import Card, EduFacts, LateFacts, LatentFacts, Scoring
from .catalogue import Catalogue
from .fake_backend import FakeBackend
from .load import Model, ModelError, load_model, load_ranker, load_tokenizer
from .marks import MARKS, marks
from .readers import HfReader, TiktokenReader, open_reader
from .scheduler import Scheduler
from .tokenizer import Encoded, TextTokenizer
from .work import Cancelled, DeadlineExceeded, EngineError, Work, checkpoint, current, tenant

__all__ = [
    "MARKS",
    "Backend",
    "Cancelled",
    "Card",
    "Catalogue",
    "CodeInput",
    "Coded",
    "DeadlineExceeded",
    "EduFacts",
    "EduInput",
    "EduOutput",
    "Encoded",
    "EngineError",
    "FakeBackend",
    "HfReader",
    "Input",
    "LateFacts",
    "LateInput",
    "LatentFacts",
    "LatentInput",
    "LossInput",
    "LossOutput",
    "Model",
    "ModelError",
    "ModelInput",
    "ModelOutput",
    "Scheduler",
    "Scoring",
    "TextTokenizer",
    "TiktokenReader",
    "Work",
    "checkpoint",
    "current",
    "load_model",
    "load_ranker",
    "load_tokenizer",
    "marks",
    "open_reader",
    "tenant",
]
