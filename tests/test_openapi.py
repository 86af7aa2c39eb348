"""Schemathesis throws requests made from the OpenAPI document at the running service."""

from __future__ import annotations

import json
import os

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
CASES = int(os.environ.get("LACONIC_TEST_CASES", "60"))


@schemathesis.serializer("application/x-ndjson")
def lines(context: object, value: object) -> bytes:
    """Whatever was generated, as lines."""
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "replace")


def test_no_request_breaks_the_service(address: str) -> None:
    """No server error, and every answer has a declared status, type and shape, on every operation."""
    schema = schemathesis.openapi.from_dict(httpx.get(f"{address}/openapi.json").json())
    seen = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        seen.add(operation.path)

        # half of the requests as documented, half against the document
        both = st.one_of(*(operation.as_strategy(generation_mode=m) for m in GenerationMode))

        @settings(deadline=None, max_examples=CASES, suppress_health_check=list(HealthCheck), database=None)
        @given(case=both)
        def answered(case: schemathesis.Case) -> None:
            response = case.call(base_url=address)
            missed = response.status_code == 504 and isinstance(case.body, dict) and "timeout_ms" in case.body
            # a deadline that the request itself set and the machine could not keep is an answer, not a failure
            case.validate_response(response, checks=CHECKS[1:] if missed else CHECKS)

        answered()
    assert seen >= {"/v1/compress", "/v1/compress/batch", "/v1/models", "/v1/recipes", "/livez", "/readyz", "/version"}
