"""Which members of TensorRT's classes the backend touches, read off its source.

Objects of TensorRT live in variables of fixed names (:data:`NAMED`), so an attribute of one can be
told from its name. ``getattr`` with a default is a feature test: such a member may be missing in
one major version.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import seatrial_tensorrt

PACKAGE = Path(seatrial_tensorrt.__file__).parent
#: Modules that handle objects of TensorRT.
MODULES = ("_trt", "_plugins", "_parse", "_engine", "_artifact", "_run", "_live", "_refusals")
MODULE = ""
NAMED = {
    "trt": MODULE,
    "builder": "Builder",
    "config": "IBuilderConfig",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "raw": "ParserError",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
    "profile": "IOptimizationProfile",
    "layer": "ILayer",
    "tensor": "ITensor",
    "cache": "ITimingCache",
    "registry": "IPluginRegistry",
    "_context": "IExecutionContext",
    "_engine": "ICudaEngine",
}


@dataclass(frozen=True)
class Touch:
    """One use of a member.

    Attributes:
        owner: class, ``""`` for the module.
        member: its name.
        tested: it is asked for with a default.
        arguments: number of positional arguments when it is called, else -1.
        keywords: names of the others.
    """

    owner: str
    member: str
    where: str
    tested: bool = False
    arguments: int = -1
    keywords: tuple[str, ...] = ()


def touched(paths=None):
    """Every use in the package, or in the given files."""
    found = []
    for path in paths or [PACKAGE / f"{m}.py" for m in MODULES]:
        tree = ast.parse(path.read_text("utf-8"))
        calls = {id(n.func): n for n in ast.walk(tree) if isinstance(n, ast.Call)}
        for node in ast.walk(tree):
            touch = _touch(node, calls, f"{path.stem}:{getattr(node, 'lineno', 0)}")
            if touch is not None:
                found.append(touch)
    return found


def _touch(node, calls, where):
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
        owner, name = _owner(node.args[0]), node.args[1]
        if owner is not None and isinstance(name, ast.Constant):
            return Touch(owner, name.value, where, tested=len(node.args) == 3)
        return None
    if not isinstance(node, ast.Attribute):
        return None
    owner = _owner(node.value)
    if owner is None:
        return None
    call = calls.get(id(node))
    if call is None:
        return Touch(owner, node.attr, where)
    keywords = tuple(k.arg for k in call.keywords)
    return Touch(owner, node.attr, where, arguments=len(call.args), keywords=keywords)


def _owner(node):
    """The class of an expression, ``None`` when it is none of TensorRT's."""
    if isinstance(node, ast.Name):
        return NAMED.get(node.id)
    if isinstance(node, ast.Attribute):
        if _owner(node.value) == MODULE and node.attr[:1].isupper():
            return node.attr  # trt.BuilderFlag
        base = ast.unparse(node.value)
        if base in ("self", "toolkit", "self._toolkit") and node.attr in NAMED:
            return NAMED[node.attr]
    return None
