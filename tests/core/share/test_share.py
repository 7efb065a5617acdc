"""Planted secrets must not survive sharing, wherever in the document they stand."""

import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.cli import main
from seatrial.errors import UserError
from seatrial.report import Report, load
from seatrial.share import rules
from seatrial.share.places import texts
from seatrial.share.redact import share

_spec = importlib.util.spec_from_file_location(
    "seatrial_report_examples", Path(__file__).parent.parent / "report" / "examples.py"
)
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)

#: A word of each kind that no own text holds; numbers make the names differ.
SECRET = {
    rules.PATH: "/home/okapi/quagga_{n}/quaggamodel_{n}.onnx",
    rules.SAMPLE: "ibexpics/ibex_{n}.jpg",
    rules.LOG: "/tmp/tapir_{n}/tapir.log",
    rules.PICTURE: "lemur{n}",
    rules.NODE: "/zebra_block.{n}/conv/Conv",
    rules.TENSOR: "wombat_{n}_output",
    rules.MODULE: "numbat.layers.{n}",
    rules.OPERATOR: "com.dingo::Fused_{n}",
    rules.LABEL: "potoroo {n}",
}
WORDS = (
    "quagga",
    "okapi",
    "ibex",
    "tapir",
    "lemur",
    "zebra",
    "wombat",
    "numbat",
    "dingo",
    "potoroo",
)
#: What names of the model are called; they may stay for a customer.
MODEL = ("zebra", "wombat", "numbat", "dingo", "potoroo")


#: What a sentence may quote: names of fields (11 to 15), derived names, and what no field holds.
QUOTES = (
    "'/zebra_block.11/conv/Conv_quantized' and wombat_12_output_scale read (ibex_13.jpg), "
    "/home/okapi/other/thing.bin; numbat.layers.14.weight on build7.quagga.internal:27000 by "
    "okapi.user@quagga.example, quaggamodel_15"
)
COMMAND = "seatrial run /home/okapi/quagga_1/quaggamodel_1.onnx -o quagga-out --max-drop 1.0"
#: Fields that hold the names which sentences quote.
QUOTED = {
    "built.findings[].node": 11,
    "tensor.name": 12,
    "calibration.findings[].samples[]": 13,
    "export_node.module": 14,
    "model.external_files[]": 15,
}


def planted():
    """A report with every key filled: secrets of their kind, and sentences that quote several."""
    return Filler().value(load.schema(), "$") | {"sharing": None}


