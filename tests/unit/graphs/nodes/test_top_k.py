"""TopK: order, ties, label names, misfits."""

from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError
from graphs.nodes import TopK

SCORES = np.array([[0.1, 0.7, 0.2], [0.4, 0.2, 0.4], [0.3, 0.3, 0.3]], np.float32)


def test_one_class_a_row_and_the_lowest_index_of_equal_scores() -> None:
    top = TopK()(SCORES)
    assert top["label"].dtype == np.int64
    assert top["label"].tolist() == [[1], [0], [0]]
    assert top["score"].dtype == np.float32
    assert top["score"].tolist() == SCORES.max(axis=1, keepdims=True).tolist()


def test_several_classes_best_first() -> None:
    top = TopK(k=2)(SCORES)
    assert top["label"].tolist() == [[1, 2], [0, 2], [0, 1]]
    assert top["score"].tolist() == np.take_along_axis(SCORES, top["label"], axis=1).tolist()


@pytest.mark.parametrize("k", [1, 2, 7, 50])
def test_agrees_with_a_full_stable_sort_of_many_ties(k: int) -> None:
    scores = np.random.default_rng(0).integers(0, 9, (40, 50)).astype(np.float32)
    assert (TopK(k)(scores)["label"] == np.argsort(-scores, axis=1, kind="stable")[:, :k]).all()


@pytest.mark.parametrize("k", [1, 2])
def test_nan_ranks_last(k: int) -> None:
    top = TopK(k)(np.array([[np.nan, 0.1, 0.9]], np.float32))
    assert top["label"].tolist() == [[2, 1][:k]]


def test_label_file_adds_names(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\nÉlan\n", encoding="utf-8")
    top_k = TopK(k=2, labels=str(path))
    top = top_k(SCORES)
    assert top["name"].tolist() == [[b"dog", "Élan".encode()], [b"cat", "Élan".encode()], [b"cat", b"dog"]]
    assert top_k.inputs == {"scores": ("FP32", [-1, 3])}
    assert set(top_k.outputs) == set(top)


def test_more_classes_asked_for_than_scored() -> None:
    with pytest.raises(ValueError, match="k is 4, but the scores have 3 classes"):
        TopK(k=4)(SCORES)


def test_scores_with_another_number_of_classes_than_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"3 classes, but .*labels.txt names 2"):
        TopK(labels=str(path))(SCORES)
    with pytest.raises(ConfigError, match=r"k is 3, but .* names only 2"):
        TopK(k=3, labels=str(path))


def test_scores_without_a_class_axis() -> None:
    with pytest.raises(ValueError, match=r"shape \[3\]; TopK takes \[rows, classes\]"):
        TopK()(SCORES[:, 0])


def test_arguments_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="k is 0"):
        TopK(k=0)
    with pytest.raises(ConfigError, match="cannot read the label file"):
        TopK(labels=str(tmp_path / "missing.txt"))
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        TopK(labels=str(tmp_path / "empty.txt"))
