"""A check of the data: bad rows are named one by one, what is wrong with a whole column is one message."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pytest

from configs.errors import ConfigError
from jobs.checks import Check
from tests.support.pages import snippets

HERE = "tests.unit.jobs.test_checks:"


class People(pandera.DataFrameModel):
    id: int = pandera.Field(ge=0)
    age: float = pandera.Field(gt=0)
    name: str = pandera.Field(str_matches="^k", nullable=True)
    visits: pd.Int64Dtype = pandera.Field(nullable=True)

    @pandera.dataframe_check
    @classmethod
    def adult(cls, frame: Any) -> Any:
        return frame["age"] != 17


class Cells(pandera.DataFrameModel):
    """Of a CSV file."""

    id: int = pandera.Field(unique=True)

    class Config:
        coerce = True
        strict = True


class Days(pandera.DataFrameModel):
    """Written in several ways."""

    day: pd.Timestamp = pandera.Field(ge=pd.Timestamp("2020-01-01"), unique=True)
    late: bool
    minutes: float = pandera.Field(nullable=True)
    code: str = pandera.Field(nullable=True, str_matches="^[0-9]+$")

    class Config:
        coerce = True
        ordered = True


Measures = pandera.DataFrameSchema({"^m_": pandera.Column(int, regex=True), "extra": pandera.Column(required=False)})
Mean = pandera.DataFrameSchema({"x": pandera.Column(float, pandera.Check(lambda x: x.mean() < 5))})
Broken = pandera.DataFrameSchema({"x": pandera.Column(float, pandera.Check(lambda x: x.nothing, name="odd"))})
Dark = pandera.DataFrameSchema(
    {"image": pandera.Column(object, pandera.Check(lambda x: x.max() < 4, element_wise=True))}
)
Inverse = pandera.DataFrameSchema(
    {"x": pandera.Column(int, pandera.Check(lambda x: 1 / x < 1, element_wise=True, name="more"), unique=True)}
)
Lists = pandera.DataFrameSchema({"x": pandera.Column(object, unique=True)})
Dropping = pandera.DataFrameSchema({"x": pandera.Column(int)}, drop_invalid_rows=True)
First = pandera.DataFrameSchema({"x": pandera.Column(int, pandera.Check.ge(0, n_failure_cases=1))})
people = pa.table(
    {
        "id": pa.array([1, -2, None, 4, 5]),
        "other": [[1]] * 5,
        "age": [17.0, 20, 30, None, 50],
        "name": ["k", None, "k", "x", "k"],
        "visits": pa.array([1, None, 3, 4, 5]),
    }
)


def test_bad_rows_have_their_reasons() -> None:
    check = Check(HERE + "People")
    assert check.columns(people.column_names) == ["id", "age", "name", "visits"]
    check.check_columns(people.schema, "people.parquet")
    bad = check(people)
    assert bad == {
        0: "adult",
        1: "column 'id': greater_than_or_equal_to(0): -2",
        2: "column 'id': null, which int64 has no place for",
        3: "column 'age': not_nullable: nan; column 'name': str_matches('^k'): \"x\"",
    }
    assert set(check(people, without=[0, 3])) == {1, 2}
    assert check(people.slice(4)) == check(people.slice(0, 0)) == {}


def test_text_that_becomes_no_number_is_bad_and_the_others_are_checked_all_the_same() -> None:
    bad = Check(HERE + "Cells")(pa.table({"id": ["1", "x", "2", "1"]}))
    assert list(bad) == [1, 0, 3]
    assert bad[1] == "column 'id': coerce_dtype('int64'): \"x\""
    assert bad[3] == "column 'id': field_uniqueness: 1"


def test_values_are_of_their_types_one_by_one() -> None:
    columns = {
        "code": [1, None, 3, 4, 5, 6, 7],
        "day": ["2020-01-02", "9999-01-01", "02/01/2021", "2020-01-02 00:00:00", "1999-01-01", "soon", "2022-01-01"],
        "late": ["true", "false", "No", "1", "0", "1", "x"],
        "minutes": [1, None, 3, 4, 5, 6, 7],
    }
    assert Check(HERE + "Days")(pa.table(columns)) == {
        0: "column 'day': field_uniqueness: \"2020-01-02 00:00:00\"",
        1: "column 'day': coerce_dtype('datetime64[ns]'): \"9999-01-01\"",
        3: "column 'day': field_uniqueness: \"2020-01-02 00:00:00\"",
        4: "column 'day': greater_than_or_equal_to(2020-01-01 00:00:00): \"1999-01-01 00:00:00\"",
        5: "column 'day': coerce_dtype('datetime64[ns]'): \"soon\"",
        6: "column 'late': coerce_dtype('bool'): \"x\"",
    }
    assert Check(HERE + "Days")(pa.table(columns | {"late": pa.nulls(7, pa.string())})) == dict.fromkeys(
        range(7), "column 'late': null, which bool has no place for"
    )


def test_a_value_that_a_check_raises_an_exception_for_is_one_bad_row() -> None:
    bad = Check(HERE + "Inverse")(pa.table({"x": [2, 0, 3, 4, 5, 2]}))
    assert bad == {
        1: "column 'x': more: 0: ZeroDivisionError('division by zero')",
        0: "column 'x': field_uniqueness: 2",
        5: "column 'x': field_uniqueness: 2",
    }


def test_columns_that_are_named_by_a_pattern() -> None:
    check = Check(HERE + "Measures")
    assert check.columns(["m_a", "b", "m_b"]) == ["m_a", "m_b"]
    assert list(check(pa.table({"m_a": [1, 2], "m_b": [1, None], "b": ["", ""]}))) == [1]


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        (
            "People",
            {"id": ["1"]},
            r"a.csv does not pass --check .*: column 'age' not in dataframe.*expected series 'id'",
        ),
        ("People", dict(zip(people.column_names, people.columns, strict=True)) | {"id": ["1"] * 5}, "`coerce = True`"),
        ("Cells", {"id": ["1"], "more": [1]}, "column 'more' not in DataFrameSchema"),
        ("Measures", {"b": [1]}, "did not match any columns"),
        ("Days", {"late": [True], "day": ["2020-01-01"], "minutes": [1.0], "code": ["1"]}, "'late' out-of-order"),
        ("Lists", {"x": [[1]]}, "column 'x' holds lists, which `unique` cannot tell apart"),
        ("Dropping", {"x": [1]}, "bad rows pass with `drop_invalid_rows` or `n_failure_cases`"),
        ("First", {"x": [1]}, "bad rows pass with"),
        ("People.adult", {}, "it is no DataFrameModel or DataFrameSchema"),
        ("Nobody", {}, "has no Nobody"),
    ],
)
def test_columns_that_are_not_as_they_should_be(name: str, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Check(HERE + name).check_columns(pa.table(columns).schema, "a.csv")


def test_tensors_are_lists_to_a_check() -> None:
    images = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(8).reshape(2, 2, 2))
    check = Check(HERE + "Dark")
    check.check_columns(pa.schema({"image": images.type, "other": images.type}), "a.parquet")
    assert list(check(pa.table({"image": images}))) == [1]


def test_what_is_no_single_rows_fault_is_one_message() -> None:
    with pytest.raises(ConfigError, match=r"--check .*:Mean fails for whole columns: Column 'x' failed series"):
        Check(HERE + "Mean")(pa.table({"x": [1.0, 10.0]}))
    with pytest.raises(ConfigError, match=r"Error while executing check function: AttributeError"):
        Check(HERE + "Broken")(pa.table({"x": [1.0]}))
    with pytest.raises(ConfigError, match="expected series 'x' to have type float64, got int64"):
        Check(HERE + "Mean")(pa.table({"x": [1]}))


def test_the_schema_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = snippets("docs/batch.md", "checks.py", "python")
    (tmp_path / "checks.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    [reason] = Check("checks:Scans")(pa.table({"id": [1, 2], "site": ["north", "west"]})).values()
    assert reason == "column 'site': isin(['north', 'south']): \"west\""
    assert reason in Path("docs/batch.md").read_text()