class Filler:
    """Fills a schema with one of everything."""

    def __init__(self):
        self.count = 100

    def value(self, rule, place):
        while "$ref" in rule:
            target = load.schema()
            parts = rule["$ref"].split("/")[1:]
            for part in parts:
                target = target[part]
            place = parts[1] if len(parts) == 2 else place
            rule = target
        for choices in (rule.get("anyOf"), rule.get("oneOf")):
            if choices:
                first = next(c for c in choices if c.get("type") != "null")
                return self.value(first, place)
        if "const" in rule:
            return rule["const"]
        if "enum" in rule:
            return next(v for v in rule["enum"] if v is not None)
        kinds = rule.get("type", "object")
        kind = next(k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null")
        if kind == "string":
            return self.text(place)
        if kind == "array":
            item = self.value(rule.get("items") or {"type": "number"}, f"{place}[]")
            return [item] * max(1, rule.get("minItems", 1))
        if kind == "object":
            return dict(self.members(rule, place))
        return {"boolean": False, "integer": 1, "number": 1.0}[kind]

    def members(self, rule, place):
        for key, inner in rule.get("properties", {}).items():
            yield key, self.value(inner, f"{place}.{key}")
        more = rule.get("additionalProperties", "properties" not in rule)
        if more is not False:
            inner = more if isinstance(more, dict) else {"type": "number"}
            yield self.text(f"{place}.{{keys}}"), self.value(inner, f"{place}.*")

    def text(self, place):
        kind = rules.kind(place)
        self.count += 1
        if kind == rules.KEEP:
            return "own"
        if kind == rules.TEXT:
            return COMMAND if place in ("$.command_line[]", "$.next[]") else QUOTES
        return SECRET[kind].format(n=QUOTED.get(place, self.count))


def real():
    """A report as the verbs make it."""
    return Report(examples.ship()).data


def dump(data):
    return json.dumps(data).lower()


def test_every_text_of_the_schema_has_a_rule():
    named = set(rules.RULES) | rules.OWN
    assert [place for place in texts() if place not in named] == [], (
        "say in share/rules.py what it is"
    )
    assert sorted(named - set(texts())) == [], "the schema has no such place"
    assert not set(rules.RULES) & rules.OWN


def test_the_planted_report_holds_what_it_should():
    text = dump(planted())
    assert [
        w for w in ("quagga", "okapi", "ibex", "zebra", "wombat", "numbat") if w not in text
    ] == []


def test_a_customer_sees_no_file_host_person_or_sample():
    text = dump(share(planted(), "customer"))
    left = [w for w in WORDS if w not in MODEL and w in text]
    assert left == []
    assert "zebra" in text, "names of the model stay for a customer"


def test_the_public_sees_no_name_at_all():
    text = dump(share(planted(), "public"))
    assert [w for w in WORDS if w in text] == []


@pytest.mark.parametrize("level", ["customer", "public"])
def test_figures_versions_and_verdicts_stay(level):
    before, after = real(), share(real(), level)
    assert after["verdict"] == before["verdict"]
    assert [r["drop"] for r in after["ladder"]] == [r["drop"] for r in before["ladder"]]
    assert after["environment"] == before["environment"]
    assert after["model"]["sha256"] == before["model"]["sha256"]
    assert [t["target"] for t in after["targets"]] == [t["target"] for t in before["targets"]]
    assert {row["what"] for row in after["sharing"]["removed"]}


@pytest.mark.parametrize("level", ["customer", "public"])
def test_what_is_shared_is_still_a_report(level):
    jsonschema = pytest.importorskip("jsonschema")
    shared = share(planted(), level)
    jsonschema.Draft202012Validator(load.schema()).validate(shared)


def test_a_name_is_renamed_alike_everywhere():
    data = planted()
    node = data["targets"][0]["built"]["findings"][0]["node"]
    data["reasons"] = [
        examples.rows.reason("compile.unsupported", f"node {node} is refused; also {node}_q")
    ]
    shared = share(data, "public")
    stand_in = shared["targets"][0]["built"]["findings"][0]["node"]
    assert shared["reasons"][0]["text"] == f"{stand_in} is refused; also {stand_in}_q"


def test_internal_is_the_report_itself():
    data = planted()
    assert share(data, "internal") == data


def test_what_was_taken_cannot_come_back():
    public = share(planted(), "public")
    with pytest.raises(UserError, match="cannot come back"):
        share(public, "customer")
    again = share(public, "public")
    assert [w for w in WORDS if w in dump(again)] == []


def test_commands_keep_options_and_lose_values():
    data = planted()
    data["command_line"] = [
        "seatrial", "run", "quagga.onnx", "-o", "okapi", "--max-drop=2", "--max-latency",
        "p99=12ms", "--calibration=ibex[0:20]", "-b", data["targets"][0]["target"],
    ]  # fmt: skip
    shared = share(data, "customer")["command_line"]
    assert shared[:2] == ["seatrial", "run"]
    assert shared[5:8] == ["--max-drop=2", "--max-latency", "p99=12ms"]
    assert shared[-2:] == data["command_line"][-2:]
    assert shared[8].startswith("--calibration=")
    assert not any(w in " ".join(shared) for w in WORDS)


NAME = st.from_regex(r"[a-z]{5,9}([._/-][a-z0-9]{2,9}){0,3}", fullmatch=True)
AROUND = st.sampled_from(
    ["{}", "'{}'", "({}),", "{}: no", "{}.", "[{}]", "{}_quantized", "x {} y", "{};"]
)


@settings(max_examples=40, deadline=None)
@given(NAME, st.lists(AROUND, min_size=1, max_size=4))
def test_a_node_s_name_is_found_in_any_sentence(name, around):
    secret = f"zq{name}"
    data = real()
    data["diagnosis"] = [examples.quantize_rows.diagnosis("x", dead=[secret])]
    data["missing"] = [shape.format(secret) for shape in around]
    shared = share(data, "public")
    assert secret not in dump(shared)


def test_the_command_writes_beside_and_says_what_it_took(tmp_path, capsys):
    folder = tmp_path / "trial"
    Report(examples.ship()).write(folder)
    code = main(["report", str(folder), "--share", "customer", "--format", "json,markdown,csv"])
    said = capsys.readouterr()
    assert code == Report(examples.ship()).exit_code
    shared = tmp_path / "trial-customer"
    assert (shared / "report.json").is_file()
    assert (shared / "tables" / "ladder.csv").is_file()
    assert "taken out: paths, file names and data sources" in said.err
    assert json.loads((folder / "report.json").read_text())["sharing"] is None
