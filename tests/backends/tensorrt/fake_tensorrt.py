"""A ``tensorrt`` module over ONNX Runtime, for tests on machines without a GPU.

``make(10)`` and ``make(11)`` give a module with exactly the names that the real bindings have in
10.16 and 11.4 (``api_names.json``), as far as the backend may touch them. What a method does is
said to follow:

[names]   names and enumeration members read from the real bindings
[calls]   the call sequence that was checked against the real bindings
[source]  the source of the ONNX importer for TensorRT 10.1
[docs]    NVIDIA's documentation
[shape]   the inspector's JSON as documented (11: migration page) and as published dumps show (10)

Outputs are computed on the host: the addresses that a context is told are host memory, given by
the stand-in driver ``standin_cuda.c``.
"""

from __future__ import annotations

import base64
import enum
import json
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import fake_tensorrt_engine as fake_engine
import onnx
from fake_tensorrt_importer import Importer
from onnx import external_data_helper

NAMES = json.loads(Path(__file__).with_name("api_names.json").read_text("utf-8"))
VERSIONS = {10: "10.16.1.11", 11: "11.4.0.106"}
#: Bound by the real bindings as enumerations.
ENUMS = (
    "BuilderFlag", "DataType", "DeviceType", "ErrorCode", "LayerInformationFormat",
    "MemoryPoolType", "OnnxParserFlag", "NetworkDefinitionCreationFlag", "ProfilingVerbosity",
    "TensorFormat", "TensorIOMode", "TensorLocation",
)  # fmt: skip
NO_BUILDER = "pybind11::init(): factory function returned nullptr"


