#!/usr/bin/env python3
"""What ``seatrial check`` does with a corpus of real, odd, broken and hostile files.

    SEATRIAL_DATA=../shared python benchmarks/corpus.py --out corpus.md
    python benchmarks/corpus.py ../shared --only 'data/odd/*' --again problems

Every file under ``data/onnx``, ``data/odd``, ``data/negative``, ``data/nolicence`` and ``hostile``
of the given folder goes through ``seatrial check FILE --json -`` in a process of its own, ``.gz``
files once more unpacked. A *problem* is any of these:

* a traceback, "internal error", or death of the main process by a signal;
* an exit code that is not 0, 1, 2 or 3, or not the one that the document's own targets call for
  (1 when a required target is unsupported, else 3 when one is unknown, else 0);
* a process left running (its environment names this run's scratch folder, or it was orphaned), or
  a scratch file left by a check that had no fault to keep evidence of;
* standard output that is not one strict JSON document (and valid by the report's schema, where
  ``jsonschema`` is installed), or anything at all there beside a refusal;
* a refusal that is not one printable line of at most 200 characters with file, reason, next step;
* control, bidirectional or invisible characters or CI commands in what people read. Files whose
  names attack (``hostile/21*``, ``negative/name_*``) are also shown as text and as Markdown;
* more than 300 MB of peak resident memory in the main process;
* a target that took much longer than its budget.

Then each runtime is asked directly, in a child with a deadline and a memory ceiling: ONNX Runtime
(``InferenceSession``, CPU provider, all optimisations) and OpenVINO (``read_model`` and
``compile_model`` on ``CPU``, f32), and ``onnx.checker``. For admitted files the FP32 verdict of a
target is held against the runtime's own answer; for refused ones a file that something else accepts
is listed, and counted as a false refusal where it came from ``data/onnx``, ``data/odd`` or
``data/nolicence`` and ``RIGHTLY`` gives no reason for it (files of the other folders are broken on
purpose; they are listed for a reader to judge).
``expected.json`` of a folder holds what the runtimes said when the corpus was collected.

Results are kept in ``--cache`` (a folder under the system's temporary one), one file each: an
interrupted run goes on where it stopped; ``--again`` repeats some. A check made from other sources
than the present ones is marked by the count in the totals. The exit code is 0 when there is no
problem, no disagreement and no false refusal, else 1.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import ctypes
import fnmatch
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = ("data/onnx", "data/odd", "data/negative", "data/nolicence", "hostile")
#: Folders whose files somebody might send in earnest.
EARNEST = ("data/onnx", "data/odd", "data/nolicence")
NAME_ATTACKS = ("hostile/21*", "data/negative/name_*")
#: Refusals in those folders that were looked at and found right, by the file's last words.
RIGHTLY = {
    "add_opset_314159.onnx": "no such opset exists, by orders of magnitude",
    "mul_1.noopset.onnx": "ONNX demands opset_import; without it no operator has a meaning",
    "conv-float.onnx": "ONNX demands ir_version; ONNX Runtime and the checker refuse it as well",
    "embed_layer_norm_format1.onnx": "its Gather reads row 1 of a table of one row",
}
FALSE = "FALSE REFUSAL"
RUNTIMES = {"onnxruntime": "onnxruntime:cpu", "openvino": "openvino:CPU"}
KEY_IN_EXPECTED = {"onnxruntime": "ort", "openvino": "openvino", "checker": "checker"}

Row = dict[str, Any]
#: Gives the errors of a document.
Schema = Callable[[Any], Iterable[Any]]

LINE, PEAK_MB = 200, 300
#: A target may take its budget, and this much more for starting children and ending them.
BUDGET_S, GRACE_S = 30.0, 15.0
MEMORY_WORDS = re.compile(r"bad_alloc|[Ff]ailed to allocate|out of memory|Cannot allocate memory")
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
COMMANDS = re.compile(r"^\s*::|##\[|##vso\[|##teamcity\[", re.M)

_ASK = {
    "onnxruntime": """
import sys, onnxruntime as ort
options = ort.SessionOptions()
options.log_severity_level = 4
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
""",
    "openvino": """
import sys, openvino as ov
core = ov.Core()
core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
""",
    "checker": """
