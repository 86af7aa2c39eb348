"""JSON that is compressed value by value: what of it is text, how far each text may shrink, and which keys may go.

`read` and `rebuilt` keep it JSON with the same keys and types; `legacy` writes it as tagged text, as `llmlingua` 0.2.2
does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ..types import InvalidRequest

Config = Mapping[str, Mapping[str, Any]] | str | PathLike[str]
Place = tuple[str | int, ...]  # keys and indices that lead to a value
_STRING, _LIST, _DICT = ("str", "string"), ("list", "List"), ("dict", "dictionary")
_INTEGER, _FLOAT, _BOOL = ("int", "integer"), ("float", "number"), ("bool", "boolean")
TEXTUAL = {*_STRING, *_LIST, *_DICT, "tuple"}
KNOWN = {*TEXTUAL, *_INTEGER, *_FLOAT, *_BOOL}
_FIELDS = {"rate", "compress", "value_type", "pair_remove"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """A string somewhere in a value, and the rate it is compressed to; None: the call's."""

    key: str
    place: Place
    text: str
    rate: float | None

    @property
    def pointer(self) -> str:
        """Its JSON Pointer (RFC 6901)."""
        return "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in self.place)


def load_config(config: Config) -> Mapping[str, Any]:
    """A configuration as it is, or from the YAML file it names; raises InvalidRequest."""
    if isinstance(config, str | PathLike):
        try:
            import yaml
        except ImportError:
            message = "a configuration in YAML needs PyYAML: pip install pyyaml, or pass a dictionary"
            raise InvalidRequest(message, param="json_config") from None
        try:
            config = yaml.safe_load(Path(fspath(config)).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as e:
            raise InvalidRequest(f"the configuration cannot be read: {e}", param="json_config") from None
    if not isinstance(config, Mapping):
        raise InvalidRequest("json_config must be a dictionary or a path to a YAML file", param="json_config")
    return config


def normal(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy as JSON reads it back: tuples are lists; raises InvalidRequest for what JSON cannot say."""
    if not isinstance(data, Mapping) or not all(isinstance(k, str) for k in data):
        raise InvalidRequest("json_data must be a dictionary whose keys are strings", param="json_data")
    try:
        out: dict[str, Any] = json.loads(json.dumps(dict(data), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as e:
        raise InvalidRequest(f"json_data is not JSON: {e}", param="json_data") from None
    return out


def read(data: Mapping[str, Any], config: Config) -> tuple[list[Leaf], set[str]]:
    """The strings that are compressed, each key's by its settings, and the keys that may go; raises InvalidRequest."""
    known = load_config(config)
    if set(data) != set(known):
        differ = ", ".join(sorted(map(repr, set(data) ^ set(known)))[:5])
        raise InvalidRequest(f"json_data and json_config differ in their keys: {differ}", param="json_config")
    leaves, removable = [], set()
    for key, value in data.items():
        own = _settings(key, known[key])
        if own.get("pair_remove", False):
            removable.add(key)
        rate = own.get("rate")
        if own.get("compress", True) and own.get("value_type", "str") in TEXTUAL and rate != 1:
            leaves += [Leaf(key=key, place=p, text=t, rate=rate) for p, t in _strings((key,), value)]
    return leaves, removable


def _settings(key: str, own: Any) -> Mapping[str, Any]:
    param = f"json_config.{key}"
    if not isinstance(own, Mapping) or set(own) - _FIELDS:
        raise InvalidRequest(f"must be a dictionary with some of {', '.join(sorted(_FIELDS))}", param=param)
    rate, kind = own.get("rate"), own.get("value_type", "str")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1):
        raise InvalidRequest(f"rate must be in (0, 1], not {rate!r}", param=f"{param}.rate")
    if kind not in KNOWN:
        raise InvalidRequest(f"value_type must be one of {', '.join(sorted(KNOWN))}", param=f"{param}.value_type")
    for flag in ("compress", "pair_remove"):
        if not isinstance(own.get(flag, True), bool):
            raise InvalidRequest(f"{flag} must be true or false", param=f"{param}.{flag}")
    return own


def _strings(place: Place, value: Any) -> Iterator[tuple[Place, str]]:
    """Every string under a value, in order; a stack, since values may be nested deeper than calls."""
    todo = [(place, value)]
    while todo:
        place, value = todo.pop()
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, dict):
            todo += [((*place, k), v) for k, v in reversed(value.items())]
        elif isinstance(value, list):
            todo += [((*place, i), v) for i, v in reversed(list(enumerate(value)))]


