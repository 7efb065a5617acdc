"""Figures of ``nodes.py --json FOLDER``, its parts put together: the data of the page on coverage.

python benchmarks/agreement.py FOLDER docs/backends/agreement.json
"""

from __future__ import annotations

import collections
import datetime
import json
import re
import sys
from pathlib import Path
from typing import Any

from nodes import AGREED

LOST = "onnx2tf with its default layout loses an input; kept, it does not"
TURNED = "onnx2tf with its default layout leaves tensors turned; kept, the numbers are ONNX's"

#: Disagreements whose cause is known: backend, and what is found in the case's name -> the cause.
KNOWN = {
    ("openvino", r"/tile$"): "reads memory that nobody wrote: not the same numbers twice",
    ("litert", r"dropout.*mask|(average|max)pool_3d_default"): LOST,
    ("litert", r"concat_3d|nllloss_NCd1d2|gathernd_example_int32_batch_dim1"): TURNED,
}


def cause(backend: str, case: str) -> str:
    """Why a case differs, where that is known."""
    found = (why for (who, what), why in KNOWN.items() if who == backend and re.search(what, case))
    return next(found, "")


def merged(name: str, parts: list[dict[str, Any]], of: int, when: float) -> dict[str, Any]:
    """One row: a backend, and node tests or whole models; ``of``: parts that there are."""
    kinds: collections.Counter[str] = collections.Counter()
    static: collections.Counter[tuple[str, str]] = collections.Counter()
    disagree: dict[str, list[str]] = {}
    for part in parts:
        kinds.update(part["kinds"])
        static.update({(claim, verdict): n for claim, verdict, n in part["static"]})
        disagree |= part["disagree"]
    denied = {v: n for (claim, v), n in static.items() if claim == "unsupported"}
    return {
        "backend": parts[0]["backend"],
        "what": name,
        "part": "" if len(parts) == of else f"{len(parts)} of {of} parts",
        "date": datetime.datetime.fromtimestamp(when, datetime.UTC).date().isoformat(),
        **parts[0]["about"],
        "asked": sum(p["asked"] for p in parts),
        "gated": sum(p["gated"] for p in parts),
        "agreed": sum(kinds[k] for k in AGREED),
        "kinds": dict(kinds.most_common()),
        "disagree": {
            case: [kind, cause(parts[0]["backend"], case) or text]
            for case, (kind, text) in sorted(disagree.items())
        },
        "static_denied": sum(denied.values()),
        "static_wrong": sum(n for v, n in denied.items() if v in ("supported", "partial")),
    }


def main(folder: Path, out: Path) -> None:
    """Merge every backend's parts; a row says when some are missing."""
    found: dict[tuple[str, str], dict[int, Path]] = collections.defaultdict(dict)
    wanted: dict[tuple[str, str], int] = {}
    for path in sorted(folder.glob("*.json")):
        backend, _, what = path.stem.partition("-")
        part = re.fullmatch(r"nodes-(\d+)-of-(\d+)", what)
        key = (backend, "node tests" if part else "whole models")
        found[key][int(part[1]) if part else 1] = path
        wanted[key] = int(part[2]) if part else 1
    rows = []
    for key, paths in sorted(found.items()):
        parts = [json.loads(p.read_text()) for _, p in sorted(paths.items())]
        when = max(p.stat().st_mtime for p in paths.values())
        rows.append(merged(key[1], parts, wanted[key], when))
    out.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(
            row["backend"],
            row["what"],
            row["part"],
            row["agreed"],
            "of",
            row["asked"],
            len(row["disagree"]),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
