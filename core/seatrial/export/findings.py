"""From what was watched to problems with a line and an advice. Runs in a user child only."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seatrial.export.records import ERROR, INFO, WARNING, Problem
from seatrial.export.torch_module import Built
from seatrial.export.watch import Event, Place, Trace, first_difference, is_custom, is_user_file

#: Difference over scale between two passes that only the order of a sum can make.
REORDERED = 1e-6


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
                text=f"{type(part).__name__} {name or 'itself'} stays in training mode after eval()",
                file=file,
                line=line,
                module=name,
                advice="let train() and eval() of the class reach it",
            )
            return


def _mode_matters(part: Any) -> bool:
    """Whether a module computes something else in training mode."""
    from torch import nn

    if isinstance(part, nn.modules.dropout._DropoutNd):
        return bool(part.p > 0)
    if isinstance(part, nn.modules.batchnorm._NormBase):
        return bool(part.track_running_stats)
    if isinstance(part, nn.RNNBase):
        return bool(part.dropout > 0 and part.num_layers > 1)
    if isinstance(part, nn.MultiheadAttention):
        return bool(part.dropout > 0)
    if isinstance(part, nn.RReLU):
        return True
    try:
        forward = type(part).forward
        return is_user_file(inspect.getfile(forward)) and ".training" in inspect.getsource(forward)
    except (OSError, TypeError):
        return False


def _train_line(location: str) -> tuple[str, int]:
    """Where the factory calls ``train``, else its last return."""
    from seatrial.data.callables import resolve

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
    for event in second.events:
        yield from _one(event, stateful)


def _unsteady(first: Trace, second: Trace) -> Iterator[Problem]:
    """Two calls with one input gave two outputs: name the operator where they part."""
    event = first_difference(first, second)
    random = event is not None and "nondeterministic_seeded" in event.tags
    place = event.place if event is not None else _suspect(second)
    what = f"; they part at {_plain(event.name)}" if event is not None else ""
    yield Problem(
        code="non-determinism" if random else "hidden-state",
        level=ERROR,
        text=f"two calls with the same input give different outputs{what}",
        file=place.file,
        line=place.line,
        module=place.module,
        op=_plain(event.name) if event is not None else "",
        advice="remove the randomness from forward"
        if random
        else "keep state between calls as an input and an output",
    )


def _suspect(trace: Trace) -> Place:
    """Without a diverging operator: a write to state, if there was any, or a telling line."""
    for event in trace.of("set", "write"):
        return event.place
    files = dict.fromkeys(e.place.file for e in trace.of("op") if e.place.file)
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


def _one(event: Event, stateful: bool) -> Iterator[Problem]:
    place = {"file": event.place.file, "line": event.place.line, "module": event.place.module}
    name = _plain(event.name)
    if event.kind == "op" and "nondeterministic_seeded" in event.tags and stateful:
        yield Problem(
            code="non-determinism",
            level=ERROR,
            text=f"{name} draws random numbers in evaluation mode",
            op=name,
            advice="make it depend on self.training, or remove it",
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
    name = _plain(event.detail)
    to_input = event.name.startswith("input ")
    return Problem(
        code="in-place-input" if to_input else "in-place-state",
        level=ERROR if to_input or stateful else WARNING,
        text=f"{name} writes to {event.name}; the exported model will not",
        op=name,
        advice="use the operator without the underscore, or clone first",
        **place,
    )


def coupled(output: str, gap: float) -> Problem:
    """A sample's output depends on what else is in its batch."""
    return Problem(
        code="batch-coupling",
        level=ERROR,
        text=(
            f"output {output} of a sample changes by {gap:.2g} of its scale "
            "with what else is in the batch"
        ),
        advice="normalise over the axes of a sample, not over the batch",
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


def _plain(name: str) -> str:
    """``aten.add.Tensor`` as people write it, ``aten::add``."""
    parts = name.split(".")
    return f"{parts[0]}::{parts[1]}" if len(parts) > 1 else name
