"""Tokenise: ids and masks of one length from a real tokenizer file."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from configs.errors import ConfigError, InvalidInput
from graphs.nodes import Tokenise

VOCABULARY = {"[UNK]": 0, "[CLS]": 1, "[PAD]": 2, "good": 3, "bad": 4, "day": 5}


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    built = Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]"))
    built.pre_tokenizer = Whitespace()
    built.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    built.save(str(tmp_path / "tokenizer.json"))
    return str(tmp_path / "tokenizer.json")


def texts(*values: str) -> np.ndarray:
    return np.array([value.encode() for value in values], dtype=object)


def test_short_texts_are_padded_and_long_ones_cut(tokenizer: str) -> None:
    rows = Tokenise(tokenizer, max_length=4)(texts("good day", "bad", "good good bad bad day", ""))
    assert rows["ids"].tolist() == [[1, 3, 5, 2], [1, 4, 2, 2], [1, 3, 3, 4], [1, 2, 2, 2]]
    assert rows["mask"].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]
    assert rows["ids"].dtype == rows["mask"].dtype == np.int64


def test_padding_of_the_file_is_kept_but_for_its_length(tokenizer: str) -> None:
    loaded = Tokenizer.from_file(tokenizer)
    loaded.enable_padding(direction="left", pad_id=0, pad_token="[UNK]", length=9)
    loaded.save(tokenizer)
    assert Tokenise(tokenizer, max_length=3)(texts("day"))["ids"].tolist() == [[0, 1, 5]]


def test_signature_has_the_length(tokenizer: str) -> None:
    assert Tokenise(tokenizer, max_length=7).outputs == {"ids": ("INT64", [-1, 7]), "mask": ("INT64", [-1, 7])}


def test_bytes_that_are_not_text_are_refused_by_row(tokenizer: str) -> None:
    rows = np.array([b"good", b"ba\xff"], dtype=object)
    with pytest.raises(InvalidInput, match=r"text in row 1 is not UTF-8: .* at byte 2"):
        Tokenise(tokenizer, max_length=4)(rows)


def test_arguments_that_cannot_work(tokenizer: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_length is 1, but .* adds 1 special tokens; give 2 or more"):
        Tokenise(tokenizer, max_length=1)
    with pytest.raises(ConfigError, match=r"no tokenizer at .*missing.json"):
        Tokenise(str(tmp_path / "missing.json"), max_length=4)
    (tmp_path / "broken.json").write_text(json.dumps({"model": 1}))
    with pytest.raises(ConfigError, match=r"cannot read the tokenizer .*broken.json"):
        Tokenise(str(tmp_path / "broken.json"), max_length=4)
