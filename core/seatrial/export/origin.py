"""Whose source file is it: the user's model, or torch's, ours, Python's? Standard library only."""

from __future__ import annotations

import sysconfig

#: Packages in site-packages whose frames never explain a user's model.
_PACKAGES = ("torch", "onnx", "onnxscript", "onnx_ir", "onnxruntime", "numpy", "_pytest", "pluggy")


def is_library(name: str) -> bool:
    """Whether a source file is torch's, Python's own or none at all."""
    paths = sysconfig.get_paths()
    if name.startswith("<"):
        return True
    for site in {paths["purelib"], paths["platlib"]}:
        if name.startswith(site + "/"):
            return name[len(site) + 1 :].partition("/")[0] in _PACKAGES
    return name.startswith(paths["stdlib"] + "/")
