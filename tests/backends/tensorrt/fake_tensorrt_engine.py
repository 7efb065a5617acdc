"""Engine, context and inspector of the fake; marks as in ``fake_tensorrt``."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json

import numpy as np
import onnx

KINDS = {
    1: "FLOAT", 10: "HALF", 16: "BF16", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 2: "UINT8",
    11: "FLOAT",
}  # fmt: skip
NUMPY = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32,
    "INT64": np.int64, "BOOL": np.bool_, "UINT8": np.uint8,
}  # fmt: skip
TEXTS = {
    "INT8": "Thirty-two wide channel vectorized row major Int8 format.",
    "FP16": "Channel major FP16 format where channel % 8 == 0",
    "FP32": "Row major linear FP32 format",
}
TYPES = {"INT8": "Int8", "FP16": "Half", "FP32": "Float"}
#: Activations that are fused into the layer before them.
FUSED = ("Relu", "Clip", "Sigmoid")
SEPARATOR = "\x1f"


def sizes(value):
    """[names] a free axis is -1."""
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)


def open_session(model):
    """What computes in place of a GPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    data = model.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class Engine:
    """ICudaEngine."""

    def __init__(self, trt, logger, facts):
        self._trt, self._logger, self._facts = trt, logger, facts
        self._model = onnx.load_model_from_string(base64.b64decode(facts["model"]))
        given = {t.name for t in self._model.graph.initializer}
        self._inputs = {i.name: i for i in self._model.graph.input if i.name not in given}
        self._outputs = {o.name: o for o in self._model.graph.output}
        with contextlib.suppress(Exception):
            inferred = onnx.shape_inference.infer_shapes(self._model).graph.output
            self._outputs = {o.name: o for o in inferred}
        # [docs] an output with the name of an input is renamed
        self._outputs = {f"__{n}" if n in self._inputs else n: v for n, v in self._outputs.items()}
        self._names = [*self._inputs, *self._outputs]

    @property
    def num_io_tensors(self):
        return len(self._names)

    def get_tensor_name(self, k):
        return self._names[k]

    def _value(self, name):
        return self._inputs.get(name) or self._outputs[name]

    def get_tensor_mode(self, name):
        mode = self._trt.TensorIOMode
        return mode.INPUT if name in self._inputs else mode.OUTPUT

    def _element(self, name):
        return self._value(name).type.tensor_type.elem_type

    def get_tensor_dtype(self, name):
        return self._trt.DataType[KINDS[self._element(name)]]

    def get_tensor_shape(self, name):
        return sizes(self._value(name))

    def get_tensor_location(self, name):
        return self._trt.TensorLocation.DEVICE

    def create_execution_context(self):
        return Context(self)

    def create_engine_inspector(self):
        return Inspector(self)


class Context:
    """IExecutionContext. [calls] execute_async_v3(stream handle), addresses by tensor name."""

    def __init__(self, engine):
        self._engine, self._addresses, self._shapes, self._allocators = engine, {}, {}, {}
        self.profiler = None
        self._session = None

    def set_input_shape(self, name, shape):
        wanted = self._engine.get_tensor_shape(name)
        fits = len(shape) == len(wanted) and all(
            w in (-1, s) for w, s in zip(wanted, shape, strict=True)
        )
        if fits:
            self._shapes[name] = tuple(shape)
        return fits

    def infer_shapes(self):
        """[calls] the tensors that are under-specified."""
        free = [n for n in self._engine._inputs if -1 in self._engine.get_tensor_shape(n)]
        return [n for n in free if n not in self._shapes]

    def set_tensor_address(self, name, address):
        self._addresses[name] = int(address)
        return bool(address)

    def set_output_allocator(self, name, allocator):
        self._allocators[name] = allocator
        return True

    def execute_async_v3(self, stream):
        assert isinstance(stream, int) and stream, "[calls] a stream handle, not the default one"
        engine = self._engine
        if engine._trt.fail_run:
            engine._logger.log(engine._trt.ILogger.Severity.ERROR, engine._trt.fail_run)
            return False
        for name, value in zip(engine._outputs, self._compute(), strict=True):
            self._give(name, value, stream)
        if self.profiler is not None:
            for layer in engine.create_engine_inspector()._layers():
                self.profiler.report_layer_time(layer["Name"], 0.25)
        return True

    def _compute(self):
        if self._session is None:
            self._session = open_session(self._engine._model)
        return self._session.run(None, {n: self._read(n) for n in self._engine._inputs})

    def _read(self, name):
        """[docs] a tensor keeps its logical axes; its memory lies as its format says."""
        engine = self._engine
        dtype = np.dtype(NUMPY[engine.get_tensor_dtype(name).name])
        shape = self._shapes.get(name, engine.get_tensor_shape(name))
        channels_last = engine._facts["formats"].get(name) == 1 << int(engine._trt.TensorFormat.HWC)
        held = tuple(shape[a] for a in (0, 2, 3, 1)) if channels_last else tuple(shape)
        raw = ctypes.string_at(self._addresses[name], int(np.prod(held)) * dtype.itemsize)
        value = np.frombuffer(raw, dtype).reshape(held)
        value = np.ascontiguousarray(value.transpose(0, 3, 1, 2)) if channels_last else value
        # [docs] double is narrowed to FP32
        return value.astype(np.float64) if engine._element(name) == 11 else value

    def _give(self, name, value, stream):
        wide = value.dtype == np.float64
        value = np.asarray(value.astype(np.float32) if wide else value, order="C")
        allocator = self._allocators.get(name)
        if allocator is not None:
            address = allocator.reallocate_output_async(name, 0, value.nbytes, 256, stream)
            allocator.notify_shape(name, value.shape)
        else:
            assert -1 not in self._engine.get_tensor_shape(name), "[calls] -1 needs an allocator"
            address = self._addresses[name]
        ctypes.memmove(address, value.tobytes(), value.nbytes)


