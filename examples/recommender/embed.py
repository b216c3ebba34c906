"""Texts as vectors: words that stand in the same texts point the same way (latent semantic analysis)."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from configs.errors import RowErrors

SIZE = 128
"""Of a vector."""
WORD = r"[a-z]{3,}"
TERMS = "terms.txt"
WEIGHTS = "weights.npy"


class Embed:
    """`text` BYTES [-1] → `vector` FP32 [-1, 128], by the words and weights in the version's folder."""

    inputs: ClassVar = {"text": ("BYTES", [-1])}
    outputs: ClassVar = {"vector": ("FP32", [-1, SIZE])}

    def __init__(self, folder: Path) -> None:
        self._terms = {term: row for row, term in enumerate((folder / TERMS).read_text().split())}
        self._weights = np.load(folder / WEIGHTS, allow_pickle=False)

    def __call__(self, text: np.ndarray) -> dict[str, np.ndarray]:
        """One vector a text. Raises RowErrors for texts without a word that is known."""
        found = [self._counts(each) for each in text]
        if bad := {row: "the text has no word that the model knows" for row, each in enumerate(found) if not each}:
            raise RowErrors(bad)
        return {"vector": np.stack([self._vector(each) for each in found])}

    def _counts(self, text: bytes) -> Counter[int]:
        words = re.findall(WORD, text.decode(errors="replace").lower())
        return Counter(self._terms[word] for word in words if word in self._terms)

    def _vector(self, counts: Counter[int]) -> np.ndarray:
        often = 1 + np.log(np.array(list(counts.values()), np.float32))
        return np.asarray(often @ self._weights[list(counts)], np.float32)


def train(texts: Sequence[str], folder: Path) -> None:
    """Learn words and weights from texts, and write a version's files into `folder`."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.5, token_pattern=WORD)
    parts = TruncatedSVD(SIZE, random_state=0).fit(counts.fit_transform(texts))
    weights = counts.idf_[:, None] * parts.components_.T
    (folder / TERMS).write_text("\n".join(counts.get_feature_names_out()) + "\n")
    np.save(folder / WEIGHTS, weights.astype(np.float32), allow_pickle=False)
    (folder / "signature.json").write_text(json.dumps({"module": f"{Embed.__module__}:{Embed.__name__}"}) + "\n")
    sample = {"text": list(texts[:2])}
    (folder / "warmup.json").write_text(json.dumps(sample) + "\n")
