"""Every member of TensorRT that the backend touches exists in 10.16 and in 11.4, or is tested for.

``api_names.json`` holds the names of members as read from the real bindings of both versions.
"""

import json
from pathlib import Path

import fake_tensorrt
import pytest
from trt_touched import MODULE, touched

NAMES = json.loads(Path(__file__).with_name("api_names.json").read_text("utf-8"))
MEMBERS = {v: {c: set(m.split()) for c, m in known.items()} for v, known in NAMES.items()}


def missing(uses):
    """Uses that one of the versions does not know, and feature tests that none knows."""
    found = []
    for use in uses:
        if (use.owner, use.member) == (MODULE, "__version__"):
            continue
        if use.member == "__init__":
            continue
        known = [use.member in m.get(use.owner, set()) for m in MEMBERS.values()]
        if not (any(known) if use.tested else all(known)):
            found.append(f"{use.where}: {use.owner or 'tensorrt'}.{use.member}")
    return found


def test_every_member_exists_in_both_majors_or_is_tested_for():
    uses = touched()
    assert missing(uses) == []
    # The net has no large holes: all of these classes are seen at work.
    assert {u.owner for u in uses} >= {
        MODULE, "Builder", "IBuilderConfig", "INetworkDefinition", "OnnxParser", "ParserError",
        "Runtime", "ICudaEngine", "IExecutionContext", "EngineInspector", "IOptimizationProfile",
        "ITensor", "ILayer", "ITimingCache", "IPluginRegistry", "BuilderFlag", "DeviceType",
    }  # fmt: skip
    assert len({(u.owner, u.member) for u in uses}) > 60


def test_the_flags_of_precision_are_feature_tests():
    tested = {(u.owner, u.member) for u in touched() if u.tested}
    assert tested == {
        (MODULE, "__version__"),
        ("BuilderFlag", "FP16"),
        ("BuilderFlag", "INT8"),
        (MODULE, "IProgressMonitor"),
        ("OnnxParserFlag", "ADJUST_FOR_DLA"),
        ("OnnxParserFlag", "ENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA"),
    }
    # asked for by a name that is not written there
    assert all("HWC" in known["TensorFormat"] for known in MEMBERS.values())


@pytest.mark.parametrize(
    "line",
    [
        "config.set_flag(trt.BuilderFlag.FP16)",
        "trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
        "context.execute_async_v2(stream)",
        "config.int8_calibrator = None",
        "self._engine.device_memory_size",
        "toolkit.builder.platform_has_fast_int8",
        "parser.supports_model(data)",
        "getattr(trt.BuilderFlag, 'NEVER', None)",
        "trt.IInt8EntropyCalibrator2",
    ],
)
def test_a_member_that_only_one_version_has_is_caught(tmp_path, line):
    path = tmp_path / "planted.py"
    path.write_text(f"def f(trt, config, context, parser, toolkit, self):\n    {line}\n")
    assert missing(touched([path]))


def test_a_feature_test_may_ask_for_what_one_version_has(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text("def f(trt):\n    getattr(trt.BuilderFlag, 'FP16', None)\n")
    assert missing(touched([path])) == []


@pytest.mark.parametrize("major", [10, 11])
def test_the_fake_has_no_member_that_the_real_one_lacks(major):
    trt = fake_tensorrt.make(major)
    known = MEMBERS[fake_tensorrt.VERSIONS[major]]
    own = {"major", "names", "fail_builder", "fail_build", "fail_run", "dla_cores"}
    assert {n for n in vars(trt) if not n.startswith("__")} - own <= known[MODULE]
    assert hasattr(trt.BuilderFlag, "FP16") == (major == 10)
    for name in fake_tensorrt.ENUMS:
        assert {m.name for m in getattr(trt, name)} == known[name]
    classes = {
        "INetworkDefinition": fake_tensorrt.Network,
        "OnnxParser": fake_tensorrt.OnnxParser,
        "ParserError": fake_tensorrt.ParserError,
        "IBuilderConfig": fake_tensorrt.Config,
        "Builder": fake_tensorrt.Builder,
        "Runtime": fake_tensorrt.Runtime,
        "IOptimizationProfile": fake_tensorrt.Profile,
        "ITimingCache": fake_tensorrt.TimingCache,
        "IPluginRegistry": fake_tensorrt.Registry,
        "ICudaEngine": fake_tensorrt.fake_engine.Engine,
        "IExecutionContext": fake_tensorrt.fake_engine.Context,
        "EngineInspector": fake_tensorrt.fake_engine.Inspector,
    }
    for name, made in classes.items():
        public = {n for n in vars(made) if not n.startswith("_")} - {"take"}
        assert public <= known[name], name
