"""What is wrong with the constants of a node, from the float model's beside the restored ones.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import types as t
from .channels import SPREAD, outlier_text, outlying
from .parameters import Parameter, Weights
from .stats import Restored, Seen

#: Weights of a channel come out wrong if their factor is off by this, or the error is this many
#: times that of plain rounding (adaptive rounding stays below 4).
SLOPE_OFF, BEYOND_ROUNDING = 0.1, 6.0

#: A step this many times what the largest weight needs was not made from these weights.
WIDE = 2.5

#: Largest weight of a channel over its 99th percentile.
WEIGHT_TAIL = 6.0

#: Share of a bias's magnitude that its error may be.
BIAS_OFF = 0.05

#: A cause is named before its consequence if it costs at least this share of what that costs.
COMPARABLE = 0.5

#: Axis of the input channels.
INPUTS = {"MatMul": -2, "Conv": 1, "ConvTranspose": 0}


def of_weights(entry: Weights, inputs: Seen | None = None) -> tuple[t.Cause, ...]:
    """Causes of the error of a node's constants, the main one first; never empty.

    Args:
        entry: the constants.
        inputs: what the node multiplies them with, where that was looked at.
    """
    found: list[t.Cause] = []
    for slot, parameter in sorted(entry.slots.items()):
        if parameter.original is None:
            continue
        if slot == 2 and entry.kind not in ("MatMul",):
            found += _bias(parameter.original, parameter.value)
        else:
            found += _weight(Restored.of(parameter, _axis(entry)), _lost_bits(parameter))
    if not any(c.code != t.OUTLIERS for c in found):
        found = [*_inputs(entry, inputs), *found]
    if found:
        return tuple(found)
    text = "plain rounding of its weights: nothing is wrong with their scales"
    if entry.kind.startswith("depthwise"):
        text += "; a depthwise convolution has few taps to average the noise"
    return (t.Cause(code=t.NOISE, text=text, advice="keep it in float"),)


def _inputs(entry: Weights, seen: Seen | None) -> list[t.Cause]:
    """Weights whose size differs from input channel to input channel, under one scale for all.

    Judged by the error that dividing each input channel's weights by their largest (and
    multiplying the input by as much) would remove from the output: equalisation.
    """
    import numpy as np

    parameter = entry.slots.get(1)
    axis = INPUTS.get(entry.kind)
    if parameter is None or parameter.original is None or axis is None:
        return []
    if parameter.original.ndim < 2:
        return []
    value = np.abs(np.moveaxis(parameter.original.astype(np.float64), axis, 0))
    peaks = value.reshape(len(value), -1).max(1)
    if len(peaks) < 3 or not peaks.any():
        return []
    loud = seen.peaks() if seen is not None and seen.n else np.ones(len(peaks))
    loud = loud if len(loud) == len(peaks) else np.ones(len(peaks))
    gain = _equalised(value, peaks, loud, -1 if entry.kind == "MatMul" else 1)
    quiet = []
    if seen is not None and seen.n and len(seen.low) == len(peaks):
        quiet = [bool(same) for same in seen.low == seen.high]
    cause = _large(peaks, gain, quiet) or _small(peaks, gain)
    return [cause] if cause is not None else []


def _large(peaks: Any, gain: float, quiet: Sequence[bool]) -> t.Cause | None:
    """A few input channels with far larger weights than the others."""
    import numpy as np

    large = outlying(peaks)
    if not large or gain < SPREAD / 4:
        return None
    first = large[0]
    ratio = float(peaks[first] / np.median(peaks[peaks > 0]))
    text = (
        f"outlier weights: those for {_listed(large)} of its input are up to {ratio:.3g} times as "
        "large as for the others and set the scale of all"
    )
    advice = "equalise this channel with the layer before, or keep the layer in float"
    if quiet and quiet[first]:
        text += f"; input channel {first} is dead (one value throughout)"
        advice = "fold the dead channel into the bias and set its weights to 0: nothing is lost"
    facts = {"channel": float(first), "ratio": ratio, "gain": gain}
    return t.Cause(code=t.OUTLIER_CHANNEL, text=text, advice=advice, facts=facts)


def _small(peaks: Any, gain: float) -> t.Cause | None:
    """Small weights for loud input channels: one, or many."""
    import numpy as np

    small = outlying(1 / peaks) if (peaks > 0).all() else []
    if small:
        first = small[0]
        ratio = float(np.median(peaks) / peaks[first])
        text = (
            f"its weights for channel {first} of its input are {ratio:.3g} times smaller "
            "than for the others and share their scale: the outlier channel before it"
        )
        facts = {"channel": float(first), "ratio": ratio, "gain": gain}
        advice = "equalise this channel with the layer before, or keep both in float"
        return t.Cause(code=t.OUTLIER_CHANNEL, text=text, advice=advice, facts=facts)
    if gain < SPREAD:
        return None
    alive = peaks[peaks > 0]
    ratio = float(alive.max() / alive.min())
    text = (
        f"its weights for its input channels differ in size (up to {ratio:.3g} to 1) and share "
        "their scales, and the small ones are for loud channels: the spread before it"
    )
    advice = "equalise the channels with the layer before, or keep both in float"
    facts = {"ratio": ratio, "gain": gain}
    return t.Cause(code=t.CHANNEL_SPREAD, text=text, advice=advice, facts=facts)


def _listed(channels: list[int]) -> str:
    named = ", ".join(str(c) for c in channels[:3]) + (" ..." if len(channels) > 3 else "")
    return f"channel {named}" if len(channels) == 1 else f"channels {named}"


def _equalised(value: Any, peaks: Any, loud: Any, outputs: int) -> float:
    """How many times less error power equalised input channels would leave at the output.

    The error of a weight is a part of its channel's scale, that of an output the sum over inputs
    of it times the input: sum_o P_o^2 sum_i x_i^2, with P_o the largest weight of output o.

    Args:
        value: magnitudes, input channels first.
        peaks: largest of each input channel.
        loud: magnitude of each input channel.
        outputs: axis of the output channels.
    """
    import numpy as np

    grid = np.moveaxis(value, outputs, 1).reshape(*value.shape[:1], value.shape[outputs], -1).max(2)
    wanted = np.where(peaks > 0, peaks, 1.0)
    now = float((grid.max(0) ** 2).sum() * (loud**2).sum())
    then = float(((grid / wanted[:, None]).max(0) ** 2).sum() * ((loud * wanted) ** 2).sum())
    return now / then if then > 0 else 1.0


def _lost_bits(parameter: Parameter) -> int:
    """Low bits that are 0 in every integer, though the type has more than the weights use."""
    import numpy as np

    if parameter.scale.size not in (1, parameter.value.shape[parameter.axis]):
        return 0
    shape = [1] * parameter.value.ndim
    if parameter.scale.size > 1:
        shape[parameter.axis] = -1
    scale = parameter.scale.astype(np.float64).reshape(shape)
    steps = np.rint(parameter.value / np.maximum(scale, 1e-30)).astype(np.int64)
    common = int(np.gcd.reduce(steps, axis=None))
    return (common & -common).bit_length() - 1 if common else 0


def _axis(entry: Weights) -> int:
    """Axis of the output channels, for weights with one scale in all."""
    return {"MatMul": -1, "ConvTranspose": 1}.get(entry.kind, 0)


def _weight(one: Restored, bits: int) -> list[t.Cause]:
    import numpy as np

    plain = one.ideal if one.per_channel else one.common
    floor = float(plain.sum()) / max(len(plain), 1) * 0.01 + 1e-30
    (bad,) = np.nonzero(one.error > BEYOND_ROUNDING * np.maximum(plain, floor))
    if len(bad):
        return [_damaged(one, bad, bits)]
    if not one.per_channel:
        channels = outlying(one.peak)
        gain = float(one.common.sum() / max(one.ideal.sum(), 1e-30))
        median = float(np.median(one.peak[one.peak > 0])) if (one.peak > 0).any() else 1.0
        ratio = float(one.peak.max()) / median
        facts = {"ratio": ratio, "gain": gain}
        advice = "per-channel weights"
        if channels:
            text = f"outlier channel: {outlier_text(channels, ratio, len(one.peak))}"
            facts["channel"] = float(channels[0])
            return [t.Cause(code=t.OUTLIER_CHANNEL, text=text, advice=advice, facts=facts)]
        if gain >= SPREAD / 4:
            text = (
                f"its channels differ in range (largest {ratio:.3g} times the median) and share "
                f"one scale: a scale each would leave 1/{gain:.3g} of the error"
            )
            return [t.Cause(code=t.CHANNEL_SPREAD, text=text, advice=advice, facts=facts)]
    if one.tail >= WEIGHT_TAIL:
        text = f"single weights reach {one.tail:.3g} times the 99th percentile of their channel"
        advice = "a clipped weight scale (least squared error), or keep it in float"
        return [t.Cause(code=t.OUTLIERS, text=text, advice=advice, facts={"tail": one.tail})]
    return []


def _damaged(one: Restored, bad: Any, bits: int) -> t.Cause:
    """Some channels are further off than rounding explains."""
    import numpy as np

    share = float(one.error[bad].sum() / max(one.error.sum(), 1e-30))
    first = int(bad[np.argmax(one.error[bad])])
    slope, coarse = float(one.slope[first]), float(one.coarse[first])
    where = "" if len(bad) == len(one.error) else f" in {len(bad)} of {len(one.error)} channels"
    facts = {
        "channel": float(first),
        "channels": float(len(bad)),
        "slope": slope,
        "coarse": coarse,
        "share": share,
    }
    clip = float(one.clip[bad].sum() / max(one.error[bad].sum(), 1e-30))
    advice = "quantise the weights again: their scale is wrong or was clipped"
    if bits:
        text = (
            f"the low {bits} bits of its weights are lost: every integer is a multiple of "
            f"{2**bits}, so the step is {2**bits} times what the scale says"
        )
        return t.Cause(code=t.WRONG_SCALE, text=text, advice=advice, facts=facts)
    if clip >= 0.5:
        text = (
            f"its weights are clipped{where}: the scale of channel {first} reaches "
            f"{coarse:.3g} of its largest weight"
        )
        return t.Cause(code=t.CLIPPED, text=text, advice=advice, facts=facts)
    if coarse >= WIDE and abs(slope - 1) <= 3 * SLOPE_OFF:
        text = (
            f"wrong scale of its weights{where}: the step of channel {first} is {coarse:.3g} "
            "times what its largest weight needs"
        )
        return t.Cause(code=t.WRONG_SCALE, text=text, advice=advice, facts=facts)
    if abs(slope - 1) > SLOPE_OFF:
        text = f"wrong scale of its weights{where}: channel {first} comes out {slope:.3g} times"
        text += " what the float model has"
        return t.Cause(code=t.WRONG_SCALE, text=text, advice=advice, facts=facts)
    text = f"its weights{where} differ from the float model's by more than rounding"
    advice = "compare with the float model that was quantised: this one was rewritten"
    return t.Cause(code=t.REWRITTEN, text=text, advice=advice, facts=facts)


def _bias(original: Any, value: Any) -> list[t.Cause]:
    import numpy as np

    a, b = original.astype(float).ravel(), value.astype(float).ravel()
    size = float(np.linalg.norm(a))
    off = float(np.linalg.norm(a - b)) / size if size > 0 else float(np.linalg.norm(b) > 0)
    if off <= BIAS_OFF:
        return []
    factor = float(a @ b) / size**2 if size > 0 else 0.0
    text = f"its bias is off by {off:.0%} of its size (comes out {factor:.3g} times)"
    advice = "keep the bias in float: it was clipped, corrected on purpose, or its scale is wrong"
    return [t.Cause(code=t.BIAS, text=text, advice=advice, facts={"off": off, "factor": factor})]


def roots_first(culprits: Sequence[t.Culprit]) -> tuple[t.Culprit, ...]:
    """The same, an uneven tensor before the weights that are uneven because of it.

    Loud channels meet small weights: both lose by it, about equally, but only one is the root.
    """
    uneven = {t.OUTLIER_CHANNEL, t.CHANNEL_SPREAD}
    made = list(culprits)
    for one in culprits:
        if one.what == t.ACTIVATION and one.cause.code in uneven:
            for k, other in enumerate(made[: made.index(one)]):
                fed = other.what == t.WEIGHTS and other.node in one.readers
                if fed and other.cause.code in uneven and one.loss >= COMPARABLE * other.loss:
                    made.remove(one)
                    made.insert(k, one)
                    break
    return tuple(made)
