"""Does ``check`` say what the runtime says when it is called directly?

All of ONNX's node tests go two ways: through the hooks, as ``seatrial check`` does (compile-check,
load, run once), and through a few lines against the runtime's own Python API (``direct.py``).
Printed are the rate of agreement, every disagreement, and how often the static table was wrong
where a compiler could tell. Both ways run in children; a death costs one case. A backend whose
toolchain ``make vendors`` put into an environment of its own runs there, both ways.

    python benchmarks/nodes.py [BACKEND ...] [--part K/N] [--models FILE ...] [--json FOLDER]
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from seatrial.isolation import Answer, Limits, Question
from seatrial.results import Claim, Ref, Verdict
from seatrial.testing.bed import Bed
from seatrial.testing.cases import Case, Shelf, shelf, write_index
from seatrial.testing.judge import RIGHT, Tolerance, judge

#: Cases per child: some converters grow slower with every model that they have seen.
CHUNK, FEWER = 200, {"litert": 25}
ROOT = Path(__file__).parents[1]
DIRECT = Path(__file__).with_name("direct.py")
BACKENDS = ("onnxruntime", "openvino")
#: They take static shapes only, so both ways are given them.
STATIC = ("litert", "rknn")
ACCEPTED = (Verdict.SUPPORTED, Verdict.PARTIAL)


# --- the runtime, called directly -----------------------------------------------------------------


def direct(backend: str, python: str, shelf_: Shelf, names: list[str], out: Path) -> dict:
    """Children until every case is answered; the case in flight is blamed for a death."""
    found: dict[str, dict] = {}
    while left := [n for n in names if n not in found][: FEWER.get(backend, len(names))]:
        (out / "lines").unlink(missing_ok=True)
        jobs = [job_of(shelf_, shelf_.cases[n], static=backend in STATIC) for n in left]
        (out / "jobs.json").write_text(json.dumps(jobs))
        command = [python, "-W", "ignore", DIRECT, backend, out / "jobs.json", out]
        done = subprocess.run(
            command, text=True, errors="replace", check=False, capture_output=True, cwd=out
        )
        begun = ""
        for line in (out / "lines").read_text().splitlines():
            said = json.loads(line)
            begun = said["id"] if said["event"] == "begin" else ""
            if not begun:
                found[said["id"]] = said
        if begun:
            found[begun] = {"accepted": False, "died": done.returncode}
        elif done.returncode:
            raise RuntimeError(done.stderr[-2000:])
    return found


def job_of(shelf_: Shelf, case: Case, *, static: bool) -> dict:
    """A case as ``direct.py`` takes it."""
    folder = shelf_.root / case.folder
    return {
        "id": case.name,
        "file": case.folder,
        "model": str(folder / "model.onnx"),
        "data": str(folder / "data.npz") if case.runnable else "",
        "feeds": {n: str(case.tensors.index(n)) for n in case.inputs} if case.runnable else {},
        "shapes": dict(case.shapes) if static and case.dynamic else {},
    }


# --- whole models ---------------------------------------------------------------------------------


def whole_models(files: list[Path], root: Path) -> Shelf:
    """Cases of whole models, fed with numbers of [0, 1) and with 1 for every free size."""
    import onnx

    rng = np.random.default_rng(0)
    made = []
    for file in files:
        model = onnx.load(file)
        constants = {t.name for t in model.graph.initializer}
        inputs = [i for i in model.graph.input if i.name not in constants]
        dims = {i.name: i.type.tensor_type.shape.dim for i in inputs}
        shapes = {n: tuple(d.dim_value or 1 for d in v) for n, v in dims.items()}
        kinds = {
            i.name: onnx.helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type)
            for i in inputs
        }
        case = Case(
            name=f"models/{file.stem}",
            ops=tuple(sorted({n.op_type for n in model.graph.node})),
            dynamic=any(not d.dim_value for v in dims.values() for d in v),
            shapes=shapes,
            tensors=tuple(shapes),
            inputs=tuple(shapes),
            outputs=tuple(o.name for o in model.graph.output),
        )
        folder = root / case.folder
        folder.mkdir(parents=True)
        onnx.save(model, folder / "model.onnx")
        values = [rng.random(s).astype(kinds[n]) for n, s in shapes.items()]
        np.savez(folder / "data.npz", **{str(k): v for k, v in enumerate(values)})
        made.append(case)
    write_index(root, tuple(made))
    return Shelf(root)


# --- through the hooks ----------------------------------------------------------------------------


def hooks(bed: Bed, stored: Shelf, names: list[str]) -> dict[str, Answer]:
    """The answers of compile-check, table and one run."""
    found: dict[str, Answer] = {}
    size = FEWER.get(bed.plugin.id, CHUNK)
    for start in range(0, len(names), size):
        chunk = [stored.cases[n] for n in names[start : start + size]]
        files = {f"{c.folder}/{f}": p for c in chunk for f, p in stored.files(c).items()}
        ref = bed.workspace.add(files, "")
        questions = [
            Question(
                id=c.name,
                check=bed.check(c, Ref(sha256=ref.sha256, entry=f"{c.folder}/model.onnx")),
                tensors=c.tensors,
                inputs=c.inputs,
                feeds="data.npz" if c.runnable else "",
            )
            for c in chunk
        ]
        limits = Limits(timeout_s=3600, soft_s=60, memory_mb=4096)
        found |= bed.runner.batch(bed.plugin, questions, limits=limits, env=bed.env)
        print(f"  {len(found)} of {len(names)}", file=sys.stderr, flush=True)
    return found


# --- side by side ---------------------------------------------------------------------------------


def kind_of(case: Case, answer: Answer, said: dict, out: Path) -> tuple[str, str]:
    """Agreement or how the two differ, and a word on it."""
    accepted = answer.report is not None and answer.report.verdict in ACCEPTED
    fault = f"{answer.fault.stage}: {answer.fault.reason}" if answer.fault else ""
    if "died" in said:
        dead = answer.fault is not None and answer.fault.kind.value == "crashed"
        return ("both died" if dead else "only the direct call died", fault)
    if answer.report is None:
        return ("check has a fault", f"{fault}; direct: {said.get('why', 'accepted')}")
    if not accepted and said.get("ran") is False:
        return "check refuses what does not run", ""
    if accepted != said["accepted"]:
        return (
            "check says no, the runtime yes" if said["accepted"] else "check says yes, it says no",
            f"check: {next((f.reason for f in answer.report.findings), 'yes')[:150]};"
            f" direct: {said.get('why', 'yes')}",
        )
    if not accepted:
        return "both refuse", ""
    if not case.runnable:
        return "both compile (not run)", ""
    if answer.file is None:
        ran = said.get("ran", False)
        return ("only the direct call runs", fault) if ran else ("both fail to run", fault)
    if not said.get("ran"):
        return "only the hooks run", said.get("why", "")
    return compared(case, answer, out)


def compared(case: Case, answer: Answer, out: Path) -> tuple[str, str]:
    """Whether both ways computed the same."""
    if not case.compare:
        return "both run (random)", ""
    with np.load(answer.file) as mine, np.load(out / f"{case.folder}.npz") as theirs:
        for k, name in enumerate(answer.outputs):
            a, b = mine[str(k)], theirs[str(k)]
            fitting = [
                v for v in readings(b) if v.shape == a.shape and v.dtype.kind == a.dtype.kind
            ]
            if not fitting:
                return "other type or shape", f"{name}: {a.dtype}{a.shape}, {b.dtype}{b.shape}"
            floats = a.dtype.kind == "f"
            # Some runtimes widen or narrow; the hooks give the type that the model states.
            told = (v.astype(a.dtype) for v in fitting)
            if not any(np.allclose(a, v, rtol=1e-5, atol=1e-6, equal_nan=floats) for v in told):
                return "other numbers", name
    return "both run, same numbers", ""


def readings(given: np.ndarray) -> list[np.ndarray]:
    """A runtime's output as it is, and as the model's where it came channels last or as (1,)."""
    found = [given]
    if given.ndim > 2:
        found.append(np.moveaxis(given, -1, 1))
    if given.size == 1:
        found.append(given.reshape(()))
    return found


AGREED = (
    *("both refuse", "both compile (not run)", "both run, same numbers", "both run (random)"),
    *("both fail to run", "both died", "check refuses what does not run"),
)


def static_table(answers: dict[str, Answer]) -> collections.Counter:
    """(claim, what the compiler did) of single-node models."""
    found: collections.Counter = collections.Counter()
    for answer in answers.values():
        if answer.static is None or answer.report is None:
            continue
        claims = {c.claim for c in answer.static.claims}
        worst = next(
            c for c in (Claim.UNSUPPORTED, Claim.UNKNOWN, Claim.LISTED) if c in claims or not claims
        )
        found[worst.value, answer.report.verdict.value] += 1
    return found


def interpreter(backend: str) -> str:
    """Where a backend's toolchain lives: an environment of its own that ``make vendors`` made."""
    own = ROOT / ".vendors" / backend / "bin" / "python"
    return str(own) if own.exists() else ""


