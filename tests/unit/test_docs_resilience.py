"""`docs/resilience.md`: its graph is one, its node does what the page says, its numbers are the code's."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from configs.errors import RowErrors
from configs.graph import GraphConfig
from configs.node_options import Batch, Cache
from configs.serve import CLIENT_ADDRESS, AppArgs
from deployments.protocols.terms import LEAST_URGENT, TIMEOUT_HEADER, terms_of
from graphs.check import check_graph
from graphs.line import AGEING_S
from graphs.policies import HEDGED_SHARE, RETRY_PAUSE_S
from graphs.terms import DEFAULT_PRIORITY
from tests.support.pages import snippets

PAGE = "docs/resilience.md"
TEXT = Path(PAGE).read_text()


@pytest.mark.usefixtures("demo_models")
def test_the_graph_has_every_policy() -> None:
    [shown] = snippets(PAGE, "check this graph", "yaml")
    flat = check_graph(GraphConfig.model_validate(yaml.safe_load(shown)), Path.cwd()).flat
    large = flat.nodes["large"].config
    keys = set(re.findall(r"^\| `(\w+)", TEXT, re.MULTILINE))
    assert keys <= large.model_fields_set
    assert large.guarded


def test_the_node_names_its_bad_rows() -> None:
    [code] = snippets(PAGE, "run this", "python")
    module: dict[str, Any] = {}
    exec(compile(code, PAGE, "exec"), module)
    assert module["logarithm"](np.array([1.0]))["y"].tolist() == [0]
    with pytest.raises(RowErrors) as error:
        module["logarithm"](np.array([1.0, -2.0, 3.0, 0.0]))
    assert error.value.reasons == {1: "-2 has no logarithm", 3: "0 has no logarithm"}


def test_the_limit_of_a_client_is_one() -> None:
    [shown] = snippets(PAGE, "check these args", "yaml")
    limit = AppArgs.model_validate(yaml.safe_load(shown)["args"]).client_limit
    assert limit is not None
    assert (limit.in_flight, limit.header) == (64, "x-tenant")
    assert f"`{CLIENT_ADDRESS}`" in TEXT


def test_the_request_is_read_as_the_page_says() -> None:
    [shown] = re.findall(r"^```json\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    terms = terms_of(json.loads(shown)["parameters"])
    assert terms.priority == 1
    assert terms.left_s == pytest.approx(0.25, abs=0.1)
    assert TIMEOUT_HEADER in TEXT


def test_numbers() -> None:
    assert (DEFAULT_PRIORITY, LEAST_URGENT, AGEING_S) == (10, 100, 1)
    assert (HEDGED_SHARE, RETRY_PAUSE_S) == (0.05, 0.02)
    assert (Cache().ttl_s, Cache().max_bytes, Batch().p99_ms) == (300, 64 << 20, None)
