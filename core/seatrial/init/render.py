"""A commented ``seatrial.toml`` from what was guessed. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from seatrial.codec import record
from seatrial.data.contract import InputContract
from seatrial.init.presets import PRESETS
from seatrial.init.tasks import TaskGuess
from seatrial.text import clean


@record
class InputGuess:
    """The contract guessed for one input.

    Attributes:
        name: of the model's input.
        shape: as the model states it, for a comment.
        contract: the guess.
        why: reason by key, or by ``preset`` for colour order and the numbers.
        preset: name of the preset behind the numbers, ``""`` for none.
        evidence: lines on the presets that were tried.
    """

    name: str
    shape: str
    contract: InputContract
    why: Mapping[str, str]
    preset: str = ""
    evidence: tuple[str, ...] = ()


@record
class Plan:
    """Everything the file says.

    Attributes:
        model: path as written into the file.
        data: lines of the ``[data]`` tables, ready to print.
        task: what the outputs look like, when it is no classifier's.
        labelled: whether the data has labels; decides about ``accept_agreement``.
        label_offset: proposed offset.
        why_offset: reason for it.
        notes: lines at the top.
    """

    model: str
    inputs: tuple[InputGuess, ...]
    data: tuple[str, ...] = ()
    labelled: bool = False
    task: TaskGuess | None = None
    classifier: bool = False
    label_offset: int = 0
    why_offset: str = ""
    notes: tuple[str, ...] = ()


def quote(text: str) -> str:
    """A TOML basic string."""
    body = json.dumps(text, ensure_ascii=False)
    body = body.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be written
    return re.sub("[\x7f-\x9f]", lambda m: f"\\u{ord(m.group()):04x}", body)


def number(value: float) -> str:
    """A number as a person would write it: ``"1/255"`` for a scale of that kind."""
    if value == 0 or (value.is_integer() and abs(value) < 1e15):
        return f"{value:.1f}"
    if 1e-4 < value < 1:
        below = round(2 / value) / 2
        if 1 / below == value:
            return f'"1/{below:g}"'
    return repr(value)


def render(plan: Plan) -> str:
    """The file's text."""
    lines = [
        "# Written by `seatrial init`. Lines marked GUESS are not known: check them, the contact",
        "# sheet shows what the network would see. A wrong input contract looks like a bad model.",
        *(_comment(n) for n in plan.notes),
        "",
        "[model]",
        f"path = {quote(plan.model)}",
    ]
    for guess in plan.inputs:
        lines += ["", *_input(guess)]
    lines += ["", *(plan.data or _no_data())]
    lines += [] if lines[-1] == "" else [""]
    lines += [*_task(plan), "", *_sla(plan)]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return f"# {clean(text, 400)}"


_ALTERNATIVES: Mapping[str, str] = {
    "resize": '"none", "stretch", "crop" (with resize_to), "letterbox" (with pad_value, pad_side)',
    "interpolation": '"nearest", "bilinear", "bicubic", "lanczos", "box" (Pillow\'s filters)',
    "layout": '"NCHW" or "NHWC"',
    "exif": "false leaves pictures as stored, whatever their EXIF orientation says",
}


def _input(guess: InputGuess) -> list[str]:
    c = guess.contract
    lines = [
        f"[input.{quote(guess.name)}]",
        _comment(f"the model takes {guess.shape}; value = ((x - zero_point) * scale - mean) / std"),
    ]
    if c.mode == "tensor":
        return lines + _tensor(guess)
    keys: dict[str, str] = {"mode": quote("image")}
    keys["size"] = f"[{', '.join(map(str, c.size))}]  # height, width"
    keys["resize"] = quote(c.resize)
    if c.resize_to:
        keys["resize_to"] = str(c.resize_to)
    keys |= {"interpolation": quote(c.interpolation), "exif": str(c.exif).lower()}
    keys["layout"] = quote(c.layout)
    # As the model says; a PyTorch module that this file is used with later does not say it.
    keys["dtype"] = quote(c.dtype or guess.shape.partition(" ")[0])
    for key, value in keys.items():
        if key in guess.why:
            lines.append(_comment(guess.why[key]))
        if key in _ALTERNATIVES:
            lines.append(f"#   alternatives: {_ALTERNATIVES[key]}")
        lines.append(f"{key} = {value}")
    return lines + _numbers(guess)


