"""Make a node ready to be called: import its callable, load its model, bind its ensemble."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ConfigError, MillraceError
from configs.graph import CallNode, EnsembleNode, ModelNode, SwitchNode
from configs.tensors import Rows, Signature
from graphs.callables import UserCallable, declared_signature, import_callable
from graphs.ensembles import combine
from graphs.flat import CASE, FlatNode
from graphs.switches import case_codes, confidence
from servables.base import LoadOptions, Servable
from servables.load import load_servable
from servables.store import find_version


def _nothing() -> None:
    """A node without `warmup` or `close`."""


@dataclass(frozen=True)
class Instance:
    """A loaded node. `call` gets named arrays; a coroutine node's `call` returns an awaitable."""

    name: str
    call: Callable[[Rows], Any]
    signature: Signature
    version: str = ""
    """Version of the node's servable; empty for code."""
    warmup: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing


def load_instance(node: FlatNode, root: Path, options: LoadOptions) -> Instance:
    """Load one node.

    Args:
        root: the folder that relative paths of models start from.

    Raises:
        ConfigError, ModelError, MissingExtra: the message names the node, the reason and the remedy.
    """
    try:
        match node.config:
            case CallNode() as config:
                return _load_call(node, config)
            case ModelNode() as config:
                return _load_model(node, config, root, options)
            case EnsembleNode() as config:
                return _load_ensemble(node, config, root, options)
            case SwitchNode() as config:
                return _load_switch(node, config)
    except MillraceError as error:
        raise type(error)(f"node {node.name}: {error.message}") from error
    raise TypeError(f"node {node.name}: no loader for {type(node.config).__name__}")


def _load_call(node: FlatNode, config: CallNode) -> Instance:
    user = import_callable(config.call)
    if not user.is_class:
        signature = declared_signature(user.target, user.path)
        return Instance(node.name, _keywords(partial(user.target, **config.with_)), signature)
    instance = _construct(user, config.with_)
    return Instance(
        node.name,
        _keywords(instance),
        declared_signature(instance, user.path),
        warmup=getattr(instance, "warmup", _nothing),
        close=getattr(instance, "close", _nothing),
    )


def _construct(user: UserCallable, arguments: Mapping[str, Any]) -> Callable[..., Any]:
    try:
        instance: Callable[..., Any] = user.target(**arguments)
    except MillraceError:
        raise
    except Exception as error:  # user code may raise anything; the deployment must say why it failed
        raise ConfigError(f"{user.path} could not be constructed: {type(error).__name__}: {error}") from error
    return instance


def _keywords(function: Callable[..., Any]) -> Callable[[Rows], Any]:
    return lambda rows: function(**rows)


def _load_model(node: FlatNode, config: ModelNode, root: Path, options: LoadOptions) -> Instance:
    version = find_version(root / config.model, config.version)
    servable = load_servable(version.path, _trusting(options, config.trust), config.format)
    _check_inputs(node, servable.signature)
    return Instance(
        node.name,
        servable,
        servable.signature,
        str(version.number),
        warmup=partial(_warm, servable, config.batch.max_rows if config.batch else 1),
        close=servable.close,
    )


def _check_inputs(node: FlatNode, signature: Signature) -> None:
    if signature.inputs is not None and set(signature.inputs) != set(node.inputs):
        raise ConfigError(
            f"the graph gives inputs {', '.join(sorted(node.inputs))}; "
            f"the model takes {', '.join(f'{name} {spec}' for name, spec in sorted(signature.inputs.items()))}"
        )


def _warm(servable: Servable, max_rows: int) -> None:
    """Call the model with zeros, one row and then a full batch, so that no request pays for first use."""
    inputs = servable.signature.inputs or {}
    if any(spec.datatype == "BYTES" for spec in inputs.values()):
        return
    for rows in sorted({1, max_rows}):
        zeros = {
            name: np.zeros((rows, *(max(size, 1) for size in spec.shape[1:])), spec.datatype.dtype)
            for name, spec in inputs.items()
        }
        servable(zeros)


def _load_ensemble(node: FlatNode, config: EnsembleNode, root: Path, options: LoadOptions) -> Instance:
    if config.ensemble == "stacking":
        assert config.model is not None
        return _load_stacking(node, config, config.model, root, options)
    if ":" in config.ensemble:
        user = import_callable(config.ensemble)
        call = _construct(user, {}) if user.is_class else user.target
        return Instance(node.name, lambda rows: call(list(rows.values())), declared_signature(call, user.path))
    return Instance(node.name, lambda rows: combine(config.ensemble, list(rows.values()), config.weights), Signature())


def _load_stacking(node: FlatNode, config: EnsembleNode, model: str, root: Path, options: LoadOptions) -> Instance:
    version = find_version(root / model)
    servable = load_servable(version.path, _trusting(options, config.trust))
    inputs = list(servable.signature.inputs or {})
    if len(inputs) != 1:
        raise ConfigError(f"stacking needs a model with one input; {model} has {', '.join(inputs) or 'none declared'}")

    def call(rows: Rows) -> Rows:
        return servable({inputs[0]: combine("concat", list(rows.values()), None)["concat"]})

    signature = Signature(outputs=servable.signature.outputs)
    return Instance(node.name, call, signature, str(version.number), partial(_warm, servable, 1), servable.close)


def _trusting(options: LoadOptions, trust: str | None) -> LoadOptions:
    return options.model_copy(update={"trust": trust})


def _load_switch(node: FlatNode, config: SwitchNode) -> Instance:
    names = list(node.cases)
    if config.switch == "confidence":
        threshold = float(config.with_["threshold"])

        decide: Callable[[Rows], Any] = lambda rows: confidence(rows["scores"], threshold)  # noqa: E731
    else:
        user = import_callable(config.switch)
        decide = _keywords(_construct(user, config.with_) if user.is_class else partial(user.target, **config.with_))

    def call(rows: Rows) -> Rows:
        return {CASE: case_codes(decide(rows), names, len(next(iter(rows.values()))))}

    return Instance(node.name, call, Signature())
