"""Picture and array files that are odd, broken, or lie."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seatrial.data import InputContract, complete
from seatrial.data import npy as npy_files
from seatrial.data.npy import Npz, open_npy
from seatrial.data.pictures import Normaliser, Oddities, fit, from_array, open_picture
from seatrial.errors import UserError
from seatrial.results import TensorIO


def gradient(w: int = 40, h: int = 30) -> Image.Image:
    y, x = np.mgrid[0:h, 0:w]
    planes = [x * 255 // (w - 1), y * 255 // (h - 1), (x + y) * 255 // (w + h - 2)]
    return Image.fromarray(np.stack(planes, 2).astype(np.uint8))


def opened(path: Path, *, exif: bool = True) -> tuple[Image.Image, dict[str, list[str]]]:
    odd = Oddities()
    return open_picture(path, path.name, exif, odd), odd.seen


def test_exif_orientation_is_applied_or_not_as_told(tmp_path):
    image = gradient()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    image.save(tmp_path / "a.png", exif=exif)
    turned, _ = opened(tmp_path / "a.png")
    assert turned.size == (30, 40)
    expected = np.rot90(np.asarray(image), -1)
    assert np.array_equal(np.asarray(turned), expected)
    plain, _ = opened(tmp_path / "a.png", exif=False)
    assert np.array_equal(np.asarray(plain), np.asarray(image))


@pytest.mark.parametrize(
    ("mode", "name", "note"),
    [
        ("CMYK", "a.jpg", "CMYK"),
        ("P", "a.png", ""),
        ("RGBA", "a.png", "alpha"),
        ("LA", "a.png", "alpha"),
        ("L", "a.png", ""),
        ("1", "a.png", ""),
        ("I;16", "a.png", "16-bit"),
    ],
)
def test_every_mode_becomes_plain_pixels(tmp_path, mode, name, note):
    if mode == "I;16":
        values = np.linspace(0, 65535, 30 * 40).reshape(30, 40).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / name)
    else:
        gradient().convert(mode).save(tmp_path / name)
    image, odd = opened(tmp_path / name)
    assert image.mode in ("RGB", "L") and image.size == (40, 30)
    assert ([note in text for text in odd] == [True]) if note else not odd
    values = np.asarray(image)
    assert values.dtype == np.uint8 and int(values.max()) - int(values.min()) > 200
    if mode == "I;16":
        assert values[0, 0] == 0 and values[-1, -1] == 255
    contract = complete(
        InputContract(resize="stretch"), TensorIO(name="x", dtype="float32", shape=("N", 3, 8, 8))
    )
    assert fit(image, contract, name)[0].shape == (8, 8, 3)


def test_alpha_is_dropped_not_blended(tmp_path):
    image = gradient().convert("RGBA")
    image.putalpha(0)
    image.save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(opened(tmp_path / "a.png")[0]), np.asarray(gradient()))


def test_a_palette_with_transparency_warns_nobody(tmp_path):
    image = gradient().convert("P")
    image.info["transparency"] = bytes([0, 255] * 128)
    image.save(tmp_path / "a.png", transparency=bytes([0, 255] * 128))
    found, odd = opened(tmp_path / "a.png")
    assert found.mode == "RGB" and any("alpha" in text for text in odd)


def test_first_frame_of_several(tmp_path):
    other = Image.new("RGB", (40, 30), "red")
    gradient().save(tmp_path / "a.tiff", save_all=True, append_images=[other])
    image, odd = opened(tmp_path / "a.tiff")
    assert np.array_equal(np.asarray(image), np.asarray(gradient()))
    assert any("frames" in text for text in odd)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_cut_pictures_are_named(tmp_path, name):
    path = tmp_path / name
    gradient(200, 200).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=rf"^{name}: cannot be decoded") as caught:
        opened(path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"<html>login</html>", b"\x89PNG\r\n\x1a\n"])
def test_files_that_are_no_pictures(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be decoded"):
        opened(path)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    body += chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(body)
    with pytest.raises(UserError, match=r"60000x60000 pixels.*decompression bomb"):
        opened(tmp_path / "bomb.png")


def test_pipes_and_missing_files_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for name in ("a.png", "b.png"):
        with pytest.raises(UserError, match="missing or not a regular file"):
            opened(tmp_path / name)


def test_arrays_as_pictures():
    for shape in ((9, 8), (9, 8, 1), (9, 8, 3), (9, 8, 4)):
        assert from_array(np.zeros(shape, np.uint8), "s").size == (8, 9)
    with pytest.raises(UserError, match=r'is float32.*mode = "tensor"'):
        from_array(np.zeros((9, 8, 3), np.float32), "s")
    with pytest.raises(UserError, match="3x9x8"):
        from_array(np.zeros((3, 9, 8), np.uint8), "s")


def test_too_small_for_the_crop_or_of_another_size():
    model_input = TensorIO(name="x", dtype="float32", shape=("N", 3, 32, 32))
    for contract, said in (
        (InputContract(resize_to=20), "too small for a crop"),
        (InputContract(), "does not resize"),
    ):
        with pytest.raises(UserError, match=said):
            fit(gradient(), complete(contract, model_input), "s")


def test_bgr_swaps_channels_once():
    model_input = TensorIO(name="x", dtype="float32", shape=("N", 3, 30, 40))
    contract = complete(InputContract(color="BGR"), model_input)
    pixels, _ = fit(gradient(), contract, "s")
    fed = Normaliser(contract, "x")(pixels)
    assert np.array_equal(fed[0], np.asarray(gradient())[:, :, 2].astype(np.float32))


# --- arrays -------------------------------------------------------------------------------------


def test_a_header_that_claims_more_than_the_file_holds(tmp_path):
    path = tmp_path / "a.npy"
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    text = header.encode().ljust(118) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * 64)
    with pytest.raises(UserError, match=r"claims 4000000000000 bytes.*holds 64"):
        open_npy(path, "a.npy")


@pytest.mark.parametrize("cut", [0, 5, 9, 40, 127, -1])
def test_cut_and_foreign_npy_files(tmp_path, cut):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(100))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError):
        open_npy(path, "a.npy")


def test_pickles_are_never_loaded(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (marker,))

    np.save(tmp_path / "a.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="never loaded"):
        open_npy(tmp_path / "a.npy", "a.npy")
    np.savez(tmp_path / "b.npz", x=np.array([Evil()], dtype=object))
    with pytest.raises(UserError, match="never loaded"):
        Npz(tmp_path / "b.npz", tmp_path).array("x")
    assert not marker.exists()


def test_good_arrays_are_mapped(tmp_path):
    data = np.asfortranarray(np.arange(12).reshape(3, 4))
    np.save(tmp_path / "a.npy", data)
    assert np.array_equal(open_npy(tmp_path / "a.npy", "a"), data)
    np.savez_compressed(tmp_path / "b.npz", x=data, empty=np.zeros((0, 3)))
    npz = Npz(tmp_path / "b.npz", tmp_path)
    assert isinstance(npz.array("x"), np.memmap) and np.array_equal(npz.array("x"), data)
    assert npz.array("empty").shape == (0, 3)
    assert npz.shape("x")[0] == (3, 4)


def test_zip_bombs_by_ratio_and_by_total(tmp_path, monkeypatch):
    monkeypatch.setattr(npy_files, "BOMB_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(1 << 19))
    with pytest.raises(UserError, match="zip bomb"):
        Npz(tmp_path / "a.npz", tmp_path)
    monkeypatch.setattr(npy_files, "BOMB_RATIO", 10_000)
    monkeypatch.setattr(npy_files, "TOTAL_BYTES", 1 << 20)
    with pytest.raises(UserError, match="would unpack to 4 MiB"):
        Npz(tmp_path / "a.npz", tmp_path)


def test_a_member_larger_than_the_directory_says(tmp_path):
    raw = io.BytesIO()
    np.save(raw, np.zeros(1000))
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", raw.getvalue())
    body = bytearray(path.read_bytes())
    at = body.rindex(b"PK\x01\x02") + 24
    body[at : at + 4] = struct.pack("<I", 500)
    path.write_bytes(bytes(body))
    with pytest.raises(UserError):
        Npz(path, tmp_path).array("x")


def test_text_and_twice_named_members(tmp_path):
    (tmp_path / "a.npz").write_text("not a zip")
    with pytest.raises(UserError, match="not a readable npz"):
        Npz(tmp_path / "a.npz", tmp_path)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", b"2")
    with pytest.raises(UserError, match="'x' twice"):
        Npz(tmp_path / "b.npz", tmp_path)
