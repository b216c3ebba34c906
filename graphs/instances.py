"""Make a node ready to be called: import its callable, load its model, bind its ensemble."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ConfigError, MillraceError, ModelError
from configs.graph import CallNode, EnsembleNode, LookupNode, ModelNode, RetrieveNode, ServableNode, SwitchNode
from configs.tensors import Rows, Signature
from graphs.callables import UserCallable, declared_signature, import_callable
from graphs.ensembles import combine
from graphs.flat import CASE, FlatNode
from graphs.switches import case_codes, confidence
from servables.base import LoadOptions, Servable
from servables.load import load_servable
from servables.samples import batch_sizes, repeated, warmup_rows
from servables.sources.aside import LONG_S
from servables.sources.base import Local
from servables.sources.named import source_of


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
    warmup: Callable[[], object] = _nothing
    close: Callable[[], object] = _nothing
    dtypes: Mapping[str, np.dtype] = field(default_factory=dict)
    """Output → dtype, as declared by the node; BYTES are absent, since several dtypes hold them."""


def load_instance(
    node: FlatNode, root: Path, options: LoadOptions, number: int | None = None, content: str = ""
) -> Instance:
    """Load one node.

    Args:
        root: the folder that relative paths of models start from.
        number: the version to load; None: the one that the node's config says, or the newest.
        content: what it must be, of a version that is fetched; see `servables.sources.base`.

    Raises:
        ConfigError, ModelError, MissingExtra: the message names the node, the reason and the remedy.
    """
    try:
        instance = _load(node, root, options, number, content)
    except MillraceError as error:
        raise type(error)(f"node {node.name}: {error.message}") from error
    declared = instance.signature.outputs or node.config.outputs or {}
    dtypes = {name: spec.datatype.dtype for name, spec in declared.items() if spec.datatype != "BYTES"}
    return replace(instance, dtypes=dtypes)


def warm_up(instance: Instance) -> None:
    """Run a node's warm-up. Raises ModelError that names the node and the reason."""
    try:
        instance.warmup()
    except Exception as error:  # user code may raise anything; the deployment must say why it failed
        raise ModelError(f"node {instance.name}: warm-up failed: {type(error).__name__}: {error}") from error


def _load(node: FlatNode, root: Path, options: LoadOptions, number: int | None, content: str) -> Instance:
    match node.config:
        case CallNode() as config:
            return _load_call(node, config)
        case ServableNode() as config:
            return _load_model(node, config, root, options, number, content)
        case EnsembleNode() as config:
            return _load_ensemble(node, config, root, options, number, content)
        case SwitchNode() as config:
            return _load_switch(node, config)
    raise TypeError(f"no loader for {type(node.config).__name__}")


def _load_call(node: FlatNode, config: CallNode) -> Instance:
    user = import_callable(config.call)
    if not user.is_class:
        return Instance(
            node.name, _keywords(partial(user.target, **config.with_)), declared_signature(user.target, user.path)
        )
    made = _construct(user, config.with_)
    return _with_hooks(Instance(node.name, _keywords(made), declared_signature(made, user.path)), made)


def _with_hooks(instance: Instance, made: object) -> Instance:
    """The `warmup` and `close` of a user's object, where it has them."""
    return replace(instance, warmup=getattr(made, "warmup", _nothing), close=getattr(made, "close", _nothing))


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


def _load_model(
    node: FlatNode, config: ServableNode, root: Path, options: LoadOptions, number: int | None, content: str
) -> Instance:
    with _version(config, root, number, content) as version:
        servable = _servable(version.path, config, options)
        _check_inputs(node, servable.signature)
        return Instance(
            node.name,
            servable,
            servable.signature,
            str(version.number),
            warmup=partial(_warm, servable, warmup_rows(version.path, servable.signature), node.batch.max_rows),
            close=partial(_close, servable, version),
        )


