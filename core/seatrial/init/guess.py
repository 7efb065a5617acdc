"""From model and data to a contract per input, with the reason for every key.

Standard library only; the parent decides, children only looked.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from seatrial.data.contract import InputContract, complete, guess_layout
from seatrial.init.presets import BY_NAME, Hint, Preset, find, hint, is_picture, swapped
from seatrial.init.records import Look, Score
from seatrial.init.render import InputGuess
from seatrial.intake import ModelFacts
from seatrial.results import TensorIO

#: Pictures up to this size are resized as a whole; above, the usual recipe is a centre crop.
SMALL = 64
#: The usual recipe resizes the short side to 256 for a crop of 224.
CROP_RATIO = 256 / 224


def shape_text(model_input: TensorIO) -> str:
    """An input's type and shape, for a comment."""
    return f"{model_input.dtype} {'x'.join(str(d) for d in model_input.shape) or 'number'}"


def takes_pictures(model_input: TensorIO, look: Look | None, *, folder: bool) -> bool:
    """Whether an input is fed pictures: its shape fits, and so does what the source holds."""
    if not is_picture(model_input):
        return False
    if look is None or look.refused is not None or folder:
        return True
    if model_input.name not in look.dtypes:
        return bool(look.sizes)
    shape = look.shapes[model_input.name]
    pixels = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    return look.dtypes[model_input.name] == "uint8" and pixels


def picture(model_input: TensorIO, facts: ModelFacts, look: Look | None) -> tuple[InputGuess, Hint]:
    """Size, resize mode and layout of an image input; the numbers are settled by a preset.

    Raises:
        UserError: the shape cannot be a picture's.
    """
    why: dict[str, str] = {}
    said = hint(facts, model_input)
    layout = guess_layout(model_input)
    axes = dict(zip(layout, model_input.shape, strict=True))
    colour = "GRAY" if axes.get("C") == 1 else "RGB"
    sizes = _picture_sizes(look, model_input.name)
    size = tuple(v for v in (axes["H"], axes["W"]) if isinstance(v, int) and v > 0)
    if len(size) != 2:
        w, h = sizes[0] if sizes else (224, 224)
        size = (h, w)
        seen = "that of the first sample" if sizes else "the usual one"
        why["size"] = f"GUESS: the model leaves the size free; this is {seen}"
    resize, to, reason = _resize(size, sizes, said)
    why["resize"] = reason
    why["interpolation"] = "GUESS: the usual filter; training code rarely says"
    why["layout"] = f"from the input's shape: {shape_text(model_input)}"
    contract = InputContract(size=size, resize=resize, resize_to=to, layout=layout, color=colour)
    guess = InputGuess(
        name=model_input.name, shape=shape_text(model_input), contract=contract, why=why
    )
    return guess, said


def _picture_sizes(look: Look | None, name: str) -> list[tuple[int, int]]:
    """(width, height) of the samples looked at."""
    if look is None:
        return []
    if look.sizes:
        return [(w, h) for w, h in look.sizes]
    shape = look.shapes.get(name, ())
    return [(shape[1], shape[0])] if len(shape) >= 2 else []


def _resize(
    size: tuple[int, ...], sizes: Sequence[tuple[int, int]], said: Hint
) -> tuple[str, int, str]:
    """Resize mode, short side before a crop, and why."""
    h, w = size
    if sizes and all(s == (w, h) for s in sizes):
        return "none", 0, f"all {len(sizes)} samples looked at are {w}x{h} already"
    if said.resize:
        return said.resize, 0, f"GUESS: {said.why}"
    if max(size) <= SMALL:
        return "stretch", 0, f"GUESS: usual for inputs as small as {w}x{h}"
    if h != w:
        return "stretch", 0, f"GUESS: usual for detectors, and {w}x{h} is not square"
    shorts = [min(s) for s in sizes]
    if shorts and min(shorts) == max(shorts) >= max(size):
        return "crop", shorts[0], f"the short side of every sample looked at is {shorts[0]} already"
    to = round(max(size) * CROP_RATIO)
    typical = f"; median short side {statistics.median(shorts):g}" if shorts else ""
    return "crop", to, f"GUESS: the usual recipe for classifiers, 256 for 224{typical}"


def settle(guess: InputGuess, preset: Preset, why: str, evidence: Sequence[str]) -> InputGuess:
    """A guess with the numbers of a preset."""
    contract = preset.over(guess.contract)
    if guess.contract.color == "GRAY":
        mean, std = (_mean(v) for v in (contract.mean, contract.std))
        contract = dataclasses.replace(contract, color="GRAY", mean=(mean,), std=(std,))
    return dataclasses.replace(
        guess,
        contract=contract,
        preset=preset.name,
        why={**guess.why, "preset": why},
        evidence=tuple(evidence),
    )


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), 6)


