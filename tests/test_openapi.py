"""Schemathesis throws requests made from the OpenAPI document at the running service."""

from __future__ import annotations

import os

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CASES = int(os.environ.get("LACONIC_TEST_CASES", "60"))


@pytest.fixture(scope="session")
def api_schema(address: str):
    return schemathesis.openapi.from_dict(httpx.get(f"{address}/openapi.json").json())


schema = schemathesis.pytest.from_fixture("api_schema")


@schema.parametrize()
@settings(deadline=None, max_examples=CASES, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_the_service(case, address: str) -> None:
    """No server error, and every answer has a declared status, type and shape."""
    response = case.call(base_url=address)
    case.validate_response(
        response,
        checks=(
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ),
    )
