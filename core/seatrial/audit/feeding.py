"""The calibration samples fed in other ways: does one of them fit better?

Each alternative undoes one usual mistake. It is held against the test set (statistics of the
inputs, the model's activations) and against the model itself (does it know more, is it right more
often). Runs in a child only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seatrial.audit import distance
from seatrial.audit.look import Look, statistics
from seatrial.audit.records import Alternative
from seatrial.audit.rules import RED, YELLOW, Finding, finding
from seatrial.audit.watch import Watch
from seatrial.data.checks import as_picture
from seatrial.samples import Samples

#: Samples that are fed in every way, at most and at least.
MOST, LEAST = 48, 16
AS_FED = "as fed"
#: An alternative fits when it leaves this share of the distance.
LEFT = 0.5
#: Distances below this are not worth explaining.
SMALL = 0.01

Change = Callable[[Any], Any]


def _reverse(picture: Any) -> Any:
    return picture[:, :, ::-1]


def _separate(picture: Any) -> Any:
    """Undo H,W,C taken for C,H,W."""
    h, w, c = picture.shape
    return picture.transpose(2, 0, 1).reshape(h, w, c)


def _interleave(picture: Any) -> Any:
    """Undo C,H,W taken for H,W,C."""
    h, w, c = picture.shape
    return picture.reshape(c, h, w).transpose(1, 2, 0)


#: Ways that keep the values and move them: how often a model is sure is then comparable.
MOVES: Mapping[str, Change] = {
    "channels in reverse order": _reverse,
    "H,W,C read as C,H,W": _separate,
    "C,H,W read as H,W,C": _interleave,
    "upside down": lambda p: p[::-1],
    "rows and columns exchanged": lambda p: p.transpose(1, 0, 2),
}
#: Ways that change the values.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SCALES: Mapping[str, tuple[float | tuple[float, ...], float | tuple[float, ...]]] = {
    # x -> (x - mean) / std
    "divided by 255": (0.0, 255.0),
    "times 255": (0.0, 1 / 255),
    "divided by 127.5, minus 1": (127.5, 127.5),
    "times 2, minus 1": (0.5, 0.5),
    "plus 1, divided by 2": (-1.0, 2.0),
    "plus 1, times 127.5": (-1.0, 1 / 127.5),
    "divided by 255, ImageNet mean and std": (
        tuple(255 * m for m in _MEAN),
        tuple(255 * s for s in _STD),
    ),
    "ImageNet mean and std": (_MEAN, _STD),
    "ImageNet mean and std undone": (
        tuple(-m / s for m, s in zip(_MEAN, _STD, strict=True)),
        tuple(1 / s for s in _STD),
    ),
    "minus 128": (128.0, 1.0),
    "plus 128": (-128.0, 1.0),
}
TO_TEST = "mean and contrast of each channel as in the test set"


@dataclass
class Setting:
    """What alternatives are judged by.

    Attributes:
        samples: the calibration store.
        own: what was seen of it.
        test: what was seen of the test set.
        watch: the model.
        test_features: its activations on the test set.
        labels: of the calibration samples.
        until: end of the time for inferences (monotonic).
    """

    samples: Samples
    own: Look
    test: Look | None = None
    watch: Watch | None = None
    test_features: Any = None
    labels: tuple[Any, ...] | None = None
    until: float = float("inf")
    seed: int = 0
    chosen: list[int] = field(default_factory=list)
    space: distance.Space | None = None
    inner: distance.Space | None = None

    def __post_init__(self) -> None:
        if self.test is not None:
            self.space = distance.Space(self.test.stats)
        if self.test_features is not None:
            self.inner = distance.Space(self.test_features)


def tried(setting: Setting) -> tuple[list[Alternative], list[Finding]]:
    """Feed the samples in every way that fits their shape and range, and judge."""
    name = setting.samples.names[0]
    import numpy as np

    first = np.asarray(setting.samples.one(name, 0))
    picture = as_picture(first)
    if len(setting.samples.names) != 1 or picture is None:
        return [], []
    setting.chosen = _chosen(setting)
    ways: dict[str, Change] = {AS_FED: lambda p: p, **_moves(first, picture)}
    if setting.watch is not None and first.dtype.kind == "f":
        ways |= _scales(setting, picture.shape[2])
    if setting.test is not None:
        ways[TO_TEST] = _to_test(setting)
    fed = {way: _Fed(setting, name, change) for way, change in ways.items()}
    base = fed[AS_FED]
    rows = []
    for way, one in fed.items():
        if way != AS_FED and time.monotonic() > setting.until:
            break
        if way == TO_TEST:
            one.watch = None  # it has seen the test set: no model is asked
        one.looked_at = way not in _SCALES  # how values are scaled is read off them exactly
        one.measure(base)
        rows.append(one.row(way))
    return rows, _judge(setting, rows, base)


def _chosen(setting: Setting) -> list[int]:
    count = min(MOST, setting.samples.count)
    if setting.watch is not None:
        # One inference with its statistics; every way needs one per sample.
        left = setting.until - time.monotonic()
        each = max(setting.watch.seconds, 1e-4)
        ways = len(MOVES) + len(_SCALES)
        count = min(count, max(LEAST, int(left / (ways * each))))
    return [k * setting.samples.count // count for k in range(count)]


def _moves(first: Any, picture: Any) -> dict[str, Change]:
    found: dict[str, Change] = {}
    channels_first = first.shape[0] in (1, 3)
    for name, change in MOVES.items():
        if name == "channels in reverse order" and picture.shape[2] != 3:
            continue
        if name == "H,W,C read as C,H,W" and (picture.shape[2] != 3 or not channels_first):
            continue
        if name == "C,H,W read as H,W,C" and (picture.shape[2] != 3 or channels_first):
            continue
        if name == "rows and columns exchanged" and picture.shape[0] != picture.shape[1]:
            continue
        found[name] = change
    return found


def _scales(setting: Setting, channels: int) -> dict[str, Change]:
    """Changes of scale whose result is a usual range."""
    import numpy as np

    limits = next(iter(setting.own.limits.values()))
    low, high = float(np.percentile(limits[:, 0], 10)), float(np.percentile(limits[:, 1], 90))
    found: dict[str, Change] = {}
    for name, (mean, std) in _SCALES.items():
        m, s = np.array(mean, np.float32), np.array(std, np.float32)
        if m.size not in (1, channels) or s.size not in (1, channels):
            continue
        low2, high2 = float(((low - m) / s).min()), float(((high - m) / s).max())
        if low2 > -300 and high2 < 300 and high2 - low2 > 0.3 and high2 > 0:
            found[name] = _affine(m, s)
    return found


def _affine(mean: Any, std: Any) -> Change:
    return lambda p: (p - mean) / std


def _to_test(setting: Setting) -> Change:
    """Each channel's mean and contrast over all samples brought to the test set's."""
    import numpy as np

    def moments(look: Look) -> tuple[Any, Any]:
        means = np.array([look.column(n) for n in look.names if n.startswith("mean of channel")])
        spreads = np.array([look.column(n) for n in look.names if n.startswith("contrast of cha")])
        return means.mean(1), np.sqrt((spreads**2).mean(1) + means.var(1)) + 1e-9

    own_mean, own_spread = moments(setting.own)
    test = setting.test or setting.own
    mean, spread = moments(test)
    gain = spread / own_spread
    return lambda p: ((p - own_mean) * gain + mean).astype(np.float32)


class _Fed:
    """The chosen samples, fed in one way."""

    def __init__(self, setting: Setting, name: str, change: Change) -> None:
        self.setting, self.name, self.change = setting, name, change
        self.watch = setting.watch
        self.looked_at = True
        self.distance: distance.Distance | None = None
        self.activations: distance.Distance | None = None
        self.knows: Any = None
        self.right: Any = None
        self.confidence: float | None = None
        self.z: float | None = None

    def values(self) -> list[Any]:
        """The samples as this way feeds them, in the store's layout."""
        import numpy as np

        made = []
        for i in self.setting.chosen:
            value = np.asarray(self.setting.samples.one(self.name, i))
            picture = as_picture(value)
            result = self.change(picture)
            if value.shape[0] in (1, 3):  # as the data room reads it: channels first
                result = result.transpose(2, 0, 1)
            made.append(np.ascontiguousarray(result, value.dtype))
        self.setting.samples.forget()
        return made

    def measure(self, base: _Fed) -> None:
        """Distances to the test set, and what the model says."""
        import numpy as np

        values = self.values()
        setting = self.setting
        space = setting.space
        if space is not None and setting.test is not None and self.looked_at:
            rows = [list(statistics({self.name: v}).values()) for v in values]
            draws = distance.DRAWS if self is base else 0
            self.distance = distance.between(
                space(np.array(rows)), space(setting.test.stats), setting.seed, draws
            )
        if self.watch is None:
            return
        batch = setting.samples.index.get("batch_axis", True)
        feeds = [{self.name: v[None] if batch else v} for v in values]
        try:
            features, classes = self.watch.answers(feeds)
        except Exception:  # noqa: BLE001  # a fixed batch or a shape of its own: no answer
            self.watch = None
            return
        if setting.inner is not None and features.shape[1] == setting.test_features.shape[1]:
            space = setting.inner
            draws = distance.DRAWS if self is base else 0
            self.activations = distance.between(
                space(features), space(setting.test_features), setting.seed, draws
            )
        if classes is not None:
            self._answers(classes, base)

    def _answers(self, classes: Any, base: _Fed) -> None:
        import numpy as np

        mean = classes.mean(axis=0)
        self.knows = (classes * np.log((classes + 1e-9) / (mean + 1e-9))).sum(axis=1)
        self.confidence = float(classes.max(axis=1).mean())
        self.right = _right(self.setting, classes)
        if self is not base and base.knows is not None:
            gain = self.knows - base.knows
            self.z = float(gain.mean() / (gain.std() / len(gain) ** 0.5 + 1e-9))

    def row(self, way: str) -> Alternative:
        """As the report has it."""
        return Alternative(
            name=way,
            distance=None if self.distance is None else self.distance.value,
            activations=None if self.activations is None else self.activations.value,
            information=None if self.knows is None else float(self.knows.mean()),
            confidence=self.confidence,
            right=None if self.right is None else float(self.right.mean()),
            z=self.z,
        )


