"""NNCF without torch, which it imports wherever it is installed and needs for torch models only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoTorch(MetaPathFinder, Loader):
    """Finds torch before anybody else does, in no file, and refuses to import it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec("torch", self) if fullname == "torch" else None

    def exec_module(self, module: ModuleType) -> None:
        raise ModuleNotFoundError("torch is left out here", name=module.__name__)


@contextlib.contextmanager
def without_torch() -> Iterator[None]:
    """Spare a process the import of torch: a second of time, each time.

    Nothing changes where torch is imported already, and outside of the block.
    """
    finder = _NoTorch()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