class Inspector:
    """EngineInspector. [shape] with little verbosity a layer is only its name."""

    def __init__(self, engine):
        self._engine = engine
        self.execution_context = None

    def get_engine_information(self, form):
        trt, facts = self._engine._trt, self._engine._facts
        assert form == trt.LayerInformationFormat.JSON
        layers = self._layers()
        if not facts["detailed"]:
            layers = [layer["Name"] for layer in layers]
        found = {"Layers": layers}
        if trt.major >= 11:
            found["I/O Tensors"] = [{"Name": n} for n in self._engine._names]
        else:
            found["Bindings"] = list(self._engine._names)
        return json.dumps(found)

    def _layers(self):
        nodes = list(self._engine._model.graph.node)
        by_input = {}
        for node in nodes:
            for name in node.input:
                by_input.setdefault(name, []).append(node)
        makers = {out: node for node in nodes for out in node.output}
        done, layers = set(), [self._reformat(n) for n in self._turned()]
        for node in nodes:
            if id(node) in done or not node.input:
                continue
            group, last = [node], node
            readers = by_input.get(last.output[0], [])
            if node.op_type in ("Conv", "Gemm") and [r.op_type for r in readers] in (
                [[f] for f in FUSED]
            ):
                group.append(readers[0])
            done |= {id(n) for n in group}
            maker = makers.get(node.input[0])
            int8 = maker is not None and maker.op_type == "DequantizeLinear"
            layers.append(self._layer(group, "INT8" if int8 else self._float()))
        return layers

    def _float(self):
        return "FP16" if self._engine._facts["half"] else "FP32"

    def _turned(self):
        return [n for n, bits in self._engine._facts["formats"].items() if bits]

    def _tensor(self, name, kind):
        if self._engine._trt.major >= 11:
            return {"Name": name, "Format": TEXTS[kind], "DataType": TYPES[kind]}
        return {"Name": name, "Location": "Device", "Format/Datatype": TEXTS[kind]}

    def _reformat(self, name):
        return {
            "Name": f"Reformatting CopyNode for Input Tensor 0 to {name}",
            "LayerType": "Reformat",
            "Inputs": [self._tensor(name, self._float())],
            "Outputs": [self._tensor(f"{name} reformatted", self._float())],
            "Metadata": "",
        }

    def _layer(self, group, kind):
        first, last = group[0], group[-1]
        convolution = first.op_type == "Conv"
        # Built on the DLA is less than what could run there.
        dla = self._engine._facts["dla"] and convolution
        tf32 = self._engine._facts["tf32"] and kind == "FP32"
        kernel = "sm80_xmma_fprop_implicit_gemm_tf32f32" if tf32 else "sm80_xmma_fprop"
        return {
            "Name": " + ".join(n.name for n in group),
            "LayerType": "DLA" if dla else "CaskConvolution" if convolution else "kgen",
            "Inputs": [self._tensor(first.input[0], kind)],
            "Outputs": [self._tensor(last.output[0], kind)],
            "TacticName": kernel if convolution else "__myl_fused",
            "Metadata": SEPARATOR.join(f"[ONNX Layer: {n.name}]" for n in group),
        }
