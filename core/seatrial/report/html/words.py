"""Plain words for what the document says in terms of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from seatrial.report.sheets import Data
from seatrial.text import clean

#: Verdict -> (class of its colour, sign that needs no colour, what it means).
VERDICTS = {
    "SHIP": (
        "good", "✓", "Every limit that was asked for is shown to be met, with 95 % confidence."
    ),
    "DO NOT SHIP": ("bad", "✕", "At least one limit was measured and is broken."),
    "NOT PROVEN": (
        "open", "?",
        "No limit was shown to be broken, but not every limit was shown to hold.",
    ),
}  # fmt: skip

#: What commands without a verdict say by their exit code: class, sign, words, meaning.
HEADLINES = {
    ("check", 0): ("good", "✓", "COMPILES", "Every target that decides takes the model."),
    ("check", 1): ("bad", "✕", "REFUSED", "At least one target that decides does not take it."),
    ("check", 3): ("open", "?", "NOT KNOWN", "At least one target that decides gave no answer."),
    ("audit", 0): (
        "good", "✓", "NO RED FINDING", "Nothing was found that forbids calibrating on this set.",
    ),
    ("audit", 1): ("bad", "✕", "RED FINDINGS", "Do not calibrate on this set as it is."),
    ("audit", 3): ("open", "?", "NOT JUDGED IN FULL", "A part of the audit gave no answer."),
    ("export", 0): ("good", "✓", "EQUAL", "The ONNX model computes what the module computes."),
    ("export", 1): ("bad", "✕", "NOT EQUAL", "The ONNX model computes something else."),
    ("export", 3): ("open", "?", "NOT PROVEN", "It was not shown that both compute the same."),
}  # fmt: skip


def headline(data: Data) -> tuple[str, str, str, str] | None:
    """Class, sign, words and meaning of the whole report; ``None`` where a command judges none."""
    if data["interrupted"]:
        return "open", "!", "INTERRUPTED", "The run was stopped; below is what was done until then."
    if data["verdict"]:
        kind, sign, meaning = VERDICTS[data["verdict"]]
        return kind, sign, data["verdict"], meaning
    return HEADLINES.get((data["command"], data["exit_code"]))


#: What the parts of a verdict ask.
PARTS = {"compiles": "Compiles", "accurate": "Accurate", "fast": "Fast enough"}

#: Gates of the ladder -> (class, sign, word).
GATES = {
    "pass": ("good", "✓", "within the limit"),
    "fail": ("bad", "✕", "over the limit"),
    "not proven": ("open", "?", "not proven"),
    "not applicable": ("none", "·", "no limit"),
}

LEVELS = {
    "error": ("bad", "✕", "serious"),
    "warning": ("open", "!", "caution"),
    "info": ("none", "i", "note"),
}

_RUNGS = {
    "pytorch-fp32": "the PyTorch model",
    "onnx-fp32": "the float ONNX model",
    "onnx-int8": "the INT8 ONNX model",
    "device-float": "the target's float build",
    "device-int8": "the target's INT8 build",
}
#: The same for findings of the audit, which speaks of red and yellow ones.
COLOURS = {
    "error": ("bad", "✕", "red"),
    "warning": ("open", "!", "yellow"),
    "info": ("none", "i", "note"),
}

_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")
_RUNG = re.compile(r"\b(" + "|".join(_RUNGS) + r")\b")

#: Terms used on the page, for those who do not use them every day.
GLOSSARY = (
    ("Target", "One backend on one device, written backend:device, such as a runtime on this CPU."),
    (
        "INT8",
        "Weights and intermediate values as whole numbers of 8 bits: smaller and often faster.",
    ),
    (
        "Float, FP32, FP16, BF16",
        "Numbers with a fraction, of 32 or 16 bits. FP32 is what models are trained in.",
    ),
    (
        "Points",
        "Percentage points of the metric: from 76.0 % to 75.2 % correct is a loss of 0.8 points.",
    ),
    (
        "95 % interval",
        "If the trial were repeated on other samples of the same kind, 95 of 100 such intervals "
        "would hold the true value. A wide one means too few samples.",
    ),
    (
        "Calibration",
        "Running the float model on sample inputs to learn which range of values each "
        "intermediate result takes; INT8 spreads its 256 steps over that range.",
    ),
    ("Clipped", "Outside the calibrated range: such a value becomes the nearest end of the range."),
    (
        "Quantisation noise (SQNR, dB)",
        "How far the INT8 values of a layer are from the float ones. Higher is better; 6 dB less "
        "is twice the error, below about 20 dB a layer deserves a look.",
    ),
    (
        "KL",
        "How differently two models spread their confidence over the classes, in nats. 0 is equal; "
        "above about 0.02 answers begin to change.",
    ),
    ("Same answer", "Share of samples for which two models name the same class."),
    ("p50, p90, p99", "50, 90 or 99 of 100 calls take no longer than this."),
    (
        "Claimed, built, ran",
        "What a table lists, what the compiler accepted, and what really executed. They are never "
        "merged into one.",
    ),
    ("Fallback", "A node that runs somewhere else than on the target, usually on the host CPU."),
    ("Node", "One operation of the model, such as a convolution."),
    ("Artefact", "The compiled file that would be put on the device."),
    ("Q/DQ", "A model file in which the INT8 roundings are written out as nodes of their own."),
)


def plain(text: str, limit: int = 400) -> str:
    """A sentence of the document with its short names spelt out, cleaned."""
    said = _RUNG.sub(lambda m: _RUNGS[m.group()], clean(text, limit))
    first = said.partition(" ")[0]
    # A name with signs in it is no word: it keeps its letters.
    capital = said[:1].upper() if first.isalpha() else said[:1]
    return _MINUS.sub("−", capital + said[1:])


def rung(row: Data, ladder: Sequence[Data] = ()) -> str:
    """A rung of the ladder as a reader would call it.

    Args:
        row: the rung.
        ladder: all of them, to say for which targets a portable model was made.
    """
    target = clean(row["target"] or "", 40)
    precision = clean(row["ran_on"], 60).rpartition(", ")[2] if row["target"] else ""
    if row["rung"] == "device-float":
        return f"{target}, {precision or 'float'}"
    if row["rung"] == "device-int8":
        own = ", its own calibration" if row["source"] == "native" else ""
        return f"{target}, {precision or 'INT8'}{own}"
    names = {
        "pytorch-fp32": "PyTorch, float",
        "onnx-fp32": "ONNX, float",
        "onnx-int8": "ONNX, INT8",
    }
    users = {r["target"] for r in ladder if r["target"] and r["source"] == row["source"]}
    made_for = f" for {clean(', '.join(sorted(users)), 60)}" if row["source"] and users else ""
    return names[row["rung"]] + made_for


def against(row: Data) -> str:
    """What a rung is compared with."""
    return _RUNGS.get(row["against"] or "", "").removeprefix("the ")
