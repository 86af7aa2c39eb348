"""Text in, less text out: `split → score → select → render`, and the table of recipes."""

from laconic.client.coded import restore

from .binding import Recipe
from .compressor import Compressor
from .latent import LatentEncoder, Latents
from .part import Parts
from .pipeline import Pipeline
from .recipes import DEFAULT, RECIPES, parts
from .stages import Reader, Scorer, Segmenter, Splitter
from .structure import Node, tree, tree_of
from .texts import segment_id
from .types import (
    Budget,
    BudgetUnreachable,
    Compressed,
    Discourse,
    Document,
    InvalidRequest,
    Keep,
    LaconicError,
    Request,
    Result,
    Scores,
    Segment,
    Span,
    TooLarge,
    Units,
    UnknownName,
)

__all__ = [
    "DEFAULT",
    "RECIPES",
    "Budget",
    "BudgetUnreachable",
    "Compressed",
    "Compressor",
    "Discourse",
    "Document",
    "InvalidRequest",
    "Keep",
    "LaconicError",
    "LatentEncoder",
    "Latents",
    "Node",
    "Parts",
    "Pipeline",
    "Reader",
    "Recipe",
    "Request",
    "Result",
    "Scorer",
    "Scores",
    "Segment",
    "Segmenter",
    "Span",
    "Splitter",
    "TooLarge",
    "Units",
    "UnknownName",
    "parts",
    "restore",
    "segment_id",
    "tree",
    "tree_of",
]
