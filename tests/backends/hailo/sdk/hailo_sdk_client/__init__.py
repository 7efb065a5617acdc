"""A stand-in for the Dataflow Compiler, which is behind a login: tests only.

It has the names, arguments, orders of calls, exceptions and texts of the real one, as public code
uses them (the vendor's model zoo, an exporter of another vendor, published logs); each method says
which. What it computes is real: the float model by ONNX Runtime, the quantised one by ONNX
Runtime's own static quantisation of the calibration data it is given.
"""

import enum
import io
import os
import pathlib
import tempfile
import zipfile

import numpy as np
import onnx
import onnxruntime as ort

from .model_translator.exceptions import MisspellNodeError, ParsingWithRecommendationException

__version__ = os.environ.get("FAKE_DFC_VERSION", "3.33.1")

#: Imported at module level by the real one, which takes many seconds.
if "USER" not in os.environ:
    raise KeyError("USER")

TAKEN = {
    "Conv", "Relu", "Add", "Mul", "MaxPool", "AveragePool", "GlobalAveragePool", "Gemm", "Flatten",
    "Softmax", "Clip", "BatchNormalization", "Identity", "Concat", "Constant", "Reshape", "Sigmoid",
}  # fmt: skip


class InferenceContext(enum.Enum):
    """Names as the model zoo uses them."""

    SDK_NATIVE = "native"
    SDK_FP_OPTIMIZED = "fp_optimized"
    SDK_QUANTIZED = "quantized"
    SDK_HAILO_HW = "hw"


class ClientRunner:
    """``hw_arch`` alone before parsing, ``hw_arch`` and ``har`` later."""

    def __init__(self, hw_arch="hailo8", har=None):
        line = {"hailo8": 3, "hailo8l": 3, "hailo8r": 3}.get(hw_arch, 5)
        if str(line) != __version__[0]:
            raise ValueError(f"hw_arch {hw_arch} is not supported")
        self.hw_arch = hw_arch
        self._float = self._quantised = None
        self._script = ""
        if har is not None:
            with zipfile.ZipFile(har) as archive:
                names = archive.namelist()
                self._float = archive.read("float.onnx")
                self._quantised = archive.read("int8.onnx") if "int8.onnx" in names else None

    def translate_onnx_model(
        self,
        model=None,
        net_name="model",
        start_node_names=None,
        end_node_names=None,
        net_input_shapes=None,
    ):
        """Arguments as in the model zoo; texts of errors as in published logs."""
        loaded = onnx.load(model)
        known = {n.name for n in loaded.graph.node} | {
            o for n in loaded.graph.node for o in n.output
        }
        for name in end_node_names or ():
            if name not in known:
                raise MisspellNodeError(f"Unable to find end node {name}")
        if end_node_names:
            loaded = _cut(loaded, end_node_names)
        for value in loaded.graph.input:
            if len(value.type.tensor_type.shape.dim) == 2:
                raise IndexError("list index out of range")
        wrong = [n for n in loaded.graph.node if n.op_type not in TAKEN]
        if wrong:
            raise _parsing_error(loaded.graph, wrong)
        self._float = loaded.SerializeToString()
        return self.get_hn_dict(), {}

    def get_hn_dict(self):
        """``layers``: by name, each with type, inputs, shapes and the ONNX nodes it came from."""
        model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(self._float))
        shapes = {
            v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in (*model.graph.value_info, *model.graph.input, *model.graph.output)
        }
        layers, made = {}, {}
        constant = {t.name for t in model.graph.initializer}
        inputs = [v for v in model.graph.input if v.name not in constant]
        for i, value in enumerate(inputs, 1):
            name = f"net/input_layer{i}"
            layers[name] = _layer("input_layer", [value.name], [], shapes[value.name])
            made[value.name] = name
        for i, node in enumerate(model.graph.node, 1):
            name = f"net/{node.op_type.lower()}{i}"
            before = [made[t] for t in node.input if t in made]
            layers[name] = _layer(node.op_type.lower(), [node.name], before, shapes[node.output[0]])
            made |= dict.fromkeys(node.output, name)
        for i, value in enumerate(model.graph.output, 1):
            before = made[value.name]
            origin = layers[before]["original_names"]
            layers[f"net/output_layer{i}"] = _layer(
                "output_layer", list(origin), [before], shapes[value.name]
            )
        return {"net_params": {}, "layers": layers}

    def load_model_script(self, script, append=False):
        """Text or path of a model script."""
        self._script = script

    def optimize(self, calib_data):
        """NHWC float32: the bare array for one input, a dict by layer name for several.

        With fewer images than ``calibset_size`` the real one stops; wrong keys give KeyError.
        """
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        layers = [
            n for n, layer in self.get_hn_dict()["layers"].items() if layer["type"] == "input_layer"
        ]
        arrays = calib_data if isinstance(calib_data, dict) else {layers[0]: calib_data}
        stated = int(self._script.partition("calibset_size=")[2].partition(")")[0])
        model = onnx.load_model_from_string(self._float)
        names = [v.name for v in model.graph.input]
        count = len(next(iter(arrays.values())))
        if count < stated:
            raise ValueError(f"Calibration set is too small: {count} < {stated}")

        class Reader(CalibrationDataReader):
            def __init__(self):
                self.at = 0

            def get_next(self):
                if self.at == count:
                    return None
                self.at += 1
                return {
                    name: _nchw(np.asarray(arrays[layer][self.at - 1 : self.at]))
                    for name, layer in zip(names, layers, strict=True)
                }

        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder, "f.onnx"), pathlib.Path(folder, "q.onnx")
            source.write_bytes(self._float)
            quantize_static(
                str(source),
                str(target),
                Reader(),
                per_channel=True,
                activation_type=QuantType.QUInt8,
            )
            self._quantised = target.read_bytes()

    def compile(self):
        """Bytes of a HEF. Mapping failures are text, as in published logs."""
        if self._quantised is None:
            raise RuntimeError("Model requires quantized weights in order to run on HW")
        if os.environ.get("FAKE_DFC_MAPPING") == "fails":
            raise RuntimeError("Mapping Failed (allocation time: 12s): Agent infeasible")
        return b"HEF" + self._quantised

    def save_har(self, path):
        """One file; written before and after optimisation."""
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("float.onnx", self._float)
            if self._quantised is not None:
                archive.writestr("int8.onnx", self._quantised)

    def infer_context(self, context):
        """A context manager whose value is handed to ``infer``."""
        return _Context(context)

    def infer(self, context, data, batch_size=1):
        """NHWC in and out; one output comes as a bare array, several as a list."""
        quantised = context.kind is InferenceContext.SDK_QUANTIZED
        if quantised and self._quantised is None:
            raise RuntimeError("SDK_QUANTIZED needs a quantized model")
        return _infer(self._quantised if quantised else self._float, data)


