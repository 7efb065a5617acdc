"""Sources of every kind, read for real into sample stores."""

from __future__ import annotations

import dataclasses
import os
import random
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seatrial.data import (
    InputContract,
    MaterialiseRequest,
    Overlap,
    SampleSet,
    complete_contracts,
    load,
    overlap,
    parse,
    split,
)
from seatrial.data.child import hash_tensors, materialise
from seatrial.errors import UserError
from seatrial.results import TensorIO
from seatrial.samples import Samples
from seatrial.testing.local import LocalJob

PICTURE = TensorIO(name="x", dtype="float32", shape=("N", 3, 32, 32))
CONTRACT = InputContract(resize="stretch", scale=1 / 255)


def photo(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A smooth picture (width, height) that no noise check takes for noise."""
    w, h = size
    draw = np.random.default_rng(seed)
    a, b, c, d = draw.uniform(0.5, 3, 4)
    y, x = np.mgrid[0:h, 0:w] / max(w, h)
    planes = [np.sin(a * x * 6 + k + seed) + np.cos(b * y * 6 + c * k) * d for k in range(3)]
    value = np.stack(planes, 2)
    value = (value - value.min()) / (value.max() - value.min()) * 255
    return Image.fromarray(value.astype(np.uint8))


def folder(root: Path, names: list[str]) -> Path:
    for k, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(k).save(path)
    return root


def read(
    tmp_path: Path,
    source,
    contracts=None,
    inputs=(PICTURE,),
    name: str = "job",
    **changes,
) -> tuple[SampleSet | None, Samples | None, str]:
    """Run the task: the set and its store, or the refusal's line."""
    source = dataclasses.replace(parse(source) if isinstance(source, str) else source, **changes)
    contracts = {"x": CONTRACT} if contracts is None else contracts
    request = MaterialiseRequest(
        source=source, inputs=inputs, contracts=complete_contracts(contracts, inputs, source)
    )
    job = LocalJob(tmp_path / name)
    result = materialise(request, job)
    if result.set is None:
        refused = result.refused
        return None, None, f"{refused.subject}: {refused.place}: {refused.reason} {refused.advice}"
    return result.set, Samples(job.out), ""


def codes(info: SampleSet | None) -> dict[str, str]:
    return {f.code: f.level for f in info.findings}


def test_flat_folder_is_unlabelled_and_sorted(tmp_path):
    root = folder(tmp_path / "d", ["b.png", "a.jpg", "c.bmp"])
    info, store, _ = read(tmp_path, str(root))
    assert store.ids == ("a.jpg", "b.png", "c.bmp")
    assert not info.labelled and store.labels is None
    assert store.shape("x") == (3, 32, 32) and store.array("x").dtype == np.float32
    assert info.count == info.total == 3 and not info.grouped and info.groups == 3


def test_class_folders_label_in_sorted_order(tmp_path):
    root = folder(tmp_path / "d", ["dog/1.png", "cat/2.png", "cat/1.png"])
    info, store, _ = read(tmp_path, str(root))
    assert store.ids == ("cat/1.png", "cat/2.png", "dog/1.png")
    assert store.labels == (0, 0, 1)
    assert info.classes == ("cat", "dog") and info.class_counts == {"0": 2, "1": 1}
    assert codes(info)["class-order"] == "info"


def test_folders_named_by_numbers_mean_those_numbers(tmp_path):
    root = folder(tmp_path / "d", ["2/a.png", "10/a.png", "0/a.png"])
    _, store, _ = read(tmp_path, str(root))
    assert dict(zip(store.ids, store.labels, strict=True)) == {
        "0/a.png": 0,
        "2/a.png": 2,
        "10/a.png": 10,
    }


def test_class_lists_and_indices_number_the_labels(tmp_path):
    root = folder(tmp_path / "d", ["dog/1.png", "cat/2.png"])
    _, store, _ = read(tmp_path, str(root), name="2", classes=("dog", "x", "cat"))
    assert store.labels == (2, 0)
    (tmp_path / "i.json").write_text('{"7": ["n01", "dog"], "3": ["n02", "cat"]}')
    _, store, _ = read(tmp_path, str(root), name="3", class_index=str(tmp_path / "i.json"))
    assert store.labels == (3, 7)
    _, _, line = read(tmp_path, str(root), name="4", classes=("dog",))
    assert "'cat' is not in the class list" in line


def test_labels_csv_where_groups_and_meta(tmp_path):
    root = folder(tmp_path / "d", [f"i/{k}.png" for k in range(6)])
    rows = [f"i/{k}.png,{'ab'[k % 2]},{'calib' if k < 4 else 'test'},g{k // 2}" for k in range(5)]
    (root / "labels.csv").write_text("\n".join(["file,label,split,group", *rows]) + "\n")
    info, store, _ = read(tmp_path, str(root), where={"split": "calib"})
    assert store.ids == tuple(f"i/{k}.png" for k in range(4))
    assert store.labels == (0, 1, 0, 1) and store.groups == ("g0", "g0", "g1", "g1")
    assert info.grouped and info.groups == 2
    assert store.index["samples"][0]["meta"]["split"] == "calib"
    assert codes(info)["unlisted"] == "warning"  # i/5.png is not in the folder's own table
    table = str(root / "labels.csv")
    named, _, _ = read(tmp_path, str(root), name="5", labels=table, where={"split": "calib"})
    assert codes(named)["left-out"] == "info" and "unlisted" not in codes(named)
    _, one, _ = read(tmp_path, str(root), name="2", where={"split": "test"})
    assert one.labels == (0,)
    _, _, line = read(tmp_path, str(root), name="3", where={"split": "val"})
    assert "no sample has split = val" in line and "calib, test" in line
    _, _, line = read(tmp_path, str(root), name="4", where={"day": "1"})
    assert "no column 'day'" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\n../x.png,1\n", "outside its folder"),
        ("file,label\n/etc/passwd,1\n", "outside its folder"),
        ("file,label\nnone.png,1\n", "does not exist"),
        ("file,label\na.png\n", "does not have 2 columns"),
        ("file,label\na.png,1\na.png,2\n", "names one file twice"),
        ("name,label\na.png,1\n", "has no column 'file'"),
        ("file,file\na.png,1\n", "two columns"),
        ("file,label\na.png,1\nb.png,\n", "1 of 2 samples have none"),
        ("file,label\n", "has no samples"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, said):
    root = folder(tmp_path / "d", ["a.png", "b.png"])
    (root / "labels.csv").write_text(text)
    assert said in read(tmp_path, str(root))[2]


def test_empty_and_mixed_folders_are_refused(tmp_path):
    (tmp_path / "d").mkdir()
    assert "holds no images" in read(tmp_path, str(tmp_path / "d"))[2]
    root = folder(tmp_path / "e", ["a.png", "cat/b.png"])
    assert "labels are unclear" in read(tmp_path, str(root), name="2")[2]


def test_npz_images_by_usual_names_and_by_mapping(tmp_path):
    pixels = np.stack([np.asarray(photo(k, (32, 32))) for k in range(5)])
    np.savez_compressed(tmp_path / "a.npz", images=pixels, labels=np.arange(5, dtype=np.uint8))
    contract = {"x": InputContract(scale=1 / 255)}
    info, store, _ = read(tmp_path, f"{tmp_path}/a.npz[1:4]", contract)
    assert store.labels == (1, 2, 3) and store.ids == ("1", "2", "3") and info.total == 5
    expected = (pixels[1:4] * np.float64(1 / 255)).astype(np.float32).transpose(0, 3, 1, 2)
    assert np.array_equal(store.array("x"), expected)
    np.savez(tmp_path / "b.npz", foo=pixels, bar=pixels[:, :2], y2=np.zeros(5, int))
    _, _, line = read(tmp_path, f"{tmp_path}/b.npz", contract, name="2")
    assert "no array for the model input 'x'" in line
    arrays = {"x": "foo", "labels": "y2"}
    _, store, _ = read(tmp_path, f"{tmp_path}/b.npz", contract, name="3", arrays=arrays)
    assert store.labels == (0,) * 5
    _, _, line = read(tmp_path, f"{tmp_path}/b.npz", contract, name="4", arrays={"x": "no"})
    assert "has no array 'no'" in line


def test_several_inputs_and_models_without_batch_axis(tmp_path):
    inputs = (
        TensorIO(name="a", dtype="float32", shape=("N", 4)),
        TensorIO(name="b", dtype="int64", shape=("N",)),
    )
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez(tmp_path / "t.npz", a=a, b=np.arange(3, dtype=np.int32))
    _, store, _ = read(tmp_path, f"{tmp_path}/t.npz", {}, inputs)
    feeds = store.feeds([0, 2])
    assert feeds["a"].shape == (2, 4) and feeds["b"].tolist() == [0, 2]
    assert feeds["b"].dtype == np.int64
    whole = (
        TensorIO(name="a", dtype="float32", shape=(2, 1, 4)),
        TensorIO(name="b", dtype="int64", shape=()),
    )
    a = np.arange(24, dtype=np.float32).reshape(3, 2, 1, 4)
    np.savez(tmp_path / "u.npz", a=a, b=np.full(3, 16000))
    _, store, _ = read(tmp_path, f"{tmp_path}/u.npz", {}, whole, name="2")
    assert store.index["batch_axis"] is False and store.feeds([1])["b"].shape == ()


@pytest.mark.parametrize("kind", ["uint8", "int32", "bool"])
def test_integers_feed_a_float_input_only_by_contract(tmp_path, kind):
    model_input = TensorIO(name="x", dtype="float32", shape=("N", 4))
    data = np.array([[0, 1, 1, 0], [1, 1, 0, 0]], dtype=kind)
    np.save(tmp_path / "a.npy", data)
    place = f"{tmp_path}/a.npy"
    _, _, line = read(tmp_path, place, {}, (model_input,))
    assert f"holds {kind}, the model takes float32" in line and "seatrial init" in line
    plain = InputContract(mode="tensor")
    assert "no contract says" in read(tmp_path, place, {"x": plain}, (model_input,), name="2")[2]
    for name, contract in (
        ("3", InputContract(mode="tensor", dtype="float32")),
        ("4", InputContract(mode="tensor", zero_point=1.0, scale=2.0)),
    ):
        _, store, _ = read(tmp_path, place, {"x": contract}, (model_input,), name=name)
        scale, zero = contract.scale, contract.zero_point
        assert np.array_equal(store.array("x"), (data.astype(np.float32) - zero) * scale)


def test_floats_never_become_integers_silently(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 4), np.float32))
    model_input = TensorIO(name="x", dtype="int64", shape=("N", 4))
    assert "holds float32" in read(tmp_path, f"{tmp_path}/a.npy", {}, (model_input,))[2]
    np.save(tmp_path / "b.npy", np.full((2, 4), 300))
    model_input = TensorIO(name="x", dtype="uint8", shape=("N", 4))
    assert "more than uint8" in read(tmp_path, f"{tmp_path}/b.npy", {}, (model_input,), name="2")[2]


