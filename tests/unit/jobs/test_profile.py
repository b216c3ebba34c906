"""Profiles: parts that are merged give what all rows give at once, in whatever order they come."""

import random
from pathlib import Path

import ml_dtypes
import numpy as np
import orjson
import pytest

from configs.tensors import Rows
from jobs.profile import FILE, Profile, chance_of
from tests.support.pages import snippets

NUMBERS = np.random.default_rng(0)
ROWS = 2000
DATA: Rows = {
    "pixels": NUMBERS.integers(0, 17, (ROWS, 8, 8)).astype(np.uint8),
    "score": NUMBERS.normal(1e6, 3, ROWS),
    "label": NUMBERS.integers(0, 5, (ROWS, 1)),
    "odd": np.where(NUMBERS.random(ROWS) < 0.1, np.nan, NUMBERS.random(ROWS)).astype(np.float32),
    "name": np.array([b"common" if n % 3 else b"key-%d" % n for n in range(ROWS)], object),
    "long": np.array([b"%04d" % (n % 100) * 50 for n in range(ROWS)], object),
}


def whole(rows: Rows) -> Profile:
    profile = Profile()
    profile.add(rows, chance_of("whole"))
    return profile


def merged(sizes: list[int], seed: int) -> Profile:
    """Of parts of these sizes, written and read as jobs do, in some order."""
    ends = np.cumsum(sizes)
    parts = [
        {name: each[end - size : end] for name, each in DATA.items()} for size, end in zip(sizes, ends, strict=True)
    ]
    random.Random(seed).shuffle(parts)
    profile = Profile()
    for number, part in enumerate(parts):
        made = Profile()
        made.add(part, chance_of(f"00000-{number:05d}"))
        profile.merge(Profile.parsed(orjson.loads(orjson.dumps(made.state()))))
    return profile


@pytest.mark.parametrize("seed", range(3))
def test_parts_give_what_all_rows_give(seed: int) -> None:
    found, expected = merged([0, 1, 99, 400, 1000, 500], seed).document(), whole(DATA).document()
    for name, column in expected.items():
        exact = {"datatype", "rows", "nulls", "finite", "nans", "infinite", "minimum", "maximum"} & set(column)
        assert {key: found[name][key] for key in exact} == {key: column[key] for key in exact}
        numbers, wanted = (each[name].get("lengths", each[name]) for each in (found, expected))
        assert numbers["mean"] == pytest.approx(wanted["mean"], rel=1e-12)
        assert numbers["std"] == pytest.approx(wanted["std"], rel=1e-9)
    [common] = found["name"]["frequent"]
    assert common == {"text": "common", "times": pytest.approx(ROWS * 2 / 3, rel=0.02)}
    for name, distinct in {"name": ROWS / 3 + 1, "long": 100}.items():
        assert found[name]["distinct"] == pytest.approx(distinct, rel=0.1)


def test_quantiles_are_those_of_the_data() -> None:
    found = merged([200] * 10, 0)
    for name in ("pixels", "score", "label", "odd"):
        values = DATA[name][~np.isnan(DATA[name].astype(float))].reshape(-1).astype(float)
        sketch = found.columns[name].values.sketch  # type: ignore[union-attr]
        for value in np.quantile(values, [0.1, 0.3, 0.5, 0.9]):
            assert sketch.get_rank(value, True) == pytest.approx(np.mean(values <= value), abs=0.05)


def test_numbers_are_counted_as_they_are() -> None:
    rows = {
        "x": np.array([1, np.nan, np.inf, -3], ml_dtypes.bfloat16),
        "big": np.array([2**63 + 1, 0], np.uint64),
        "flag": np.array([True, False, True]),
        "none": np.zeros((0, 3), np.int8),
    }
    found = whole(rows).document()
    assert {key: found["x"][key] for key in ("finite", "nans", "infinite", "minimum", "maximum", "mean", "std")} == {
        "finite": 2, "nans": 1, "infinite": 1, "minimum": -3.0, "maximum": 1.0, "mean": -1.0, "std": 2.0,
    }  # fmt: skip
    assert (found["big"]["minimum"], found["big"]["maximum"]) == (0, 2**63 + 1)
    assert (found["flag"]["minimum"], found["flag"]["maximum"], found["flag"]["mean"]) == (0, 1, pytest.approx(2 / 3))
    assert (found["none"]["rows"], found["none"]["minimum"], found["none"]["std"], found["none"]["quantiles"]) == (
        0, None, None, {},
    )  # fmt: skip


def test_what_has_no_values_or_no_mean_goes_through_json() -> None:
    profile = whole({"empty": np.zeros((2, 0), np.int8), "texts": np.zeros((2, 0), object), "huge": np.full(4, 1e308)})
    for _ in range(2):
        profile = Profile.parsed(orjson.loads(orjson.dumps(profile.document())))
    profile.merge(Profile.parsed(profile.state()))
    found = orjson.loads(orjson.dumps(profile.document()))
    assert [found[name]["rows"] for name in found] == [4, 4, 8]
    assert (found["huge"]["maximum"], found["huge"]["mean"], found["huge"]["std"]) == (1e308, None, None)


def test_texts_that_are_rare_or_long_are_not_told() -> None:
    found = whole({"t": np.array([[b"a", b"\xff"], [b"a", b"x" * 65]], object)}).document()["t"]
    assert found["frequent"] == [{"text": "a", "times": 2}, {"text": "\\xff", "times": 1}]
    assert (found["rows"], found["distinct"], found["lengths"]["maximum"]) == (2, 3, 65)
    unique = whole({"t": np.array([b"key-%d" % n for n in range(3000)], object)}).document()["t"]
    assert unique["frequent"] == []


def test_nulls_are_counted_beside_rows() -> None:
    profile = whole({"label": DATA["label"]})
    profile.add_nulls({"label": 2})
    profile.merge(Profile.parsed(profile.document()))
    assert {key: profile.document()["label"][key] for key in ("datatype", "rows", "nulls")} == {
        "datatype": "INT64", "rows": 2 * ROWS, "nulls": 4,
    }  # fmt: skip


def test_the_page_reads_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = snippets("docs/batch.md", "read a profile", "python")
    (tmp_path / "scored").mkdir()
    scores = whole({"score": np.repeat([0.5, 0.95], [3, 1])}).document()
    (tmp_path / "scored" / FILE).write_bytes(orjson.dumps({"outputs": scores}))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/batch.md", "exec"), {})
    assert capsys.readouterr().out == "0.75 of the scores are below 0.9\n"
