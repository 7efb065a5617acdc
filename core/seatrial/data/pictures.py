"""One picture to one network input: decode, orient, resize, reorder, normalise.

Runs in a child only: decoders are native code that reads what strangers wrote.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from seatrial.data.contract import Geometry, InputContract
from seatrial.errors import UserError

#: A picture above this many pixels is refused as a decompression bomb.
MAX_PIXELS = 89_478_485
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)


class Oddities:
    """Counts what was unusual about pictures and still read: CMYK, alpha, 16 bit ..."""

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = {}

    def add(self, what: str, sample: str) -> None:
        """Remember that one sample was unusual in one way."""
        self.seen.setdefault(what, []).append(sample)


def open_picture(path: Path, name: str, exif: bool, odd: Oddities) -> Any:
    """Decode a picture file to a Pillow image of mode ``RGB`` or ``L``.

    Alpha is dropped, CMYK and palettes are converted as Pillow does, 16-bit greys become 8-bit,
    only the first frame counts.

    Args:
        path: the file.
        name: what to call it in messages.
        exif: turn it as its EXIF orientation says.
        odd: takes note of unusual pictures.

    Raises:
        UserError: not a picture, cut, or too large to be honest.
    """
    from PIL import Image

    if not path.is_file():
        raise UserError(name, "is missing or not a regular file")
    Image.MAX_IMAGE_PIXELS = None  # the cap below is an error where Pillow's would only warn
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken metadata; broken pixels raise
            with Image.open(path) as image:
                check_pixels(image.size, name)
                if getattr(image, "is_animated", False):
                    odd.add("several frames: the first was used", name)
                image.load()
                return plain(image, name, exif, odd)
    except UserError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # decoders raise anything on a broken file
        reason = " ".join(str(error).split()).replace(str(path), path.name) or type(error).__name__
        raise UserError(
            name, f"cannot be decoded: {reason[:160]}", advice="replace or remove the file"
        ) from None


def check_pixels(size: tuple[int, int], name: str) -> None:
    """Refuse a picture (width, height) that is larger than any honest one."""
    if size[0] * size[1] > MAX_PIXELS:
        reason = f"claims {size[0]}x{size[1]} pixels, more than the limit of {MAX_PIXELS}"
        raise UserError(name, reason, advice="taken for a decompression bomb; shrink it first")
    if size[0] < 1 or size[1] < 1:
        raise UserError(name, "has no pixels")


def plain(image: Any, name: str, exif: bool, odd: Oddities) -> Any:
    """A Pillow image of any mode as ``RGB`` or ``L``."""
    from PIL import ImageOps

    if exif:
        turned = ImageOps.exif_transpose(image)
        image = image if turned is None else turned
    mode = image.mode
    if mode in ("RGB", "L"):
        return image
    if mode == "F":
        raise UserError(name, "holds floating-point pixels", advice='save arrays, mode = "tensor"')
    if mode.startswith("I"):
        odd.add("16-bit grey, reduced to 8 bits", name)
        return _eight_bits(image, name)
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        odd.add("an alpha channel, dropped", name)
        # By way of RGBA: Pillow warns about a palette with transparency otherwise.
        return image.convert("RGBA").convert("RGB") if mode in ("P", "PA") else image.convert("RGB")
    if mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        odd.add(f"{mode} colours, converted to RGB without a colour profile", name)
    return image.convert("L" if mode == "1" else "RGB")


def _eight_bits(image: Any, name: str) -> Any:
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UserError(name, "holds pixels outside 0 to 65535", advice="convert it to 8 bits")
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def from_array(array: Any, name: str) -> Any:
    """A Pillow image from uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), colours in RGB order.

    Raises:
        UserError: it is not such an array.
    """
    import numpy as np
    from PIL import Image

    array = np.asarray(array)
    if array.dtype != np.uint8:
        raise UserError(
            name,
            f'is {array.dtype}; mode = "image" takes uint8 pixels of 0 to 255',
            advice='for arrays that are already prepared write mode = "tensor"',
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)):
        check_pixels((array.shape[1], array.shape[0]), name)
        image = Image.fromarray(np.ascontiguousarray(array))
        return image.convert("RGB") if image.mode == "RGBA" else image
    shape = "x".join(str(d) for d in array.shape)
    raise UserError(name, f"has the shape {shape}; a picture is H x W x 1, 3 or 4")


def fit(image: Any, contract: InputContract, name: str) -> tuple[Any, Geometry]:
    """Resize, crop or pad a picture to the contract's size, colours converted.

    Returns:
        uint8 array (H, W, C) in the contract's channel order, and where its pixels came from.

    Raises:
        UserError: it does not fit and the contract has no means to make it fit.
    """
    import numpy as np

    image = image.convert("L" if contract.color == "GRAY" else "RGB")
    image, geometry = _FITS[contract.resize](image, contract, name)
    pixels = np.asarray(image, dtype=np.uint8)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if contract.color == "BGR":
        pixels = pixels[:, :, ::-1]
    if contract.resize == "letterbox":
        pixels = _pad(pixels, contract, geometry)
    return pixels, geometry


def _filter(contract: InputContract) -> Any:
    from PIL import Image

    name = "box" if contract.interpolation == "area" else contract.interpolation
    return Image.Resampling[name.upper()]


def _keep(image: Any, contract: InputContract, name: str) -> tuple[Any, Geometry]:
    size = (image.height, image.width)
    if size != contract.size:
        have, want = (f"{s[1]}x{s[0]}" for s in (size, contract.size))
        raise UserError(
            name,
            f"is {have} pixels, the input takes {want}, and the contract does not resize",
            advice='write resize = "crop", "stretch" or "letterbox"',
        )
    return image, Geometry(size=size, fed=size)


def _stretch(image: Any, contract: InputContract, name: str) -> tuple[Any, Geometry]:
    del name
    size, (h, w) = (image.height, image.width), contract.size
    scale = (h / size[0], w / size[1])
    return image.resize((w, h), _filter(contract)), Geometry(size=size, fed=(h, w), scale=scale)


def _crop(image: Any, contract: InputContract, name: str) -> tuple[Any, Geometry]:
    """Short side to ``resize_to`` (long side rounded down), then the centre.

    The centre is rounded as torchvision's CenterCrop does, half to even.
    """
    size, (h, w) = (image.height, image.width), contract.size
    if contract.resize_to:
        short = min(size)
        new = tuple(contract.resize_to * s // short for s in size)
    else:
        ratio = max(h / size[0], w / size[1])
        new = (max(h, int(size[0] * ratio)), max(w, int(size[1] * ratio)))
    if new[0] < h or new[1] < w:
        raise UserError(
            name,
            f"is {new[1]}x{new[0]} pixels after resizing, too small for a crop of {w}x{h}",
            advice=f"write resize_to = {max(h, w)} or more",
        )
    if new != size:
        image = image.resize((new[1], new[0]), _filter(contract))
    top, left = round((new[0] - h) / 2), round((new[1] - w) / 2)
    geometry = Geometry(
        size=size,
        fed=(h, w),
        scale=(new[0] / size[0], new[1] / size[1]),
        offset=(float(-top), float(-left)),
    )
    return image.crop((left, top, left + w, top + h)), geometry


def _letterbox(image: Any, contract: InputContract, name: str) -> tuple[Any, Geometry]:
    del name
    size, (h, w) = (image.height, image.width), contract.size
    ratio = min(h / size[0], w / size[1])
    new = (min(h, max(1, round(size[0] * ratio))), min(w, max(1, round(size[1] * ratio))))
    if new != size:
        image = image.resize((new[1], new[0]), _filter(contract))
    centred = contract.pad_side == "center"
    top, left = ((h - new[0]) // 2, (w - new[1]) // 2) if centred else (0, 0)
    scale = (new[0] / size[0], new[1] / size[1])
    return image, Geometry(size=size, fed=(h, w), scale=scale, offset=(float(top), float(left)))


_FITS = {"none": _keep, "stretch": _stretch, "crop": _crop, "letterbox": _letterbox}


def _pad(pixels: Any, contract: InputContract, geometry: Geometry) -> Any:
    import numpy as np

    full = np.empty((*contract.size, contract.channels), np.uint8)
    full[...] = np.rint(np.array(contract.pad_value)).astype(np.uint8)
    top, left = (int(v) for v in geometry.offset)
    full[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return full


class Normaliser:
    """Pixels of 0 to 255 to fed values, by a table of 256 values per channel.

    Args:
        contract: complete.
        name: the model input, for messages.

    Raises:
        UserError: an integer input cannot hold the values of the formula.
    """

    def __init__(self, contract: InputContract, name: str) -> None:
        import numpy as np

        self.contract = contract
        steps = np.arange(256, dtype=np.float64)[:, None]
        values = (steps - contract.zero_point) * contract.scale
        values = (values - np.array(contract.mean)) / np.array(contract.std)
        values = np.broadcast_to(values, (256, contract.channels))
        dtype = np.dtype(contract.dtype)
        if dtype.kind in "iu":
            values = np.rint(values)
            limits = np.iinfo(dtype)
            if values.min() < limits.min or values.max() > limits.max:
                raise UserError(
                    "input contract",
                    f"gives {values.min():g} to {values.max():g}, more than {dtype} holds",
                    place=f'[input."{name}"] scale',
                )
        self.table = values.astype(dtype)

    def __call__(self, pixels: Any) -> Any:
        """uint8 (H, W, C) to the fed array, without batch axis, in the contract's layout."""
        import numpy as np

        channels = range(self.contract.channels)
        planes = [self.table[pixels[:, :, c], c] for c in channels]
        layout = self.contract.layout.removeprefix("N")
        if layout == "HW":
            return planes[0]
        return np.stack(planes, axis=0 if layout == "CHW" else 2)
