"""Seeded pictures that look enough like a camera's to be worth judging: classes, light, noise.

The author of this module had not seen the checks that are tried on it: it was written from the
README and from what goes wrong in practice, so that a check cannot have been fitted to it.

A scene is one of `CLASSES` on a textured ground, under one of `LIGHTS`, through a lens (blur,
vignette) onto a sensor (shot noise), stored as a JPEG. Object, pose, size, colour and ground vary;
colour carries part of the class, so that a swapped colour order costs accuracy.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("bottle", "cross", "leaf", "ring", "screw", "tile")
LIGHTS = ("day", "dusk", "neon", "night")

# Gain and tint (RGB) per light; night keeps a fifth of the daylight and is noisier.
_LIGHT: dict[str, tuple[float, tuple[float, float, float], float]] = {
    "day": (1.0, (1.0, 1.0, 1.0), 2.0),
    "dusk": (0.62, (1.12, 0.95, 0.78), 3.5),
    "neon": (0.85, (0.86, 1.06, 1.12), 3.0),
    "night": (0.2, (0.85, 0.95, 1.25), 6.0),
}
# Mean object colour of each class; every picture moves it by up to 35 levels per channel.
_COLOUR: dict[str, tuple[int, int, int]] = {
    "bottle": (60, 130, 90),
    "cross": (205, 60, 55),
    "leaf": (95, 165, 45),
    "ring": (215, 180, 60),
    "screw": (150, 150, 165),
    "tile": (60, 90, 190),
}

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """Picture files with what is known of each.

    Attributes:
        root: The folder that a user would name as a source.
        paths: The files, in reading order.
        labels: Class index per file.
        lights: Light per file ("" where unknown).
    """

    root: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    lights: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def names(self, indices: Sequence[int] | None = None) -> tuple[str, ...]:
        """File names relative to the root."""
        chosen = range(len(self.paths)) if indices is None else indices
        return tuple(self.paths[i].relative_to(self.root).as_posix() for i in chosen)


def scene(rng: np.random.Generator, label: int, light: str, size: tuple[int, int]) -> Bytes:
    """Draw one picture: uint8, height x width x 3, RGB."""
    height, width = size
    big = Image.fromarray(_ground(rng, height * 2, width * 2))
    thing = Image.new("RGBA", big.size, (0, 0, 0, 0))
    _draw(ImageDraw.Draw(thing), rng, CLASSES[label], big.size)
    turned = thing.rotate(float(rng.uniform(-25, 25)), Image.Resampling.BILINEAR)
    big.paste(turned, (0, 0), turned)
    lens = big.resize((width, height), Image.Resampling.BOX)
    lens = lens.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.7))))
    return expose(rng, np.asarray(lens, np.float32), light)


def expose(rng: np.random.Generator, linear: NDArray[np.float32], light: str) -> Bytes:
    """Light, vignette, shot noise and rounding of one frame of values 0 to 255."""
    gain, tint, noise = _LIGHT[light]
    height, width = linear.shape[:2]
    rows = np.linspace(-1, 1, height)[:, None]
    columns = np.linspace(-1, 1, width)[None, :]
    vignette = 1 - 0.18 * (rows**2 + columns**2)
    lit = linear * np.asarray(tint) * gain * float(rng.uniform(0.85, 1.12)) * vignette[..., None]
    lit = lit + rng.normal(0, 1, lit.shape) * (noise + 0.02 * np.sqrt(np.maximum(lit, 0) * 255))
    out: Bytes = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return out


def take(
    seed: int,
    folder: Path,
    per_class: int,
    size: tuple[int, int] = (72, 96),
    lights: Sequence[str] = LIGHTS,
    quality: int = 92,
) -> Pictures:
    """Take `per_class` pictures of every class, lights in turn, into class folders."""
    rng = np.random.default_rng(seed)
    frames, labels, used = [], [], []
    for label in range(len(CLASSES)):
        for number in range(per_class):
            light = lights[number % len(lights)]
            frames.append(scene(rng, label, light, size))
            labels.append(label)
            used.append(light)
    return save(folder, frames, labels, used, quality=quality)


def save(
    folder: Path,
    frames: Sequence[Bytes],
    labels: Sequence[int],
    lights: Sequence[str] = (),
    quality: int = 92,
    names: Sequence[str] | None = None,
) -> Pictures:
    """Write frames into class folders; a name that ends in .png keeps every bit."""
    paths = []
    for i, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        class_name = CLASSES[label] if label < len(CLASSES) else f"class{label:03d}"
        path = folder / class_name / (names[i] if names else f"shot{i:05d}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(path, quality=quality)
        paths.append(path)
    return Pictures(folder, tuple(paths), tuple(labels), tuple(lights) or ("",) * len(paths))


def read_labelled(folder: Path, split: str = "", limit: int | None = None) -> Pictures:
    """A caller's own folder: `labels.csv` with the columns path, label and maybe split.

    The first column that ends in an image's name is the path; `label` may be called
    `class_index` or `class`. Without a `labels.csv`, class folders give the labels.
    """
    table = folder / "labels.csv"
    if not table.is_file():
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".png"})
        kinds = sorted({p.parent.name for p in files})
        chosen = files[:limit]
        found = tuple(kinds.index(p.parent.name) for p in chosen)
        return Pictures(folder, tuple(chosen), found, ("",) * len(chosen))
    paths, labels = [], []
    with table.open(newline="") as handle:
        for row in csv.DictReader(handle):
            if split and row.get("split", "") != split:
                continue
            name = next(v for v in row.values() if v and v.lower().endswith((".jpg", ".png")))
            key = next(k for k in ("label", "class_index", "index", "class") if row.get(k))
            path = folder / name
            paths.append(path if path.is_file() else folder / "images" / name)
            labels.append(int(row[key]))
    return Pictures(folder, tuple(paths[:limit]), tuple(labels[:limit]), ("",) * len(paths[:limit]))


def load(path: Path) -> Bytes:
    """One file as uint8 height x width x 3."""
    with Image.open(path) as image:
        out: Bytes = np.asarray(image.convert("RGB"), np.uint8)
    return out


def tensors(paths: Sequence[Path], size: tuple[int, int]) -> NDArray[np.float32]:
    """Files as float32 N x 3 x height x width, RGB / 255, stretched to `size`."""
    rows = []
    for path in paths:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR)
        rows.append(np.asarray(small, np.float32).transpose(2, 0, 1) / np.float32(255))
    return np.stack(rows)


def _ground(rng: np.random.Generator, height: int, width: int) -> Bytes:
    """A table top: a smooth gradient, a few octaves of texture, one colour cast."""
    base = rng.uniform(90, 175) + rng.uniform(-14, 14, 3)
    out = np.ones((height, width, 3)) * base
    for octave in (4, 9, 21):
        coarse = rng.normal(0, 46 / np.sqrt(octave), (octave, octave)).astype(np.float32)
        layer = Image.fromarray(coarse)
        out += np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC))[..., None]
    slope = rng.normal(0, 12, 2)
    out += (np.linspace(-1, 1, height)[:, None] * slope[0])[..., None]
    out += (np.linspace(-1, 1, width)[None, :] * slope[1])[..., None]
    ground: Bytes = np.clip(out, 0, 255).astype(np.uint8)
    return ground


def _draw(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, kind: str, extent: tuple[int, int]
) -> None:
    """One object of its class, placed and sized at random, with a shadow."""
    width, height = extent
    side = min(extent)
    radius = side * float(rng.uniform(0.24, 0.36))
    x = width / 2 + float(rng.uniform(-0.12, 0.12)) * side
    y = height / 2 + float(rng.uniform(-0.12, 0.12)) * side
    colour = tuple(int(np.clip(c + rng.uniform(-35, 35), 0, 255)) for c in _COLOUR[kind])
    _shape(pen, kind, x + radius * 0.12, y + radius * 0.12, radius, (45, 45, 48))
    _shape(pen, kind, x, y, radius, colour)
    shine = tuple(min(255, c + 60) for c in colour)
    pen.ellipse((x - radius * 0.3, y - radius * 0.35, x - radius * 0.1, y - radius * 0.15), shine)


def _shape(
    pen: ImageDraw.ImageDraw, kind: str, x: float, y: float, r: float, colour: tuple[int, ...]
) -> None:
    if kind == "bottle":
        pen.rectangle((x - r * 0.35, y - r * 0.3, x + r * 0.35, y + r), colour)
        pen.rectangle((x - r * 0.14, y - r, x + r * 0.14, y - r * 0.3), colour)
    elif kind == "cross":
        pen.rectangle((x - r, y - r * 0.25, x + r, y + r * 0.25), colour)
        pen.rectangle((x - r * 0.25, y - r, x + r * 0.25, y + r), colour)
    elif kind == "leaf":
        pen.pieslice((x - r, y - r * 0.8, x + r, y + r * 0.8), 200, 340, colour)
        pen.ellipse((x - r, y - r * 0.45, x + r, y + r * 0.45), colour)
    elif kind == "ring":
        pen.ellipse((x - r, y - r, x + r, y + r), None, colour, width=max(2, int(r * 0.38)))
    elif kind == "screw":
        pen.ellipse((x - r * 0.55, y - r, x + r * 0.55, y - r * 0.35), colour)
        pen.polygon([(x - r * 0.2, y - r * 0.5), (x + r * 0.2, y - r * 0.5), (x, y + r)], colour)
    else:
        pen.rectangle((x - r * 0.85, y - r * 0.85, x + r * 0.85, y + r * 0.85), colour)
        pen.line((x - r * 0.85, y, x + r * 0.85, y), (225, 225, 220), width=max(1, int(r * 0.1)))
        pen.line((x, y - r * 0.85, x, y + r * 0.85), (225, 225, 220), width=max(1, int(r * 0.1)))
