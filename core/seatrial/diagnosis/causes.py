"""From statistics to a cause in plain words, with the figures that show it.

Each rule compares the error that is there with the error that would be left if one thing were
changed: the range, the number of scales. What would remove most of it is the cause.
Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from seatrial.calibration.types import RangeTable

from . import types as t
from .pairs import Weights
from .stats import Restored, Seen

#: A change that leaves less than one part in this of the error power is worth naming.
WORTH = 2.0

#: The same for a scale per channel: 16 is a factor of 4 in the step. A depthwise convolution
#: cannot average the noise of its input, so there a factor of 2 is worth naming.
SPREAD, SPREAD_DEPTHWISE = 16.0, 4.0

#: A channel this much larger than the median one is an outlier, if few channels are.
OUTLYING, FEW = 8.0, 0.05

#: A range this much wider than everything seen was not made from these values.
WIDE = 2.5

#: Signed range over values of one sign: about 2.
HALF = 1.9

#: Weights of a channel come out wrong if their factor is off by this, or the error is this many
#: times that of plain rounding (adaptive rounding stays below 4).
SLOPE_OFF, BEYOND_ROUNDING = 0.1, 6.0

#: Share of the values that are not 0 but become 0.
LOST = 0.3

#: Largest value over the 99.99th percentile (activations) or the 99th (weights).
TAIL, WEIGHT_TAIL = 2.0, 6.0

#: Share of clipped values that no choice of ranges would accept.
MUCH = 0.01

#: Share of a bias's magnitude that its error may be.
BIAS_OFF = 0.05


def of_activation(
    seen: Seen, others: Iterable[Seen] = (), table: RangeTable | None = None
) -> tuple[t.Cause, ...]:
    """Causes of an activation's error, the main one first; never empty.

    Args:
        seen: the activation.
        others: all activations, to find those that share its scale.
        table: the calibration table, if there is one.
    """
    if not seen.n:
        return (t.Cause(code=t.NOISE, text="its values could not be looked at"),)
    found = [_mismatch(seen), *_range_causes(seen, others, table), *_channel_causes(seen)]
    found.append(_fine(seen))
    made = [c for c in found if c is not None]
    made.sort(key=lambda c: (not _is_damage(c), -c.facts.get("gain", 0.0)))
    return tuple(made) or (_noise(seen),)


def _is_damage(cause: t.Cause) -> bool:
    """Something is broken, not merely coarse: named first, whatever else is true."""
    if cause.code == t.CLIPPED:
        return cause.facts.get("clipped", 1.0) >= MUCH
    return cause.code == t.WRONG_SCALE


def _mismatch(seen: Seen) -> t.Cause | None:
    import numpy as np

    one = seen.one
    ratio = float(np.max(one.back[0] / one.scale))
    least = float(np.min(one.back[0] / one.scale))
    off = not (least > 0.99 and ratio < 1.01)
    if not off and np.array_equal(one.back[1], one.zero):
        return None
    text = f"is restored with {ratio:.3g} times the scale that it was quantised with"
    if not off:
        text = "is restored with another zero point than it was quantised with"
    advice = "quantise the model again: the pair is damaged"
    return t.Cause(code=t.WRONG_SCALE, text=text, advice=advice, facts={"factor": ratio})


def _range_causes(
    seen: Seen, others: Iterable[Seen], table: RangeTable | None
) -> list[t.Cause | None]:
    """What another range would cure: clipping, a range far too wide, a long tail."""
    best = seen.best_range()
    least = max(seen.error_in(best), 1e-30)
    now = seen.error
    if now < WORTH * least or now <= 0:
        return []
    low, high = seen.range
    seen_low, seen_high = seen.seen
    span = max(seen_high, 0.0) - min(seen_low, 0.0)
    wide = (high - low) / span if span > 0 else 1.0
    facts = {
        "range_low": low,
        "range_high": high,
        "seen_low": seen_low,
        "seen_high": seen_high,
        "gain": now / least,
    }
    if seen.clip >= 0.5 * now:
        return [_clipped(seen, facts, table)]
    if wide >= WIDE:
        return [_too_wide(seen, others, wide, facts)]
    one_sided = (seen_low >= 0 and low < -0.4 * high) or (seen_high <= 0 and high > -0.4 * low)
    if wide >= HALF and one_sided:
        text = (
            f"its values have one sign ({_span(seen_low, seen_high)}), the range [{low:.3g}, "
            f"{high:.3g}] has both: half of the {seen.levels + 1} levels are never used"
        )
        advice = "asymmetric (uint8) activations"
        return [t.Cause(code=t.HALF_UNUSED, text=text, advice=advice, facts=facts)]
    if _outlying(seen.peaks()) or best[1] - best[0] > 0.8 * (high - low):  # not the range's fault
        return []
    tail = seen.tail()
    facts["tail"] = tail
    what = f"a range of {_span(*best)} instead of {_span(low, high)} leaves 1/{now / least:.2g} of "
    what += "its error"
    text = f"a wider range than its values need: {what}"
    if tail >= TAIL:
        text = f"a long tail: the largest value is {tail:.3g} times the 99.99th percentile; {what}"
    advice = "a range that clips the tail: percentile-99.99 or mse"
    return [t.Cause(code=t.OUTLIERS, text=text, advice=advice, facts=facts)]


def _clipped(seen: Seen, facts: dict[str, float], table: RangeTable | None) -> t.Cause:
    share = seen.clipped / seen.n
    low, high = seen.range
    least, most = seen.seen
    subject = {"Softmax": "clipped Softmax: ", "LayerNorm": "clipped LayerNorm: "}
    text = subject.get(seen.one.kind, "")
    text += (
        f"its range {_span(low, high)} is too narrow for values from {least:.3g} to {most:.3g}: "
        f"{share:.2%} of them are clipped, which is {seen.clip / seen.error:.0%} of its error"
    )
    facts["clipped"] = share
    known = table.range(seen.one.tensor) if table is not None else None
    advice = "collect the range again, or widen it: the scale is wrong or the range was clipped"
    if known is not None:
        facts["table_low"], facts["table_high"] = known
        beyond = most > known[1] * 1.05 or least < known[0] * 1.05
        text += f"; calibration saw {_span(*known)}"
        if beyond and high >= 0.8 * known[1] and low <= 0.8 * known[0]:
            advice = "calibrate on data that reaches these values: the calibration set never did"
    return t.Cause(code=t.CLIPPED, text=text, advice=advice, facts=facts)


def _too_wide(seen: Seen, others: Iterable[Seen], wide: float, facts: dict[str, float]) -> t.Cause:
    low, high = seen.range
    used = max(1, round((seen.levels + 1) / wide))
    facts["factor"] = wide
    text = (
        f"its range {_span(low, high)} is {wide:.3g} times as wide as the values "
        f"({_span(*seen.seen)}): they use about {used} of {seen.levels + 1} levels"
    )
    sharing = [o for o in others if o is not seen and o.n and _same_scale(o, seen)]
    for other in sharing:
        least, most = other.seen
        if max(most, 0) - min(least, 0) > (high - low) / WIDE:
            text += f", because it shares its scale with {other.one.tensor}"
            advice = "keep what joins the two in float, so that each has a scale of its own"
            return t.Cause(code=t.SHARED_SCALE, text=text, advice=advice, facts=facts)
    advice = "collect the range again: the scale is wrong, or one calibration sample was extreme"
    return t.Cause(code=t.WRONG_SCALE, text=f"wrong scale: {text}", advice=advice, facts=facts)


def _same_scale(a: Seen, b: Seen) -> bool:
    import numpy as np

    return np.array_equal(a.one.scale, b.one.scale) and np.array_equal(a.one.zero, b.one.zero)


def _channel_causes(seen: Seen) -> list[t.Cause | None]:
    """What a scale for each channel would cure, where one serves all."""
    import numpy as np

    if seen.one.scale.size > 1 or len(seen.low) < 2:
        return []
    widths = np.maximum(seen.high, 0).astype(float) - np.minimum(seen.low, 0)
    mean = float(np.mean(widths**2))
    spread = float(widths.max()) ** 2 / mean if mean > 0 else 1.0
    peaks = seen.peaks()
    channels = _outlying(peaks)
    median = float(np.median(peaks[peaks > 0])) if (peaks > 0).any() else 0.0
    ratio = float(peaks.max()) / median if median > 0 else float("inf")
    if channels:
        text = f"outlier channel: {_outlier_text(channels, ratio, len(peaks))}"
        facts = {"channel": float(channels[0]), "ratio": ratio, "gain": ratio**2}
        advice = "equalise this channel with the next layer, clip it, or keep the layer in float"
        return [t.Cause(code=t.OUTLIER_CHANNEL, text=text, advice=advice, facts=facts)]
    depthwise = seen.one.reader.startswith("depthwise")
    if spread < (SPREAD_DEPTHWISE if depthwise else SPREAD) or ratio < WORTH:
        return []
    to = ", and a depthwise convolution reads them" if depthwise else ""
    text = (
        f"its channels differ in range: the largest is {ratio:.3g} times the median one, and one "
        f"scale serves all {len(peaks)}{to}"
    )
    advice = "equalise the channels, or keep the layers that read it in float"
    facts = {"ratio": ratio, "gain": spread}
    return [t.Cause(code=t.CHANNEL_SPREAD, text=text, advice=advice, facts=facts)]


def _outlying(peaks: Any) -> list[int]:
    """Channels far above the median, the largest first, if they are few."""
    import numpy as np

    alive = peaks[peaks > 0]
    if len(alive) < 3:
        return []
    (index,) = np.nonzero(peaks >= OUTLYING * np.median(alive))
    few = max(1, int(FEW * len(peaks)))
    if not 0 < len(index) <= few:
        return []
    return [int(k) for k in index[np.argsort(-peaks[index])]]


def _outlier_text(channels: Sequence[int], ratio: float, total: int) -> str:
    named = ", ".join(str(c) for c in channels[:3]) + (" ..." if len(channels) > 3 else "")
    what = f"channel {named}" if len(channels) == 1 else f"channels {named}"
    reach = "reaches" if len(channels) == 1 else "reach up to"
    return f"{what} of {total} {reach} {ratio:.3g} times the median channel, on one common scale"


def _fine(seen: Seen) -> t.Cause | None:
    if not seen.nonzero or seen.fine / seen.nonzero < LOST:
        return None
    share = seen.fine / seen.nonzero
    text = f"{share:.0%} of its values that are not 0 become 0: they are smaller than half a step"
    advice = "16-bit activations here, or keep it in float"
    return t.Cause(code=t.FINE_VALUES, text=text, advice=advice, facts={"lost": share})


def _noise(seen: Seen) -> t.Cause:
    db = seen.noise_db
    said = "" if db is None else f" ({db:.0f} dB)"
    text = f"plain rounding to {seen.levels + 1} levels{said}: nothing is wrong with its range"
    if seen.one.reader.startswith("depthwise"):
        text += "; a depthwise convolution reads it, whose few taps cannot average the noise"
    return t.Cause(
        code=t.NOISE, text=text, advice="16-bit activations here, or keep its readers in float"
    )


def of_weights(entry: Weights) -> tuple[t.Cause, ...]:
    """Causes of the error of a node's constants, the main one first; never empty."""
    found: list[t.Cause] = []
    for slot, parameter in sorted(entry.slots.items()):
        if parameter.original is None:
            continue
        if slot == 2 and entry.kind not in ("MatMul",):
            found += _bias(parameter.original, parameter.value)
        else:
            found += _weight(Restored.of(parameter, _axis(entry)))
    found = found or _small_inputs(entry)
    if found:
        return tuple(found)
    text = "plain rounding of its weights: nothing is wrong with their scales"
    if entry.kind.startswith("depthwise"):
        text += "; a depthwise convolution has few taps to average the noise"
    return (t.Cause(code=t.NOISE, text=text, advice="keep it in float"),)


