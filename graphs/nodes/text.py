"""Text node: tokenise with a Hugging Face `tokenizer.json`."""

from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ConfigError, InvalidInput
from configs.tensors import Rows
from servables.extras import require

# Names that padding tokens usually have, for files that do not say which one is theirs.
_PADDING_TOKENS = ("[PAD]", "<pad>", "<|padding|>", "<|endoftext|>")


class Tokenise:
    """Text → token ids of one length: longer texts are cut, shorter ones padded, so that rows batch.

    Input `text` BYTES [-1], UTF-8; outputs `ids` INT64 [-1, max_length] and `mask` INT64 of the same
    shape, 1 for tokens and 0 for padding. Padding is the file's own; if it has none, its padding token
    by name, else id 0.

    Args:
        tokenizer: path of a `tokenizer.json`.
        max_length: tokens a row, special tokens included.

    Raises:
        ConfigError: the file cannot be read, or max_length leaves no room beside the special tokens.
        MissingExtra: tokenizers is not installed.
    """

    def __init__(self, tokenizer: str, max_length: int) -> None:
        self._tokenizer = _load(Path(tokenizer))
        special = self._tokenizer.num_special_tokens_to_add(False)
        if max_length <= special:
            raise ConfigError(
                f"max_length is {max_length}, but {tokenizer} adds {special} special tokens; give {special + 1} or more"
            )
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.enable_padding(**_padding(self._tokenizer), length=max_length)
        self.inputs = {"text": ("BYTES", [-1])}
        self.outputs = {"ids": ("INT64", [-1, max_length]), "mask": ("INT64", [-1, max_length])}

    def __call__(self, text: np.ndarray) -> Rows:
        """Tokenise each row. Raises InvalidInput naming the row that is not UTF-8."""
        encoded = self._tokenizer.encode_batch_fast([_decode(row, data) for row, data in enumerate(text)])
        return {
            "ids": np.array([row.ids for row in encoded], dtype=np.int64),
            "mask": np.array([row.attention_mask for row in encoded], dtype=np.int64),
        }


def _decode(row: int, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"text in row {row} is not UTF-8: {error.reason} at byte {error.start}") from error


def _padding(tokenizer: Any) -> dict[str, Any]:
    """The file's own padding without its length, or a padding token found by name."""
    own = tokenizer.padding
    if own is not None:
        return {name: own[name] for name in ("direction", "pad_id", "pad_type_id", "pad_token")}
    for token in _PADDING_TOKENS:
        number = tokenizer.token_to_id(token)
        if number is not None:
            return {"pad_id": number, "pad_token": token}
    return {"pad_id": 0}


def _load(path: Path) -> Any:
    library = require("tokenizers", "text")
    if not path.is_file():
        raise ConfigError(f"no tokenizer at {path}; give the path of a tokenizer.json")
    try:
        return library.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for every file that it cannot read
        raise ConfigError(f"cannot read the tokenizer {path}: {error}") from error
