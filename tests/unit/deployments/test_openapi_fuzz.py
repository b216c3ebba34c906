"""Requests made from `/openapi.json`, fitting and not, get answers that the document describes; real graphs, no Ray.

A long run: `pytest tests/unit/deployments/test_openapi_fuzz.py --fuzz 2000`.
"""

import logging
from pathlib import Path
from typing import cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from configs.log import LOGGER
from deployments.answering import Answering
from deployments.http_door import HttpDoor
from deployments.recorder import Recorder
from deployments.service import GraphService
from deployments.statistics import Statistics
from graphs.check import check_file
from graphs.executor import Executor
from graphs.load import signature_of
from graphs.plan import compile_plan
from servables.base import LoadOptions
from tests.support.graphs import load_inline
from tests.support.server import GRAPHS, ROOT
from tests.unit.deployments.doors import MAX_BYTES, Counted

SERVED = ["identity", "guarded", "conformance/simple", "conformance/repeat_int32"]
MEANT = (501, 503, 504)
"""What a 5xx may say: not implemented, overloaded, too late. All others are faults of the server."""
CHECKED = [status_code_conformance, content_type_conformance, response_schema_conformance]


def service(path: Path) -> GraphService:
    graph = check_file(path, ROOT)
    plan = compile_plan(graph.flat)
    instances = load_inline(plan, ROOT, LoadOptions())
    signatures = {name: instance.signature for name, instance in instances.items()}
    executor = Executor(plan, instances, {}, signatures=signatures)
    return GraphService(graph.flat.name, graph.flat.config.description, signature_of(plan, signatures), {}, executor)


@pytest.fixture(scope="module")
def door() -> HttpDoor:
    services = {graph.name: graph for graph in (service(ROOT / GRAPHS / f"{name}.yaml") for name in SERVED)}
    counted = Counted()
    counted.statistics = Statistics(services)
    answering = Answering(services, cast(Recorder, counted))
    return HttpDoor(answering, "millrace", "1", MAX_BYTES)


@pytest.mark.timeout(7200)  # for long runs
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_every_answer_is_one_that_the_document_describes(
    door: HttpDoor, mode: schemathesis.GenerationMode, pytestconfig: pytest.Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, LOGGER)
    codes: dict[str, set[int]] = {}
    schema = schemathesis.openapi.from_asgi("/openapi.json", door)
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode is schemathesis.GenerationMode.NEGATIVE and not operation.body:
            continue  # nothing in such a request could be wrong
        most = pytestconfig.getoption("--fuzz") if operation.body else 1

        @settings(max_examples=most, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers(case: schemathesis.Case) -> None:
            response = case.call()
            assert response.status_code < 500 or response.status_code in MEANT, case.as_curl_command()
            case.validate_response(response, checks=CHECKED)
            codes.setdefault(case.path, set()).add(response.status_code)

        answers()
    assert {code for path in codes.values() for code in path} >= ({200} if mode.is_positive else {400})