class _Context:
    def __init__(self, kind):
        self.kind = kind

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def _layer(kind, names, before, shape):
    turned = [shape[0], *shape[2:], shape[1]] if len(shape) == 4 else list(shape)
    return {
        "type": kind,
        "original_names": names,
        "input": before,
        "input_shapes": [turned],
        "output_shapes": [turned],
    }


def _cut(model, ends):
    made = {o: n for n in model.graph.node for o in n.output}
    by_name = {n.name: n for n in model.graph.node}
    outputs = [o for e in ends for o in (by_name[e] if e in by_name else made[e]).output]
    inferred = onnx.shape_inference.infer_shapes(model)
    constants = {t.name for t in model.graph.initializer}
    inputs = [v.name for v in model.graph.input if v.name not in constants]
    return onnx.utils.Extractor(inferred).extract_model(inputs, outputs)


def _parsing_error(graph, wrong):
    lines = [
        f" UnsupportedOperationError in op {n.name or n.output[0]}: "
        f"{n.op_type} operation is unsupported"
        for n in wrong
    ]
    text = "Parsing failed. The errors found in the graph are:\n" + "\n".join(lines)
    made = {o: n for n in graph.node for o in n.output}
    before = [made[t] for t in wrong[0].input if t in made and made[t].op_type in TAKEN]
    ends = [n.name for n in before]
    if not ends:
        return ParsingWithRecommendationException(text)
    text += "\nPlease try to parse the model again, using these end node names: " + ", ".join(ends)
    attribute = ends if os.environ.get("FAKE_DFC_ENDS", "attribute") == "attribute" else None
    return ParsingWithRecommendationException(text, attribute)


def _nchw(value):
    return np.ascontiguousarray(np.moveaxis(value, -1, 1)) if value.ndim == 4 else value


def _infer(content, data):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [v.name for v in session.get_inputs()]
    arrays = list(data.values()) if isinstance(data, dict) else [data]
    feeds = {n: _nchw(np.asarray(a, np.float32)) for n, a in zip(names, arrays, strict=True)}
    given = [np.moveaxis(v, 1, -1) if v.ndim == 4 else v for v in session.run(None, feeds)]
    return given[0] if len(given) == 1 else given


def run_hef(content: bytes, data):
    """What the stand-in for the runtime does with a HEF."""
    if content[:3] != b"HEF":
        raise io.UnsupportedOperation("not a HEF")
    return _infer(content[3:], data)