import sys, onnx
onnx.checker.check_model(sys.argv[1])
""",
}
#: A runtime's teardown may die after its answer, so the answer is a line and the exit is sudden.
_FRAME = """
import os, sys
try:
{body}
except BaseException as error:
    kind = "memory" if isinstance(error, MemoryError) else "refused"
    words = kind + " " + type(error).__name__ + ": " + str(error)
else:
    words = "ok"
os.write(1, b"\\nANSWER " + words.encode("utf-8", "replace")[:4000])
os._exit(0)
"""


def main() -> int:
    options = arguments()
    root = options.folder.resolve()
    options.cache.mkdir(parents=True, exist_ok=True)
    _subreaper()
    corpus = Corpus(root, options)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(corpus.row, corpus.files()))
    text, good = report(rows, corpus)
    if options.out:
        options.out.write_text(text, "utf-8")
    print(text)
    return 0 if good else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    data = os.environ.get("SEATRIAL_DATA", str(REPOSITORY.parent / "shared"))
    parser.add_argument("folder", nargs="?", type=Path, default=Path(data))
    parser.add_argument("--jobs", type=int, default=1, help="files at a time")
    parser.add_argument("--only", default="*", help="pattern of files, as data/odd/*")
    parser.add_argument(
        "--again", default="", help="repeat 'all', 'stale', 'problems' or a pattern"
    )
    parser.add_argument("--table", action="store_true", help="only what the cache holds")
    parser.add_argument("--memory-mb", type=int, default=4096, help="ceiling of every child")
    parser.add_argument("--out", type=Path, help="also write the tables here")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "seatrial-corpus"
    )
    return parser.parse_args()


def _subreaper() -> None:
    """Orphans of the checks become children of this process, so that none can hide."""
    ctypes.CDLL(None).prctl(36, ctypes.c_ulong(1), 0, 0, 0)


class Corpus:
    """The files, and what was found out about each, cached."""

    def __init__(self, root: Path, options: argparse.Namespace) -> None:
        self.root = root
        self.options = options
        self.sources = _digest_of_sources()
        self.schema = _validator()
        self._print = threading.Lock()

    def files(self) -> list[str]:
        found = []
        for folder in FOLDERS:
            for path in sorted((self.root / folder).iterdir()):
                name = f"{folder}/{path.name}"
                found += [name] if path.is_file() else []
                found += [name + "!"] if path.suffix == ".gz" else []
        return [name for name in found if fnmatch.fnmatch(name, self.options.only)]

    def row(self, name: str) -> Row:
        """Everything about one file; ``NAME.gz!`` is the unpacked one."""
        with contextlib.ExitStack() as stack:
            path = self.root / name.rstrip("!")
            if name.endswith("!"):
                unpacked = Path(stack.enter_context(tempfile.TemporaryDirectory())) / path.stem
                unpacked.write_bytes(gzip.decompress(path.read_bytes()))
                path = unpacked
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            row: Row = {"name": name, "direct": {}}
            row["check"] = self._kept(f"check {name} {digest}", lambda: self.check(name, path))
            for kind in _ASK:
                key = f"direct {kind} {name} {digest}"
                row["direct"][kind] = self._kept(key, partial(self.direct, kind, path))
        self._say(row)
        return row

    def _kept(self, key: str, make: Callable[[], Row]) -> Row:
        place = self.options.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
        with contextlib.suppress(OSError, ValueError):
            found: Row = json.loads(place.read_text("utf-8"))
            if self.options.table or not self._repeat(key, found):
                return found
        if self.options.table:
            return {}
        found = {"key": key, "sources": self.sources, **make()}
        place.write_text(json.dumps(found), "utf-8")
        return found

    def _repeat(self, key: str, found: Row) -> bool:
        again, (kind, *_, name, _) = self.options.again, key.split(" ")
        if again in ("", "all"):
            return again == "all"
        if kind == "direct":
            return False
        if again == "stale":
            return bool(found["sources"] != self.sources)
        if again == "problems":
            return bool(found["problems"])
        return fnmatch.fnmatch(name, again)

    def check(self, name: str, path: Path) -> Row:
        """One run of the command, watched; see the module's docstring for what is a problem."""
        run = watched(self._command(path, "--json", "-"), self.options.cache)
        found = judge(path, run, self.schema)
        if any(fnmatch.fnmatch(name, p) for p in NAME_ATTACKS) and found["exit"] != 2:
            scratch = self.options.cache / "shown"
            shown = watched(self._command(path, "-v", "-o", str(scratch)), self.options.cache)
            texts = [shown["stdout"], shown["stderr"]]
            texts += [p.read_text("utf-8", "replace") for p in scratch.glob("*.md")]
            found["problems"] += [f"as text: {p}" for text in texts for p in inert(text)]
            if shown["exit"] != found["exit"]:
                found["problems"].append(f"as text it ends with {shown['exit']}")
            shutil.rmtree(scratch, ignore_errors=True)
        return found

    def _command(self, path: Path, *words: str) -> list[str]:
        memory = ("--memory-mb", str(self.options.memory_mb))
        return [sys.executable, "-m", "seatrial", "check", str(path), *memory, *words]

    def direct(self, kind: str, path: Path) -> Row:
        """What a runtime itself says, or how it died."""
        body = "\n".join(f"    {line}" for line in _ASK[kind].strip().splitlines())
        command = [sys.executable, "-c", _FRAME.format(body=body), str(path)]
        run = watched(command, self.options.cache, BUDGET_S, self.options.memory_mb)
        first = run["stdout"].rpartition("ANSWER ")[2].strip() if "ANSWER " in run["stdout"] else ""
        if run["ended"]:
            answer, text = run["ended"], ""
        elif first:
            answer, _, text = first.partition(" ")
            answer = "memory" if MEMORY_WORDS.search(text) else answer
        elif run["exit"] < 0 and MEMORY_WORDS.search(run["stderr"]):
            answer, text = "memory", run["stderr"]
        else:
            answer, text = _status(run["exit"]), run["stderr"]
        return {"answer": answer, "text": text[:400], "seconds": run["seconds"]}

    def _say(self, row: Row) -> None:
        check, direct = row["check"], row["direct"]
        if self.options.table or not check:
            return
        answers = " ".join(f"{k}={v.get('answer')}" for k, v in direct.items())
        with self._print:
            line = f"{row['name']}: exit {check['exit']} {check['seconds']:.1f} s {answers}"
            print(line, *check["problems"], sep="\n  ! ", file=sys.stderr, flush=True)


