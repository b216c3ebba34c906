"""Vectors to search among, and others to search for."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from configs.errors import RowErrors
from examples.recommender.data import load
from examples.recommender.embed import Embed, train

QUERIES = 500
CENTRES = 1000
WITHIN = 16
"""Directions in which the items of one centre differ."""
MEANINGFUL = 60
"""Characters of a sentence that says something."""


class Vectors(NamedTuple):
    """FP32; what is searched for is not among the items."""

    name: str
    items: np.ndarray
    queries: np.ndarray


def made_up(count: int, size: int = 128) -> Vectors:
    """Items in groups, as embeddings are; each group lies in a plane of few dimensions, with a little noise."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CENTRES, size))
    planes = random.normal(size=(CENTRES, WITHIN, size)) / np.sqrt(WITHIN)
    found = np.empty((count + QUERIES, size), np.float32)
    for rows in np.array_split(np.arange(len(found)), max(1, len(found) // 10_000)):
        groups = random.integers(CENTRES, size=len(rows))
        inside = np.einsum("rw,rws->rs", random.normal(size=(len(rows), WITHIN)), planes[groups])
        found[rows] = centres[groups] + inside + 0.1 * random.normal(size=(len(rows), size))
    return Vectors("made up", found[:count], found[count:])


def sentences() -> Vectors:
    """The sentences of the docstrings of NumPy, SciPy and scikit-learn, as the demo's model embeds them."""
    items = load()
    with TemporaryDirectory() as folder:
        train([item.text for item in items], Path(folder))
        embed = Embed(Path(folder))
    texts = sorted({part.strip() for item in items for part in item.text.split(". ") if len(part) > MEANINGFUL})
    # Without those that are alike to the model: whichever of equally near ones is found is right.
    found = np.unique(_known(embed, np.array([text.encode() for text in texts], object)), axis=0)
    order = np.random.default_rng(0).permutation(len(found))
    return Vectors("sentences", found[order[QUERIES:]], found[order[:QUERIES]])


def _known(embed: Embed, texts: np.ndarray) -> np.ndarray:
    """Vectors of the texts that have any."""
    try:
        return embed(texts)["vector"]
    except RowErrors as error:
        return embed(np.delete(texts, list(error.reasons)))["vector"]
