"""Import a user's callable and learn, without calling it, which inputs it takes."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from configs.errors import ConfigError
from configs.tensors import Signature, TensorSpec

_SPECS = TypeAdapter(dict[str, TensorSpec])


@dataclass(frozen=True)
class UserCallable:
    """What stands behind `package.module:name`."""

    path: str
    target: Callable[..., Any]

    @property
    def is_class(self) -> bool:
        """Whether it is constructed once, with the `with:` arguments."""
        return inspect.isclass(self.target)

    @property
    def is_stream(self) -> bool:
        """Whether a call gives several answers: a generator, or an asynchronous one."""
        return inspect.isgeneratorfunction(self._call) or inspect.isasyncgenfunction(self._call)

    @property
    def _call(self) -> Any:
        return getattr(self.target, "__call__", None) if self.is_class else self.target  # noqa: B004

    @property
    def is_async(self) -> bool:
        """Whether calls are coroutines: they run on the event loop and are not batched."""
        return inspect.iscoroutinefunction(self._call)

    def problems(self, inputs: Mapping[str, Any], with_: Mapping[str, Any]) -> list[str]:
        """What is wrong with calling it with these named inputs and `with:` arguments; empty if nothing."""
        if not self.is_class:
            return _unbindable(self.target, self.path, {**inputs, **with_})
        construct = _unbindable(self.target, self.path, with_)
        call = getattr(self.target, "__call__", None)  # noqa: B004
        if not inspect.isfunction(call):
            return [*construct, f"class {self.path} has no __call__"]
        hooks = [name for name in ("warmup", "close") if inspect.iscoroutinefunction(getattr(self.target, name, None))]
        construct += [f"{self.path}.{name} is a coroutine; make it a plain method" for name in hooks]
        return [*construct, *_unbindable(call, f"{self.path}.__call__", inputs, method=True)]


def import_callable(path: str) -> UserCallable:
    """Import `package.module:name`. Raises ConfigError naming what is missing."""
    module_name, _, name = path.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
    except Exception as error:  # user code may raise anything at import; the config's author must read why
        raise ConfigError(
            f"cannot import {module_name}: {type(error).__name__}: {error} (the working directory is {Path.cwd()})"
        ) from error
    for part in name.split("."):
        if not hasattr(target, part):
            raise ConfigError(f"module {module_name} has no {name}")
        target = getattr(target, part)
    if not callable(target):
        raise ConfigError(f"{path} is a {type(target).__name__}, not a function or class")
    return UserCallable(path, target)


def declared_signature(owner: object, path: str) -> Signature:
    """The `inputs` and `outputs` attributes of a class, instance or function, where it has them."""
    found: dict[str, dict[str, TensorSpec] | None] = {}
    for side in ("inputs", "outputs"):
        value = getattr(owner, side, None)
        if value is None or isinstance(value, property):
            continue
        try:
            found[side] = _SPECS.validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ConfigError(f'{path}.{side}: {reason}; write {{"name": ("FP32", [-1, 10])}}') from error
    return Signature(**found)


def _unbindable(function: Callable[..., Any], path: str, names: Mapping[str, Any], method: bool = False) -> list[str]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some C callables have no signature; then only the call itself can tell
        return []
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        known = set(names)
    else:
        known = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes = f"{path} takes {', '.join(sorted(known)) or 'nothing'}"
    problems = [f"unknown argument `{name}`: {takes}" for name in sorted(set(names) - known)]
    required = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    return problems + [f"missing argument `{name}`: {takes}" for name in required if name not in names]
