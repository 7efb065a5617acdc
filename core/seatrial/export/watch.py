"""The module watched while it runs eagerly: every operator with the user's line and module.

Nothing is exported here, so what is found holds for every exporter. Runs in a user child only.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.export.origin import is_library

#: Where our own package lies.
_OURS = str(Path(__file__).resolve().parent.parent) + "/"
#: Tensor methods that leave the dispatcher: their result is a Python value or an array.
_ESCAPES = ("numpy", "tolist", "__array__", "item", "__bool__", "__int__", "__float__", "__index__")
#: Namespaces of operators that every exporter knows.
_STANDARD = ("aten", "prims", "prim", "higher_order")


@dataclass(frozen=True)
class Place:
    """A line of the user's source inside a module of the tree."""

    file: str = ""
    line: int = 0
    module: str = ""


@dataclass(frozen=True)
class Event:
    """One thing that happened: ``kind`` is op, escape, write, set, function or control."""

    kind: str
    name: str
    place: Place
    detail: str = ""
    value: float = 0.0
    tags: tuple[str, ...] = ()


@dataclass
class Trace:
    """All events of one forward pass, in order."""

    events: list[Event] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Event]:
        """Events of some kinds."""
        return [e for e in self.events if e.kind in kinds]


def is_user_file(name: str) -> bool:
    """Whether a source file is the user's model, or a library of models; not torch, not ours."""
    return not is_library(name) and not name.startswith(_OURS)


