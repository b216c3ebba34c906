"""The items: what NumPy, SciPy and scikit-learn say of their functions, and which others their authors recommend."""

import importlib
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

MODULES = (
    *("numpy", "numpy.linalg", "numpy.fft", "numpy.random", "numpy.ma", "numpy.polynomial"),
    *("scipy.linalg", "scipy.stats", "scipy.signal", "scipy.optimize", "scipy.sparse", "scipy.sparse.linalg"),
    *("scipy.special", "scipy.interpolate", "scipy.ndimage", "scipy.spatial", "scipy.spatial.distance"),
    *("scipy.cluster.hierarchy", "scipy.fft", "scipy.integrate", "scipy.io"),
    *("sklearn.metrics", "sklearn.linear_model", "sklearn.cluster", "sklearn.ensemble", "sklearn.decomposition"),
    *("sklearn.preprocessing", "sklearn.model_selection", "sklearn.datasets", "sklearn.feature_extraction.text"),
    *("sklearn.manifold", "sklearn.svm", "sklearn.tree", "sklearn.neighbors", "sklearn.pipeline"),
    *("sklearn.feature_selection", "sklearn.impute", "sklearn.naive_bayes", "sklearn.mixture", "sklearn.inspection"),
    *("sklearn.gaussian_process", "sklearn.covariance"),
)
"""Where to look; what several modules have counts for the first."""
SHORTEST = 200
"""Characters of a text that says something."""

_SEE_ALSO = re.compile(r"^See Also\n-{4,}\n(.*?)(?=^\S[^\n]*\n-{3,}\n|\Z)", re.MULTILINE | re.DOTALL)
_NAMES = re.compile(r"[\w.]+(,\s*[\w.]+)*")


@dataclass(frozen=True)
class Item:
    """One function or class."""

    id: str
    """Its import path."""
    text: str
    """Its docstring, without the section `See Also`."""
    related: frozenset[str]
    """Items that this section names: the authors' own recommendations."""


def load(modules: Sequence[str] = MODULES) -> list[Item]:
    """All items of the modules, in order. Imports them."""
    texts = _texts(modules)
    found = []
    for name, text in texts.items():
        section = _SEE_ALSO.search(text)
        related = frozenset(_related(name, section[1], texts)) if section else frozenset()
        found.append(Item(name, _SEE_ALSO.sub("", text), related - {name}))
    return found


def _texts(modules: Sequence[str]) -> dict[str, str]:
    """Import path → docstring."""
    found: dict[int, tuple[str, str]] = {}
    with warnings.catch_warnings(action="ignore"):  # of what is deprecated
        for name in modules:
            module = importlib.import_module(name)
            for attribute in sorted(set(getattr(module, "__all__", dir(module)))):
                value = vars(module).get(attribute)  # not what is experimental, which raises when it is asked for
                text = inspect.cleandoc(getattr(value, "__doc__", None) or "")
                public = callable(value) and not attribute.startswith("_")
                if public and len(text) >= SHORTEST:
                    found.setdefault(id(value), (f"{name}.{attribute}", text))
    return dict(found.values())


def _related(name: str, section: str, texts: Mapping[str, str]) -> Iterator[str]:
    """The items that a section names: a line that is not indented is a list of some, up to a colon."""
    module, package = name.rpartition(".")[0], name.partition(".")[0]
    for line in section.splitlines():
        names = line.replace("`", "").partition(" :")[0].rstrip(",: ")
        for other in re.split(r",\s*", names) if _NAMES.fullmatch(names) else ():
            paths = (f"{module}.{other}", other, f"{package}.{other}")
            yield from [path for path in paths if path in texts][:1]
