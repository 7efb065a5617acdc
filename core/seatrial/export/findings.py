"""From what was watched to problems with a line and an advice. Runs in a user child only."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seatrial.export.problems import ERROR, INFO, WARNING, Problem
from seatrial.export.torch_module import Built
from seatrial.export.watch import Event, Place, Trace, first_difference, is_custom, is_user_file

#: Difference over scale between two passes that only the order of a sum can make.
REORDERED = 1e-6

#: Operators that need not leave a node in a graph.
_SILENT = tuple(
    f"aten.{name}."
    for name in (
        *("view", "_unsafe_view", "detach", "alias", "clone", "t", "expand", "empty", "zeros"),
        *("ones", "arange", "full", "lift_fresh", "scalar_tensor", "_to_copy", "select", "slice"),
        *("unsqueeze", "squeeze", "permute", "transpose", "linspace", "_local_scalar_dense"),
    )
)


def training(built: Built, location: str) -> Iterator[Problem]:
    """Modules that were left in training mode and would compute something else in it."""
    import torch

    module = built.module
    if built.program is not None or not isinstance(module, torch.nn.Module):
        return
    left = [(n, m) for n, m in module.named_modules() if m.training and _mode_matters(m)]
    if left:
        name, part = left[0]
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        file, line = _train_line(location)
        yield Problem(
            code="training-mode",
            level=ERROR,
            text=f"{type(part).__name__} {name or 'itself'}{more} is in training mode",
            file=file,
            line=line,
            module=name,
            advice="call .eval() before the factory returns the module",
        )
    module.eval()
    for name, part in module.named_modules():
        if part.training and _mode_matters(part):
            file, line = _source(type(part), "train")
            yield Problem(
                code="training-mode",
                level=ERROR,
                text=f"{type(part).__name__} {name or 'itself'} stays in training mode after eval",
                file=file,
                line=line,
                module=name,
                advice="let train() and eval() of the class reach it",
            )
            return


def _mode_matters(part: Any) -> bool:
    """Whether a module computes something else in training mode."""
    import torch
    from torch import nn

    if isinstance(part, torch.jit.ScriptModule):  # its class is gone, its name is kept
        return str(part.original_name).startswith(("Dropout", "BatchNorm"))

    rules: tuple[tuple[Any, Callable[[Any], bool]], ...] = (
        (nn.modules.dropout._DropoutNd, lambda m: m.p > 0),
        (nn.modules.batchnorm._NormBase, lambda m: m.track_running_stats),
        (nn.RNNBase, lambda m: m.dropout > 0 and m.num_layers > 1),
        (nn.MultiheadAttention, lambda m: m.dropout > 0),
        (nn.RReLU, lambda m: True),
    )
    for kind, rule in rules:
        if isinstance(part, kind):
            return bool(rule(part))
    try:
        forward = type(part).forward
        return is_user_file(inspect.getfile(forward)) and ".training" in inspect.getsource(forward)
    except (OSError, TypeError):
        return False


def _train_line(location: str) -> tuple[str, int]:
    """Where the factory calls ``train``, else its last return."""
    from seatrial.data.callables import resolve

    if ":" not in location:  # a file: its source is gone
        return "", 0
    found = resolve(location)
    try:
        lines, first = inspect.getsourcelines(found)
        file = inspect.getfile(found)
    except (OSError, TypeError):
        return "", 0
    for words in (".train(", "return"):
        for k in reversed(range(len(lines))):
            if words in lines[k] and "eval" not in lines[k]:
                return file, first + k
    return file, first


def _source(kind: type, method: str) -> tuple[str, int]:
    try:
        function = getattr(kind, method)
        return inspect.getfile(function), inspect.getsourcelines(function)[1]
    except (OSError, TypeError, AttributeError):
        return "", 0


def escapes(trace: Trace) -> tuple[str, ...]:
    """Lines that read a tensor's value in Python: a trace would freeze it."""
    found = [e for e in trace.of("escape", "control") if e.place.file]
    found += [e for e in trace.of("op") if "data_dependent_output" in e.tags and e.place.file]
    return tuple(dict.fromkeys(f"{e.place.file}:{e.place.line}" for e in found))


def lines(trace: Trace, *, every: bool = False) -> tuple[str, ...]:
    """Lines that computed something, in order; copies and views leave no node in a graph.

    Args:
        trace: a watched pass.
        every: also those that leave none.
    """
    found = [e for e in trace.of("op") if e.place.file]
    found = [e for e in found if every or not e.name.startswith(_SILENT)]
    return tuple(dict.fromkeys(f"{e.place.file}:{e.place.line}" for e in found))


def watched(first: Trace, second: Trace, *, varies: float) -> Iterator[Problem]:
    """Problems of two watched passes over one sample.

    Args:
        first: the first pass.
        second: the second one.
        varies: largest scale-aware difference between passes in another order.
    """
    seen: set[tuple[str, str, int]] = set()
    stateful = varies > REORDERED or _outcome(first) != _outcome(second)
    for problem in _each(first, second, stateful):
        key = (problem.code, problem.file, problem.line)
        if key not in seen:
            seen.add(key)
            yield problem


def _outcome(trace: Trace) -> float:
    ops = trace.of("op")
    return ops[-1].value if ops else 0.0