def user_place(module: str = "") -> Place:
    """The innermost frame of the user's on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            return Place(frame.f_code.co_filename, frame.f_lineno, module)
        frame = frame.f_back  # type: ignore[assignment]  # typeshed: never None, in truth it is
    return Place(module=module)


@contextlib.contextmanager
def watched(module: Any, inputs: Mapping[str, Any]) -> Iterator[Trace]:
    """Record what happens while the block runs the module.

    Args:
        module: the module, for paths of its parts.
        inputs: the tensors it is fed, to notice writes to them.
    """
    trace = Trace()
    stack: list[str] = []
    with contextlib.ExitStack() as closing:
        closing.enter_context(_module_stack(module, stack))
        closing.enter_context(_attribute_spy(module, trace, stack))
        closing.enter_context(_function_spy(trace, stack))
        closing.enter_context(_escape_mode(trace, stack))
        closing.enter_context(_dispatch_mode(trace, stack, _owners(module, inputs)))
        yield trace


@contextlib.contextmanager
def _module_stack(module: Any, stack: list[str]) -> Iterator[None]:
    from torch.nn.modules import module as hooks

    names = {id(m): n for n, m in _named(module)}

    def enter(part: Any, _: Any) -> None:
        stack.append(names.get(id(part), stack[-1] if stack else ""))

    def leave(_part: Any, _inputs: Any, _output: Any) -> None:
        if stack:
            stack.pop()

    handles = [
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _named(module: Any) -> list[tuple[str, Any]]:
    return list(module.named_modules()) if hasattr(module, "named_modules") else []


@contextlib.contextmanager
def _attribute_spy(module: Any, trace: Trace, stack: list[str]) -> Iterator[None]:
    import torch

    original = torch.nn.Module.__setattr__

    def spy(self: Any, name: str, value: Any) -> None:
        caller = sys._getframe(1).f_code.co_filename
        if is_user_file(caller):
            trace.events.append(Event("set", name, user_place(_top(stack)), type(value).__name__))
        original(self, name, value)

    torch.nn.Module.__setattr__ = spy
    try:
        yield
    finally:
        torch.nn.Module.__setattr__ = original


@contextlib.contextmanager
def _function_spy(trace: Trace, stack: list[str]) -> Iterator[None]:
    """Note uses of ``torch.autograd.Function``."""
    import torch

    original = torch.autograd.Function.__dict__["apply"]

    def spy(cls: Any, *args: Any, **kwargs: Any) -> Any:
        trace.events.append(Event("function", cls.__name__, user_place(_top(stack))))
        return original.__get__(None, cls)(*args, **kwargs)

    torch.autograd.Function.apply = classmethod(spy)
    try:
        yield
    finally:
        torch.autograd.Function.apply = original


def _top(stack: Sequence[str]) -> str:
    return stack[-1] if stack else ""


def _escape_mode(trace: Trace, stack: list[str]) -> Any:
    from torch.overrides import TorchFunctionMode

    class Escapes(TorchFunctionMode):  # type: ignore[misc]  # torch is not typed here
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = getattr(func, "__name__", "")
            if name in _ESCAPES:
                place = user_place(_top(stack))
                kind = "control" if name == "__bool__" else "escape"
                trace.events.append(Event(kind, name, place))
            return func(*args, **(kwargs or {}))

    return Escapes()


def _owners(module: Any, inputs: Mapping[str, Any]) -> dict[int, str]:
    """Storage address -> whose it is: an input, a parameter, a buffer, a tensor attribute."""
    import torch

    found: dict[int, str] = {}
    for path, part in _named(module):
        prefix = f"{path}." if path else ""
        for name, value in getattr(part, "__dict__", {}).items():
            if torch.is_tensor(value):
                found[_address(value)] = f"attribute {prefix}{name}"
    for kind in ("buffers", "parameters"):
        if hasattr(module, f"named_{kind}"):
            for name, value in getattr(module, f"named_{kind}")():
                found[_address(value)] = f"{kind[:-1]} {name}"
    for name, value in inputs.items():
        found[_address(value)] = f"input {name}"
    found.pop(0, None)
    return found


def _address(tensor: Any) -> int:
    try:
        return int(tensor.untyped_storage().data_ptr())
    except (RuntimeError, NotImplementedError):
        return 0


def _dispatch_mode(trace: Trace, stack: list[str], owners: Mapping[int, str]) -> Any:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Ops(TorchDispatchMode):  # type: ignore[misc]  # torch is not typed here
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            place = user_place(_top(stack))
            tags = tuple(str(t).rpartition(".")[2] for t in func.tags)
            event = Event("op", str(func), place, value=_signature(out), tags=tags)
            trace.events.append(event)
            for argument, value in zip(func._schema.arguments, args, strict=False):
                written = argument.alias_info is not None and argument.alias_info.is_write
                if written and torch.is_tensor(value) and _address(value) in owners:
                    owner = owners[_address(value)]
                    trace.events.append(Event("write", owner, place, str(func)))
            return out

    return Ops()


def _signature(value: Any) -> float:
    """A number that differs when an operator's result does: a weighted sum of its elements."""
    import torch
    from torch.utils import _pytree

    total = 0.0
    with torch.utils._python_dispatch._disable_current_modes():
        for k, leaf in enumerate(_pytree.tree_leaves(value)):
            if isinstance(leaf, (int, float, bool)):
                total += (k + 1) * float(leaf)
            elif torch.is_tensor(leaf) and leaf.numel() and not leaf.is_complex():
                flat = torch.nan_to_num(leaf.detach().reshape(-1).double())
                total += (k + 1) * float((flat * torch.linspace(1, 2, flat.numel())).sum())
    return total


def first_difference(one: Trace, other: Trace) -> Event | None:
    """The first operator whose result differs between two passes over the same input."""
    ours, theirs = one.of("op"), other.of("op")
    for a, b in zip(ours, theirs, strict=False):
        if a.name != b.name or a.value != b.value:
            return b
    if len(ours) != len(theirs):
        longer = ours if len(ours) > len(theirs) else theirs
        return longer[min(len(ours), len(theirs))]
    return None


def is_custom(name: str) -> bool:
    """Whether an operator ``namespace.name.overload`` is not one of torch's own."""
    return name.partition(".")[0] not in _STANDARD
