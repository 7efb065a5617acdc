"""Spoiled calibration sets that are folders of pictures: what is in them, and what is missing.

The author of this module had not seen the checks that are tried on it; see `spoiled_sets`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from blind_pictures import Bytes, load
from PIL import Image
from spoiled_sets import (
    Bench,
    Item,
    NotApplicableError,
    Spoil,
    SpoiledSet,
    changed,
    darkest,
    judge_folder,
    originals,
    resized,
    store,
)


def _folder(
    out: Path,
    bench: Bench,
    name: str,
    items: list[Item],
    wrong: str,
    finding: str,
    words: tuple[str, ...],
    *,
    guilty: tuple[int, ...] = (),
    quality: int = 92,
    part: str = "",
) -> SpoiledSet:
    """Write items as the calibration folder, the bench's test set beside it."""
    source = out / "calibration"
    names = store(source, items, quality=quality)
    return SpoiledSet(
        name,
        f"{source}{part}",
        judge_folder(out, bench),
        False,
        wrong,
        finding,
        words,
        tuple(names[i] for i in guilty),
    )


def _all(
    out: Path,
    bench: Bench,
    name: str,
    change: Callable[[Bytes], Bytes],
    wrong: str,
    finding: str,
    words: tuple[str, ...],
) -> SpoiledSet:
    """Every calibration picture is changed in the same way; the test pictures are not."""
    return _folder(out, bench, name, changed(bench.calibration, change), wrong, finding, words)