def test_wrong_shapes_name_both(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 32, 32, 3), np.float32))
    line = read(tmp_path, f"{tmp_path}/a.npy", {}, (PICTURE,))[2]
    assert "32x32x3" in line and "Nx3x32x32" in line and "transpose" in line


def test_repeats_constants_and_broken_numbers_are_found(tmp_path):
    data = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    data[1] = data[0]
    data[2] = 0
    data[3] = 7
    data[4, 2] = np.nan
    data[5, 1] = np.inf
    np.save(tmp_path / "a.npy", data)
    model_input = TensorIO(name="x", dtype="float32", shape=("N", 4))
    info, _, _ = read(tmp_path, f"{tmp_path}/a.npy", {}, (model_input,))
    assert codes(info) == {
        "non-finite": "refuse",
        "all-zero": "warning",
        "constant": "warning",
        "duplicate": "warning",
    }
    broken = next(f for f in info.findings if f.code == "non-finite")
    assert broken.samples == ("4", "5") and broken.tensors == ("x",)
    np.save(tmp_path / "b.npy", np.zeros((3, 4), np.float32))
    info, _, _ = read(tmp_path, f"{tmp_path}/b.npy", {}, (model_input,), name="2")
    assert codes(info)["all-zero"] == "refuse"


def test_noise_is_called_noise_and_photos_are_not(tmp_path):
    draw = np.random.default_rng(3)
    noise = draw.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "n.npz", x=noise)
    contract = {"x": InputContract(scale=1 / 255)}
    info, _, _ = read(tmp_path, f"{tmp_path}/n.npz", contract)
    assert info.synthetic and codes(info)["synthetic"] == "refuse"
    np.save(tmp_path / "f.npy", draw.normal(size=(4, 3, 32, 32)).astype(np.float32))
    info, _, _ = read(tmp_path, f"{tmp_path}/f.npy", {}, name="2")
    assert info.synthetic
    root = folder(tmp_path / "d", [f"{k}.png" for k in range(8)])
    info, _, _ = read(tmp_path, str(root), name="3")
    assert not info.synthetic