class Severity(enum.IntEnum):
    """[names] ILogger.Severity."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    """[calls] a subclass calls __init__ and overrides log(severity, msg)."""

    Severity = Severity

    def __init__(self):
        self.ready = True


class IProfiler:
    """[calls] a subclass overrides report_layer_time(layer_name, ms)."""

    def __init__(self):
        self.ready = True


class IProgressMonitor:
    """[names] a subclass overrides phase_start, step_complete, phase_finish."""

    def __init__(self):
        self.ready = True


class IOutputAllocator:
    """[calls] a subclass overrides reallocate_output, reallocate_output_async, notify_shape."""

    def __init__(self):
        self.ready = True


class IHostMemory(bytearray):
    """[names] a buffer with nbytes."""

    nbytes = property(len)


class ParserError:
    """[names] every fact of an error is a *method*."""

    def __init__(self, code, desc, node, name, operator, stack=(), file="importer.cpp"):
        self._facts = (code, desc, node, name, operator)
        self._stack, self._file = list(stack), file

    def file(self):
        """[source] of an input that failed: its name."""
        return self._file

    def local_function_stack(self):
        """[source] names of the functions above the node, the outermost first."""
        return self._stack

    def code(self):
        return self._facts[0]

    def desc(self):
        return self._facts[1]

    def node(self):
        return self._facts[2]

    def node_name(self):
        return self._facts[3]

    def node_operator(self):
        return self._facts[4]


class Strict:
    """[names] a pybind class takes no attribute that it does not have."""

    def __setattr__(self, name, value):
        if not name.startswith("_") and name not in self._members:
            raise AttributeError(f"{type(self).__name__} object has no attribute {name!r}")
        object.__setattr__(self, name, value)


class Network(Strict):
    """INetworkDefinition."""

    def __init__(self, trt, flags):
        self._trt, self._flags, self._model = trt, flags, None
        self._tensors, self._layers = [], []

    @property
    def num_inputs(self):
        return len(self._tensors)

    def get_input(self, k):
        return self._tensors[k]

    @property
    def num_layers(self):
        return len(self._layers)

    def get_layer(self, k):
        return self._layers[k]

    def take(self, model, layers):
        """What the parser puts in; not part of the API."""
        self._model, self._layers = model, layers
        given = {t.name for t in model.graph.initializer}
        for value in model.graph.input:
            if value.name not in given:
                self._tensors.append(Tensor(self._trt, value))


class Tensor(Strict):
    """ITensor."""

    def __init__(self, trt, value):
        self._members = set(trt.names["ITensor"])
        self.name = value.name
        self.shape = fake_engine.sizes(value)
        self.allowed_formats = 0


class Layer(Strict):
    """ILayer. [shape] its metadata are ``[ONNX Layer: NAME]``."""

    def __init__(self, trt, node):
        self._members = set(trt.names["ILayer"])
        self._op = node.op_type
        self.name = node.name
        self.metadata = f"[ONNX Layer: {node.name}]"


class OnnxParser:
    """[calls] one parser holds one model; every error can be asked for by its index."""

    def __init__(self, network, logger):
        self._trt, self._network, self._logger = network._trt, network, logger
        self._errors, self._parts, self._used, self._flags = [], None, False, set()

    def set_flag(self, flag):
        self._flags.add(flag)

    def _import(self, data, path):
        assert isinstance(data, bytes) and isinstance(path, str), "[calls] bytes and a str"
        assert not self._used, "[calls] a parser may hold only one model"
        self._used = True
        code = self._trt.ErrorCode
        try:
            model = onnx.load_model_from_string(data)
        except Exception:
            text = "Failed to parse the ONNX model."
            self._errors = [ParserError(code.MODEL_DESERIALIZE_FAILED, text, -1, "", "")]
            return None, []
        try:
            # [calls] the path only says where weights in other files are
            external_data_helper.load_external_data_for_model(model, str(Path(path).parent))
        except Exception:
            text = "Failed to read weights from an external file"
            self._errors = [ParserError(code.INVALID_VALUE, text, -1, "", "")]
            return None, []
        self._errors = [
            ParserError(
                code.UNSUPPORTED_NODE, "Failed to convert ONNX data type", -1, "", "", (), i.name
            )
            for i in model.graph.input
            if i.type.tensor_type.elem_type not in fake_engine.KINDS
        ]
        if self._errors:
            return model, []
        found = Importer(model, self._trt.major).errors()
        self._errors = [
            ParserError(getattr(code, kind), text, index, node.name, node.op_type, stack)
            for kind, text, index, node, stack in found
        ]
        for error in self._errors:
            self._logger.log(Severity.ERROR, f"{error.node_name()}: {error.desc()}")
        return model, found

    def parse(self, data, path=""):
        model, _ = self._import(data, path)
        if model is None or self._errors:
            return False
        self._network.take(model, [Layer(self._trt, n) for n in model.graph.node])
        return True

    def supports_model_v2(self, data, path=""):
        """[source] lists of nodes: only the last error's node is cut out; nodes whose output
        size depends on values are left out although they parse."""
        model, found = self._import(data, path)
        if model is None:
            self._parts = []
            return False
        cut = {index for _, _, index, _, _ in found[-1:]}
        failed = {e.file() for e in self._errors if e.node() < 0}
        cut |= {
            k
            for k, n in enumerate(model.graph.node)
            if n.op_type in ("NonMaxSuppression", "NonZero", "RoiAlign")
            or failed.intersection(n.input)
        }
        self._parts, part = [], []
        for k in range(len(model.graph.node)):
            if k not in cut:
                part.append(k)
            elif part:
                self._parts.append(part)
                part = []
        self._parts += [part] if part else []
        return not self._errors and not cut  # [source] false with such a node, too

    @property
    def num_subgraphs(self):
        assert self._parts is not None, "[source] undefined before supports_model_v2"
        return len(self._parts)

    def get_subgraph_nodes(self, k):
        return list(self._parts[k])

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, k):
        return self._errors[k]


class TimingCache:
    """ITimingCache; what it is made of names the version that wrote it."""

    def __init__(self, version, data):
        self.version, self.data = version, data

    def serialize(self):
        return IHostMemory(b"timings of " + self.version.encode())


class Config(Strict):
    """IBuilderConfig. TF32 is on by default [docs]."""

    def __init__(self, trt):
        self._members = set(trt.names["IBuilderConfig"])
        self._trt, self._profiles, self._cache = trt, [], None
        self._flags = {trt.BuilderFlag.TF32}
        self._pools = {}
        self.profiling_verbosity = trt.ProfilingVerbosity.LAYER_NAMES_ONLY
        self.builder_optimization_level = 3
        self.default_device_type = trt.DeviceType.GPU
        self.DLA_core = -1
        self.progress_monitor = None

    def set_flag(self, flag):
        assert isinstance(flag, self._trt.BuilderFlag), "[calls] a member, not a number"
        self._flags.add(flag)

    def clear_flag(self, flag):
        assert isinstance(flag, self._trt.BuilderFlag)
        self._flags.discard(flag)

    def set_memory_pool_limit(self, pool, size):
        self._pools[pool] = size

    def create_timing_cache(self, data):
        assert isinstance(data, bytes)
        return TimingCache(VERSIONS[self._trt.major], data)

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache.data and cache.data != bytes(cache.serialize()) and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def add_optimization_profile(self, profile):
        """[calls] its index, -1 if it is invalid."""
        bad = any(not least <= best <= most for least, best, most in profile._shapes.values())
        self._profiles.append(profile)
        return -1 if bad else len(self._profiles) - 1

    def can_run_on_DLA(self, layer):
        """Which operators a DLA takes is a choice of this fake."""
        return layer._op in ("Conv", "Relu", "Add", "MaxPool", "GlobalAveragePool")


class Profile:
    """IOptimizationProfile."""

    def __init__(self):
        self._shapes = {}

    def set_shape(self, name, least, best, most):
        self._shapes[name] = (tuple(least), tuple(best), tuple(most))


class Builder:
    """[calls] TypeError when there is no usable device."""

    def __init__(self, logger, trt):
        if trt.fail_builder:
            logger.log(Severity.ERROR, trt.fail_builder)
            raise TypeError(NO_BUILDER)
        self._trt, self._logger = trt, logger

    @property
    def num_DLA_cores(self):
        return self._trt.dla_cores

    def create_network(self, flags=0):
        allowed = {0} if self._trt.major >= 11 else {0, self._strong()}
        assert flags in allowed, f"[names] flags {flags} mean nothing here"
        network = object.__new__(Network)
        object.__setattr__(network, "_members", set(self._trt.names["INetworkDefinition"]))
        network.__init__(self._trt, flags)
        return network

    def _strong(self):
        return 1 << int(self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def create_builder_config(self):
        config = object.__new__(Config)
        object.__setattr__(config, "_members", set(self._trt.names["IBuilderConfig"]))
        config.__init__(self._trt)
        return config

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        """[calls] a buffer, or None with the reason in the logger only."""
        trt, monitor = self._trt, config.progress_monitor
        if monitor is not None:
            assert monitor.ready, "[names] a subclass calls __init__"
            monitor.phase_start("Building Engine", None, 1)
            assert monitor.step_complete("Building Engine", 0)  # [docs] False would end the build
            monitor.phase_finish("Building Engine")
        if trt.fail_build:
            self._logger.log(Severity.ERROR, trt.fail_build)
            return None
        if not network._model.graph.output:
            self._logger.log(Severity.ERROR, "Network must have at least one output")  # [docs]
            return None
        try:
            fake_engine.open_session(network._model)
        except Exception as error:
            # what the real one finds while it builds, in other words
            self._logger.log(Severity.ERROR, f"Error Code 4: Internal Error ({error})")
            return None
        typed = trt.major >= 11 or network._flags == self._strong()
        names = {f.name for f in config._flags}
        if typed and names & {"FP16", "INT8", "BF16"}:
            text = "precision flags and strong types exclude one another"
            self._logger.log(Severity.ERROR, text)  # [docs]
            return None
        quantised = any(n.op_type == "QuantizeLinear" for n in network._model.graph.node)
        if not typed and quantised and "INT8" not in names:
            self._logger.log(Severity.ERROR, "Q/DQ layers need the INT8 flag")  # [docs]
            return None
        if any(-1 in t.shape for t in network._tensors) and not config._profiles:
            text = "Network has dynamic or shape inputs, but no optimization profile"
            self._logger.log(Severity.ERROR, text)  # [docs]
            return None
        self._logger.log(Severity.WARNING, "a warning of the builder")
        plan = {
            "version": VERSIONS[trt.major],
            "model": base64.b64encode(network._model.SerializeToString()).decode(),
            "formats": {t.name: t.allowed_formats for t in network._tensors},
            "detailed": config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED,
            "tf32": "TF32" in names,
            "half": "FP16" in names,
            "dla": config.default_device_type == trt.DeviceType.DLA,
        }
        return IHostMemory(b"fake plan " + json.dumps(plan).encode() + b" end")


class Runtime(Strict):
    """[calls] deserialize_cuda_engine gives None on a mismatch."""

    def __init__(self, logger, trt):
        self._members = set(trt.names["Runtime"])
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, plan):
        text = bytes(plan)
        if not (text.startswith(b"fake plan ") and text.endswith(b" end")):
            self._logger.log(Severity.ERROR, "Serialization assertion failed: the plan is damaged")
            return None
        facts = json.loads(text[len(b"fake plan ") : -len(b" end")])
        return fake_engine.Engine(self._trt, self._logger, facts)


class Registry:
    """IPluginRegistry."""

    def load_library(self, path):
        return None if Path(path).read_bytes() == b"no library" else object()


def make(major):
    """The module for one major version."""
    trt = types.ModuleType("tensorrt")
    trt.__spec__ = ModuleSpec("tensorrt", None, origin="the fake")
    trt.__version__ = VERSIONS[major]
    trt.major = major
    trt.names = {k: v.split() for k, v in NAMES[VERSIONS[major]].items()}
    # set by tests
    trt.fail_builder, trt.fail_build, trt.fail_run, trt.dla_cores = "", "", "", 0
    for name in ENUMS:
        members = {member: k for k, member in enumerate(trt.names[name])}
        if name == "NetworkDefinitionCreationFlag":
            # [names] numbers moved between the majors
            members = {m: (k if major >= 11 else k + 1) for m, k in members.items()}
        setattr(trt, name, enum.IntEnum(name, members))
    for made in (ILogger, IProfiler, IOutputAllocator, IProgressMonitor, OnnxParser, IHostMemory):
        setattr(trt, made.__name__, made)
    trt.Builder = lambda logger: Builder(logger, trt)
    trt.Runtime = lambda logger: _runtime(logger, trt)
    trt.init_libnvinfer_plugins = lambda logger, namespace: isinstance(logger, ILogger)
    trt.get_plugin_registry = Registry
    return trt


def _runtime(logger, trt):
    runtime = object.__new__(Runtime)
    object.__setattr__(runtime, "_members", set(trt.names["Runtime"]))
    runtime.__init__(logger, trt)
    return runtime
