"""The user's module, built and called. Runs in a user child only."""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from seatrial.data.callables import resolve
from seatrial.errors import UserError
from seatrial.export.module_records import ARCHIVE, PROGRAM, ModuleSpec
from seatrial.hookspecs import Job

#: Keys under which training scripts keep the state dict inside a checkpoint.
_NESTED = ("state_dict", "model_state_dict", "model", "model_state", "net")


@dataclass
class Built:
    """A module and how it is fed.

    Attributes:
        module: callable; an ``nn.Module`` unless it came from a program or an archive.
        names: forward's parameters that are fed, in order.
        optional: further parameters, which have defaults.
        example: inputs that the factory gave, or ``None``.
        program: the exported program, when it is one.
        notes: how the weights were loaded.
    """

    module: Any
    names: tuple[str, ...]
    optional: tuple[str, ...] = ()
    example: tuple[Any, ...] | None = None
    program: Any = None
    notes: tuple[str, ...] = ()


def build(spec: ModuleSpec, job: Job) -> Built:
    """Make the module; random weights are the same in every child.

    Raises:
        UserError: it cannot be imported, built or loaded.
    """
    seed(0)
    if spec.kind == PROGRAM:
        return _program(spec, job)
    if spec.kind == ARCHIVE:
        return _archive(spec, job)
    found = resolve(spec.location)
    seed(0)
    import torch

    try:
        with torch.enable_grad():
            made = found() if callable(found) and not _is_module(found) else found
    except Exception as error:  # noqa: BLE001  # the user's code may raise anything
        blame(spec.location, error)
    example = None
    if isinstance(made, tuple) and len(made) == 2 and _is_module(made[0]):
        made, given = made
        example = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if not _is_module(made):
        reason = f"gave a {type(made).__name__}, not an nn.Module"
        raise UserError(spec.location, reason, advice="return the module, or (module, inputs)")
    notes = _load_weights(made, spec, job) if spec.weights is not None else ()
    names, optional = _signature(made.forward, spec.inputs)
    return Built(made, names, optional, example, notes=notes)


def blame(location: str, error: Exception) -> NoReturn:
    """Refuse the user's code at the innermost line of theirs.

    Raises:
        UserError: always.
    """
    from seatrial.export.findings import place_of

    if isinstance(error, UserError):
        raise error
    place = place_of(error)
    where = f"{place.file} line {place.line}" if place.file else ""
    text = " ".join(str(error).split())[:160]
    raise UserError(location, f"raised {type(error).__name__}: {text}", place=where) from None


def seed(value: int) -> None:
    """Fix the usual generators."""
    import numpy as np
    import torch

    random.seed(value)
    np.random.seed(value)  # the user's code draws from it
    torch.manual_seed(value)


def _is_module(value: Any) -> bool:
    import torch

    return isinstance(value, torch.nn.Module)