def _right(setting: Setting, classes: Any) -> Any | None:
    """Whether the model says each label; classes may be counted from 1 (background first)."""
    import numpy as np

    if setting.labels is None:
        return None
    labels = [setting.labels[i] for i in setting.chosen]
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in labels):
        return None
    said = classes.argmax(axis=1)
    offsets = (0, 1) if classes.shape[1] == 1001 else (0,)
    return max((said == np.array(labels) + o for o in offsets), key=lambda r: r.sum())


def _judge(setting: Setting, rows: list[Alternative], base: _Fed) -> list[Finding]:
    """The alternative that fits better, if one does."""
    fitting: list[tuple[float, Alternative, str, str]] = []
    for row in rows[1:]:
        if row.name == TO_TEST:
            continue
        verdict = _fits(row, rows[0], base)
        if verdict is not None:
            fitting.append((verdict[0], row, verdict[1], verdict[2]))
    if not fitting:
        return []
    _, row, why, level = min(fitting, key=lambda f: f[0])
    text = f"the calibration pictures fit when they are fed {_way(row.name)}: {why}"
    advice = "look at the pictures as the network sees them, and correct colour order or layout"
    name = setting.samples.names[0]
    code = "interleaved" if "read as" in row.name else "preprocessing"
    made = finding(
        code, level, text, tensors=[name], count=setting.samples.count, advice=advice, score=1.0
    )
    return [made]


