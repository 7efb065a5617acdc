"""Cases as data: a folder of tiny models with inputs and true outputs, and an index of them.

The folder is made once per version of the makers by a child (:mod:`seatrial.testing.zoo`), so
that the process that runs the tests imports no onnx. Standard library only.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import field
from importlib import metadata
from pathlib import Path

from seatrial.codec import decode, encode, record
from seatrial.jobs.carry import user_cache
from seatrial.results import QdqDialect

#: Families in the order of the coverage table, and what each is about.
FAMILIES: Mapping[str, str] = {
    "contract": "who the backend is, and what it must answer whatever is installed",
    "operators": "one operator each, float32, static shapes",
    "nets": "whole small networks",
    "dtypes": "element types other than float32",
    "opsets": "one network at every opset from 7 to the newest",
    "shapes": "dynamic axes, scalars, empty tensors",
    "flow": "If, Loop, Scan",
    "form": "names, functions, external data, odd but legal graphs",
    "broken": "invalid models: refused, and nobody dies",
    "int8": "Q/DQ models in several dialects",
    "hooks": "what each further hook promises",
    "nodes": "ONNX's own node tests: whatever is accepted must compute the truth",
}

#: What a case's model is: to be taken and computed, or to be refused.
SOUND, BROKEN = "sound", "broken"


@record
class Case:
    """One model, what goes in, and what must come out.

    Attributes:
        name: ``family/what``.
        ops: its operators, domains in front where they are not ONNX's own.
        labels: of all its nodes, as :func:`seatrial.results.node_label` gives them.
        expect: :data:`SOUND` or :data:`BROKEN`.
        opset: of the ``ai.onnx`` domain; 0: none.
        precision: ``fp32`` or ``int8``, as in a check's request.
        dialect: of its Q/DQ pairs.
        dynamic: some input has a free dimension; ``shapes`` makes all of them static.
        tensors: names of the arrays in ``data.npz``: inputs, inner tensors, outputs.
        compare: whether values are compared; shape and type always are.
        runnable: every input and output is an array of numbers.
        steps: largest error in steps of the output's quantizer, for ``int8``.
        step: the size of one such step.
    """

    name: str
    ops: tuple[str, ...]
    labels: tuple[str, ...] = ()
    expect: str = SOUND
    opset: int = 17
    precision: str = "fp32"
    dialect: QdqDialect | None = None
    dynamic: bool = False
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    tensors: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    compare: bool = True
    runnable: bool = True
    steps: float = 0.0
    step: float = 0.0

    @property
    def family(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]

    @property
    def folder(self) -> str:
        """Its folder inside the shelf."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:16]


@record
class _Index:
    cases: tuple[Case, ...]


def write_index(root: Path, cases: tuple[Case, ...]) -> None:
    """Write the index of a shelf."""
    text = json.dumps(encode(_Index(cases=cases)), allow_nan=False)
    (root / "index.json").write_text(text, "utf-8")


class Shelf:
    """Cases on disk.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        data = json.loads((root / "index.json").read_text("utf-8"))
        self.cases = {c.name: c for c in decode(_Index, data).cases}

    def files(self, case: Case) -> dict[str, Path]:
        """The case's files by name."""
        folder = self.root / case.folder
        return {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}


@functools.cache
def shelf(kind: str) -> Shelf:
    """The cases of the kit (``zoo``) or of ONNX (``nodes``); made by a child when they are new.

    Raises:
        RuntimeError: the child failed; the message ends with what it said.
    """
    root = user_cache() / "kit" / f"{kind}-{_stamp()}"
    if not (root / "index.json").is_file():
        _make(kind, root)
    return Shelf(root)


def _stamp() -> str:
    """Changes with the makers and with the packages that they use."""
    sha = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted([Path(__file__), *(here / "zoo").glob("*.py")]):
        sha.update(path.read_bytes())
    for name in ("onnx", "numpy"):
        sha.update(metadata.version(name).encode())
    return sha.hexdigest()[:16]


def _make(kind: str, root: Path) -> None:
    """Have a child write the shelf aside, and put it in place in one step."""
    root.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".new-", dir=root.parent))
    try:
        code = "import sys; from seatrial.testing.zoo import make; make(*sys.argv[1:])"
        paths = os.pathsep.join(filter(None, map(str, sys.path)))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, kind, str(aside)],
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the {kind} cases cannot be made: {done.stderr[-2000:]}")
        try:
            aside.rename(root)
        except OSError:  # another process was faster
            if not (root / "index.json").is_file():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
