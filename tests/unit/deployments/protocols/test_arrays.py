"""Lists that do not pack: the bad element is found by few conversions in C, not by a look at each element."""

from array import array

import pytest

from configs.errors import InvalidInput
from configs.tensors import Datatype
from deployments.protocols import arrays
from deployments.protocols.arrays import Json, from_json

COUNT = 100_000


@pytest.mark.parametrize("index", [0, 1, 49_999, 50_000, COUNT - 1])
@pytest.mark.parametrize(("datatype", "bad"), [("FP32", "1"), ("INT8", 128), ("BOOL", None), ("FP16", 10**400)])
def test_the_bad_element_is_found_by_halves(
    index: int, datatype: str, bad: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = []

    def counting(code: str, part: list[Json]) -> array:
        converted.append(len(part))
        return array(code, part)  # type: ignore[type-var]

    monkeypatch.setattr(arrays, "array", counting)
    data: list[Json] = [0] * COUNT
    data[index] = bad
    with pytest.raises(InvalidInput, match=f"element {index} is "):
        from_json("x", data, Datatype(datatype), [1, COUNT], b"")
    assert len(converted) <= 18
    assert sum(converted) <= 2 * COUNT


@pytest.mark.parametrize(
    ("datatype", "bad"), [("FP32", 1e39), ("BF16", 1e39), ("BOOL", 2), ("INT8", True), ("FP64", False)]
)
def test_values_that_pack_but_are_none_of_the_datatype(datatype: str, bad: Json) -> None:
    data: list[Json] = [0] * COUNT
    data[4321] = bad
    with pytest.raises(InvalidInput, match="element 4321 is "):
        from_json("x", data, Datatype(datatype), [1, COUNT], b"true false")
