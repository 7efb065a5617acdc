"""A stand-in for HailoRT's Python bindings: tests only.

Names, orders of calls and the need to bind outputs before the first run are as in the vendor's
examples of ``create_infer_model`` and in several public repositories that agree with them.
"""

import enum
import os
import pathlib

import numpy as np
import onnx

__version__ = "4.23.0"


class FormatType(enum.Enum):
    """Element types of buffers."""

    UINT8 = 1
    FLOAT32 = 2


class HailoSchedulingAlgorithm(enum.Enum):
    """As set on the parameters of a VDevice."""

    ROUND_ROBIN = 1


class Device:
    """``Device.scan()`` gives the ids of what is there."""

    @staticmethod
    def scan():
        """A PCIe id per device; no driver is an exception."""
        said = os.environ.get("FAKE_HAILO_DEVICES", "0000:01:00.0")
        if said == "no driver":
            raise RuntimeError("HAILO_INVALID_DRIVER_VERSION")
        return said.split() if said else []


class VDevice:
    """A context manager; its infer model is made from a HEF's path."""

    @staticmethod
    def create_params():
        """Parameters with a settable scheduling algorithm."""
        return type("Params", (), {"scheduling_algorithm": None})()

    def __init__(self, params=None):
        if params is None or params.scheduling_algorithm is None:
            raise ValueError("HAILO_INVALID_OPERATION")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def create_infer_model(self, path):
        """Reads the HEF."""
        return _Model(pathlib.Path(path).read_bytes())


class _Model:
    def __init__(self, content):
        self.content = content
        graph = onnx.load_model_from_string(content[3:]).graph
        names = {t.name for t in graph.initializer}
        ins = [v for v in graph.input if v.name not in names]
        self.ports = {f"net/input_layer{i}": _Port(v) for i, v in enumerate(ins, 1)}
        self.ports |= {f"net/output_layer{i}": _Port(v) for i, v in enumerate(graph.output, 1)}

    def input(self, name=None):
        return self.ports[name or "net/input_layer1"]

    def output(self, name=None):
        return self.ports[name or "net/output_layer1"]

    def configure(self):
        return _Configured(self)


class _Port:
    """Shapes have no batch axis and are HWC; vectors are 1 x 1 x C."""

    def __init__(self, value):
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        self.shape = (*dims[2:], dims[1]) if len(dims) == 4 else (1, 1, *dims[1:])
        self.format = FormatType.UINT8

    def set_format_type(self, kind):
        self.format = kind


class _Configured:
    def __init__(self, model):
        self.model = model

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def create_bindings(self):
        return _Bindings(self.model)

    def run(self, bindings, timeout_ms):
        from hailo_sdk_client import run_hef

        for binding in bindings:
            if set(binding.buffers) != set(self.model.ports):
                raise RuntimeError("HAILO_INVALID_OPERATION(6)")
            ins = {n: b[None] for n, b in binding.buffers.items() if "input" in n}
            given = run_hef(self.model.content, ins)
            values = given if isinstance(given, list) else [given]
            for i, value in enumerate(values, 1):
                buffer = binding.buffers[f"net/output_layer{i}"]
                buffer[...] = np.asarray(value, np.float32).reshape(buffer.shape)


class _Bindings:
    def __init__(self, model):
        self.model, self.buffers = model, {}

    def input(self, name=None):
        return _Slot(self, name)

    def output(self, name=None):
        return _Slot(self, name)


class _Slot:
    def __init__(self, bindings, name):
        self.bindings, self.name = bindings, name

    def set_buffer(self, array):
        port = self.bindings.model.ports[self.name]
        if port.format is not FormatType.FLOAT32 or array.dtype != np.float32:
            raise ValueError("HAILO_INVALID_ARGUMENT(2)")
        if tuple(array.shape) != tuple(port.shape):
            raise ValueError(f"HAILO_INVALID_ARGUMENT(2): {array.shape} for {port.shape}")
        self.bindings.buffers[self.name] = array