def watched(command: list[str], folder: Path, timeout_s: float = 600.0, memory_mb: int = 0) -> Row:
    """Run a command in a scratch folder of its own and look what it leaves behind."""
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    (scratch / "tmp").mkdir()
    variables = {
        **os.environ,
        "TMPDIR": str(scratch / "tmp"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "CI": "true",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "core"), str(REPOSITORY / "backends")]),
    }
    started, peak, ended = time.monotonic(), 0, ""
    with (scratch / "out").open("wb") as out, (scratch / "err").open("wb") as err:
        child = subprocess.Popen(
            command,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            cwd=scratch / "tmp",
            env=variables,
            start_new_session=True,
        )
        while child.poll() is None:
            peak = max(peak, _status_kb(child.pid, "VmHWM"))
            if memory_mb and _status_kb(child.pid, "VmRSS") > memory_mb * 1024:
                ended = "memory"
            elif time.monotonic() - started > timeout_s:
                ended = "timeout"
            if ended:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            time.sleep(0.01)
    seconds = time.monotonic() - started
    left = leftovers(str(scratch))
    files = sorted(p.name for p in (scratch / "tmp").iterdir())
    texts = {
        n: (scratch / n).read_bytes().decode("utf-8", "surrogateescape") for n in ("out", "err")
    }
    shutil.rmtree(scratch, ignore_errors=True)
    return {
        "exit": child.returncode,
        "ended": ended,
        "seconds": round(seconds, 2),
        "peak_mb": peak // 1024,
        "left": left,
        "files": files,
        "stdout": texts["out"],
        "stderr": texts["err"],
    }