def report(backend: str, stored: Shelf, names: list[str], folder: Path) -> dict:
    """Run both ways, print, and give the figures."""
    python = interpreter(backend)
    out = folder / f"direct-{backend}"
    out.mkdir()
    bed = Bed(
        folder / backend,
        folder / "shared",
        backend=backend,
        python=python,
        limits=Limits(timeout_s=60),
        tolerance=Tolerance(),
    )
    asked = [n for n in names if not bed.gate(stored.cases[n])]
    gated, names = len(names) - len(asked), asked
    answers = hooks(bed, stored, names)
    said = direct(backend, python or sys.executable, stored, names, out)
    kinds = {n: kind_of(stored.cases[n], answers[n], said[n], out) for n in names}
    counts = collections.Counter(kind for kind, _ in kinds.values())
    agreed = sum(counts[k] for k in AGREED)
    print(f"\n== {backend}: {agreed} of {len(names)} agree ({agreed / len(names):.2%})")
    if gated:
        print(f"  {gated:5}  not asked: beyond the opsets that the target states")
    for kind, count in counts.most_common():
        print(f"  {count:5}  {kind}")
    for name, (kind, text) in kinds.items():
        if kind not in AGREED:
            print(f"  DISAGREE {name}: {kind}: {text[:200]}")
    truth(stored, answers, bed.tolerance)
    print("  static table, and what the compiler did:")
    claims = static_table(answers)
    for (claim, verdict), count in sorted(claims.items()):
        print(f"  {count:5}  {claim}, {verdict}")
    figures = {
        "backend": backend,
        "about": bed.about(),
        "asked": len(names),
        "gated": gated,
        "kinds": dict(counts),
        "disagree": {n: [k, t[:200]] for n, (k, t) in kinds.items() if k not in AGREED},
        "static": [[claim, verdict, count] for (claim, verdict), count in claims.items()],
    }
    bed.close()
    return figures


