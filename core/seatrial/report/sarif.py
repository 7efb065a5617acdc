"""SARIF 2.1.0 (OASIS): findings as code scanners show them, by node of the model.

A finding of an export has the source line behind it; every other one points at the model file,
with the node as its logical location, which is what viewers and code-scanning services need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from seatrial.explain import about

from .model import strict_json
from .safe import safe
from .sheets import Data

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL = {"error": "error", "warning": "warning", "info": "note"}
#: Longest message, in characters, and most results: services refuse larger files.
MESSAGE, RESULTS = 1000, 5000


def render(data: Data) -> str:
    """The whole document."""
    found = list(_results(data))[:RESULTS]
    rules = list(dict.fromkeys(row["ruleId"] for row in found))
    for row in found:
        row["ruleIndex"] = rules.index(row["ruleId"])
    driver = {
        "name": "seatrial",
        "semanticVersion": data["environment"]["seatrial"] or "0",
        "rules": [_rule(code) for code in rules],
    }
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"seatrial/{data['command']}/"},
        "invocations": [
            {
                "executionSuccessful": not data["interrupted"],
                "exitCode": data["exit_code"],
                "endTimeUtc": data["created"].replace("+00:00", "Z"),
            }
        ],
        "artifacts": [{"location": {"uri": _uri(_model(data))}, "roles": ["analysisTarget"]}],
        "results": found,
        "columnKind": "unicodeCodePoints",
        "properties": {"verdict": data["verdict"]},
    }
    return strict_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(code: str) -> dict[str, Any]:
    story = about(code)
    rule: dict[str, Any] = {"id": code, "name": _camel(code)}
    if story is not None:
        rule["shortDescription"] = {"text": story.title}
        rule["fullDescription"] = {"text": story.summary}
        rule["help"] = {"text": story.text}
    return rule


def _camel(code: str) -> str:
    return "".join(part.capitalize() for part in code.replace(".", "-").split("-"))


def _results(data: Data) -> Iterator[dict[str, Any]]:
    for row in data["reasons"]:
        about_whom = " ".join(filter(None, (row["target"], row["part"])))
        yield _result(data, row["code"], row["level"], f"{about_whom}: {row['text']}".lstrip(": "))
    for row in data["export"].get("problems", ()):
        yield _result(
            data,
            f"export.{row['code']}",
            row["level"],
            " ".join(filter(None, (row["text"], row["advice"]))),
            file=row["file"],
            line=row["line"],
        )
    for row in (data["calibration"] or {"findings": ()})["findings"]:
        text = " ".join(filter(None, (row["text"], row["advice"])))
        names = (*row["samples"], *row["tensors"])
        yield _result(data, f"calibration.{row['code']}", row["level"], text, nodes=names[:20])
    yield from _builds(data)
    for part in data["diagnosis"]:
        for row in part["culprits"]:
            cause = row["cause"]
            text = f"{row['what']}: {cause['text']} {cause['advice']}"
            code = f"diagnosis.{cause['code']}"
            yield _result(data, code, "warning", text, nodes=(row["node"] or row["tensor"],))
    for row in data["faults"]:
        text = f"{row['target'] or 'the program'} in {row['stage']}: {row['reason']}"
        yield _result(data, f"fault.{row['kind'].replace(' ', '-')}", "error", text)


def _builds(data: Data) -> Iterator[dict[str, Any]]:
    for target in data["targets"]:
        for row in (target["built"] or {"findings": ()})["findings"]:
            what = row["op_type"] or "the model"
            text = f"{target['target']} {row['precision']}: {what}: {row['reason']} {row['advice']}"
            code = f"placement.{row['placement']}"
            yield _result(data, code, row["severity"], text, nodes=(row["node"],))


def _result(
    data: Data,
    code: str,
    level: str,
    text: str,
    *,
    nodes: tuple[str, ...] = (),
    file: str = "",
    line: int = 0,
) -> dict[str, Any]:
    """One result; its fingerprint does not change when figures in the text do."""
    where: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(file or _model(data))},
            "region": {"startLine": max(1, line)},
        }
    }
    named = [safe(node, 200) for node in nodes if node]
    if named:
        where["logicalLocations"] = [
            {"fullyQualifiedName": name, "name": name, "kind": "member"} for name in named
        ]
    words = "".join(c for c in text if not c.isdigit())
    mark = hashlib.sha256("\0".join((code, file, *named, words)).encode("utf-8", "replace"))
    return {
        "ruleId": code,
        "level": _LEVEL.get(level, "none"),
        "message": {"text": safe(text.strip(), MESSAGE) or code},
        "locations": [where],
        "partialFingerprints": {"seatrial/v1": mark.hexdigest()[:32]},
    }


def _model(data: Data) -> str:
    return str(data["model"]["path"]) if data["model"] else "model"


def _uri(path: str) -> str:
    """A relative reference, or a file URI for an absolute path."""
    encoded = quote(path.replace("\\", "/"), safe="/._-~")
    return f"file://{encoded}" if path.startswith("/") else encoded or "model"