def _servable(folder: Path, config: ServableNode, options: LoadOptions) -> Servable:
    match config:
        case ModelNode():
            return load_servable(folder, _trusting(options, config.trust), config.format)
        case LookupNode():
            return load_servable(folder, options, "lookup")
        case RetrieveNode():
            return load_servable(folder, options.model_copy(update={"k": config.k}), "index")
    raise TypeError(f"no loader for {type(config).__name__}")


@contextmanager
def _version(config: ServableNode | EnsembleNode, root: Path, number: int | None, content: str = "") -> Iterator[Local]:
    """The files of the version to load. They may be removed if loading fails."""
    assert config.model is not None
    source = source_of(config.model, root)
    rules = config.versions if isinstance(config, ServableNode) else None
    if number is None and rules is not None and rules.alias is not None:
        number = source.published(time.time(), patience_s=LONG_S).number_of(rules.alias)
    version = source.local(config.version if number is None else number, content)
    try:
        yield version
    except BaseException:
        version.release()
        raise


def _close(servable: Servable, version: Local) -> None:
    servable.close()
    version.release()


def _check_inputs(node: FlatNode, signature: Signature) -> None:
    if signature.inputs is not None and set(signature.inputs) != set(node.inputs):
        raise ConfigError(
            f"the graph gives inputs {', '.join(sorted(node.inputs))}; "
            f"the model takes {', '.join(f'{name} {spec}' for name, spec in sorted(signature.inputs.items()))}"
        )


def _warm(servable: Servable, rows: Rows | None, max_rows: int) -> None:
    """Call the model as requests will, with few rows and with many, so that none of them pays for a first use."""
    for size in batch_sizes(max_rows) if rows is not None else ():
        servable(repeated(rows or {}, size))


def _load_ensemble(
    node: FlatNode, config: EnsembleNode, root: Path, options: LoadOptions, number: int | None, content: str
) -> Instance:
    if config.ensemble == "stacking":
        return _load_stacking(node, config, root, options, number, content)
    if ":" in config.ensemble:
        user = import_callable(config.ensemble)
        made = _construct(user, {}) if user.is_class else user.target
        signature = declared_signature(made, user.path)
        return _with_hooks(Instance(node.name, lambda rows: made(list(rows.values())), signature), made)
    return Instance(node.name, lambda rows: combine(config.ensemble, list(rows.values()), config.weights), Signature())


def _load_stacking(
    node: FlatNode, config: EnsembleNode, root: Path, options: LoadOptions, number: int | None, content: str
) -> Instance:
    with _version(config, root, number, content) as version:
        servable = load_servable(version.path, _trusting(options, config.trust))
        inputs = list(servable.signature.inputs or {})
        if len(inputs) != 1:
            has = ", ".join(inputs) or "none declared"
            raise ConfigError(f"stacking needs a model with one input; {config.model} has {has}")

        def call(rows: Rows) -> Rows:
            return servable({inputs[0]: combine("concat", list(rows.values()), None)["concat"]})

        signature = Signature(outputs=servable.signature.outputs)
        warmup = partial(_warm, servable, warmup_rows(version.path, servable.signature), 1)
        return Instance(node.name, call, signature, str(version.number), warmup, partial(_close, servable, version))


def _trusting(options: LoadOptions, trust: str | None) -> LoadOptions:
    return options.model_copy(update={"trust": trust})


def _load_switch(node: FlatNode, config: SwitchNode) -> Instance:
    names = list(node.cases)
    decide = _decision(config)

    def call(rows: Rows) -> Rows:
        return {CASE: case_codes(decide(**rows), names, len(next(iter(rows.values()))))}

    return _with_hooks(Instance(node.name, call, Signature()), decide)


def _decision(config: SwitchNode) -> Callable[..., Any]:
    if config.switch == "confidence":
        return partial(confidence, threshold=float(config.with_["threshold"]))
    user = import_callable(config.switch)
    return _construct(user, config.with_) if user.is_class else partial(user.target, **config.with_)