def test_limit_is_spread_and_seeded_draws_repeat(tmp_path):
    root = folder(tmp_path / "d", [f"{c}/{k}.png" for c in "abcde" for k in range(4)])
    _, store, _ = read(tmp_path, str(root), limit=5)
    assert store.labels == (0, 1, 2, 3, 4)
    _, one, _ = read(tmp_path, str(root), name="1", limit=5, sample_seed=3)
    _, two, _ = read(tmp_path, str(root), name="2", limit=5, sample_seed=3)
    _, other, _ = read(tmp_path, str(root), name="3", limit=5, sample_seed=4)
    assert one.ids == two.ids != other.ids and one.hashes == two.hashes


def test_split_shares_no_group_and_loses_nobody(tmp_path):
    pixels = np.stack([np.asarray(photo(k, (32, 32))) for k in range(30)])
    groups = np.array([f"part{k // 3}" for k in range(30)])
    np.savez(tmp_path / "a.npz", images=pixels, groups=groups)
    calibration, test, how = split(parse(f"{tmp_path}/a.npz"), seed=1)
    contract = {"x": InputContract(scale=1 / 255)}
    info, one, _ = read(tmp_path, calibration, contract)
    _, two, _ = read(tmp_path, test, contract, name="2")
    assert not set(one.groups) & set(two.groups)
    assert sorted([*one.ids, *two.ids], key=int) == [str(k) for k in range(30)]
    assert one.count == 15 and "seed 1" in how and "split by group" in info.selection
    assert overlap(one.root, two.root) == Overlap()


