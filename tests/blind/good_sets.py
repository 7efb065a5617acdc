"""Calibration sets that are sound, some of them unusual: a finding in red here is a false alarm.

The author of this module had not seen the checks that are tried on it. Each set names what a naive
check would trip over. In each, calibration and test are different pictures of the same world.
A note is fine (an unbalanced set may be called unbalanced); what must not happen is a refusal, a
finding that says the set is spoiled, or one that claims overlap, augmentation or a mismatch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from blind_pictures import CLASSES, Bytes, Pictures, expose, load, scene
from PIL import Image
from spoiled_arrays import arrays
from spoiled_sets import Bench, Item, changed, originals, resized, store


@dataclass(frozen=True)
class GoodSet:
    """A sound pair of sources.

    Attributes:
        name: Name of the set.
        calibration: What goes after `--calibration`.
        test: What goes after `--test`.
        tensor: The samples are tensors as the model takes them, not pictures.
        sound: Why nothing is wrong with it.
        naive: What a naive check would trip over.
    """

    name: str
    calibration: str
    test: str
    tensor: bool
    sound: str
    naive: str


Good = Callable[[int, Path, Bench], GoodSet]


def _pair(
    out: Path, name: str, calibration: list[Item], test: list[Item], sound: str, naive: str
) -> GoodSet:
    store(out / "calibration", calibration)
    store(out / "test", test, prefix="t")
    return GoodSet(name, str(out / "calibration"), str(out / "test"), False, sound, naive)


def _both(
    out: Path, bench: Bench, name: str, change: Callable[[Bytes], Bytes], sound: str, naive: str
) -> GoodSet:
    calibration, test = changed(bench.calibration, change), changed(bench.test, change)
    return _pair(out, name, calibration, test, sound, naive)


def plain(seed: int, out: Path, bench: Bench) -> GoodSet:
    """As it comes."""
    rng = np.random.default_rng(seed)
    order = [int(i) for i in rng.permutation(len(bench.calibration))]
    items = originals(bench.calibration, order)
    return _pair(out, "plain", items, originals(bench.test), "nothing unusual", "nothing")


def many_sizes(seed: int, out: Path, bench: Bench) -> GoodSet:
    """Pictures of several resolutions and formats, in both sets."""
    rng = np.random.default_rng(seed)

    def any_size(frame: Bytes) -> Bytes:
        height, width = frame.shape[:2]
        factor = float(rng.choice([0.75, 1.0, 1.0, 1.5]))
        return resized(frame, int(width * factor), int(height * factor), Image.Resampling.LANCZOS)

    sound = "several cameras: resolutions differ in both sets alike"
    return _both(out, bench, "many_sizes", any_size, sound, "sizes differ within the set")


def orientation_tags(seed: int, out: Path, bench: Bench) -> GoodSet:
    """Half the pictures lie on their side in the file, with the tag that says so."""
    del seed
    made = plain(0, out, bench)
    for source in (made.calibration, made.test):
        for number, path in enumerate(sorted(Path(source).glob("*.jpg"))):
            if number % 2:
                with Image.open(path) as image:
                    turned = image.convert("RGB").transpose(Image.Transpose.ROTATE_90)
                tag = Image.Exif()
                tag[0x0112] = 6  # "turn 90 degrees clockwise to show"
                turned.save(path, quality=92, exif=tag)
    sound = "stored on their side with an orientation tag: shown right way up by any viewer"
    naive = "stored shapes differ: portrait and landscape"
    return GoodSet("orientation_tags", made.calibration, made.test, False, sound, naive)


def night_shift(seed: int, out: Path, bench: Bench) -> GoodSet:
    """A night camera: all pictures are dark, in both sets."""
    rng = np.random.default_rng(seed)

    def dim(frame: Bytes) -> Bytes:
        level = 30 / max(20.0, float(frame.mean()))
        dark = frame * min(1.0, level) + rng.normal(0, 1.2, frame.shape)
        return np.clip(dark, 0, 255).astype(np.uint8)

    sound = "the product works at night: dark calibration and dark test pictures"
    return _both(out, bench, "night_shift", dim, sound, "all pictures are dark, narrow range")


def grey_camera(seed: int, out: Path, bench: Bench) -> GoodSet:
    """A monochrome camera: both sets are grey."""
    del seed

    def mono(frame: Bytes) -> Bytes:
        return np.asarray(Image.fromarray(frame).convert("L").convert("RGB"))

    sound = "the product's camera is monochrome: both sets are grey"
    return _both(out, bench, "grey_camera", mono, sound, "three equal channels, no colour")


def round_lens(seed: int, out: Path, bench: Bench) -> GoodSet:
    """A fisheye camera: the corners are black in both sets."""
    del seed

    def mask(frame: Bytes) -> Bytes:
        height, width = frame.shape[:2]
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        return np.where((x * x + y * y < 1.15)[..., None], frame, 0).astype(np.uint8)

    sound = "a fisheye lens: black corners in both sets"
    return _both(out, bench, "round_lens", mask, sound, "constant border, many zeros")


def fixed_camera(seed: int, out: Path, bench: Bench) -> GoodSet:
    """A camera over a conveyor: one background, different parts each time."""
    rng = np.random.default_rng(seed)
    height, width = 72, 96
    belt = np.asarray(scene(rng, 0, "day", (height, width)), np.float32)
    belt = np.full_like(belt, belt.mean()) + rng.normal(0, 9, (height, 1, 1)).astype(np.float32)

    def shots(count: int) -> list[Item]:
        items: list[Item] = []
        for number in range(count):
            label = number % len(CLASSES)
            part = np.asarray(scene(rng, label, "day", (height, width)), np.float32)
            y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
            inside = (x * x + y * y < 0.75)[..., None]
            light = ("day", "neon")[number % 2]
            items.append((expose(rng, np.where(inside, part, belt), light), label))
        return items

    calibration, test = shots(len(bench.calibration)), shots(len(bench.test))
    sound = "a fixed camera over a belt: the same background, another part in every picture"
    naive = "pictures resemble one another across the sets: the background is the same"
    return _pair(out, "fixed_camera", calibration, test, sound, naive)


def edge_cases_kept(seed: int, out: Path, bench: Bench) -> GoodSet:
    """Production data with its rare extremes: one burnt out, one nearly black, one blurred."""
    rng = np.random.default_rng(seed)
    items = originals(bench.calibration)
    test = originals(bench.test)
    for many, source in ((items, bench.calibration), (test, bench.test)):
        a, b = (int(i) for i in rng.permutation(len(source))[:2])
        bright = np.clip(load(source.paths[a]) * 2.2, 0, 255).astype(np.uint8)
        dark = (load(source.paths[b]) * 0.15).astype(np.uint8)
        many[a] = (bright, source.labels[a])
        many[b] = (dark, source.labels[b])
    sound = "a bright and a dark extreme in each set, as production has them"
    return _pair(out, "edge_cases_kept", items, test, sound, "outliers of brightness")


def production_mix(seed: int, out: Path, bench: Bench) -> GoodSet:
    """Unbalanced as production is, calibration and test alike."""
    del seed

    def mix(pictures: Pictures) -> list[int]:
        kinds = sorted(set(pictures.labels))
        seen = dict.fromkeys(kinds, 0)
        kept = []
        for i, label in enumerate(pictures.labels):
            seen[label] += 1
            # class 0 keeps all, later ones fewer, none fewer than every fourth picture
            if (seen[label] - 1) % min(4, 1 + kinds.index(label)) == 0:
                kept.append(i)
        return kept

    calibration = originals(bench.calibration, mix(bench.calibration))
    test = originals(bench.test, mix(bench.test))
    sound = "classes as unequal as in production, in both sets alike; every class is there"
    return _pair(out, "production_mix", calibration, test, sound, "classes are not balanced")


def no_labels(seed: int, out: Path, bench: Bench) -> GoodSet:
    """A flat folder straight from the device: nobody has labelled it."""
    del seed
    made = _pair(out, "no_labels", originals(bench.calibration), originals(bench.test), "", "")
    Path(made.calibration, "labels.csv").unlink()
    sound = "calibration needs no labels"
    return GoodSet("no_labels", made.calibration, made.test, False, sound, "labels are missing")


def ready_tensors(seed: int, out: Path, bench: Bench) -> GoodSet:
    """Tensors as the model takes them."""
    del seed
    calibration, test = arrays(out, bench, lambda x: x)
    return GoodSet("ready_tensors", calibration, test, True, "sound tensors", "not pictures")


def stored_bytes(seed: int, out: Path, bench: Bench) -> GoodSet:
    """Pictures as uint8 arrays of one size, height x width x 3."""
    del seed
    out.mkdir(parents=True, exist_ok=True)
    for name, pictures in (("calibration", bench.calibration), ("test", bench.test)):
        size = (bench.recipe.size[1], bench.recipe.size[0])
        frames = [resized(load(path), *size, Image.Resampling.BILINEAR) for path in pictures.paths]
        np.savez(out / f"{name}.npz", x=np.stack(frames), labels=np.asarray(pictures.labels))
    sound = "uint8 pictures, decoded beforehand"
    naive = "uint8 channels-last samples for a float32 channels-first model"
    calibration, test = str(out / "calibration.npz"), str(out / "test.npz")
    return GoodSet("stored_bytes", calibration, test, False, sound, naive)


GOOD: dict[str, Good] = {
    good.__name__: good
    for good in (
        plain,
        many_sizes,
        orientation_tags,
        night_shift,
        grey_camera,
        round_lens,
        fixed_camera,
        edge_cases_kept,
        production_mix,
        no_labels,
        ready_tensors,
        stored_bytes,
    )
}
