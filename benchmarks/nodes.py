"""Does ``check`` say what the runtime says when it is called directly?

All of ONNX's node tests go two ways: through the hooks, as ``seatrial check`` does (compile-check,
load, run once), and through a few lines against the runtime's own Python API. Printed are the rate
of agreement, every disagreement, and how often the static table was wrong where a compiler could
tell. Both ways run in children; a death costs one case.

    python benchmarks/nodes.py [BACKEND ...] [--limit N]
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seatrial.isolation import Answer, Limits, Question
from seatrial.results import Claim, Ref, Verdict
from seatrial.testing.bed import Bed
from seatrial.testing.cases import Case, Shelf, shelf
from seatrial.testing.judge import RIGHT, Tolerance, judge

CHUNK = 200
ACCEPTED = (Verdict.SUPPORTED, Verdict.PARTIAL)


# --- the runtimes, called directly ---------------------------------------------------------------


def onnxruntime(path: Path, feeds: dict | None) -> Iterator[dict | None]:
    """What a user of the runtime would type."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    yield None
    names = [o.name for o in session.get_outputs()]
    yield dict(zip(names, session.run(names, feeds), strict=True))


def openvino(path: Path, feeds: dict | None) -> Iterator[dict | None]:
    """FP32 pinned, as everywhere; bf16 would be another number and no disagreement."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(path)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    yield None
    # Inputs that no node needs are gone, and one that is passed through has the output's name.
    ports = {k: [n for n in p.get_names() if n in feeds] for k, p in enumerate(compiled.inputs)}
    left = [n for n in feeds if [n] not in ports.values()]
    results = compiled({k: feeds[n[0] if n else left[0]] for k, n in ports.items()})
    yield {str(k): v for k, v in enumerate(results.values())}


DIRECT = {"onnxruntime": onnxruntime, "openvino": openvino}


def direct_child(backend: str, names: list[str], out: Path) -> None:
    """Ask the runtime for each case and append a line before and after it."""
    stored = shelf("nodes")
    with (out / "lines").open("a") as lines:

        def put(**fields: object) -> None:
            lines.write(json.dumps(fields) + "\n")
            lines.flush()

        for name in names:
            put(id=name, event="begin")
            put(id=name, event="end", **direct_one(backend, stored, stored.cases[name], out))


def direct_one(backend: str, stored: Shelf, case: Case, out: Path) -> dict:
    """Whether the runtime takes a model, and what it computes."""
    folder = stored.root / case.folder
    feeds = None
    if case.runnable:
        with np.load(folder / "data.npz") as data:
            feeds = {n: data[str(case.tensors.index(n))] for n in case.inputs}
    steps = DIRECT[backend](folder / "model.onnx", feeds)
    try:
        next(steps)
    except Exception as error:  # noqa: BLE001 - whatever a runtime raises is its no
        return {"accepted": False, "why": " ".join(str(error).split())[:300]}
    if feeds is None:
        return {"accepted": True}
    try:
        outputs = next(steps)
    except Exception as error:  # noqa: BLE001
        return {"accepted": True, "ran": False, "why": " ".join(str(error).split())[:300]}
    try:
        arrays = {str(k): np.array(v) for k, v in enumerate(outputs.values())}
        np.savez(out / f"{case.folder}.npz", **arrays)
    except ValueError:
        return {"accepted": True}
    return {"accepted": True, "ran": True}


def direct(backend: str, names: list[str], out: Path) -> dict[str, dict]:
    """Children until every case is answered; the case in flight is blamed for a death."""
    found: dict[str, dict] = {}
    while left := [n for n in names if n not in found]:
        (out / "lines").unlink(missing_ok=True)
        command = [sys.executable, "-W", "ignore", __file__, "--direct", backend, str(out)]
        done = subprocess.run(
            command, input="\n".join(left), text=True, check=False, capture_output=True
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


# --- through the hooks ----------------------------------------------------------------------------


def hooks(bed: Bed, stored: Shelf, names: list[str]) -> dict[str, Answer]:
    """The answers of compile-check, table and one run."""
    found: dict[str, Answer] = {}
    for start in range(0, len(names), CHUNK):
        chunk = [stored.cases[n] for n in names[start : start + CHUNK]]
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
        found |= bed.runner.batch(bed.plugin, questions, limits=limits)
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
    if accepted != said["accepted"]:
        return (
            "check says no, the runtime yes" if said["accepted"] else "check says yes, it says no",
            said.get("why", "")
            or (answer.report.findings[0].reason if answer.report.findings else ""),
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
            if a.dtype != b.dtype or a.shape != b.shape:
                return "other type or shape", f"{name}: {a.dtype}{a.shape}, {b.dtype}{b.shape}"
            if not np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=a.dtype.kind == "f"):
                return "other numbers", name
    return "both run, same numbers", ""


AGREED = (
    *("both refuse", "both compile (not run)", "both run, same numbers", "both run (random)"),
    *("both fail to run", "both died"),
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


def report(backend: str, stored: Shelf, names: list[str], folder: Path) -> None:
    """Run both ways and print."""
    out = folder / f"direct-{backend}"
    out.mkdir()
    bed = Bed(
        folder / backend,
        folder / "shared",
        backend=backend,
        limits=Limits(timeout_s=60),
        tolerance=Tolerance(),
    )
    answers = hooks(bed, stored, names)
    said = direct(backend, names, out)
    kinds = {n: kind_of(stored.cases[n], answers[n], said[n], out) for n in names}
    counts = collections.Counter(kind for kind, _ in kinds.values())
    agreed = sum(counts[k] for k in AGREED)
    print(f"\n== {backend}: {agreed} of {len(names)} agree ({agreed / len(names):.2%})")
    for kind, count in counts.most_common():
        print(f"  {count:5}  {kind}")
    for name, (kind, text) in kinds.items():
        if kind not in AGREED:
            print(f"  DISAGREE {name}: {kind}: {text[:200]}")
    truth(stored, answers, bed.tolerance)
    print("  static table, and what the compiler did:")
    for (claim, verdict), count in sorted(static_table(answers).items()):
        print(f"  {count:5}  {claim}, {verdict}")
    bed.close()


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


def main() -> None:
    """Both ways for each backend."""
    if sys.argv[1:2] == ["--direct"]:
        direct_child(sys.argv[2], sys.stdin.read().split("\n"), Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backends", nargs="*", default=list(DIRECT), metavar="BACKEND")
    parser.add_argument("--limit", type=int, default=0)
    args = parser.parse_args()
    stored = shelf("nodes")
    names = sorted(stored.cases)[: args.limit or None]
    with tempfile.TemporaryDirectory(prefix="seatrial-nodes-") as folder:
        for backend in args.backends:
            report(backend, stored, names, Path(folder))


if __name__ == "__main__":
    main()