def test_overlap_by_content_and_by_group(tmp_path):
    pixels = np.stack([np.asarray(photo(k, (32, 32))) for k in range(6)])
    contract = {"x": InputContract(scale=1 / 255)}
    stores = []
    for name, pick in (("a", [0, 1, 2]), ("b", [3, 2, 4])):
        groups = np.array([f"g{k % 5}" for k in pick])
        np.savez(tmp_path / f"{name}.npz", images=pixels[pick], groups=groups)
        stores.append(read(tmp_path, f"{tmp_path}/{name}.npz", contract, name=name)[1])
    found = overlap(stores[0].root, stores[1].root)
    assert found.count == 1 and found.pairs == (("2", "1"),)
    assert found.groups == ("g2",) and found.group_count == 1


def test_hash_depends_on_shape_dtype_and_name():
    base = np.zeros((2, 3), np.float32)
    others = [{"x": base.reshape(3, 2)}, {"y": base}, {"x": base.astype(np.float64)}]
    digests = {hash_tensors(f) for f in [{"x": base}, *others]}
    assert len(digests) == 4
    assert hash_tensors({"x": base}) == hash_tensors({"x": np.asfortranarray(base)})


def test_images_without_contract_are_refused_before_anything_is_read(tmp_path):
    root = folder(tmp_path / "d", ["a.png"])
    with pytest.raises(UserError, match=r"need an input contract.*seatrial init"):
        complete_contracts({}, (PICTURE,), parse(str(root)))
    with pytest.raises(UserError, match="no input 'q', only x"):
        complete_contracts({"q": CONTRACT}, (PICTURE,), parse(str(root)))


