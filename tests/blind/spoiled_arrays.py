"""Spoiled calibration sets that are `.npz` tensors: the preprocessing went wrong before saving.

The author of this module had not seen the checks that are tried on it; see `spoiled_sets`.
Calibration and test are both tensors (`mode = "tensor"`); the test file is always right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spoiled_sets import Bench, Floats, Spoil, SpoiledSet

MEAN = np.asarray([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
STD = np.asarray([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)


def arrays(
    out: Path, bench: Bench, change: Callable[[Floats], NDArray[np.generic]]
) -> tuple[str, str]:
    """Write calibration.npz (changed) and test.npz (right): arrays `x` and `labels`."""
    out.mkdir(parents=True, exist_ok=True)
    sources = []
    for name, pictures in (("calibration", bench.calibration), ("test", bench.test)):
        x = bench.recipe.tensors(pictures.paths)
        y: NDArray[np.generic] = change(x) if name == "calibration" else x
        labels = np.asarray(pictures.labels, np.int64)
        np.savez(out / f"{name}.npz", x=y, labels=labels[: len(y)])
        sources.append(str(out / f"{name}.npz"))
    return sources[0], sources[1]


def _made(
    out: Path,
    bench: Bench,
    name: str,
    change: Callable[[Floats], NDArray[np.generic]],
    wrong: str,
    finding: str,
    words: tuple[str, ...],
    guilty: tuple[str, ...] = (),
) -> SpoiledSet:
    calibration, test = arrays(out, bench, change)
    return SpoiledSet(name, calibration, test, True, wrong, finding, words, guilty)


_MISMATCH = "preprocessing unlike the test set's (range, mean, spread)"
_RANGE = ("range", "scale", "mean", "preprocess", "spread", "normal", "clip", "drift")


def one_nan(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """One patch of one sample is not a number."""
    pick = int(np.random.default_rng(seed).integers(len(bench.calibration)))

    def hurt(x: Floats) -> Floats:
        x[pick, :, 5:8, 5:8] = np.nan
        return x

    wrong = "one sample holds NaN"
    words = ("nan", "not a number", "finite")
    return _made(out, bench, "one_nan", hurt, wrong, "NaN, the sample named", words, (f"#{pick}",))


def one_inf(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """One value of one sample is infinite."""
    pick = int(np.random.default_rng(seed).integers(len(bench.calibration)))

    def hurt(x: Floats) -> Floats:
        x[pick, 1, 0, 0] = np.inf
        return x

    wrong = "one sample holds infinity"
    words = ("inf", "finite")
    return _made(out, bench, "one_inf", hurt, wrong, "Inf, the sample named", words, (f"#{pick}",))


def one_spike(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """One sample was saved before it was scaled: 100 times the range of the others."""
    pick = int(np.random.default_rng(seed).integers(len(bench.calibration)))

    def hurt(x: Floats) -> Floats:
        x[pick] *= 100
        return x

    wrong = "one sample is 100 times as large as the others: min-max ranges are ruined"
    words = ("outlier", "range", "extreme", "larger", "spike", "unlike")
    finding = "an outlier that sets the range alone, named"
    return _made(out, bench, "one_spike", hurt, wrong, finding, words, (f"#{pick}",))


def wrong_mean(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Mean and std of another model."""
    del seed
    unit = bench.recipe.mean == (0.0, 0.0, 0.0)

    def hurt(x: Floats) -> Floats:
        if unit:
            return (x / (255 * bench.recipe.scale) - MEAN) / STD
        mean = np.asarray(bench.recipe.mean, np.float32).reshape(1, 3, 1, 1)
        std = np.asarray(bench.recipe.std, np.float32).reshape(1, 3, 1, 1)
        return x * std + mean

    wrong = (
        "another mean and std than the test set's (ImageNet's added, or the right ones left out)"
    )
    return _made(out, bench, "wrong_mean", hurt, wrong, _MISMATCH, _RANGE)