def candidates(guess: InputGuess, said: Hint, model_input: TensorIO) -> dict[str, InputContract]:
    """Complete contracts of the presets to try, by name: the hinted one first, six at most."""
    names = list(dict.fromkeys([*([said.preset] if said.preset else []), *BY_NAME]))
    found: dict[str, InputContract] = {}
    for name in names[:6]:
        contract = settle(guess, find(name), "", ()).contract
        if fits_dtype(contract, model_input):
            found[name] = complete(contract, model_input)
    return found


def fits_dtype(contract: InputContract, model_input: TensorIO) -> bool:
    """Whether an integer input can hold what a preset gives."""
    if model_input.dtype not in ("uint8", "int8", "int16", "int32"):
        return True
    return contract.identity and model_input.dtype != "int8"


def twins(scores: Sequence[Score]) -> list[Preset]:
    """Presets to try next, colours swapped: the best one's twin, or all if BGR was best.

    The BGR preset itself has no twin: its mean is never used in RGB order.
    """
    first = find(best(scores).preset)
    if first.contract.color == "RGB":
        return [swapped(first)]
    return [swapped(BY_NAME[name]) for name in ("imagenet", "unit", "signed")]


def best(scores: Sequence[Score]) -> Score:
    """The preset with most right answers; without labels, with the surest answers."""
    if all(s.right < 0 for s in scores):
        return max(scores, key=lambda s: s.confidence)
    return max(scores, key=lambda s: (s.right, s.true_log))


def choose(said: Hint, scores: Sequence[Score], *, labelled: bool) -> tuple[str, str, list[str]]:
    """The preset, why, and a line per preset that was tried."""
    lines = [_line(s) for s in scores]
    if scores and labelled:
        first = best(scores)
        others = [s.right for s in scores if s.preset != first.preset]
        if first.right > 2 * first.n / 10:
            close = max(others, default=-1) >= first.right - 1
            doubt = "; others come close, so check it" if close else ""
            why = f"chosen by trial on {first.n} labelled calibration samples{doubt}:"
            return first.preset, f"GUESS: {why}", lines
        lines.append("no preset is much better than chance: the labels or the model may be off")
    if said.preset:
        return said.preset, f"GUESS: {said.why}", lines
    if scores and not labelled:
        first = best(scores)
        near = [s.preset for s in scores if s.confidence > first.confidence - 0.1 and s != first]
        doubt = f"; {', '.join(near)} come close, so check" if near else ""
        why = f"the model is surest of itself on {first.n} unlabelled samples, a weak sign{doubt}:"
        return first.preset, f"GUESS: {why}", lines
    return "imagenet", "GUESS: nothing points anywhere; this is the most common", lines


def _line(score: Score) -> str:
    right = f"{score.right} of {score.n} right, " if score.right >= 0 else ""
    offset = f", label_offset {score.offset}" if score.offset else ""
    return f"{score.preset}: {right}mean confidence {score.confidence:.2f}{offset}"


def tensor(model_input: TensorIO, look: Look | None, *, single: bool) -> InputGuess:
    """The contract of an input that takes arrays."""
    why: dict[str, str] = {"mode": "arrays are fed as they are stored"}
    contract = InputContract(mode="tensor")
    name = model_input.name
    if look is not None and name in look.dtypes:
        stored, shape = look.dtypes[name], look.shapes[name]
        text = f"{stored} {'x'.join(map(str, shape))}"
        why["mode"] = f"the source holds {text} per sample"
        wanted = _reshape(shape, model_input)
        if wanted:
            contract = dataclasses.replace(contract, reshape=wanted)
            why["reshape"] = "same number of elements, the model's shape"
        if stored != model_input.dtype and not stored.startswith("float"):
            contract, reason = _dequantise(contract, model_input, look, single=single)
            why["scale"] = reason
    return InputGuess(name=name, shape=shape_text(model_input), contract=contract, why=why)


def _reshape(shape: Sequence[int], model_input: TensorIO) -> tuple[int, ...]:
    """The model's shape without batch axis, if the sample has as many elements in another shape."""
    inner = model_input.shape[1:]
    sizes = [d for d in inner if isinstance(d, int) and d > 0]
    if not inner or len(sizes) != len(inner) or tuple(shape) in (tuple(sizes), model_input.shape):
        return ()
    have = want = 1
    for d in shape:
        have *= d
    for d in sizes:
        want *= d
    return tuple(sizes) if have == want else ()


def _dequantise(
    contract: InputContract, model_input: TensorIO, look: Look, *, single: bool
) -> tuple[InputContract, str]:
    """Scale and zero point, from single numbers of those names beside the array."""
    scales = [v for n, v in look.numbers.items() if "scale" in n.lower() and v > 0]
    zeros = [v for n, v in look.numbers.items() if "zero" in n.lower()]
    if single and len(scales) == 1 and len(zeros) <= 1:
        names = ", ".join(f"{n} = {v:g}" for n, v in look.numbers.items())
        zero = zeros[0] if zeros else 0.0
        found = dataclasses.replace(contract, scale=scales[0], zero_point=zero)
        return found, f"GUESS: the file holds {names} beside the array"
    reason = "GUESS: whole numbers are fed unscaled; is there a scale?"
    return dataclasses.replace(contract, dtype=model_input.dtype), reason
