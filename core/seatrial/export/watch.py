"""The module watched while it runs eagerly: every operator with the user's line and module.

Nothing is exported here, so what is found holds for every exporter. Runs in a user child only.
"""

from __future__ import annotations

import contextlib
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from seatrial.export.origin import is_library

#: Where our own package lies.
_OURS = str(Path(__file__).resolve().parent.parent) + "/"
#: Source file of Python's own generators.
_RANDOM = random.__file__
#: Objects whose C functions give something else at every call.
_DRAWERS = ("Random", "RandomState", "Generator", "time")
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
    """One thing that happened: ``kind`` is op, escape, write, set, function, control or draw.

    Attributes:
        value: of an operator: a weighted sum of its result, which differs when the result does.
        size: the same sum of magnitudes.
        row: the result has one row per sample, and the two sums are of its first row.
        spoilt: ``nan`` or ``inf`` when the result has such elements.
    """

    kind: str
    name: str
    place: Place
    detail: str = ""
    value: float = 0.0
    size: float = 0.0
    row: bool = False
    spoilt: str = ""
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
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            return Place(frame.f_code.co_filename, frame.f_lineno, module)
        frame = frame.f_back
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
        closing.enter_context(_draw_spy(trace, stack))
        closing.enter_context(_dispatch_mode(trace, stack, _owners(module, inputs), _rows(inputs)))
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


def _rows(inputs: Mapping[str, Any]) -> int:
    """How many samples are fed."""
    return next((int(v.shape[0]) for v in inputs.values() if v.ndim), 1)


@contextlib.contextmanager
def _draw_spy(trace: Trace, stack: list[str]) -> Iterator[None]:
    """Note draws from Python's and numpy's generators, and looks at the clock."""
    before = sys.getprofile()

    def note(frame: Any, event: str, argument: Any) -> None:
        name = ""
        if event == "call" and frame.f_code.co_filename == _RANDOM:
            name = f"random.{frame.f_code.co_name}"
        elif event == "c_call":
            owner = getattr(argument, "__self__", None)
            kind = getattr(owner, "__name__", type(owner).__name__)
            if kind in _DRAWERS:
                name = f"{kind}.{argument.__name__}"
        if name:
            place = user_place(_top(stack))
            if place.file:
                trace.events.append(Event("draw", name, place))

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def _dispatch_mode(trace: Trace, stack: list[str], owners: Mapping[int, str], rows: int) -> Any:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Ops(TorchDispatchMode):  # type: ignore[misc]  # torch is not typed here
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            place = user_place(_top(stack))
            tags = tuple(str(t).rpartition(".")[2] for t in func.tags)
            event = Event("op", str(func), place, tags=tags, **_signature(out, rows))
            trace.events.append(event)
            for argument, value in zip(func._schema.arguments, args, strict=False):
                written = argument.alias_info is not None and argument.alias_info.is_write
                if written and torch.is_tensor(value) and _address(value) in owners:
                    owner = owners[_address(value)]
                    trace.events.append(Event("write", owner, place, str(func)))
            return out

    return Ops()


def _signature(value: Any, rows: int) -> dict[str, Any]:
    """Weighted sums of an operator's result, see :class:`Event`."""
    import torch
    from torch.utils import _pytree

    leaves = [v for v in _pytree.tree_leaves(value) if torch.is_tensor(v) or _is_number(v)]
    row = any(torch.is_tensor(v) and v.ndim > 0 and v.shape[0] == rows for v in leaves)
    total = size = 0.0
    spoilt = ""
    with torch.utils._python_dispatch._disable_current_modes():
        for k, leaf in enumerate(leaves):
            if not torch.is_tensor(leaf):
                total += (k + 1) * float(leaf)
                continue
            if not leaf.numel() or leaf.is_complex():
                continue
            own = leaf[0] if leaf.ndim and leaf.shape[0] == rows else leaf
            flat = own.detach().reshape(-1)
            flat = flat if flat.dtype in (torch.float32, torch.float64) else flat.double()
            ramp = _ramp(flat.numel(), flat.dtype)
            one, two = float(flat @ ramp), float(flat.abs() @ ramp)
            if not math.isfinite(two):
                spoilt = "nan" if bool(flat.isnan().any()) else spoilt or "inf"
                flat = torch.nan_to_num(flat, posinf=0.0, neginf=0.0)
                one, two = float(flat @ ramp), float(flat.abs() @ ramp)
            total += (k + 1) * one
            size += (k + 1) * two
    return {"value": total, "size": size, "row": row, "spoilt": spoilt}


_ramps: dict[Any, Any] = {}


def _ramp(count: int, dtype: Any) -> Any:
    """Weights between 1 and 2, so that a permutation of a result shows; kept for reuse."""
    import torch

    if dtype not in _ramps or _ramps[dtype].numel() < count:
        _ramps[dtype] = 1 + torch.frac(torch.arange(max(count, 1)).double() * 0.6180339887).to(
            dtype
        )
    return _ramps[dtype][:count]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def first_difference(one: Trace, other: Trace, *, share: float = 0.0) -> Event | None:
    """The first operator whose result differs between two passes over the same sample.

    Args:
        one: a pass.
        other: another one.
        share: results that differ by less than this share of their magnitude are alike; only
            those that have one row per sample in both passes are then compared.
    """
    ours, theirs = _computed(one), _computed(other)
    for a, b in zip(ours, theirs, strict=False):
        if a.name != b.name:
            return b
        if share and not (a.row and b.row):
            continue
        if abs(a.value - b.value) > share * max(a.size, b.size):
            return b
    if len(ours) != len(theirs):
        longer = ours if len(ours) > len(theirs) else theirs
        return longer[min(len(ours), len(theirs))]
    return None


def last_difference(one: Trace, other: Trace) -> Event | None:
    """Where two different samples begin to give the same: the operator after the last that differs.

    ``None`` when the passes took different ways, or never differed.
    """
    ours, theirs = _computed(one), _computed(other)
    if [e.name for e in ours] != [e.name for e in theirs]:
        return None
    differ = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a.value != b.value]
    return theirs[differ[-1] + 1] if differ and differ[-1] + 1 < len(theirs) else None


def _computed(trace: Trace) -> list[Event]:
    """Operators with a result; ``empty`` gives whatever lay in memory."""
    return [e for e in trace.of("op") if ".empty" not in e.name]


def is_custom(name: str) -> bool:
    """Whether an operator ``namespace.name.overload`` is not one of torch's own."""
    return name.partition(".")[0] not in _STANDARD