def too_few(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """What fits in an e-mail."""
    picks = np.random.default_rng(seed).permutation(len(bench.calibration))[:12]
    items = originals(bench.calibration, [int(i) for i in picks])
    wrong = "twelve pictures in all"
    finding = "too few samples, with the number that is needed"
    return _folder(
        out, bench, "too_few", items, wrong, finding, ("few", "256", "count", "at least")
    )


def copied_over_and_over(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """A set blown up to the number that the manual asks for."""
    n = len(bench.calibration)
    picks = [int(i) for i in np.random.default_rng(seed).permutation(n)[: n // 8]]
    items = originals(bench.calibration, picks * 8)
    wrong = f"{n // 8} pictures, each there eight times: the count is a lie"
    finding = "exact duplicates, with the number of distinct samples"
    words = ("duplicate", "distinct", "identical", "copies")
    guilty = tuple(range(len(items)))
    name = "copied_over_and_over"
    return _folder(out, bench, name, items, wrong, finding, words, guilty=guilty)


def augmented_folder(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """The training pipeline's output, saved: five variants of each picture."""
    rng = np.random.default_rng(seed)
    n = len(bench.calibration)
    items: list[Item] = []
    for i in rng.permutation(n)[: n // 5]:
        path, label = bench.calibration.paths[int(i)], bench.calibration.labels[int(i)]
        frame = load(path)
        height, width = frame.shape[:2]
        y, x = int(rng.integers(1, height // 8)), int(rng.integers(1, width // 8))
        jitter = np.clip(frame * rng.uniform(0.75, 1.2, 3), 0, 255).astype(np.uint8)
        turned = Image.fromarray(frame).rotate(float(rng.uniform(6, 12)), Image.Resampling.BILINEAR)
        items += [
            (path, label),
            (np.ascontiguousarray(frame[:, ::-1]), label),
            (np.ascontiguousarray(frame[y:, x:]), label),
            (jitter, label),
            (np.asarray(turned), label),
        ]
    wrong = "every picture is there five times: as it is, flipped, cropped, recoloured and turned"
    finding = "samples that are augmentations of one another"
    words = ("augment", "flip", "crop", "mirror", "near-duplicate", "near duplicate", "variants")
    guilty = tuple(range(len(items)))
    return _folder(out, bench, "augmented_folder", items, wrong, finding, words, guilty=guilty)


def augmented_on_the_fly(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """The training loader as a callable: every reading gives other pixels."""
    kept = out / "pictures"
    store(kept, originals(bench.calibration))
    (out / "loader.py").write_text(
        "import csv, pathlib, random\n"
        "import numpy as np\n"
        "from PIL import Image\n\n\n"
        "def samples():\n"
        f"    root = pathlib.Path({str(kept)!r})\n"
        "    with open(root / 'labels.csv', newline='') as handle:\n"
        "        rows = list(csv.DictReader(handle))\n"
        "    dice = random.Random()\n"
        "    for row in rows:\n"
        "        image = Image.open(root / row['file']).convert('RGB')\n"
        "        w, h = image.size\n"
        "        x, y = dice.randrange(w // 5), dice.randrange(h // 5)\n"
        "        image = image.crop((x, y, x + w * 4 // 5, y + h * 4 // 5))\n"
        "        if dice.random() < 0.5:\n"
        "            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)\n"
        "        yield np.asarray(image), int(row['label'])\n"
    )
    return SpoiledSet(
        "augmented_on_the_fly",
        f"{out / 'loader.py'}:samples",
        judge_folder(out, bench),
        False,
        "the source is a training loader with random crops and flips: two readings differ",
        "the source does not give the same samples twice: augmentation, or no fixed seed",
        ("augment", "differ", "twice", "not repeat", "random", "not deterministic", "changed"),
    )


def one_video(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Three clips of a fixed camera: hundreds of frames, three scenes."""
    rng = np.random.default_rng(seed)
    items: list[Item] = []
    for i in rng.permutation(len(bench.calibration))[:3]:
        frame = load(bench.calibration.paths[int(i)]).astype(np.float32)
        for number in range(len(bench.calibration) // 3):
            drift = np.roll(frame, (number // 20, number // 15), (0, 1))
            noise = rng.normal(0, 2.5, frame.shape) + rng.normal(0, 1.5)
            shot = np.clip(drift + noise, 0, 255).astype(np.uint8)
            items.append((shot, bench.calibration.labels[int(i)]))
    wrong = "all pictures are consecutive frames of three clips: three scenes, not hundreds"
    finding = "near duplicates in the set: few really different samples"
    words = ("near-duplicate", "near duplicate", "similar", "distinct", "frames", "cover")
    guilty = tuple(range(len(items)))
    return _folder(out, bench, "one_video", items, wrong, finding, words, guilty=guilty)


def night_missing(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Collected in office hours, deployed around the clock."""
    dark = set(darkest(bench.calibration, 0.35))
    kept = [i for i in range(len(bench.calibration)) if i not in dark]
    fill = np.random.default_rng(seed).permutation(kept)
    wrong = "no dark picture: the test set has night, the calibration set has none"
    finding = "a part of the test set that no calibration sample is near (dark pictures)"
    words = ("cover", "dark", "bright", "cluster", "represent", "drift", "unlike")
    items = originals(bench.calibration, [int(i) for i in fill])
    return _folder(out, bench, "night_missing", items, wrong, finding, words)


def one_class(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """The first class folder only."""
    labels = np.asarray(bench.calibration.labels)
    values, counts = np.unique(labels, return_counts=True)
    if counts.max() >= 8:
        mine = values[np.argmax(counts)]
        picks = np.flatnonzero(labels == mine)
    else:  # one picture per class, as ImageNet's small sets are: neighbouring classes only
        picks = np.argsort(labels, kind="stable")[: max(24, len(labels) // 10)]
    items = originals(bench.calibration, [int(i) for i in picks])
    wrong = "one class only (or a narrow range of classes); the test set has all"
    finding = "classes of the test set without a calibration sample"
    words = ("class", "label", "balance", "cover", "represent")
    return _folder(out, bench, "one_class", items, wrong, finding, words)


def sorted_slice(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """A slice of a folder that is sorted by class."""
    del seed
    order = np.argsort(np.asarray(bench.calibration.labels), kind="stable")
    items = originals(bench.calibration, [int(i) for i in order])
    count = len(items) // 4
    wrong = "a slice of the first quarter of a folder that is sorted by class: most classes missing"
    finding = "classes of the test set without a calibration sample"
    words = ("class", "label", "balance", "cover", "represent")
    part = f"[0:{count}]"
    return _folder(out, bench, "sorted_slice", items, wrong, finding, words, part=part)


def lopsided(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """One easy class is nearly everything; the test set is balanced."""
    rng = np.random.default_rng(seed)
    labels = np.asarray(bench.calibration.labels)
    if np.bincount(labels).max() < 20:
        raise NotApplicableError("lopsided needs at least 20 pictures of some class")
    main = labels == np.bincount(labels).argmax()
    rest = rng.permutation(np.flatnonzero(~main))[: max(1, int(main.sum()) // 20)]
    items = originals(bench.calibration, [int(i) for i in (*np.flatnonzero(main), *rest)])
    wrong = "19 of 20 pictures are of one class; the test set is balanced"
    finding = "class balance unlike the test set's"
    words = ("class", "balance", "label", "cover")
    return _folder(out, bench, "lopsided", items, wrong, finding, words)


def swapped_colours(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Written by a library that takes BGR for RGB."""
    del seed
    wrong = "red and blue are swapped in every calibration picture, not in the test pictures"
    finding = "colour order differs from the test set's"
    words = ("colour", "color", "bgr", "rgb", "channel", "drift", "mean")
    flip = lambda frame: np.ascontiguousarray(frame[..., ::-1])  # noqa: E731 - a name for a slice
    return _all(out, bench, "swapped_colours", flip, wrong, finding, words)


def grey(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """From the monochrome camera of the old product."""
    del seed

    def mono(frame: Bytes) -> Bytes:
        return np.asarray(Image.fromarray(frame).convert("L").convert("RGB"))

    wrong = "calibration pictures are grey-scale, test pictures are in colour"
    finding = "no colour in the calibration set, unlike the test set"
    words = ("grey", "gray", "colour", "color", "channel", "saturation", "drift", "cover")
    return _all(out, bench, "grey", mono, wrong, finding, words)


def thumbnails(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Scraped previews, blown up."""
    del seed

    def blow_up(frame: Bytes) -> Bytes:
        height, width = frame.shape[:2]
        tiny = resized(frame, max(8, width // 12), max(8, height // 12), Image.Resampling.BOX)
        return resized(tiny, width, height, Image.Resampling.BICUBIC)

    wrong = "calibration pictures are thumbnails enlarged 12 times: no detail left"
    finding = "sharpness (or feature space) unlike the test set's"
    words = ("blur", "sharp", "detail", "resolution", "cover", "drift", "represent", "unlike")
    return _all(out, bench, "thumbnails", blow_up, wrong, finding, words)


def black_bars(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Letterboxed by an earlier pipeline, and stored so."""
    del seed

    def letterbox(frame: Bytes) -> Bytes:
        height, width = frame.shape[:2]
        canvas = np.zeros((height, width, 3), np.uint8)
        inner = resized(frame, width, height // 2, Image.Resampling.BILINEAR)
        canvas[height // 4 : height // 4 + height // 2] = inner
        return canvas

    wrong = "a letterbox is baked into the calibration pictures: half of each is black bars"
    finding = "constant borders, unlike the test set"
    words = ("border", "bar", "letterbox", "constant", "pad", "drift", "cover", "unlike")
    return _all(out, bench, "black_bars", letterbox, wrong, finding, words)


def low_contrast(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Through a dirty window: the ranges will be narrow."""
    del seed

    def fog(frame: Bytes) -> Bytes:
        return (110 + frame.astype(np.float32) * 0.2).astype(np.uint8)

    wrong = (
        "calibration pictures use a fifth of the range (110 to 161): the test set will be clipped"
    )
    finding = "narrow range: test (held-out) values are clipped"
    words = ("range", "clip", "contrast", "drift", "cover", "narrow")
    return _all(out, bench, "low_contrast", fog, wrong, finding, words)


def overexposed(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Exposure was never set."""
    del seed

    def burn(frame: Bytes) -> Bytes:
        return np.asarray(np.clip(frame.astype(np.float32) * 2.6 + 40, 0, 255), np.uint8)

    wrong = "calibration pictures are burnt out: large parts are at 255"
    finding = "saturated pictures, brighter than the test set"
    words = ("satur", "bright", "exposed", "drift", "cover", "range", "mean")
    return _all(out, bench, "overexposed", burn, wrong, finding, words)


def lens_cap(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """All frames black."""
    del seed
    wrong = "all pictures are black (lens cap, dead camera)"
    finding = "constant, all-zero samples: no information"
    words = ("constant", "black", "zero", "duplicate", "identical")
    return _all(out, bench, "lens_cap", np.zeros_like, wrong, finding, words)


def some_black(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Dropped frames among good ones."""
    n = len(bench.calibration)
    dead = {int(i) for i in np.random.default_rng(seed).permutation(n)[: n // 10]}
    items = originals(bench.calibration)
    for i in dead:
        items[i] = (np.zeros_like(load(bench.calibration.paths[i])), bench.calibration.labels[i])
    wrong = "one picture in ten is a dropped frame: all black"
    finding = "the constant samples, named"
    words = ("constant", "black", "zero", "duplicate", "identical")
    guilty = tuple(sorted(dead))
    return _folder(out, bench, "some_black", items, wrong, finding, words, guilty=guilty)


def noise_pictures(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Random pixels, because the tool wanted a folder."""
    rng = np.random.default_rng(seed)
    shape = (*bench.recipe.size, 3)
    count = len(bench.calibration)
    items: list[Item] = [
        (rng.integers(0, 256, shape, dtype=np.uint8), bench.calibration.labels[i])
        for i in range(count)
    ]
    wrong = "random pixels instead of pictures"
    finding = "synthetic (random) data, refused or marked"
    words = ("random", "noise", "synthetic", "cover", "unlike")
    name = "noise_pictures"
    return _folder(out, bench, name, items, wrong, finding, words, quality=0)


def drawn_cards(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Smooth gradients and bars: another world than the deployment's."""
    rng = np.random.default_rng(seed)
    height, width = load(bench.calibration.paths[0]).shape[:2]
    items: list[Item] = []
    for i in range(len(bench.calibration)):
        angle, low, high = rng.uniform(0, 6.28), rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
        x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        ramp = ((x * np.cos(angle) + y * np.sin(angle)) / 1.5 + 1) / 2
        bars = np.floor(ramp * rng.integers(3, 20)) % 2 if i % 2 else ramp
        frame = low + (high - low) * np.clip(bars, 0, 1)[..., None]
        items.append((frame.astype(np.uint8), bench.calibration.labels[i]))
    wrong = "gradients and bars out of a drawing program, not pictures of the task"
    finding = "samples unlike the test set: synthetic, or nothing in common"
    words = ("synthetic", "cover", "drift", "unlike", "represent", "distance")
    return _folder(out, bench, "drawn_cards", items, wrong, finding, words)


def half_files(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """A copy that was cut short: some JPEGs end in the middle."""
    n = len(bench.calibration)
    bad = sorted(int(i) for i in np.random.default_rng(seed).permutation(n)[: n // 12])
    items = originals(bench.calibration)
    wrong = "one file in twelve ends in the middle: the lower half decodes to grey, or not at all"
    finding = "truncated or undecodable files, named"
    words = ("truncat", "decod", "corrupt", "broken", "damaged", "cannot read", "unreadable")
    made = _folder(out, bench, "half_files", items, wrong, finding, words, guilty=tuple(bad))
    for name in made.guilty:
        path = Path(made.calibration) / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 55 // 100])
    return made


def turned(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """Phone pictures whose orientation tag was lost on the way."""
    del seed
    turn = lambda frame: np.ascontiguousarray(np.rot90(frame))  # noqa: E731 - a name for a call
    wrong = "calibration pictures lie on their side: the orientation tag was lost"
    finding = "shape (portrait against landscape) or orientation unlike the test set's"
    words = ("orient", "rotat", "portrait", "aspect", "size", "cover", "drift", "unlike")
    return _all(out, bench, "turned", turn, wrong, finding, words)


def stamped(seed: int, out: Path, bench: Bench) -> SpoiledSet:
    """The annotation tool burnt the class into the pictures."""
    del seed
    items: list[Item] = []
    kinds = sorted(set(bench.calibration.labels))
    for path, label in originals(bench.calibration):
        assert isinstance(path, Path)
        frame = load(path).copy()
        height, width = frame.shape[:2]
        frame[: height // 8] = 255
        at = int(width * kinds.index(label) / len(kinds))
        frame[: height // 8, at : at + max(2, width // len(kinds))] = (255, 0, 0)
        items.append((frame, label))
    wrong = "a white strip with a red mark for the class is burnt into the calibration pictures"
    finding = "a pattern that is in all calibration pictures and in no test picture"
    words = ("constant", "border", "strip", "bar", "cover", "drift", "unlike", "region", "leak")
    return _folder(out, bench, "stamped", items, wrong, finding, words)


SPOILS: tuple[Spoil, ...] = (
    too_few,
    copied_over_and_over,
    augmented_folder,
    augmented_on_the_fly,
    one_video,
    night_missing,
    one_class,
    sorted_slice,
    lopsided,
    swapped_colours,
    grey,
    thumbnails,
    black_bars,
    low_contrast,
    overexposed,
    lens_cap,
    some_black,
    noise_pictures,
    drawn_cards,
    half_files,
    turned,
    stamped,
)
