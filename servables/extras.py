"""Import a library of an optional extra, or say which extra to install."""

import importlib
from types import ModuleType

from configs.errors import MissingExtra


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, which the optional extra `extra` brings. Raises MissingExtra naming the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f"{module} cannot be imported ({error}); run: pip install 'millrace[{extra}]'") from error