def _way(name: str) -> str:
    return {"H,W,C read as C,H,W": "with their axes put right (they are H,W,C, read as C,H,W)",
            "C,H,W read as H,W,C": "with their axes put right (they are C,H,W, read as H,W,C)",
            "channels in reverse order": "with channels in reverse order (BGR for RGB)"}.get(
                name, name)  # fmt: skip


def _fits(row: Alternative, base: Alternative, fed: _Fed) -> tuple[float, str, str] | None:
    """How much is left of what was wrong, the evidence in words, the level; ``None``: no fit."""
    moved = row.name in MOVES
    if row.right is not None and base.right is not None:
        n = len(fed.setting.chosen)
        if row.right - base.right > max(0.12, 3 * (0.25 / n) ** 0.5 * 0.7):
            why = f"the model names {row.right:.0%} of their labels then, {base.right:.0%} now"
            return base.right / max(row.right, 1e-9), why, RED
        if row.right < base.right - 0.02:
            return None  # what the labels contradict is not believed of distances
    for what, own, other, whole in (
        ("the model's activations", row.activations, base.activations, fed.activations),
        ("the statistics of the inputs", row.distance, base.distance, fed.distance),
    ):
        if own is None or other is None or whole is None or not whole.real or other < SMALL:
            continue
        left = max(own, 0.0) / other
        if left < LEFT and not _worse(row, base):
            why = f"{1 - left:.0%} of the distance of {what} to the test set goes away"
            return left, why, RED
    if moved and row.z is not None and row.information is not None and base.information:
        gain = row.information - base.information
        if row.z > 5 and gain > 0.25 and gain > 0.25 * base.information:
            why = (
                f"the model then knows {row.information:.2f} nats about each, "
                f"{base.information:.2f} now"
            )
            return base.information / row.information, why, YELLOW
    return None


def _worse(row: Alternative, base: Alternative) -> bool:
    """Whether another measure contradicts: there the alternative lies farther off."""
    pairs = ((row.distance, base.distance), (row.activations, base.activations))
    return any(a is not None and b is not None and a > b + SMALL and a > 1.3 * b for a, b in pairs)
