"""Vector indexes: exact, in FAISS's graph, and what their files may not do."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import ModelError, RowErrors
from servables.base import LoadOptions
from servables.formats import index as index_format
from servables.index_exact import Metric, Vectors
from servables.index_file import LEVELS, NEIGHBOURS, OFFSETS, VECTORS
from servables.index_write import write_index
from servables.load import load_servable
from servables.samples import warmup_rows

ITEMS, SIZE = 300, 8
RANDOM = np.random.default_rng(3)
MATRIX = RANDOM.normal(size=(ITEMS, SIZE)).astype(np.float32)
QUERIES = RANDOM.normal(size=(7, SIZE)).astype(np.float32)
METRICS: list[Metric] = ["cosine", "inner_product", "l2"]


def table(matrix: np.ndarray = MATRIX, ids: list | None = None) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(matrix.ravel(), matrix.shape[1])
    return pa.table({"id": list(range(100, 100 + len(matrix))) if ids is None else ids, "vector": vectors})


def by_definition(metric: Metric) -> np.ndarray:
    """Scores FP64 [queries, items]."""
    matrix, queries = MATRIX.astype(float), QUERIES.astype(float)
    if metric == "l2":
        return -np.linalg.norm(queries[:, None] - matrix, axis=-1)
    products = queries @ matrix.T
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(matrix, axis=1)
    return products / lengths if metric == "cosine" else products


@pytest.mark.parametrize("kind", ["exact", "faiss"])
@pytest.mark.parametrize("metric", METRICS)
def test_the_nearest_items_are_found(folder: Path, metric: Metric, kind: str) -> None:
    written = write_index(folder, table(), "id", "vector", metric, kind)  # type: ignore[arg-type]
    servable = load_servable(folder, LoadOptions(k=5))
    assert {name: str(spec) for name, spec in (servable.signature.inputs or {}).items()} == {"vector": "FP32[-1, 8]"}
    assert {name: str(spec) for name, spec in (servable.signature.outputs or {}).items()} == {
        "ids": "INT64[-1, 5]",
        "scores": "FP32[-1, 5]",
    }
    found, scores = servable({"vector": QUERIES}), by_definition(metric)
    np.testing.assert_array_equal(found["ids"], 100 + np.argsort(-scores, axis=1)[:, :5])
    np.testing.assert_allclose(found["scores"], -np.sort(-scores, axis=1)[:, :5], rtol=1e-5)
    assert (found["ids"].dtype, found["scores"].dtype) == (np.int64, np.float32)
    assert (written.recall_at_10 or 1) > 0.95
    rows = warmup_rows(folder, servable.signature)
    assert rows is not None
    assert servable(rows)["ids"][0, 0] == 100 or metric == "inner_product"
    servable.close()


@pytest.mark.parametrize("kind", ["exact", "faiss"])
def test_an_answer_does_not_depend_on_the_other_rows(folder: Path, kind: str) -> None:
    write_index(folder, table(), "id", "vector", "cosine", kind)  # type: ignore[arg-type]
    servable = load_servable(folder, LoadOptions(k=5))
    together = servable({"vector": QUERIES})
    for row in range(len(QUERIES)):
        alone = servable({"vector": QUERIES[row : row + 1]})
        assert alone["scores"][0].tobytes() == together["scores"][row].tobytes()
        np.testing.assert_array_equal(alone["ids"][0], together["ids"][row])


ROWS = st.lists(st.sampled_from([-1e6, -1.0, 0.0, 1e-3, 1.0, 1e6]), min_size=3, max_size=3)


@given(
    st.lists(ROWS, min_size=3, max_size=20),
    st.sampled_from(["inner_product", "l2"]),
)
def test_of_equally_near_items_the_first_comes_first(rows: list[list[float]], metric: Metric) -> None:
    matrix = np.array(rows, np.float32)
    exact = matrix.astype(float)
    for query in exact:
        scores = exact @ query if metric == "inner_product" else -np.linalg.norm(exact - query, axis=1)
        positions, found = Vectors.of(matrix, metric).nearest(query[None].astype(np.float32), 3)
        assert positions[0].tolist() == np.argsort(-scores, kind="stable")[:3].tolist()
        np.testing.assert_allclose(found[0], scores[positions[0]], rtol=1e-6)


@pytest.mark.parametrize(("items", "queries", "apart"), [(1e-24, 1.0, 1e-7), (1e-15, 1e-27, 1e-3)])
@pytest.mark.parametrize("metric", ["inner_product", "l2"])
def test_tiny_vectors_are_told_apart(items: float, queries: float, apart: float, metric: Metric) -> None:
    alike = MATRIX[0] * (1 + apart * np.random.default_rng(0).integers(-3, 4, (ITEMS, SIZE)))
    matrix, asked = (alike * items).astype(np.float32), (QUERIES * queries).astype(np.float32)
    exact, wanted = matrix.astype(float), asked.astype(float)[:, None]
    scores = (exact * wanted).sum(axis=-1) if metric == "inner_product" else -np.sqrt(((exact - wanted) ** 2).sum(-1))
    found, _ = Vectors.of(matrix, metric).nearest(asked, 5)
    np.testing.assert_array_equal(found, np.argsort(-scores, axis=1, kind="stable")[:, :5])


def test_ids_may_be_texts_and_pieces_of_a_table_are_one(folder: Path) -> None:
    ids = [f"ä{number}" * (number % 3) + str(number) for number in range(ITEMS)]
    pieces = [table(ids=ids).slice(0, 10), table(ids=ids).slice(10)]
    write_index(folder, pa.concat_tables(pieces), "id", "vector")
    servable = load_servable(folder, LoadOptions(k=1))
    found = servable({"vector": MATRIX[:20]})["ids"]
    assert [text.decode() for text in found[:, 0]] == ids[:20]
    assert str((servable.signature.outputs or {})["ids"]) == "BYTES[-1, 1]"


def test_vectors_that_are_near_to_nothing_are_named(folder: Path) -> None:
    write_index(folder, table(), "id", "vector")
    bad = np.array([[0] * SIZE, [1] * SIZE, [np.nan] * SIZE, [-np.inf] * SIZE, [1e16] * SIZE], np.float32)
    with pytest.raises(RowErrors) as error:
        load_servable(folder, LoadOptions(k=1))({"vector": bad})
    assert sorted(error.value.reasons) == [0, 2, 3, 4]
    assert "no direction" in error.value.reasons[0]
    assert "NaN or infinity" in error.value.reasons[2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"id": [1, 2, 1]}, "1 stands in rows 0 and 2; a key has one row"),
        ({"vector": [[1.0, 2.0], [1.0], [3.0, 4.0]]}, "item 8 has 1 numbers, item 7 2; all need as many"),
        ({"vector": [[1.0, 2.0], None, [3.0, 4.0]]}, r"gaps \(null\)"),
        ({"vector": [[1.0], [2.0], [np.nan]]}, "the vector of item 9 holds NaN"),
        ({"vector": [[1.0], [0.0], [2.0]]}, "the vector of item 8 is all zeros"),
        ({"vector": [1.0, 2.0, 3.0]}, "holds double; a vector is a list of numbers"),
        ({"vektor": [1, 2, 3], "vector": None}, "no column 'vector'; the table has id, vektor"),
    ],
)
def test_what_cannot_be_an_index_is_refused(folder: Path, rows: dict, message: str) -> None:
    columns = {"id": [7, 8, 9], "vector": [[1.0], [2.0], [3.0]], **rows}
    given = pa.table({name: column for name, column in columns.items() if column is not None})
    with pytest.raises(ModelError, match=message):
        write_index(folder, given, "id", "vector")


def test_there_must_be_as_many_items_as_are_to_be_found(folder: Path) -> None:
    write_index(folder, table(MATRIX[:4]), "id", "vector")
    with pytest.raises(ModelError, match="holds 4 items, fewer than the 5 that are to be found; give the node `k: 4`"):
        load_servable(folder, LoadOptions(k=5))
    with pytest.raises(ModelError, match="a node serves it by `retrieve:`"):
        load_servable(folder, LoadOptions())
    with pytest.raises(ModelError, match="no rows"):
        write_index(folder.parent, table().slice(0, 0), "id", "vector")


def test_damaged_files_are_named(folder: Path) -> None:
    write_index(folder, table(ids=[str(number) for number in range(ITEMS)]), "id", "vector", kind="faiss")
    options = LoadOptions(k=5)
    for path in sorted(path for path in folder.iterdir() if path.name not in ("warmup.json", "ids.bytes")):
        content = path.read_bytes()
        foreign = b"\xff" * len(content) if path.name != NEIGHBOURS else b""  # there it says that nobody has any
        for damaged in (b"", content[: len(content) // 2], content + b"0000", foreign):
            path.write_bytes(damaged)
            with pytest.raises(ModelError, match=rf"{path.name}.* again"):
                index_format.load(folder, options)
        path.unlink()
        with pytest.raises(ModelError, match=rf"{path.name} (is missing|cannot be read)"):
            index_format.load(folder, options)
        path.write_bytes(content)
    for wrong in ({"metric": "l3"}, {"items": -1}, {"layout": 2}, {"entry": ITEMS}, {"code": "os.system"}):
        about = json.loads((folder / "index.json").read_text())
        (folder / "wrong").mkdir(exist_ok=True)
        for path in folder.glob("[giv]*.*"):
            (folder / "wrong" / path.name).write_bytes(path.read_bytes())
        (folder / "wrong" / "index.json").write_text(json.dumps({**about, **wrong}))
        with pytest.raises(ModelError, match="publish the index again"):
            index_format.load(folder / "wrong", options)


@pytest.mark.parametrize(("name", "value"), [(LEVELS, 99), (LEVELS, 0), (NEIGHBOURS, ITEMS), (NEIGHBOURS, -2)])
def test_a_graph_that_leads_out_of_the_index_never_reaches_faiss(folder: Path, name: str, value: int) -> None:
    write_index(folder, table(), "id", "vector", kind="faiss")
    numbers = np.fromfile(folder / name, np.int32)
    numbers[len(numbers) // 2] = value
    numbers.tofile(folder / name)
    with pytest.raises(ModelError, match=f"{name} is no graph of the index's items"):
        index_format.load(folder, LoadOptions(k=1))


def test_a_neighbour_that_is_not_on_a_level_never_reaches_faiss(folder: Path) -> None:
    index = write_index(folder, table(), "id", "vector", kind="faiss")
    levels, numbers = np.fromfile(folder / LEVELS, np.int32), np.fromfile(folder / NEIGHBOURS, np.int32)
    assert index.entry is not None
    assert levels[index.entry] == levels.max() > 1
    first = int(np.where(levels == 1, 64, 64 + 32 * (levels - 1))[: index.entry].sum())
    numbers[first + 64] = np.flatnonzero(levels == 1)[0]
    numbers.tofile(folder / NEIGHBOURS)
    with pytest.raises(ModelError, match="is no graph"):
        index_format.load(folder, LoadOptions(k=1))


def test_offsets_and_vectors_are_looked_at(folder: Path) -> None:
    write_index(folder, table(ids=[str(number) for number in range(ITEMS)]), "id", "vector")
    offsets = np.fromfile(folder / OFFSETS, np.int64)
    offsets[1], offsets[2] = offsets[2], offsets[1]
    offsets.tofile(folder / OFFSETS)
    with pytest.raises(ModelError, match="offsets must rise"):
        index_format.load(folder, LoadOptions(k=1))
    np.full(ITEMS * SIZE, np.inf, np.float32).tofile(folder / VECTORS)
    with pytest.raises(ModelError, match="no finite numbers"):
        index_format.load(folder, LoadOptions(k=1))