def truth(stored: Shelf, answers: dict[str, Answer], tolerance: Tolerance) -> None:
    """How the answers compare with ONNX's own truth."""
    judged = {}
    for name, answer in answers.items():
        case = stored.cases[name]
        judged[name] = judge(case, answer, stored.root / case.folder / "data.npz", tolerance)
    counts = collections.Counter(f.how for f in judged.values())
    ran = sum(f.ran and f.how == RIGHT for f in judged.values())
    print(f"  against ONNX's truth: {dict(counts)}; {ran} of them run and right")
    for name, found in judged.items():
        if found.how not in (RIGHT, "refused"):
            print(f"  {found.how.upper()} {name}: {found.text[:200]}")


def part_of(names: list[str], text: str) -> list[str]:
    """Every N-th case, the K-th of each: ``K/N``."""
    which, _, parts = text.partition("/")
    return names[int(which) - 1 :: int(parts)]


def main() -> None:
    """Both ways for each backend."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backends", nargs="*", default=list(BACKENDS), metavar="BACKEND")
    parser.add_argument("--part", default="1/1", metavar="K/N", help="a part of the node tests")
    parser.add_argument("--models", nargs="*", type=Path, metavar="FILE", help="whole models")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="add the figures to it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seatrial-nodes-") as text:
        folder = Path(text)
        stored = whole_models(args.models, folder / "models") if args.models else shelf("nodes")
        names = sorted(stored.cases) if args.models else part_of(sorted(stored.cases), args.part)
        for backend in args.backends:
            figures = report(backend, stored, names, folder)
            if args.json:
                what = "models" if args.models else f"nodes-{args.part.replace('/', '-of-')}"
                args.json.mkdir(parents=True, exist_ok=True)
                (args.json / f"{backend}-{what}.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