class _Runner:
    """Runs core tasks here: what the data room needs of a runner, without a child."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.users: list[bool] = []

    def task(self, name, request, *, refs=(), limits=None, user=False):
        assert name == "seatrial.data.child:materialise"
        self.users.append(user)
        job = LocalJob(self.root / f"task{len(self.users)}")
        self.job = job
        result = materialise(request, job)
        return type("O", (), {"result": result, "fault": None})()

    def adopt(self, outcome, artifact):
        return self.job.adopt(artifact)


def test_load_raises_what_the_child_refuses(tmp_path):
    runner = _Runner(tmp_path)
    data = np.ones((3, 4), np.float32) * np.arange(1, 5, dtype=np.float32)
    data[1, 1] = np.nan
    np.save(tmp_path / "a.npy", data)
    model_input = TensorIO(name="x", dtype="float32", shape=("N", 4))
    source = parse(f"{tmp_path}/a.npy")
    with pytest.raises(
        UserError, match="calibration set: 1 sample holds NaN or Inf in 'x', first 1"
    ):
        load(runner, source, {}, (model_input,), role="calibration")
    forced = load(runner, source, {}, (model_input,), role="calibration", force=True, limit=2)
    assert forced.info.count == 2 and forced.source.limit == 2
    bad = dataclasses.replace(source, start=9)
    with pytest.raises(UserError, match="has no samples"):
        load(runner, bad, {}, (model_input,), role="test")
    assert runner.users == [False] * 3


def test_memory_does_not_grow_with_the_samples(tmp_path):
    """Every picture is 12 kB as fed: 2,000 of them held in memory would show."""
    root = tmp_path / "d"
    root.mkdir()
    base = [photo(k, (96, 96)) for k in range(8)]
    for k in range(2000):
        image = base[k % 8].copy()
        image.putpixel((0, 0), (k % 256, k // 256, 0))
        image.save(root / f"{k:04}.bmp")
    model_input = TensorIO(name="x", dtype="float32", shape=("N", 3, 160, 160))
    contract = {"x": CONTRACT}
    read(tmp_path, str(root), contract, (model_input,), name="w", limit=50)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    info, store, _ = read(tmp_path, str(root), contract, (model_input,))
    # Pages of the memory-mapped store count as resident while they are cached, so look at
    # what this process holds of its own.
    own = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())[
        "RssAnon"
    ]
    assert info.count == 2000
    stored = store.array("x").nbytes >> 10
    assert stored > 500_000
    assert int(own.split()[0]) < before + 50_000


def test_module_file_of_a_torch_data_set(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class Own(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 7\n"
        "    def __getitem__(self, i):\n"
        "        return torch.arange(4).float() + i, i % 3\n"
        "def loader(): return torch.utils.data.DataLoader(Own(), batch_size=3)\n"
        "def stream():\n"
        "    i = 0\n"
        "    while True:\n"
        "        yield {'x': [float(i)] * 3 + [0.], 'label': i, 'group': i // 2, 'id': f's{i}'}\n"
        "        i += 1\n"
        "def augmented():\n"
        "    g = torch.Generator().manual_seed(0)\n"
        "    return [0, 1], (lambda: 0)\n"
        "class Shaky(Own):\n"
        "    def __getitem__(self, i): return torch.rand(4), 0\n"
        "def broken(): raise RuntimeError('no disk today')\n"
        "pairs = [([1., 2., 3., 4.], 'b'), ([2., 2., 3., 4.], 'a'), ([3., 2., 3., 4.], 'b')]\n"
    )
    x = (TensorIO(name="x", dtype="float32", shape=("N", 4)),)
    place = f"{tmp_path}/own.py"
    _, store, line = read(tmp_path, f"{place}:Own[2:5]", {}, x)
    assert line == "" and store.ids == ("2", "3", "4") and store.labels == (2, 0, 1)
    assert store.array("x")[0].tolist() == [2, 3, 4, 5]
    _, store, _ = read(tmp_path, f"{place}:loader", {}, x, name="2")
    assert store.count == 7 and store.labels == (0, 1, 2, 0, 1, 2, 0)
    _, store, line = read(tmp_path, f"{place}:stream[:6]", {}, x, name="3")
    assert line == "" and store.ids[-1] == "s5" and store.groups == ("0", "0", "1", "1", "2", "2")
    info, _, _ = read(tmp_path, f"{place}:Shaky", {}, x, name="4")
    assert codes(info)["not-repeatable"] == "warning"
    _, _, line = read(tmp_path, f"{place}:broken", {}, x, name="5")
    assert "raised RuntimeError: no disk today" in line and "own.py line" in line
    _, _, line = read(tmp_path, f"{place}:nothing", {}, x, name="6")
    assert "AttributeError" in line
    _, store, line = read(tmp_path, f"{place}:pairs[0:2]", {}, x, name="7")
    assert line == "" and store.labels == (1, 0)


@pytest.fixture(autouse=True)
def _clean_modules():
    before, path = set(sys.modules), list(sys.path)
    state = random.getstate()
    yield
    random.setstate(state)
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name == "own":
            del sys.modules[name]


def data_root() -> Path:
    root = Path(os.environ.get("SEATRIAL_DATA") or Path(__file__).parents[4] / "shared")
    if not (root / "data").is_dir():
        pytest.skip("the folder of real data is not here (SEATRIAL_DATA)")
    return root / "data"


@pytest.mark.realdata
def test_squeezenet_contract_equals_plain_code_to_the_bit(tmp_path):
    root = data_root() / "imagenet"
    model_input = TensorIO(name="data_0", dtype="float32", shape=("N", 3, 224, 224))
    contract = InputContract(
        size=(224, 224), resize="crop", resize_to=256, color="BGR", mean=(104.0, 117.0, 123.0)
    )
    source = dataclasses.replace(parse(f"{root}[0:24]"), where={"split": "calib"})
    info, store, line = read(tmp_path, source, {"data_0": contract}, (model_input,))
    assert line == "" and info.labelled and info.count == 24 and not info.synthetic
    for i, name in enumerate(store.ids):
        image = Image.open(root / name).convert("RGB")
        w, h = image.size
        assert min(w, h) == 256
        pixels = np.asarray(image)
        top, left = round((h - 224) / 2), round((w - 224) / 2)
        cut = pixels[top : top + 224, left : left + 224, ::-1].astype(np.float32)
        expected = (cut - np.array([104, 117, 123], np.float32)).transpose(2, 0, 1)
        assert np.array_equal(store.array("data_0")[i], expected)


@pytest.mark.realdata
def test_cifar_and_keyword_arrays(tmp_path):
    root = data_root()
    place = f"{root}/cifar10/cifar10_jpeg_test_A5000.npz[0:40]"
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)
    contract = {"x": InputContract(scale=1 / 255, mean=mean, std=std)}
    info, store, line = read(tmp_path, place, contract)
    assert line == "" and info.total == 5000 and store.ids[0] == "test/cat/0577.jpg"
    with np.load(f"{root}/cifar10/cifar10_jpeg_test_A5000.npz") as plain:
        pixels, labels = plain["images"][:40], plain["labels"][:40]
    expected = ((pixels / 255 - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    assert np.allclose(store.array("x"), expected, atol=1e-6, rtol=0)
    assert store.labels == tuple(int(v) for v in labels) and not info.synthetic

    with np.load(f"{root}/kws/kws01.npz") as plain:
        raw, scale, zero = plain["mfcc_int8"], plain["in_scale"], int(plain["in_zero"])
    model_input = TensorIO(name="input", dtype="float32", shape=("N", 1, 49, 10))
    kws = InputContract(mode="tensor", zero_point=zero, scale=float(scale), reshape=(1, 49, 10))
    info, store, line = read(
        tmp_path, f"{root}/kws/kws01.npz", {"input": kws}, (model_input,), name="2"
    )
    expected = ((raw.astype(np.int32) - zero).astype(np.float32) * scale).reshape(-1, 1, 49, 10)
    assert line == "" and info.labelled and np.array_equal(store.array("input"), expected)