def twice_normalised(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Normalised by the loader and once more by the script."""
    del seed
    wrong = "mean and std were applied once more to samples that were ready"
    change: Callable[[Floats], Floats] = lambda x: (x - x.mean()) / x.std() * 2 - 1  # noqa: E731
    return _made(out, bench, "twice_normalised", change, wrong, _MISMATCH, _RANGE)


def times_255(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """The division by 255 was forgotten."""
    del seed
    wrong = "values 255 times too large: the division was forgotten"
    return _made(out, bench, "times_255", lambda x: x * 255, wrong, _MISMATCH, _RANGE)


def over_255_twice(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """The division by 255 was done twice: an almost empty range."""
    del seed
    wrong = "values 255 times too small: divided twice, every range will be far too narrow"
    return _made(out, bench, "over_255_twice", lambda x: x / 255, wrong, _MISMATCH, _RANGE)


def bgr_tensors(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Channels in the wrong order."""
    del seed
    wrong = "channels are in BGR order, the test set's in RGB (or the reverse)"
    words = ("bgr", "rgb", "colour", "color", "channel", "order", "mean", "drift")
    finding = "channel order unlike the test set's"
    flip: Callable[[Floats], Floats] = lambda x: np.ascontiguousarray(x[:, ::-1])  # noqa: E731
    return _made(out, bench, "bgr_tensors", flip, wrong, finding, words)


def nhwc_shape(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Channels last in the file, channels first in the model."""
    del seed
    wrong = "samples are height x width x 3, the model and the test set want 3 x height x width"
    words = ("shape", "layout", "nhwc", "nchw", "channel")
    finding = "layout (shape) does not fit the model"
    last: Callable[[Floats], Floats] = lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1))  # noqa: E731
    return _made(out, bench, "nhwc_shape", last, wrong, finding, words)


def nhwc_reshaped(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Reshaped where it should have been transposed: right shape, scrambled picture."""
    del seed
    wrong = (
        "channels-last memory reshaped (not transposed) to 3 x H x W: three interleaved pictures"
    )
    words = ("layout", "nhwc", "scrambl", "interleav", "reshap", "unlike", "cover", "drift")
    finding = "layout mix-up, or samples unlike the test set's"

    def hurt(x: Floats) -> Floats:
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(x.shape)

    return _made(out, bench, "nhwc_reshaped", hurt, wrong, finding, words)


def axes_swapped(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Transposed too far: x and y are swapped."""
    del seed
    wrong = "height and width are swapped: every picture is mirrored along its diagonal"
    words = ("transpos", "orient", "rotat", "axis", "axes", "layout", "cover", "drift", "unlike")
    swap: Callable[[Floats], Floats] = lambda x: np.ascontiguousarray(x.transpose(0, 1, 3, 2))  # noqa: E731
    finding = "orientation unlike the test set's"
    return _made(out, bench, "axes_swapped", swap, wrong, finding, words)


def bytes_for_floats(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Floats cast to bytes when saving: nearly everything becomes 0 or 1."""
    del seed
    wrong = "float samples were cast to uint8 when saved: almost all values are 0"
    words = ("dtype", "uint8", "type", "range", "constant", "zero", "integer")
    finding = "wrong dtype (uint8 for float32)"

    def cast(x: Floats) -> NDArray[np.generic]:
        return np.clip(x, 0, 255).astype(np.uint8)

    return _made(out, bench, "bytes_for_floats", cast, wrong, finding, words)


def gaussian_noise(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """`randn` where data should be."""
    rng = np.random.default_rng(seed)
    wrong = "standard normal noise instead of data"
    words = ("random", "noise", "synthetic")
    finding = "synthetic (random) data, refused or marked"

    def fake(x: Floats) -> Floats:
        return rng.standard_normal(x.shape, dtype=np.float32)

    return _made(out, bench, "gaussian_noise", fake, wrong, finding, words)


def shaped_noise(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Noise with the mean and the spread of the data, channel by channel."""
    rng = np.random.default_rng(seed)
    wrong = "noise with the mean, spread and limits of real data: only its texture gives it away"
    words = ("random", "noise", "synthetic", "texture", "cover", "unlike", "drift", "correlat")
    finding = "synthetic (random) data, refused or marked"

    def fake(x: Floats) -> Floats:
        mean, std = x.mean((0, 2, 3), keepdims=True), x.std((0, 2, 3), keepdims=True)
        y = rng.standard_normal(x.shape, dtype=np.float32) * std + mean
        return np.asarray(np.clip(y, x.min(), x.max()), np.float32)

    return _made(out, bench, "shaped_noise", fake, wrong, finding, words)


def all_ones(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """`np.ones`, as tutorials have it."""
    del seed
    wrong = "all samples are ones"
    words = ("constant", "identical", "duplicate", "synthetic")
    finding = "constant, identical samples"
    return _made(out, bench, "all_ones", np.ones_like, wrong, finding, words)


def dead_channel(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """One colour plane is empty."""
    channel = int(np.random.default_rng(seed).integers(3))
    wrong = f"channel {channel} is zero in every sample"
    words = ("channel", "constant", "zero", "mean", "drift", "dead", "range")

    def kill(x: Floats) -> Floats:
        x[:, channel] = 0
        return x

    return _made(out, bench, "dead_channel", kill, wrong, "a constant channel", words)


def each_by_itself(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Every sample was normalised by its own mean and spread: light is lost."""
    del seed
    wrong = "each sample was standardised by itself, the test set's samples were not"

    def alone(x: Floats) -> Floats:
        mean, std = x.mean((1, 2, 3), keepdims=True), x.std((1, 2, 3), keepdims=True)
        return np.asarray((x - mean) / (std + 1e-6) * x.std() + x.mean(), np.float32)

    words = (*_RANGE, "standardis", "cover", "each sample", "represent")
    return _made(out, bench, "each_by_itself", alone, wrong, _MISMATCH, words)


def half_clipped(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Outliers were "cleaned": the upper half of the range is cut off."""
    del seed
    wrong = (
        "values above the median were clipped to it: bright parts of the test set will be clipped"
    )
    words = (*_RANGE, "narrow", "satur", "constant")
    finding = "narrow range: test (held-out) values are clipped"
    cut: Callable[[Floats], Floats] = lambda x: np.minimum(x, np.median(x))  # noqa: E731
    return _made(out, bench, "half_clipped", cut, wrong, finding, words)


SPOILS: tuple[Spoil, ...] = (
    one_nan,
    one_inf,
    one_spike,
    wrong_mean,
    twice_normalised,
    times_255,
    over_255_twice,
    bgr_tensors,
    nhwc_shape,
    nhwc_reshaped,
    axes_swapped,
    bytes_for_floats,
    gaussian_noise,
    shaped_noise,
    all_ones,
    dead_channel,
    each_by_itself,
    half_clipped,
)
