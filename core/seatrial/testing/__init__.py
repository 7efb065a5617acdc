"""The conformance kit: a vendor's whole test file is an import and a name.

    from seatrial.testing import BackendSuite

    class TestAcme(BackendSuite):
        backend = "acme"

It needs pytest (``pip install seatrial[testing]``) and nothing of our repository.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .gaps import Gap, flaky, never, notimpl, notyet
    from .local import LocalJob
    from .suite import BackendSuite

__all__ = ["BackendSuite", "Gap", "LocalJob", "flaky", "never", "notimpl", "notyet"]

_WHERE = {"LocalJob": "local", "BackendSuite": "suite"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "BackendSuite":
        import pytest

        # Before the first import of the suite: its assertions then say what they compared.
        pytest.register_assert_rewrite(f"{__name__}.suite", f"{__name__}.promises")
    module = importlib.import_module(f".{_WHERE.get(name, 'gaps')}", __name__)
    return getattr(module, name)
