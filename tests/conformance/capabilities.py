"""The optional parts of the protocol, and how a server announces each of them."""

from collections.abc import Iterable

EXTENSIONS: dict[str, tuple[str, ...]] = {
    "binary": ("binary_tensor_data",),
    "classification": ("classification",),
    "config": ("model_configuration",),
    "statistics": ("statistics",),
    "repository": ("model_repository",),
    "parameters": ("parameters",),
    "schedule": ("schedule_policy",),
    "sequence": ("sequence",),
    "string_ids": ("sequence(string_id)",),
    # The sequence extension is where ModelStreamInfer is described.
    "streaming": ("sequence",),
    # No public extension names these: they are on when the server announces the capability's own name, or by --with.
    "compression": (),
    "decoupled": (),
    "generate": (),
    "grpc_health": (),
    "load": (),
    "model_list": (),
    "predict": (),
    "reflection": (),
}
"""Capability → names in the server metadata's `extensions`, each of which announces it."""


def announced(extensions: Iterable[str]) -> set[str]:
    """The capabilities that a server announces, by an extension's name or by the capability's own."""
    said = set(extensions)
    return {name for name, names in EXTENSIONS.items() if said & {name, *names}}


def chosen(extensions: Iterable[str], with_: str, without: str) -> set[str]:
    """What is announced, plus `with_`, minus `without`: lists with commas, or `all`. Raises ValueError for others."""
    return (announced(extensions) | _listed(with_)) - _listed(without)


def _listed(text: str) -> set[str]:
    names = {name.strip() for name in text.split(",")} - {""}
    if names == {"all"}:
        return set(EXTENSIONS)
    if unknown := names - set(EXTENSIONS):
        raise ValueError(f"no such capability: {', '.join(sorted(unknown))}; there are {', '.join(EXTENSIONS)}")
    return names
