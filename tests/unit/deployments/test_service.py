"""What a graph's service adds to its executor."""

from types import SimpleNamespace
from typing import Any

import pytest

from configs.errors import InvalidInput, MillraceError, NodeError
from configs.tensors import Signature
from deployments.service import GraphService


def failing(error: MillraceError) -> GraphService:
    async def run(rows: Any, count: int, terms: Any) -> None:
        raise error

    return GraphService("g", "", Signature(), {}, SimpleNamespace(run=run))  # type: ignore[arg-type]


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f642", "\ud83d"])
async def test_a_nodes_long_words_fit_into_grpcs_metadata(letter: str) -> None:
    with pytest.raises(NodeError, match=r"^node n failed: ") as raised:
        await failing(NodeError("node n failed: " + letter * 100_000)).infer({}, 1)
    assert raised.value.message.endswith("…")
    assert 3 * len(raised.value.message.encode()) < 8 << 10  # percent-encoded


async def test_other_messages_stay_as_they_are() -> None:
    with pytest.raises(InvalidInput, match=r"^größer als 16$"):
        await failing(InvalidInput("größer als 16")).infer({}, 1)
