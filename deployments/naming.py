"""Which of a graph's many models a request names beside its inputs: by `<graph>.<model>`, or by a header."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ModelError, NotFound
from configs.graph import ModelsNode
from configs.log import LOGGER
from configs.tensors import Signature
from graphs.flat import FlatGraph
from servables.shelf import Shelf, unknown
from servables.sources.named import is_remote
from servables.store import is_name

MODEL_HEADER = "x-model"
"""HTTP header and gRPC metadata: the model of all rows."""

logger = logging.getLogger(LOGGER)


@dataclass(frozen=True)
class Naming:
    """What a graph of many models is to a request that names one of them."""

    input: str
    """The graph's input that names the model of each row, where nothing else does."""
    signature: Signature
    """The graph's, without that input."""
    shelves: Sequence[Shelf]
    """Where the models lie; only places of this machine."""

    def check(self, name: str, model: str) -> None:
        """Look whether a model is there. Reads disks; a model of a remote place is taken to be there.

        Args:
            name: `<graph>.<model>`, for the message.

        Raises:
            NotFound: it is not.
            ModelError: it cannot be read.
        """
        for shelf in self.shelves:
            try:
                shelf.versions(model)
            except NotFound:
                raise unknown(name) from None

    def models(self) -> list[str]:
        """The models that are there. Reads disks. Of remote places none is known."""
        listed = [_names(shelf) for shelf in self.shelves]
        return sorted(set.intersection(*listed)) if listed else []


def naming_of(flat: FlatGraph, signature: Signature, root: Path) -> Naming | None:
    """How requests of a graph may name a model; None if they cannot.

    Without other inputs nobody would know how many rows there are.

    Args:
        signature: of the graph, known.
        root: the folder that the graph's paths start from.
    """
    others = {name: spec for name, spec in (signature.inputs or {}).items() if name != flat.model_input}
    if flat.model_input is None or not others:
        return None
    places = [node.config.models for node in flat.nodes.values() if isinstance(node.config, ModelsNode)]
    shelves = [Shelf(place, root) for place in places if not is_remote(place)]
    return Naming(flat.model_input, Signature(inputs=others, outputs=signature.outputs), shelves)


def _names(shelf: Shelf) -> set[str]:
    try:
        return {name for name in shelf.names() if is_name(name)}
    except ModelError as error:  # what else there is, is listed all the same
        logger.warning("models cannot be listed: %s", error.message)
        return set()
