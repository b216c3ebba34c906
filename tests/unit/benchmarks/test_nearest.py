"""The benchmark of vector indexes, small."""

from contextlib import nullcontext

from benchmarks.nearest.__main__ import line, measure
from benchmarks.nearest.vectors import made_up


def test_an_index_is_measured_beside_the_exact_one() -> None:
    vectors = made_up(300, size=8)
    exact, right = measure(vectors, "exact", lambda threads: nullcontext(), None)
    graph, found = measure(vectors, "faiss", lambda threads: nullcontext(), right)
    assert right.shape == found.shape == (500, 10)
    assert exact.recall == 1
    assert graph.recall > 0.95
    assert line(graph).startswith("| made up | 300 | faiss | ")