def _each(first: Trace, second: Trace, stateful: bool) -> Iterator[Problem]:
    if stateful:
        yield from _unsteady(first, second)
    repeated = {(e.kind, e.name) for e in first.events}
    for event in second.events:
        yield from _one(event, stateful, always=(event.kind, event.name) in repeated)
    known = {(e.kind, e.name, e.place) for e in second.events}
    for event in first.of("set", "write"):
        if (event.kind, event.name, event.place) not in known:
            yield from _one(event, stateful, always=False)


def _unsteady(first: Trace, second: Trace) -> Iterator[Problem]:
    """Two calls with one input gave two outputs: name the operator where they part."""
    event = first_difference(first, second)
    draws = second.of("draw")
    random = bool(draws) or (event is not None and "nondeterministic_seeded" in event.tags)
    place = event.place if event is not None else _suspect(first, second)
    what = f"; they part at {plain(event.name)}" if event is not None else ""
    yield Problem(
        code="non-determinism" if random else "hidden-state",
        level=ERROR,
        text=f"two calls with the same input give different outputs{what}",
        file=place.file,
        line=place.line,
        module=place.module,
        op=plain(event.name) if event is not None else "",
        advice="remove the randomness from forward"
        if random
        else "keep state between calls as an input and an output",
    )


def _suspect(first: Trace, second: Trace) -> Place:
    """Without a diverging operator: a draw or a write to state, else a telling line."""
    for event in (*second.of("draw"), *first.of("set", "write"), *second.of("set", "write")):
        return event.place
    files = dict.fromkeys(e.place.file for e in second.of("op") if e.place.file)
    for file in files:
        for line in _telling(file):
            return Place(file, line)
    return Place()


def _telling(file: str) -> Iterator[int]:
    """Lines of methods that draw random numbers, use globals or append to an attribute."""
    try:
        tree = ast.parse(Path(file).read_text("utf-8"))
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            yield node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            text = ast.unparse(node.func)
            if "random" in text or (text.startswith("self.") and text.endswith(".append")):
                yield node.lineno


def _one(event: Event, stateful: bool, *, always: bool) -> Iterator[Problem]:
    place: dict[str, Any] = {
        "file": event.place.file,
        "line": event.place.line,
        "module": event.place.module,
    }
    name = plain(event.name)
    # Fused attention is tagged as random for its dropout, which evaluation mode turns off.
    fused = "attention" in name
    if event.kind == "op" and "nondeterministic_seeded" in event.tags and always and not fused:
        yield Problem(
            code="non-determinism",
            level=ERROR,
            text=f"{name} draws random numbers in evaluation mode",
            op=name,
            advice="make it depend on self.training, or remove it",
            **place,
        )
    if event.kind == "draw" and stateful:
        yield Problem(
            code="non-determinism",
            level=ERROR,
            text=f"{event.name} gives something else at every call",
            op=event.name,
            advice="draw in __init__, or feed it as an input",
            **place,
        )
    if event.kind == "op" and is_custom(event.name):
        yield Problem(
            code="custom-operator",
            level=INFO,
            text=f"{name} is not one of torch's own operators",
            op=name,
            advice=f"give its ONNX form with --translations MODULE:TABLE, TABLE = {{{name!r}: fn}}",
            **place,
        )
    if event.kind in ("escape", "control") and event.place.file:
        yield Problem(
            code="reads-tensor-value",
            level=INFO,
            text="Python reads a tensor's value here: a trace freezes it",
            advice="use torch.where, torch.cond or a buffer",
            **place,
        )
    if event.kind == "function":
        yield Problem(
            code="autograd-function",
            level=INFO,
            text=f"torch.autograd.Function {name}: only its forward is exported",
            op=name,
            **place,
        )
    if event.kind == "write":
        yield _write(event, place, stateful)
    if event.kind == "set":
        yield Problem(
            code="side-effect",
            level=ERROR if stateful else WARNING,
            text=f"forward sets self.{event.name}; the exported model will not",
            advice="return it as an output, or compute it in __init__",
            **place,
        )


def _write(event: Event, place: dict[str, Any], stateful: bool) -> Problem:
    name = plain(event.detail)
    to_input = event.name.startswith("input ")
    return Problem(
        code="in-place-input" if to_input else "in-place-state",
        level=ERROR if to_input or stateful else WARNING,
        text=f"{name} writes to {event.name}; the exported model will not",
        op=name,
        advice="use the operator without the underscore, or clone first",
        **place,
    )


def place_of(error: BaseException, module: Any = None) -> Place:
    """The innermost line of the user's in the traceback of an error or of its causes."""
    found = Place()
    seen: set[int] = set()
    current: BaseException | None = error
    names = {id(m): n for n, m in module.named_modules()} if module is not None else {}
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        trace = current.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if is_user_file(code.co_filename):
                path = names.get(id(trace.tb_frame.f_locals.get("self")), found.module)
                found = Place(code.co_filename, trace.tb_lineno, path)
            trace = trace.tb_next
        current = current.__cause__ or current.__context__
    return found


def plain(name: str) -> str:
    """``aten.add.Tensor`` as people write it, ``aten::add``."""
    parts = name.split(".")
    return f"{parts[0]}::{parts[1]}" if len(parts) > 1 else name
