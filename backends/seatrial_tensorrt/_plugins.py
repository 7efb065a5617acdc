"""Plugins: those that come with TensorRT by name, and the user's libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.errors import UserError

#: Plugins of the library that comes with TensorRT which ONNX models ask for by name. Whether the
#: installed release still has one only its registry tells.
NEEDED = frozenset(
    {
        "BatchedNMSDynamic_TRT",
        "BatchedNMS_TRT",
        "CoordConvAC",
        "CropAndResizeDynamic",
        "DisentangledAttention_TRT",
        "EfficientNMS_Explicit_TF_TRT",
        "EfficientNMS_ONNX_TRT",
        "EfficientNMS_TRT",
        "GenerateDetection_TRT",
        "GridAnchor_TRT",
        "ModulatedDeformConv2d",
        "MultilevelCropAndResize_TRT",
        "MultilevelProposeROI_TRT",
        "MultiscaleDeformableAttnPlugin_TRT",
        "PillarScatterPlugin",
        "PriorBox_TRT",
        "ProposalDynamic",
        "ProposalLayer_TRT",
        "PyramidROIAlign_TRT",
        "ROIAlign_TRT",
        "Region_TRT",
        "Reorg_TRT",
        "ResizeNearest_TRT",
        "VoxelGeneratorPlugin",
    }
)


def load(trt: Any, logger: Any, libraries: str) -> tuple[str, ...]:
    """Register the plugins that come with TensorRT, and those of the user's libraries.

    Args:
        trt: the module.
        logger: gets what the libraries say.
        libraries: paths, separated by colons.

    Returns:
        What is worth a note.

    Raises:
        UserError: a library is not there, or is none.
    """
    notes = []
    if not trt.init_libnvinfer_plugins(logger, ""):
        notes.append("the standard plugins of TensorRT could not be registered")
    registry = trt.get_plugin_registry()
    for text in filter(None, libraries.split(":")):
        path = Path(text)
        if not path.is_file():
            raise UserError(text, "no such plugin library", advice="plugins takes absolute paths")
        if registry is None or registry.load_library(str(path)) is None:
            raise UserError(text, "TensorRT cannot load this plugin library")
        notes.append(f"plugins of {path.name} were loaded")
    return tuple(notes)
