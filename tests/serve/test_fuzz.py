"""Hostile input to the routes: damaged sound files, and requests that schemathesis makes from the OpenAPI document."""

import re

import pytest

from tests.serve.processes import running_service
from tests.serve.sound_files import WRITTEN, encoded, mutations

LEAK = re.compile(r"Traceback|File \"|/work|/tmp|/home|/usr|site-packages|\.py\b")


def test_damaged_files_are_never_a_fault_of_the_service(client, make_voice, clip):
    seeds = {kind: encoded(make_voice(0.6), kind) for kind in (*WRITTEN, "m4a", "webm")}
    client.post("/v1/enroll", data={"name": "anna"}, files={"audio": clip})
    outcomes: dict[int, int] = {}
    for index, (what, data) in enumerate(mutations(seeds, 66)):
        if index % 3:
            path = ("/v1/identify", "/v1/verify?name=anna")[index % 2]
            response = client.post(path, content=data, headers={"Content-Type": "application/octet-stream"})
        else:
            response = client.post("/v1/embeddings", files={"audio": (what, data)})
        assert response.status_code in (200, 413, 415, 422), (what, response.text)
        assert not LEAK.search(response.text), (what, response.text)
        outcomes[response.status_code] = outcomes.get(response.status_code, 0) + 1
    assert len(outcomes) >= 2, outcomes
    assert client.post("/v1/identify", content=clip).json()["score"] is not None  # as well as before


@pytest.mark.slow
def test_requests_made_from_the_document_are_answered_as_it_says(served_model, tmp_path):
    """Statuses, content types, headers and bodies of all answers fit the document, and none is a fault."""
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import load_all_checks, not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    load_all_checks()
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
    ]
    with running_service(served_model, tmp_path, "--rate_limit", "0") as service:
        schema = schemathesis.openapi.from_url(f"{service.address}/openapi.json")
        asked = 0
        for found in schema.get_all_operations():
            operation = found.ok()

            @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def ask(case) -> None:
                nonlocal asked
                response = case.call(base_url=service.address)
                assert response.status_code < 500
                assert not LEAK.search(response.text) or case.path == "/metrics"
                case.validate_response(response, checks=checks)
                asked += 1

            ask()
        assert asked > 100
        assert service.stop() in (0, -15)
    assert not any("Traceback" in line or '"level": "error"' in line for line in service.lines)
