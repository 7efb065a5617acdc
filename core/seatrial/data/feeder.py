"""One sample's raw values to the tensors that the model is fed, by the input contracts.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.codec import encode
from seatrial.data import pictures, tensors
from seatrial.data.contract import InputContract
from seatrial.data.records import MaterialiseRequest
from seatrial.errors import UserError


class Feeder:
    """Raw values of one sample to fed tensors."""

    def __init__(self, request: MaterialiseRequest, odd: pictures.Oddities) -> None:
        self.inputs = request.inputs
        self.contracts = request.contracts
        self.odd = odd
        self._makers: dict[str, Any] = {}
        for model_input in request.inputs:
            contract = request.contracts.get(model_input.name)
            if contract is not None and contract.made:
                self._makers[model_input.name] = tensors.Made(contract, model_input)
            elif contract is not None and contract.mode == "image":
                self._makers[model_input.name] = pictures.Normaliser(contract, model_input.name)
            else:
                self._makers[model_input.name] = tensors.TensorFeed(contract, model_input)

    def feed(
        self, raw: Mapping[str, Any], sample: str
    ) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
        """Fed tensors, pixels before resizing, and facts for the index (geometry)."""
        fed, seen, facts = {}, [], {}
        for model_input in self.inputs:
            name = model_input.name
            contract, maker = self.contracts.get(name), self._makers[name]
            if isinstance(maker, tensors.Made):
                fed[name] = maker.tensor
            elif isinstance(maker, pictures.Normaliser):
                image = self._image(raw[name], maker.contract, sample)
                seen.append(_centre(image))
                pixels, geometry = pictures.fit(image, maker.contract, sample)
                fed[name] = maker(pixels)
                facts[name] = encode(geometry)
            else:
                self._no_picture(raw[name], contract, sample)
                fed[name] = maker(raw[name], sample)
        return fed, seen, {"geometry": facts} if facts else {}

    def _image(self, raw: Any, contract: InputContract, sample: str) -> Any:
        if hasattr(raw, "getbbox"):
            pictures.check_pixels(raw.size, sample)
            return pictures.plain(raw, sample, contract.exif, self.odd)
        return pictures.from_array(raw, sample)

    def _no_picture(self, raw: Any, contract: InputContract | None, sample: str) -> None:
        if hasattr(raw, "getbbox"):
            reason = "is a picture, and "
            reason += "its input is a tensor" if contract else "there is no input contract"
            advice = "seatrial init MODEL --data SRC writes one"
            raise UserError(sample, reason, advice=advice)


def _centre(image: Any) -> Any:
    """The middle of a picture (at most 256 x 256), for the noise check."""
    import numpy as np

    w, h = image.size
    left, top = max(0, (w - 256) // 2), max(0, (h - 256) // 2)
    return np.asarray(image.crop((left, top, min(w, left + 256), min(h, top + 256))))
