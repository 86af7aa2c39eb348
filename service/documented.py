"""Bodies in the OpenAPI document, of routes that read theirs themselves: FastAPI would do it on the event loop."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

PLACE = "#/components/schemas/{model}"


def body(kind: TypeAdapter[Any]) -> dict[str, Any]:
    """A route's `openapi_extra`: a JSON body of this type is required."""
    schema = kind.json_schema(ref_template=PLACE)
    named = schema.pop("$defs", {})
    if title := schema.get("title") if "properties" in schema else None:
        named[title], schema = schema, {"$ref": PLACE.format(model=title)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}, "x-named": named}


def complete(app: FastAPI) -> None:
    """Have the schemas that bodies refer to stand among the document's own."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            known = document.setdefault("components", {}).setdefault("schemas", {})
            operations = (o for path in document["paths"].values() for o in path.values() if isinstance(o, dict))
            for operation in operations:
                for name, schema in operation.pop("x-named", {}).items():
                    known.setdefault(name, schema)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's own guide does