def _signature(forward: Any, wanted: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Parameters that are fed and those that may be."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = [p for p in inspect.signature(forward).parameters.values() if p.kind not in kinds]
    if not parameters:
        return tuple(wanted) or ("input",), ()
    needed = [p.name for p in parameters if p.default is p.empty]
    fed = [p.name for p in parameters if p.name in (set(wanted) or set(needed)) | set(needed)]
    return tuple(fed), tuple(p.name for p in parameters if p.name not in fed)


def _program(spec: ModuleSpec, job: Job) -> Built:
    import torch

    if spec.file is None:
        raise UserError(spec.location, "no file was given")
    # torch.export.load unpickles constants; this makes every torch.load below it refuse code.
    if not spec.trust_pickle:
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        program = torch.export.load(job.path(spec.file))
    except Exception as error:  # noqa: BLE001  # whatever a damaged file causes
        raise _refused(spec.location, "exported program", error) from None
    names = tuple(str(n) for n in program.graph_signature.user_inputs)
    return Built(program.module(), names, program=program)


def _archive(spec: ModuleSpec, job: Job) -> Built:
    import torch

    if spec.file is None:
        raise UserError(spec.location, "no file was given")
    try:
        module = torch.jit.load(str(job.path(spec.file)), map_location="cpu")
    except Exception as error:  # noqa: BLE001  # whatever a damaged file causes
        raise _refused(spec.location, "TorchScript archive", error) from None
    schema = module.forward.schema
    names = tuple(a.name for a in schema.arguments[1:] if not a.has_default_value())
    return Built(module, names)


def _refused(where: str, what: str, error: Exception) -> UserError:
    text = " ".join(str(error).split())[:200]
    advice = ""
    # Torch may fail once more while it reports the refusal: look at what it was handling then.
    told = [str(error), str(error.__cause__ or ""), str(error.__context__ or "")]
    words = ("weights_only", "Weights only", "Unsupported global", "WeightsUnpickler")
    if any(word in one for word in words for one in told):
        text = "it carries a pickle that names code to run"
        advice = "save weights as .safetensors, or --trust-pickle if you made the file"
    return UserError(where, f"cannot be read as {what}: {text}", advice=advice)


# --- weights ------------------------------------------------------------------------------------


def _load_weights(module: Any, spec: ModuleSpec, job: Job) -> tuple[str, ...]:
    """Load a checkpoint into a module; every key must match."""
    if spec.weights is None:
        return ()
    state, notes = _checkpoint(job.path(spec.weights), spec)
    if state and all(k.startswith("module.") for k in state):
        state = {k.removeprefix("module."): v for k, v in state.items()}
        notes.append("the prefix 'module.' of the keys was dropped")
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        lines = [s.strip() for s in str(error).splitlines()[1:]] or [str(error)]
        raise UserError(spec.weights_name, lines[0][:200], place="weights") from None
    if missing or unexpected:
        parts = [f"lacks {_few(missing)}"] if missing else []
        parts += [f"has {_few(unexpected)}, which the module lacks"] if unexpected else []
        raise UserError(spec.weights_name, "; ".join(parts), place="weights")
    return tuple(notes)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(repr(n) for n in names[:2]) + more


def _checkpoint(path: Path, spec: ModuleSpec) -> tuple[dict[str, Any], list[str]]:
    import torch

    name = spec.weights_name
    if name.endswith(".safetensors"):
        from safetensors.torch import load_file

        try:
            return dict(load_file(path)), []
        except Exception as error:  # noqa: BLE001  # whatever a damaged file causes
            raise _refused(name, "safetensors", error) from None
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=not spec.trust_pickle)
    except Exception as error:  # noqa: BLE001  # whatever a damaged file causes
        raise _refused(name, "a checkpoint", error) from None
    notes = []
    if _is_module(loaded):
        return loaded.state_dict(), ["the checkpoint is a whole module; its state dict was taken"]
    for key in _NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            notes.append(f"the checkpoint's entry {key!r} was taken")
            break
    if not isinstance(loaded, Mapping) or not all(torch.is_tensor(v) for v in loaded.values()):
        raise UserError(name, "holds no state dict", place="weights")
    return dict(loaded), notes


# --- calling ------------------------------------------------------------------------------------


def flatten(value: Any) -> list[tuple[str, Any]]:
    """The tensors of whatever a module returns, named by their keys or positions."""
    import torch
    from torch.utils import _pytree

    if torch.is_tensor(value):
        return [("output", value)]
    if hasattr(value, "to_tuple") and isinstance(value, Mapping):
        value = dict(value)
    found = []
    for path, leaf in _pytree.tree_flatten_with_path(value)[0]:
        if torch.is_tensor(leaf):
            parts = [str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path]
            name = "_".join(parts)
            found.append((f"output_{name}" if name[:1].isdigit() else name, leaf))
    return found


def adapted(built: Built) -> Any:
    """The module with plain tensors in, in the order of the names, and a tuple of tensors out."""
    import torch

    class Adapter(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
        def __init__(self) -> None:
            super().__init__()
            self.module = built.module
            self.names = built.names

        def forward(self, *inputs: Any) -> Any:
            return tuple(t for _, t in flatten(call(self.module, self.names, inputs)))

    return Adapter()


def call(module: Any, names: Sequence[str], inputs: Sequence[Any]) -> Any:
    """Call by position where that is the same, by name where parameters are left out."""
    import torch

    if not isinstance(module, torch.nn.Module) or isinstance(module, torch.jit.ScriptModule):
        return module(*inputs)
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)
    parameters = list(inspect.signature(module.forward).parameters.values())
    if any(p.kind is kinds[0] for p in parameters):
        return module(*inputs)
    leading = [p.name for p in parameters[: len(names)] if p.kind is not kinds[1]]
    if leading == list(names):
        return module(*inputs)
    return module(**dict(zip(names, inputs, strict=True)))


def needs_adapter(built: Built, output: Any) -> bool:
    """Whether names or outputs are anything but positional tensors and a tuple of tensors."""
    import torch

    plain = torch.is_tensor(output) or (
        type(output) is tuple and all(torch.is_tensor(v) for v in output)
    )
    if not plain or built.program is not None:
        return built.program is None
    if isinstance(built.module, torch.jit.ScriptModule):
        return False
    parameters = list(inspect.signature(built.module.forward).parameters.values())
    leading = [
        p.name
        for p in parameters[: len(built.names)]
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return leading != list(built.names)


def tensors(feeds: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Fresh tensors for numpy feeds; the module may write to them."""
    import torch

    return tuple(torch.from_numpy(feeds[n].copy()) for n in names)


def array(tensor: Any) -> Any:
    """A tensor as numpy; types that numpy lacks become float32."""
    import torch

    value = tensor.detach().cpu()
    if value.dtype in (torch.bfloat16, torch.float16):
        value = value.float()
    return value.contiguous().numpy()