def rebuilt(data: Mapping[str, Any], texts: Mapping[Place, str], keys: Sequence[str]) -> dict[str, Any]:
    """`data` with other strings in some places, and of its keys these, in this order."""
    copy = json.loads(json.dumps(data))
    for place, text in texts.items():
        node = copy
        for step in place[:-1]:
            node = node[step]
        node[place[-1]] = text
    return {k: copy[k] for k in keys}


_ON, _OFF = "</llmlingua><llmlingua, rate={}>", "</llmlingua><llmlingua, compress=False>"
_BEGIN, _END = "<llmlingua, compress=False>", "</llmlingua>"


def legacy(data: Mapping[str, Any], config: Config) -> tuple[list[str], list[int]]:
    """The package's tagged texts, one for each pair and two for the braces, and the numbers of those that stay.

    Raises InvalidRequest for what the package has no meaning for. Quotes in what lists and dictionaries hold are not
    escaped, dictionaries become lists, numbers may lose digits: all as there.
    """
    known = load_config(config)
    if set(data) != set(known):
        raise InvalidRequest("json_data and json_config differ in their keys", param="json_config")
    context, stay = [f"{_BEGIN}{{{_END}"], [0]
    for n, (key, value) in enumerate(data.items(), 1):
        own = known[key]
        missing = _FIELDS - set(own)
        if missing:
            raise InvalidRequest(f"lacks {', '.join(sorted(missing))}", param=f"json_config.{key}")
        if not own["pair_remove"]:
            stay.append(n)
        rate = own["rate"] if own["compress"] else 1
        context.append(f"{_BEGIN}{_pair(key, value, own['value_type'], rate)}{_END}")
    context[-1] = context[-1][: -len(", " + _END)] + _END
    return [*context, f"{_BEGIN}}}{_END}"], [*stay, len(data) + 1]


def _pair(key: str, value: Any, kind: str, rate: Any) -> str:
    """One pair as tagged text, a comma behind it."""
    on = _ON.format(rate)
    if rate == 1:
        return f"{json.dumps({key: value})[1:-1]}, "
    if kind in _STRING:
        return f"{json.dumps({key: f'{on}{value}{_OFF}'})[1:-1]}, "
    if kind in _BOOL:
        return f"{json.dumps({key: f'{on}{_truth(value)}{_OFF}'})[1:-1]}, "
    if kind in _INTEGER or kind in _FLOAT:
        return f'"{key}": {on}{int(value) if kind in _INTEGER else float(value)}{_OFF}, '
    if kind in _DICT:
        return f'"{key}": ["{_items([f"{k}: {v}" for k, v in value.items()], on)}"], '
    if kind in _LIST:
        return f'"{key}": ["{_items(value, on)}"], '
    if kind == "tuple":
        return f'"{key}": ("{_items(value, on)}"), '
    raise InvalidRequest(f"invalid value type {kind!r}", param=f"json_config.{key}.value_type")


def _truth(value: Any) -> str:
    for word in ("true", "false"):
        if value in (word.title(), word, word.upper(), word == "true"):
            return word
    raise InvalidRequest(f"{value!r} is not a boolean", param="json_data")


def _items(values: Sequence[Any], on: str) -> str:
    return '", "'.join(f"{on}{v}{_OFF}" for v in values)
