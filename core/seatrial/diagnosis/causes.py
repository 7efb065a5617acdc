"""From statistics to a cause in plain words, with the figures that show it.

Each rule compares the error that is there with the error that would be left if one thing were
changed: the range, the number of scales. What would remove most of it is the cause.
Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from seatrial.calibration.types import RangeTable

from . import types as t
from .channels import SPREAD, SPREAD_DEPTHWISE, outlier_text, outlying
from .stats import Seen

#: A change that leaves less than one part in this of the error power is worth naming.
WORTH = 2.0

#: A range this much wider than everything seen was not made from these values.
WIDE = 2.5

#: A channel this many times narrower than the widest has lost that much of its resolution; so many
#: channels of a tensor are no accident.
STARVED, MANY = 16.0, 0.25

#: A constant that makes a range this many times wider is worth taking out; extremes of so many
#: values of a channel at least say what is constant.
OFFSET, ENOUGH = 4.0, 32

#: Signed range over values of one sign: about 2.
HALF = 1.9

#: Share of the values that are not 0 but become 0.
LOST = 0.3

#: Largest value over the 99.99th percentile.
TAIL = 2.0

#: Share of clipped values that no choice of ranges would accept.
MUCH = 0.01


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
    found = [
        _mismatch(seen),
        _passing(seen),
        *_range_causes(seen, others, table),
        *_channel_causes(seen),
    ]
    found.append(_offset(seen))
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


def _passing(seen: Seen) -> t.Cause | None:
    """A dropped activation whose work the range does not do."""
    low, high = seen.range
    if not seen.one.dropped or seen.seen[0] < 0 or low > -0.01 * (high - low):
        return None
    text = (
        f"wrong zero point: the activation before it was dropped for a range that begins at 0, but "
        f"the range is {_span(low, high)}: negative values pass"
    )
    advice = "quantise the model again: the pair is damaged"
    facts = {"range_low": low, "range_high": high}
    return t.Cause(code=t.WRONG_SCALE, text=text, advice=advice, facts=facts)


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
    if outlying(seen.peaks()) or best[1] - best[0] > 0.8 * (high - low):  # not the range's fault
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
    channels = outlying(peaks)
    median = float(np.median(peaks[peaks > 0])) if (peaks > 0).any() else 0.0
    ratio = float(peaks.max()) / median if median > 0 else float("inf")
    if channels:
        text = f"outlier channel: {outlier_text(channels, ratio, len(peaks))}"
        facts = {"channel": float(channels[0]), "ratio": ratio, "gain": ratio**2}
        advice = "equalise this channel with the next layer, clip it, or keep the layer in float"
        return [t.Cause(code=t.OUTLIER_CHANNEL, text=text, advice=advice, facts=facts)]
    depthwise = seen.one.reader.startswith("depthwise")
    alive = widths[peaks > 0]
    starved = int(np.count_nonzero(alive * STARVED < widths.max()))
    many = starved >= MANY * len(alive)
    least = SPREAD_DEPTHWISE if depthwise else SPREAD
    if not many and (spread < least or ratio < WORTH):
        return []
    to = ", and a depthwise convolution reads them" if depthwise else ""
    text = (
        f"its channels differ in range: the largest is {ratio:.3g} times the median one, and one "
        f"scale serves all {len(peaks)}{to}"
    )
    if many:
        few = round((seen.levels + 1) / STARVED)
        text += f"; {starved} of them are left with fewer than {few} levels"
    advice = "equalise the channels, or keep the layers that read it in float"
    facts = {"ratio": ratio, "gain": spread}
    return [t.Cause(code=t.CHANNEL_SPREAD, text=text, advice=advice, facts=facts)]


def _offset(seen: Seen) -> t.Cause | None:
    """A constant that widens the range and that readers could do without."""
    import numpy as np

    low, high = seen.seen
    span = max(high, 0.0) - min(low, 0.0)
    if seen.one.to_softmax and seen.along > 0 and span >= WORTH * seen.along:
        ratio = span / seen.along
        text = (
            f"an offset that Softmax cancels: within a row its scores span at most "
            f"{seen.along:.3g}, its range {_span(low, high)} is {ratio:.3g} times as wide"
        )
        advice = "take the offset out of the keys' bias (Softmax cancels it), or keep it in float"
        facts = {"ratio": ratio, "gain": ratio**2}
        return t.Cause(code=t.OFFSET, text=text, advice=advice, facts=facts)
    channels = len(seen.low)
    if seen.one.scale.size > 1 or channels < 2 or seen.n < ENOUGH * channels:
        return None
    widest = float(np.max(seen.high.astype(float) - seen.low))
    if widest <= 0 or span < OFFSET * widest:
        return None
    first = int(np.argmax(np.maximum(np.abs(seen.low), np.abs(seen.high))))
    text = (
        f"constant offsets ride on its channels (channel {first}: {_span(*_of(seen, first))}): "
        f"the range is {span / widest:.3g} times as wide as what varies in any channel"
    )
    advice = "take the channels' means out and fold them into the bias of what reads them"
    facts = {"channel": float(first), "ratio": span / widest, "gain": (span / widest) ** 2}
    return t.Cause(code=t.OFFSET, text=text, advice=advice, facts=facts)


def _of(seen: Seen, channel: int) -> tuple[float, float]:
    return float(seen.low[channel]), float(seen.high[channel])


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


def _span(low: float, high: float) -> str:
    return f"[{low:.3g}, {high:.3g}]"


def codes(causes: Sequence[t.Cause]) -> tuple[str, ...]:
    """The codes of all but the main cause."""
    return tuple(dict.fromkeys(c.code for c in causes[1:] if c.code != causes[0].code))