def leftovers(scratch: str) -> list[str]:
    """Processes that carry this run's scratch folder, or were orphaned to us; they are ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            variables = (entry / "environ").read_bytes()
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            job = " in a job" if b"SEATRIAL_JOB=" in variables else ""
            if scratch.encode() in variables:
                found.append(f"{words.strip()[:120]}{job}")
                os.kill(int(entry.name), signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while (gone := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(f"an orphan ended with {_status(os.waitstatus_to_exitcode(gone[1]))}")
    return found


def judge(path: Path, run: Row, schema: Schema) -> Row:
    """A run of the command against the promises."""
    problems = [f"left running: {words}" for words in run["left"]]
    code = run["exit"]
    if run["ended"] or code not in (0, 1, 2, 3):
        problems.append(f"the main process: {run['ended'] or _status(code)}")
    if "Traceback" in run["stderr"] or "internal error" in run["stderr"]:
        problems.append(f"crashed: {run['stderr'].strip()[-300:]}")
    problems += [f"standard error: {p}" for p in inert(run["stderr"])]
    if run["peak_mb"] > PEAK_MB:
        problems.append(f"the main process took {run['peak_mb']} MB")
    found = {k: run[k] for k in ("exit", "seconds", "peak_mb")}
    found |= {"targets": {}, "refusal": "", "faults": []}
    if code == 2:
        lines = [x for x in run["stderr"].splitlines() if x.startswith("seatrial: error: ")]
        problems += of_refusal(path, lines, run["stdout"])
        found["refusal"] = lines[0].removeprefix("seatrial: error: ") if lines else ""
    elif code in (0, 1, 3):
        problems += of_document(run, found, schema)
    if run["files"] and not found["faults"]:
        problems.append(f"scratch left behind: {', '.join(run['files'][:5])}")
    return found | {"problems": problems}


def of_refusal(path: Path, lines: list[str], stdout: str) -> list[str]:
    if len(lines) != 1:
        return [f"{len(lines)} error lines"]
    line = lines[0].removeprefix("seatrial: error: ")
    tests = {
        f"a refusal of {len(line)} characters": len(line) > LINE,
        "a refusal that does not name the file": path.name[:20] not in line,
        "a refusal without a next step": not re.search(r": .+ \(.+\)$", line),
        "something on standard output beside a refusal": bool(stdout),
        "a refusal that is not printable": not line.isprintable(),
    }
    return [f"{text}: {line}" for text, bad in tests.items() if bad]


def of_document(run: Row, found: Row, schema: Schema) -> list[str]:
    """The JSON document: strict, valid, inert, and of one mind with the exit code."""
    try:
        document = json.loads(run["stdout"], parse_constant=_no_constant)
    except ValueError as error:
        return [f"standard output is not strict JSON: {error}"]
    problems = [f"schema: {error.json_path} {error.message[:120]}" for error in schema(document)]
    problems += [f"standard output: {p}" for p in inert(run["stdout"])]
    verdicts = []
    for row in document["targets"]:
        built = row["built"]
        if not row["decides"]:
            continue
        verdicts.append(built["verdict"] if built else "unknown")
        found["targets"][row["target"]] = _target(row, built)
        seconds = sum(c["seconds"] or 0 for c in (built or {}).values() if isinstance(c, dict))
        if seconds > BUDGET_S + GRACE_S:
            problems.append(f"{row['target']} took {seconds:.0f} s")
    called_for = 1 if "unsupported" in verdicts else 3 if "unknown" in verdicts else 0
    called_for = called_for if verdicts else 3
    if called_for != run["exit"]:
        problems.append(f"the targets call for exit {called_for}")
    for fault in document["faults"]:
        words = (fault["target"], fault["kind"], fault["stage"], fault["signal"], fault["reason"])
        found["faults"].append(" ".join(filter(None, words))[:300])
    return problems


def _target(row: Row, built: Row | None) -> Row:
    columns = {}
    for precision in ("fp32", "int8"):
        part = (built or {}).get(precision)
        fault = part["fault"] if part else row["fault"]
        columns[precision] = {
            "verdict": part["verdict"] if part else "unknown",
            "fault": f"{fault['kind']} {fault['signal'] or ''}".strip() if fault else "",
            "notes": [n[:200] for n in (part or {}).get("notes", [])],
            "seconds": (part or {}).get("seconds"),
        }
    findings = [
        f"{f['precision']} {f['severity']} {f['node']}: {f['reason']}"[:300]
        for f in (built or {}).get("findings", [])
    ]
    return {**columns, "findings": findings[:6]}


def inert(text: str) -> list[str]:
    """What in a text could act on a terminal or a CI system."""
    found = [f"character {m.group()!a}" for m in UNSAFE.finditer(text)][:3]
    return found + [f"command {m.group()!r}" for m in COMMANDS.finditer(text)][:3]


def agreement(kind: str, row: Row) -> bool | None:
    """Whether the FP32 verdict is what the runtime itself says; ``None``: nothing to compare."""
    target = row["check"]["targets"].get(RUNTIMES[kind])
    answer = row["direct"][kind].get("answer")
    if target is None or answer is None:
        return None
    fp32 = target["fp32"]
    if answer == "ok":
        return fp32["verdict"] in ("supported", "partial")
    if answer == "refused":
        return fp32["verdict"] == "unsupported"
    wanted = {"timeout": "timed out", "memory": "out of memory"}.get(answer, f"crashed {answer}")
    return fp32["verdict"] == "unknown" and fp32["fault"] == wanted


def report(rows: list[Row], corpus: Corpus) -> tuple[str, bool]:
    rows = [r for r in rows if r["check"]]
    refused = [r for r in rows if r["check"]["exit"] == 2]
    admitted = [r for r in rows if r["check"]["targets"]]
    problems = [(r["name"], p) for r in rows for p in r["check"]["problems"]]
    odds = {k: [r for r in admitted if agreement(k, r) is False] for k in RUNTIMES}
    taken = [(r, [k for k, v in r["direct"].items() if v.get("answer") == "ok"]) for r in refused]
    taken = [(r, who) for r, who in taken if who]
    false = [r for r, _ in taken if _judged(r) == FALSE]
    parts = [
        "# `seatrial check` on the corpus",
        *_totals(rows, corpus),
        "",
        "## Agreement of the FP32 verdict with the runtime called directly",
        "",
        *_agreements(admitted, odds),
        *_expected(rows, corpus.root),
        "",
        f"## Problems: {len(problems)}",
        "",
        *_table(("file", "problem"), problems),
        "",
        f"## Refused although something accepts it: {len(taken)}, false refusals: {len(false)}",
        "",
        *_table(
            ("file", "accepted by", "refusal", "judgement"),
            ((r["name"], ", ".join(who), r["check"]["refusal"], _judged(r)) for r, who in taken),
        ),
        "",
        "## Faults",
        "",
        *_table(("file", "fault"), ((r["name"], f) for r in rows for f in r["check"]["faults"])),
        "",
        "## Slowest",
        "",
        *_table(
            ("file", "seconds", "exit"),
            (
                (r["name"], r["check"]["seconds"], r["check"]["exit"])
                for r in sorted(rows, key=lambda r: -r["check"]["seconds"])[:12]
            ),
        ),
        "",
        "## Admitted files",
        "",
        *_admitted(admitted),
        "",
        "## Refused files",
        "",
        *_table(("file", "refusal"), ((r["name"], r["check"]["refusal"]) for r in refused)),
        "",
    ]
    return "\n".join(parts), not (problems or false or any(odds.values()))


def _judged(row: Row) -> str:
    """What to think of the refusal of a file that something else accepts."""
    folder, _, name = row["name"].rpartition("/")
    if folder not in EARNEST:
        return "broken on purpose"
    return next((why for end, why in RIGHTLY.items() if name.endswith(end)), FALSE)


def _totals(rows: list[Row], corpus: Corpus) -> list[str]:
    lines = []
    for folder in FOLDERS:
        mine = [r["check"] for r in rows if r["name"].rpartition("/")[0] == folder]
        codes = Counter(c["exit"] for c in mine)
        lines.append(
            (
                folder,
                len(mine),
                *(codes.get(k, 0) for k in (0, 1, 2, 3)),
                sum(bool(c["problems"]) for c in mine),
                f"{statistics.median([c['seconds'] for c in mine] or [0]):.1f}",
                max((c["peak_mb"] for c in mine), default=0),
            )
        )
    total = [
        "all",
        *(sum(x[k] for x in lines) for k in range(1, 7)),
        "",
        max((x[8] for x in lines), default=0),
    ]
    head = (
        "folder",
        "files",
        "exit 0",
        "exit 1",
        "exit 2",
        "exit 3",
        "with problems",
        "median s",
        "peak MB",
    )
    stale = sum(r["check"]["sources"] != corpus.sources for r in rows)
    note = f"{stale} of {len(rows)} checks were made from other sources than the present ones."
    return ["", *_table(head, [*lines, total]), "", note]


def _agreements(admitted: list[Row], odds: dict[str, list[Row]]) -> list[str]:
    lines = []
    for kind in RUNTIMES:
        asked = [r for r in admitted if agreement(kind, r) is not None]
        count = len(asked) - len(odds[kind])
        share = f"{100 * count / len(asked):.1f} %" if asked else ""
        lines.append((kind, len(asked), count, share))
    out = [*_table(("runtime", "compared", "agree", "rate"), lines), ""]
    return out + _table(
        ("file", "runtime", "seatrial FP32", "directly", "first finding"),
        (
            (
                r["name"],
                k,
                " ".join(filter(None, (t["fp32"]["verdict"], t["fp32"]["fault"]))),
                f"{r['direct'][k]['answer']} {r['direct'][k]['text'][:120]}",
                "; ".join(t["findings"][:1]),
            )
            for k, found in odds.items()
            for r in found
            if (t := r["check"]["targets"][RUNTIMES[k]])
        ),
    )


def _expected(rows: list[Row], root: Path) -> list[str]:
    """Answers that differ from those noted when the corpus was collected."""
    differs, count = [], 0
    for folder in FOLDERS:
        place = root / folder / "expected.json"
        if not place.is_file():
            continue
        known = {x["file"]: x for x in json.loads(place.read_text("utf-8"))}
        for row in rows:
            where, _, name = row["name"].rpartition("/")
            for kind, key in KEY_IN_EXPECTED.items():
                then = known.get(name, {}).get(key) if where == folder else None
                now = row["direct"][kind].get("answer")
                if then is None or now is None:
                    continue
                count += 1
                if (then == "ok") != (now == "ok"):
                    differs.append((row["name"], kind, then[:80], now))
    lines = ["", f"`expected.json`: {count} answers, {len(differs)} differ today.", ""]
    return lines + _table(("file", "who", "then", "now"), differs)


def _admitted(admitted: list[Row]) -> list[str]:
    names = sorted({t for r in admitted for t in r["check"]["targets"]})
    head = ("file", "exit", *(f"{n} {p}" for n in names for p in ("FP32", "INT8")), "s", "MB")

    def cells(row: Row) -> Iterator[object]:
        check = row["check"]
        yield from (row["name"], check["exit"])
        for name in names:
            for part in ("fp32", "int8"):
                column = check["targets"].get(name, {}).get(part) or {"verdict": "", "fault": ""}
                yield " ".join(filter(None, (column["verdict"], column["fault"])))
        yield from (check["seconds"], check["peak_mb"])

    return _table(head, (tuple(cells(r)) for r in admitted))


def _table(head: tuple[str, ...], lines: Iterable[Iterable[object]]) -> list[str]:
    body = [[_cell(x) for x in line] for line in lines]
    if not body:
        return ["none"]
    return [f"| {' | '.join(x)} |" for x in (head, ["---"] * len(head), *body)]


def _cell(value: object) -> str:
    text = UNSAFE.sub("?", " ".join(str(value).split()))
    return text.replace("|", "\\|").replace("<", "&lt;")


def _status(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def _status_kb(pid: int, key: str) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return 0
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.M)
    return int(found.group(1)) if found else 0


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _validator() -> Schema:
    """Gives the errors of a document by the report's schema; none without ``jsonschema``."""
    try:
        import jsonschema
    except ImportError:
        return lambda document: ()
    place = REPOSITORY / "core/seatrial/report/schema/report-1.json"
    schema = json.loads(place.read_text("utf-8"))
    checker = jsonschema.validators.validator_for(schema)(schema)
    return lambda document: list(checker.iter_errors(document))[:3]


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for folder in ("core", "backends"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