def _numbers(guess: InputGuess) -> list[str]:
    """Colour order, scale, mean and std with every usual alternative."""
    c = guess.contract
    lines = ["#", _comment(guess.why.get("preset", ""))]
    lines += [_comment(f"  {line}") for line in guess.evidence]
    lines += [f"color = {quote(c.color)}", *_formula(c)]
    lines.append("#   alternatives:")
    for preset in PRESETS:
        p = preset.contract
        if preset.name != guess.preset:
            values = ", ".join((f"color = {quote(p.color)}", *_formula(p)))
            lines.append(f"#   {preset.usual}: {values}")
    return lines


def _formula(c: InputContract) -> list[str]:
    lines = [f"zero_point = {number(c.zero_point)}"] if c.zero_point else []
    return [
        *lines,
        f"scale = {number(c.scale)}",
        f"mean = {_list(c.mean)}",
        f"std = {_list(c.std)}",
    ]


def _list(values: Sequence[float]) -> str:
    return f"[{', '.join(repr(float(v)) for v in values)}]"


def _tensor(guess: InputGuess) -> list[str]:
    c = guess.contract
    lines = [_comment(w) for w in guess.why.values()]
    lines.append('mode = "tensor"')
    if guess.shape.endswith(" number"):
        lines.append('#   alternatives: mode = "constant" with value = NUMBER, if it never changes')
    if c.reshape:
        lines.append(f"reshape = [{', '.join(map(str, c.reshape))}]")
    if c.dtype:
        lines.append(f"dtype = {quote(c.dtype)}")
    return lines if c.identity else lines + _formula(c)


def _no_data() -> list[str]:
    return [
        "# No data was given. Name real samples: a folder of images, an .npz, or MODULE:CALLABLE.",
        "# [data.calibration]",
        '# source = "calibration/"',
        "# [data.test]",
        '# source = "test/"',
    ]


def _task(plan: Plan) -> list[str]:
    lines = ["[task]"]
    if plan.task is not None:
        lines += _guessed(plan.task, commented=bool(plan.data) and not plan.labelled)
    elif plan.labelled and plan.classifier:
        lines.append('kind = "classify"')
        lines.append("top_k = 1")
    elif plan.labelled:
        lines.append("# The outputs do not look like a classifier's: write your own, MODULE:CLASS")
        lines.append('# callable = "my_task:Metric"')
    else:
        lines.append("# No labels: outputs are compared with the float model's.")
        lines.append('kind = "none"')
    if plan.why_offset:
        lines.append(_comment(plan.why_offset))
    if plan.label_offset:
        lines.append(f"label_offset = {plan.label_offset}")
    return lines


def _guessed(task: TaskGuess, *, commented: bool) -> list[str]:
    """The table of a task; commented out when there are no labels to judge by."""
    lines = [_comment(f"GUESS: {task.why}")]
    mark = "# " if commented else ""
    lines += [f"{mark}{line}" for line in task.lines]
    if commented:
        lines.append("# No labels: outputs are compared with the float model's.")
        lines.append('kind = "none"')
    return lines


def _sla(plan: Plan) -> list[str]:
    lines = ["[sla]", "# Highest drop of the metric against the float model, in points (default)."]
    lines.append("max_drop = 1.0")
    if not plan.labelled:
        lines.append("# Without labels accuracy cannot be proved. Accept agreement with the float")
        lines.append("# model (percent of samples with the same answer) in its place:")
        lines.append("# accept_agreement = 99")
    lines.append('# max_latency = "p99=12ms"')
    lines.append('# max_memory = "512MB"')
    return lines


def data_lines(table: str, values: Iterable[tuple[str, str]], note: str = "") -> list[str]:
    """One ``[data...]`` table."""
    head = [_comment(note)] if note else []
    return [*head, f"[{table}]", *(f"{key} = {value}" for key, value in values), ""]
