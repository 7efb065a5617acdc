"""The spoiled and the sound sets are what they say: readable, seeded, guilty where they claim.

Nothing of the project is imported here: these tests guard the generators, not the checks.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from blind_pictures import load, save, scene, take
from good_sets import GOOD
from PIL import Image
from spoiled_sets import KEY, NotApplicableError, all_spoils, generated_bench

SPOILS = all_spoils()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return generated_bench(3, tmp_path_factory.mktemp("bench"), calibration=60, test=30)


def digest(folder: Path) -> dict[str, str]:
    """Contents by relative name; a callable's own text holds its folder, so it is left out."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".py")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def source(text: str) -> Path:
    return Path(text.split("[")[0])


def test_enough_of_each():
    assert len(SPOILS) >= 20
    assert len(GOOD) >= 6


@pytest.mark.parametrize("name", sorted(SPOILS))
def test_spoiled(name, bench, tmp_path):
    if name == "lopsided":
        with pytest.raises(NotApplicableError):
            SPOILS[name](5, tmp_path, bench)
        bench = generated_bench(3, tmp_path / "bench", calibration=120, test=30)
    made = SPOILS[name](5, tmp_path / "a", bench)
    SPOILS[name](5, tmp_path / "b", bench)
    assert made.name == name
    assert made.wrong and made.finding and made.words
    assert all(word == word.lower() for word in made.words)
    assert digest(tmp_path / "a") == digest(tmp_path / "b"), "the seed decides everything"
    check_source(made.test, made.tensor)
    if name == "augmented_on_the_fly":
        return
    count = check_source(made.calibration, made.tensor, broken=name == "half_files")
    for sample in made.guilty:
        assert (
            int(sample[1:]) < count
            if made.tensor
            else (source(made.calibration) / sample).is_file()
        )
    assert count >= 20 or name in {"too_few", "one_class", "lopsided"}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good(name, bench, tmp_path):
    made = GOOD[name](5, tmp_path / "a", bench)
    GOOD[name](5, tmp_path / "b", bench)
    assert made.name == name
    assert made.sound and made.naive
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert check_source(made.calibration, made.tensor) >= 20
    calibration, test = digest(source(made.calibration)), digest(source(made.test))
    if source(made.calibration).is_dir():
        shared = set(calibration.values()) & set(test.values())
        assert not shared, "a sound set shares no picture with its test set"


def check_source(text, tensor, broken=False):
    """Read all of a source; returns its number of samples."""
    place = source(text)
    if place.suffix == ".npz":
        x = np.load(place)[KEY]
        assert x.ndim == 4
        assert (x.dtype == np.uint8) <= (not tensor or "calibration" in text)
        return len(x)
    files = sorted(p for p in place.iterdir() if p.suffix in {".jpg", ".png"})
    good = 0
    for path in files:
        try:
            good += load(path).ndim == 3
        except OSError:
            assert broken, path
    assert good < len(files) if broken else good == len(files)
    return len(files)


@pytest.mark.parametrize("name", [n for n in sorted(SPOILS) if n.startswith("leak_")])
def test_leaks_are_of_the_pictures_that_they_name(name, bench, tmp_path):
    made = SPOILS[name](7, tmp_path, bench)
    assert len(made.guilty) == len(made.partners) > 0

    def small(path):
        with Image.open(path) as image:
            return np.asarray(image.convert("L").resize((12, 9), Image.Resampling.BOX), float)

    tests = {p.name: small(p) for p in Path(made.test).glob("*.jpg")}
    for guilty, partner in zip(made.guilty, made.partners, strict=True):
        mine = small(Path(made.calibration) / guilty)
        if name == "leak_mirrored":
            mine = mine[:, ::-1]
        likeness = {n: np.corrcoef(mine.ravel(), t.ravel())[0, 1] for n, t in tests.items()}
        assert likeness[partner] > 0.55
        assert likeness[partner] >= sorted(likeness.values())[-3] - 1e-9


def test_guilty_samples_are_guilty(bench, tmp_path):
    nan = SPOILS["one_nan"](1, tmp_path / "nan", bench)
    x = np.load(nan.calibration)[KEY]
    assert [f"#{i}" for i in np.flatnonzero(np.isnan(x).any((1, 2, 3)))] == list(nan.guilty)
    black = SPOILS["some_black"](1, tmp_path / "black", bench)
    folder = Path(black.calibration)
    dead = {p.name for p in folder.glob("*.jpg") if load(p).max() == 0}
    assert dead == set(black.guilty)
    night = SPOILS["night_missing"](1, tmp_path / "night", bench)
    levels = [load(p).mean() for p in Path(night.calibration).glob("*.jpg")]
    tests = [load(p).mean() for p in Path(night.test).glob("*.jpg")]
    assert min(tests) < 0.6 * min(levels)


def test_pictures_depend_on_the_seed_alone(tmp_path):
    a = take(1, tmp_path / "a", 2)
    b = take(1, tmp_path / "b", 2)
    c = take(2, tmp_path / "c", 2)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    assert a.labels == b.labels == c.labels
    frame = scene(np.random.default_rng(0), 0, "day", (40, 50))
    kept = save(tmp_path / "d", [frame], [0], names=["exact.png"])
    assert np.array_equal(load(kept.paths[0]), frame)