def _small_inputs(entry: Weights) -> list[t.Cause]:
    """Weights that all but vanish for a few input channels: an outlier comes before them."""
    import numpy as np

    parameter = entry.slots.get(1)
    if parameter is None or parameter.original is None or parameter.original.ndim < 2:
        return []
    axis = {"MatMul": -2, "Conv": 1, "ConvTranspose": 0}.get(entry.kind)
    if axis is None:
        return []
    value = np.abs(np.moveaxis(parameter.original.astype(np.float64), axis, 0))
    peaks = value.reshape(len(value), -1).max(1)
    channels = _outlying(1 / peaks) if (peaks > 0).all() else []
    if not channels:
        return []
    first = channels[0]
    ratio = float(np.median(peaks) / peaks[first])
    text = (
        f"its weights for channel {first} of its input are {ratio:.3g} times smaller than for the "
        "others and share their scale: the outlier channel before it"
    )
    advice = "equalise this channel with the layer before, or keep both in float"
    facts = {"channel": float(first), "ratio": ratio}
    return [t.Cause(code=t.OUTLIER_CHANNEL, text=text, advice=advice, facts=facts)]


def _axis(entry: Weights) -> int:
    """Axis of the output channels, for weights with one scale in all."""
    return {"MatMul": -1, "ConvTranspose": 1}.get(entry.kind, 0)


def _weight(one: Restored) -> list[t.Cause]:
    import numpy as np

    plain = one.ideal if one.per_channel else one.common
    floor = float(plain.sum()) / max(len(plain), 1) * 0.01 + 1e-30
    (bad,) = np.nonzero(one.error > BEYOND_ROUNDING * np.maximum(plain, floor))
    if len(bad):
        return [_damaged(one, bad)]
    if not one.per_channel:
        channels = _outlying(one.peak)
        gain = float(one.common.sum() / max(one.ideal.sum(), 1e-30))
        median = float(np.median(one.peak[one.peak > 0])) if (one.peak > 0).any() else 1.0
        ratio = float(one.peak.max()) / median
        facts = {"ratio": ratio, "gain": gain}
        advice = "per-channel weights"
        if channels:
            text = f"outlier channel: {_outlier_text(channels, ratio, len(one.peak))}"
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


def _damaged(one: Restored, bad: Any) -> t.Cause:
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


def _span(low: float, high: float) -> str:
    return f"[{low:.3g}, {high:.3g}]"


def codes(causes: Sequence[t.Cause]) -> tuple[str, ...]:
    """The codes of all but the main cause."""
    return tuple(dict.fromkeys(c.code for c in causes[1:] if c.code != causes[0].code))
