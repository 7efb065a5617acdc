"""The trial before the promise: does this model compile, stay accurate and run fast there?

Public names are loaded when they are first used, so that ``import seatrial`` costs nothing and
needs nothing: the package is also carried, in part, to foreign interpreters.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hookspecs import hookimpl as hookimpl
    from .results import *  # noqa: F403

_VERSION = "0.1.0"
_API = ("run", "check", "audit", "bench", "compare", "quantize", "qat", "init", "new_backend")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _API:
        return getattr(importlib.import_module(".api", __name__), name)
    if name == "hookimpl":
        return importlib.import_module(".hookspecs", __name__).hookimpl
    if not name.startswith("_"):
        results = importlib.import_module(".results", __name__)
        if hasattr(results, name):
            return getattr(results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    """The installed distribution's version; the constant where only the folder was carried."""
    from importlib import metadata

    try:
        return metadata.version("seatrial")
    except metadata.PackageNotFoundError:
        return _VERSION


class _Command(types.ModuleType):
    """A subpackage that bears the name of a public function, and can be called like it."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(importlib.import_module(".api", __name__), name)(*arguments, **options)


class _Package(types.ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # The import system puts seatrial.quantize, the package, over seatrial.quantize().
        if name in _API and type(value) is types.ModuleType:
            value.__class__ = _Command
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
