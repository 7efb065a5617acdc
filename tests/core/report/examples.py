"""Realistic reports, built the way the verbs build them; also the documentation of the shapes.

Each function gives a report that is not finished yet: pass it to ``finish`` or ``Report``.
"""

from __future__ import annotations

from seatrial import results as r
from seatrial.codec import encode
from seatrial.report import new, quantize_rows, rows, speed_rows, target_rows

DIGEST = "3f9a6c1e5b7d2048a1c3e5f7092b4d6f8091a2b3c4d5e6f708192a3b4c5d6e7f"
CPU_CLASS = "x86-64, AVX-512 VNNI (Xeon Platinum 8481C, 8 cores)"


def start(command, verdict, answers, **more):
    """Fill the parts that hardly differ between the examples."""
    report = new(command, command_line=["seatrial", command, "mobilenet_v2.onnx"], seed=0)
    report |= {
        "verdict": verdict,
        "answers": answers,
        "created": "2026-11-20T10:22:31+00:00",
        "model": rows.model(
            "mobilenet_v2.onnx",
            sha256=DIGEST,
            bytes=14_178_301,
            ir_version=8,
            producer="pytorch 2.13",
            opsets={"ai.onnx": 17},
            inputs=[{"name": "input", "dtype": "float32", "shape": ["batch", 3, 224, 224]}],
            outputs=[{"name": "logits", "dtype": "float32", "shape": ["batch", 1000]}],
            nodes=100,
            op_types={"Conv": 52, "Clip": 35, "Add": 10, "Gemm": 1},
            parameters=3_504_872,
        ),
        "input_contract": {
            "input": {
                "resize": "crop 224 of 256",
                "colour": "RGB",
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
            }
        },
        "sla": rows.sla(
            max_drop=1.0, device_drop=0.5, fail_on="not-proven", defaults=["max_drop", "fail_on"]
        ),
        "environment": rows.environment(
            seatrial="0.1.0",
            python="3.11.7",
            platform="Linux-6.8-x86_64",
            cpu={
                "model": "Intel(R) Xeon(R) Platinum 8481C",
                "flags": ["avx2", "avx512f", "avx512_vnni"],
                "cores": 8,
                "governor": "performance",
            },
            packages={"onnx": "1.23.2", "onnxruntime": "1.31.1"},
        ),
        "timings": [{"stage": "check", "seconds": 8.1}, {"stage": "ladder", "seconds": 61.4}],
        "noise": {
            "onnx-fp32 reference, a second run": 100.0,
            "onnx-fp32 reference, a second run, dB": "identical",
            "device-int8 openvino:CPU, 1 thread": 99.8,
            "device-int8 openvino:CPU, 1 thread, dB": 52.4,
            "something else": None,
        },
    }
    return report | more


def sources(n_calibration=512, n_test=2048, labels=True):
    return {
        "calibration": rows.data_source(
            "images/calib", kind="folder", count=n_calibration, sha256=DIGEST
        ),
        "test": rows.data_source(
            "images/test",
            kind="folder",
            count=n_test,
            labels=labels,
            classes=1000 if labels else None,
            sha256=DIGEST,
        ),
    }


def probe(**versions):
    found = r.Availability(
        usable=True,
        versions=versions or {"openvino": "2026.4.1"},
        devices=("CPU",),
        instruction_sets=("avx512_core_vnni",),
    )
    return encode(found)


def fault(kind, stage, reason, **known):
    return encode(r.Fault(kind=r.FaultKind(kind), stage=stage, reason=reason, **known))


def finding(precision, reason, *, placement, **known):
    found = r.Finding(reason=reason, placement=r.Placement(placement), **known)
    return {"precision": precision, **encode(found)}


def built_fully():
    return target_rows.built(
        "supported",
        depth="artefact",
        fp32=target_rows.built_precision(
            "supported",
            depth="artefact",
            precision="FP32",
            placements=target_rows.placements(target=100),
            artifact=target_rows.artifact("openvino-ir", DIGEST, 14_000_000),
            seconds=1.2,
        ),
        int8=target_rows.built_precision(
            "supported",
            depth="artefact",
            precision="INT8",
            placements=target_rows.placements(target=310),
            artifact=target_rows.artifact("openvino-ir", DIGEST, 3_700_000),
            seconds=1.9,
        ),
    )


def built_partly():
    return target_rows.built(
        "partial",
        depth="artefact",
        fp32=target_rows.built_precision(
            "supported",
            depth="artefact",
            precision="FP32",
            placements=target_rows.placements(target=412),
        ),
        int8=target_rows.built_precision(
            "partial",
            depth="artefact",
            precision="INT8",
            placements=target_rows.placements(target=400, fallback=12),
        ),
        findings=[
            finding(
                "int8",
                "no INT8 kernel for this operator; it runs in FP32 between two conversions",
                node=f"/features.{k}/conv/HardSwish",
                op_type="HardSwish",
                placement="fallback",
                on="CPU (FP32)",
                advice="export with opset 17, where it is Add, Clip, Mul and Div",
                severity="warning",
            )
            for k in range(12)
        ],
    )


def ran_int8():
    return target_rows.ran(
        "device",
        "Intel(R) Xeon(R) Platinum 8481C",
        instruction_set="avx512_core_vnni",
        fp32=target_rows.execution(
            precisions={"FP32": 66}, placements=target_rows.placements(target=100)
        ),
        int8=target_rows.execution(
            precisions={"INT8": 63, "FP32": 3},
            layouts={"acdb": 60},
            placements=target_rows.placements(target=310),
            fallback_share=0.0,
            layers=[
                {
                    "layer": "Convolution_112",
                    "op_type": "Convolution",
                    "nodes": ["/features/0/Conv"],
                    "on": "CPU",
                    "precision": "INT8",
                    "layout": "acdb",
                    "kernel": "brgconv_avx512_core_vnni",
                    "ms": 0.11,
                }
            ],
        ),
    )


def bench_pair(fp32=9.42, int8=3.81, *, against="fp32", distinguishable=True, cause=""):
    """Float and INT8 rows of one target."""
    common = {
        "shape": [1, 3, 224, 224],
        "layout": "NCHW",
        "threads": 4,
        "n": 600,
        "rounds": 20,
        "load_ms": 88.0,
        "build_s": 1.2,
    }
    return [
        speed_rows.benchmark(
            "fp32",
            p50_ms=fp32,
            p90_ms=fp32 * 1.1,
            p99_ms=fp32 * 1.4,
            ci95_ms=[fp32 * 0.99, fp32 * 1.01],
            first_run_ms=31.0,
            peak_rss_mb=182.0,
            artifact_bytes=14_000_000,
            **common,
        ),
        speed_rows.benchmark(
            "int8",
            p50_ms=int8,
            p90_ms=int8 * 1.1,
            p99_ms=int8 * 1.5,
            ci95_ms=[int8 * 0.98, int8 * 1.02],
            first_run_ms=22.0,
            peak_rss_mb=141.0,
            artifact_bytes=3_700_000,
            speedup=speed_rows.speedup(
                against,
                fp32 / int8,
                ci95=[fp32 / int8 * 0.97, fp32 / int8 * 1.03],
                distinguishable=distinguishable,
                cause=cause,
            ),
            **common,
        ),
    ]


def ladder_rows(target="openvino:CPU", drop=0.31, ci95=(-0.14, 0.74), gate="pass", reason=""):
    """The whole ladder for one target; only its last rung varies."""
    base = {"metric": "top1", "n": 2048}
    return [
        rows.ladder("onnx-fp32", value=71.88, ran_on="reference, FP32", artifact=DIGEST, **base),
        rows.ladder(
            "onnx-int8",
            source=f"qdq:{DIGEST[:12]}",
            against="onnx-fp32",
            ran_on="reference, Q/DQ literally",
            artifact=DIGEST,
            value=71.63,
            drop=0.25,
            limit=1.0,
            ci95=[-0.2, 0.69],
            agreement=95.1,
            gate="pass",
            reason="the interval ends below 1.0 points",
            **base,
        ),
        rows.ladder(
            "device-float",
            target=target,
            against="onnx-fp32",
            ran_on="CPU, FP32",
            artifact=DIGEST,
            value=71.88,
            drop=0.0,
            limit=0.5,
            ci95=[-0.1, 0.1],
            agreement=100.0,
            gate="pass",
            **base,
        ),
        rows.ladder(
            "device-int8",
            target=target,
            source=f"qdq:{DIGEST[:12]}",
            against="onnx-fp32",
            ran_on="CPU, INT8 63 of 66 layers",
            artifact=DIGEST,
            value=71.88 - drop,
            drop=drop,
            limit=1.0,
            ci95=list(ci95),
            agreement=94.9,
            gate=gate,
            reason=reason or "the interval ends below 1.0 points",
            **base,
        ),
    ]


def candidates():
    return [
        quantize_rows.candidate(
            "mse-per-channel",
            scheme="u8s8, per channel, MSE ranges",
            sha256=DIGEST,
            scores={"agreement": 95.3, "cosine": 0.9942, "sqnr_db": 19.4, "kl": 0.021},
            n=256,
            chosen=True,
            reason="highest agreement on held-out samples",
        ),
        quantize_rows.candidate(
            "bias-correction",
            source="openvino:CPU",
            scheme="vendor's, fast bias correction",
            sha256=DIGEST,
            scores={"agreement": 95.0, "cosine": 0.9938, "sqnr_db": 19.1, "kl": 0.023},
            n=256,
            reason="0.3 points below the chosen one",
        ),
        quantize_rows.candidate(
            "entropy",
            scheme="u8s8, per channel, KL ranges",
            reason="no result",
            fault=fault(
                "out of memory",
                "quantize.child:ranges",
                "ended by the core at 4096 MB",
                log=".seatrial/logs/ranges-77aa.log",
            ),
        ),
    ]


def openvino_target(**known):
    return target_rows.target(
        "openvino:CPU",
        **{
            "plugin": {"id": "openvino", "dist": "seatrial", "version": "0.1.0"},
            "title": "OpenVINO on this CPU",
            "machine_class": CPU_CLASS,
            "decides": True,
            "availability": probe(),
            "claimed": target_rows.claimed(
                listed=100, sources=["operation table of OpenVINO 2026.4"]
            ),
            "built": built_fully(),
            "ran": ran_int8(),
            "int8": target_rows.int8(
                f"qdq:{DIGEST[:12]}",
                method="mse-per-channel",
                artifact=target_rows.artifact("openvino-ir", DIGEST, 3_700_000),
                int8_nodes=63,
                float_nodes=["/classifier/Softmax"],
            ),
            "benchmark": bench_pair(),
        }
        | known,
    )


def onnxruntime_target(**known):
    return target_rows.target(
        "onnxruntime:cpu",
        **{
            "plugin": {"id": "onnxruntime", "dist": "seatrial", "version": "0.1.0"},
            "title": "ONNX Runtime on this CPU",
            "machine_class": CPU_CLASS,
            "decides": True,
            "availability": probe(onnxruntime="1.31.1"),
            "claimed": target_rows.claimed(listed=98, unknown=2, sources=["kernel registry 1.31"]),
            "built": built_fully(),
            "ran": ran_int8(),
            "benchmark": bench_pair(11.9, 5.2),
        }
        | known,
    )


def absent_target(**known):
    """A target whose toolchain is not installed: it decides nothing."""
    return target_rows.target(
        "hailo@dfc:hailo8l",
        **{
            "plugin": {"id": "hailo", "dist": "seatrial-hailo", "version": "0.1.0"},
            "title": "Hailo-8L",
            "availability": encode(
                r.Availability(
                    usable=False,
                    reason="the compiler is not installed in this environment",
                    install_hint="download the compiler from the vendor's developer zone",
                )
            ),
            "claimed": target_rows.claimed(
                listed=96,
                unsupported=1,
                unknown=3,
                claims=[
                    encode(
                        r.NodeClaim(
                            node="/classifier/Softmax",
                            op_type="Softmax",
                            claim=r.Claim.UNSUPPORTED,
                            reason="axis 1 of a 2-D tensor",
                            source="operator table 2.19",
                        )
                    )
                ],
                sources=["operator table 2.19"],
            ),
            "built": target_rows.built("unknown"),
            "fault": fault("unavailable", "seatrial_probe", "the compiler is not installed"),
        }
        | known,
    )


def calibrated(*findings):
    return quantize_rows.calibration(
        count=512,
        requested=512,
        method="mse-per-channel",
        scheme="u8s8, per channel, MSE ranges",
        findings=list(findings),
        facts={"clipped_percent": 0.02, "tensors": 155},
    )


def ship():
    """Everything asked was shown to hold."""
    good = rows.answers("SHIP", "SHIP", "SHIP")
    return start(
        "run",
        "SHIP",
        good,
        sla=rows.sla(
            max_drop=1.0,
            device_drop=0.5,
            max_latency={"quantile": "p99", "ms": 12.0},
            fail_on="not-proven",
            defaults=["device_drop", "fail_on"],
        ),
        reasons=[
            rows.reason(
                "accuracy.noninferior",
                "the drop is 0.31 points, at most 0.74 (95 %), and 1.0 is allowed",
                part="accurate",
                target="openvino:CPU",
                level="info",
            ),
            rows.reason(
                "latency.limit",
                "p99 is 5.7 ms and 12.0 ms is allowed",
                part="fast",
                target="openvino:CPU",
                level="info",
            ),
        ],
        data=sources(),
        calibration=calibrated(),
        candidates=candidates(),
        ladder=ladder_rows(),
        targets=[openvino_target(verdict="SHIP", answers=good), absent_target()],
        next=["seatrial check mobilenet_v2.onnx -b hailo:hailo8l"],
    )


def do_not_ship():
    """Measured to be bad on one target, while the other is good; INT8 is not faster either."""
    bad = rows.answers("SHIP", "DO NOT SHIP", "DO NOT SHIP")
    why = [
        rows.reason(
            "accuracy.drop",
            "the drop is 4.5 points, at least 3.6 (95 %), and 1.0 is allowed",
            part="accurate",
            target="onnxruntime:cpu",
        ),
        rows.reason(
            "latency.limit",
            "p99 is 17.6 ms and 12.0 ms is allowed",
            part="fast",
            target="onnxruntime:cpu",
        ),
    ]
    return start(
        "run",
        "DO NOT SHIP",
        bad,
        reasons=[
            *why,
            rows.reason(
                "calibration.count",
                "64 calibration samples; 256 or more are usual",
                level="warning",
            ),
        ],
        sla=rows.sla(
            max_drop=1.0,
            device_drop=0.5,
            max_latency={"quantile": "p99", "ms": 12.0},
            fail_on="not-proven",
            defaults=["device_drop", "fail_on"],
        ),
        data=sources(64),
        calibration=calibrated(
            quantize_rows.calibration_finding(
                "count", "64 samples; 256 or more are usual", samples=["a.png"]
            ),
            quantize_rows.calibration_finding(
                "overlap.exact",
                "3 calibration images are also in the test set",
                level="error",
                samples=["n01440764/0003.png", "n01443537/0001.png", "n01484850/0009.png"],
            ),
        ),
        candidates=candidates(),
        ladder=[
            *ladder_rows(),
            ladder_rows(
                "onnxruntime:cpu",
                4.5,
                (3.6, 5.5),
                "fail",
                "the whole interval is above 1.0 points",
            )[-1],
        ],
        targets=[
            openvino_target(verdict="SHIP", answers=rows.answers("SHIP", "SHIP", "SHIP")),
            onnxruntime_target(
                verdict="DO NOT SHIP",
                answers=bad,
                reasons=why,
                built=built_partly(),
                benchmark=bench_pair(
                    11.9, 11.7, distinguishable=False, cause="12 nodes run in FP32 between INT8"
                ),
            ),
        ],
        next=["seatrial quantize mobilenet_v2.onnx --calibration images/more -o int8.onnx"],
    )


def not_proven():
    """Too few samples, no labels on some, and a simulator: nothing was shown either way."""
    open_ = rows.answers("SHIP", "NOT PROVEN", "not asked")
    return start(
        "run",
        "NOT PROVEN",
        open_,
        reasons=[
            rows.reason(
                "accuracy.samples",
                "the drop is 0.4 points, between -1.1 and 1.9 (95 %): 200 samples cannot decide",
                part="accurate",
                target="openvino:CPU",
                level="warning",
            )
        ],
        missing=["about 1,450 labelled test samples; there are 200", "a latency limit"],
        data=sources(256, 200),
        calibration=calibrated(),
        candidates=candidates()[:1],
        ladder=ladder_rows(
            drop=0.4, ci95=(-1.1, 1.9), gate="not proven", reason="1,450 samples would decide"
        ),
        targets=[openvino_target(verdict="NOT PROVEN", answers=open_)],
        next=["seatrial run mobilenet_v2.onnx --calibration calib --test more -o trial"],
    )


def refused():
    """Stopped at the door by a rule, not by the file format: synthetic data were forced."""
    return start(
        "run",
        "NOT PROVEN",
        rows.answers("SHIP", "NOT PROVEN", "not asked"),
        reasons=[
            rows.reason(
                "data.synthetic",
                "calibrated on random data: the INT8 accuracy means nothing",
                part="accurate",
            )
        ],
        missing=["real calibration data", "a test set"],
        data={
            "calibration": rows.data_source(
                "synthetic", kind="synthetic", count=16, synthetic=True, sha256=DIGEST
            ),
            "test": None,
        },
        targets=[openvino_target(verdict="NOT PROVEN", ran=None, benchmark=[], int8=None)],
    )


def interrupted():
    """Ctrl-C during the build: what was known until then."""
    return start(
        "run",
        "NOT PROVEN",
        rows.answers("NOT PROVEN", "NOT PROVEN", "not asked"),
        interrupted=True,
        reasons=[rows.reason("interrupted", "stopped during build openvino:CPU int8")],
        data=sources(),
        targets=[
            openvino_target(
                verdict="NOT PROVEN",
                built=target_rows.built("unknown"),
                ran=None,
                int8=None,
                benchmark=[],
                fault=fault("interrupted", "seatrial_build_int8", "stopped by the user"),
            )
        ],
        next=["seatrial run mobilenet_v2.onnx --calibration images/calib -o trial"],
    )


def faults():
    """The compiler of one target died: a row with its log, and no verdict from it."""
    crash = fault(
        "crashed",
        "seatrial_compile_check",
        "ended by SIGSEGV after 2.1 s",
        signal="SIGSEGV",
        log=".seatrial/logs/openvino-compile_check-1f2e.log",
    )
    open_ = rows.answers("NOT PROVEN", "NOT PROVEN", "not asked")
    return start(
        "run",
        "NOT PROVEN",
        open_,
        reasons=[
            rows.reason(
                "fault", "the compiler crashed (SIGSEGV)", part="compiles", target="openvino:CPU"
            )
        ],
        data=sources(),
        targets=[
            openvino_target(
                verdict="NOT PROVEN",
                answers=open_,
                built=target_rows.built(
                    "unknown",
                    fp32=target_rows.built_precision("unknown", depth="parse", fault=crash),
                ),
                ran=None,
                int8=None,
                benchmark=[],
                fault=crash,
            ),
            onnxruntime_target(verdict="SHIP", answers=rows.answers("SHIP", "SHIP", "not asked")),
        ],
        faults=[{"target": "openvino:CPU", **crash}],
        next=["python -m seatrial.worker trial/.seatrial/jobs/1f2e"],
    )


def check():
    """What ``seatrial check`` writes: the targets with the parts it has, and no verdict."""
    blank = {"ran": None, "int8": None, "benchmark": []}
    partly = built_partly()
    partly["int8"]["structure_only"] = True
    refused_model = target_rows.built(
        "unsupported",
        depth="map",
        fp32=target_rows.built_precision(
            "unsupported", depth="map", placements=target_rows.placements(target=409, nowhere=3)
        ),
        findings=[
            finding(
                "fp32",
                "no conversion rule for this operator",
                node="/head/DeformConv",
                op_type="DeformConv",
                placement="nowhere",
                advice="replace it with a grid-sampled convolution, or cut the model here",
            ),
            finding(
                "fp32",
                "no conversion rule for this operator",
                node="/head/Nms",
                op_type="com.acme.Nms",
                domain="com.acme",
                placement="nowhere",
                advice="cut the model before it and run it on the host",
            ),
        ],
    )
    return start(
        "check",
        None,
        None,
        sla=rows.sla(),
        targets=[
            openvino_target(built=built_fully(), **blank),
            onnxruntime_target(built=partly, **blank),
            openvino_target(
                built=refused_model,
                claimed=target_rows.claimed(listed=410, unsupported=2),
                **blank,
            )
            | {"target": "openvino:NPU", "id": "NPU", "machine_class": ""},
            absent_target(),
        ],
        next=["seatrial run mobilenet_v2.onnx --calibration SRC --test SRC -o trial"],
    )


def bench():
    """What ``seatrial bench`` writes for two targets."""
    return start(
        "bench",
        None,
        None,
        targets=[
            openvino_target(reasons=[]),
            onnxruntime_target(
                benchmark=bench_pair(
                    11.9, 11.7, distinguishable=False, cause="no integer kernels on this machine"
                )
            ),
        ],
        next=["seatrial run mobilenet_v2.onnx --calibration SRC --test SRC -o trial"],
    )


def quantized():
    """What ``seatrial quantize`` writes."""
    return start(
        "quantize",
        None,
        None,
        data={"calibration": sources()["calibration"], "test": None},
        calibration=calibrated(),
        candidates=candidates(),
        files=[{"role": "int8-model", "path": "int8.onnx", "sha256": DIGEST, "bytes": 3_800_000}],
        next=["seatrial bench mobilenet_v2.onnx int8.onnx"],
    )


def advised():
    """Measured well, against the rule of thumb."""
    return {
        "says": "ptq",
        "rule": "qat often",
        "contradicts": True,
        "text": "PTQ is enough: the rule of thumb says qat often for such a graph, "
        "the numbers say otherwise.",
        "evidence": [
            {
                "code": "measured.kl",
                "speaks": "ptq",
                "kind": "measured",
                "text": "core:mse-u8-perchannel is 0.0005 nats from float on 64 held-out samples",
                "nodes": [],
            },
            {
                "code": "graph.depthwise",
                "speaks": "qat",
                "kind": "graph",
                "text": "17 x depthwise convolutions: the rule of thumb says qat often",
                "nodes": ["conv_3", "conv_6", "conv_9"],
            },
        ],
    }


def trained():
    """What ``seatrial qat`` writes."""
    epochs = [{"number": 0, "validation_loss": 0.91, "train_loss": None, "lr": 0.0, "seconds": 0.0}]
    epochs += [
        {
            "number": n,
            "validation_loss": 0.91 - 0.03 * n,
            "train_loss": 0.8 - 0.02 * n,
            "lr": 1e-4 / n,
            "seconds": 61.2,
        }
        for n in (1, 2)
    ]
    part = {
        "train": "nets.py:loader",
        "validation": "",
        "loss": "torch.nn:CrossEntropyLoss",
        "settings": {
            "epochs": 2,
            "lr": 1e-4,
            "schedule": "cosine",
            "layers": "all",
            "learn_ranges": True,
            "share": 0.1,
            "batch": 32,
            "seed": 0,
            "threads": 0,
        },
        "method": "mse",
        "float_loss": 0.84,
        "best": 2,
        "epochs": epochs,
        "train_samples": 4548,
        "validation_samples": 500,
        "parameters": 87335,
        "learnt": 29,
        "calibrated": 0,
        "folded": 23,
        "frozen": 0,
        "resumed": 1,
        "seconds": 122.4,
        "exports": [
            {
                "dialect": "u8-perchannel",
                "path": "out/qat.onnx",
                "equal": True,
                "ratio": 0.002,
                "sqnr_db": 59.4,
                "n": 64,
            }
        ],
    }
    return {**quantized(), "command": "qat", "qat": part, "advice": advised()}


#: A red dot of 1 pixel.
DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJg"
    "gg=="
)


def graph(blocks=4):
    """Inverted residuals in a row: expand, depthwise, project, and a sum around them."""
    nodes = [rows.graph_node("/stem/Conv", "Conv", [])]
    for k in range(blocks):
        first = len(nodes) - 1
        parts = (("expand", "Conv"), ("act", "HardSwish"), ("depthwise", "Conv"), ("act2", "Clip"))
        for name, op in (*parts, ("project", "Conv")):
            label = f"/features.{k}/conv/HardSwish" if op == "HardSwish" else f"/{k}/{name}/{op}"
            nodes.append(rows.graph_node(label, op, [len(nodes) - 1]))
        nodes.append(rows.graph_node(f"/{k}/Add", "Add", [first, len(nodes) - 1]))
    return rows.graph([*nodes, rows.graph_node("/classifier/Softmax", "Softmax", [len(nodes) - 1])])


def audited():
    """An audit with a finding of each level, clusters, ranges and pictures."""
    twins = [["a/1.png", "t/1.png", "test", "equal to the pixel"]]
    found = [
        quantize_rows.calibration_finding(
            "near-test", "2 samples are in the test set", level="error", pairs=twins, count=2,
            advice="leave them out", rule="a set must not be judged by itself", score=1.0,
        ),
        quantize_rows.calibration_finding("dark", "a sample is dark", samples=["a/2.png"], count=1),
        quantize_rows.calibration_finding(
            "few", "256 samples", level="info", tensors=["/stem/Conv_out"]
        ),
    ]  # fmt: skip
    cluster = {"test": 40, "calibration": 3, "expected": 21.0, "samples": ["t/1.png"]}
    measured = {
        "checks": [
            {"name": "duplicates", "status": "done", "reason": "", "seconds": 0.1},
            {"name": "overlap with training data", "status": "left out",
             "reason": "no training data", "seconds": 0.0},
        ],
        "sets": [
            {"role": "calibration", "count": 256, "distinct": 254, "groups": 0, "kind": "folder",
             "location": "/data"},
            {"role": "test", "count": 500, "distinct": 500, "groups": 0, "kind": "folder",
             "location": "/data"},
        ],
        "stability": {
            "source": "activations", "half_median": 0.04, "half_worst": 0.1, "tensor": "x",
            "text": "128 of 256 samples give 4% narrower ranges",
            "curve": [
                {"n": 8, "median": 0.7, "worst": 0.4},
                {"n": 128, "median": 0.96, "worst": 0.8},
            ],
        },
        "ranges": [],
        "coverage": {
            "features": "activations of x", "distance": 0.02, "usual": 0.01, "far": 0.1,
            "clusters": [{"cluster": 1, **cluster}, {"cluster": 2, **cluster, "calibration": 30}],
        },
        "classes": {}, "classes_by": "", "alternatives": [], "scales": [], "facts": {},
        "growth": None,
    }  # fmt: skip
    pictures = [
        {"role": role, "id": name, "type": "png", "picture": DOT}
        for role, name in (
            ("calibration", "a/1.png"),
            ("test", "t/1.png"),
            ("calibration", "a/2.png"),
        )
    ]
    counts = [0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.015, 0.005]
    histogram = {
        "tensor": "/stem/Conv_out", "lo": -1.0, "hi": 7.0, "counts": counts, "range_lo": -1.0,
        "range_hi": 5.0, "below": 0.0, "above": 0.02, "weighted": False,
    }  # fmt: skip
    return calibrated(*found) | {
        "audit": measured,
        "thumbnails": pictures,
        "histograms": [histogram, histogram | {"tensor": "narrow", "counts": []}],
    }


def pictured():
    """Everything that a page can draw: graph, time, noise, Pareto points, pictures, logs."""
    data = do_not_ship()
    names = [node["node"] for node in graph()["nodes"]]
    layers = [
        {"layer": name, "op_type": "Convolution", "nodes": [name], "on": "CPU" if i % 3 else "GPU",
         "precision": "INT8" if i % 4 else "FP32", "layout": "", "kernel": "k", "ms": 0.01 * i}
        for i, name in enumerate(names[:-1])
    ]  # fmt: skip
    noisy = [
        {"node": name, "op_type": "Conv", "tensor": f"{name}_out", "sqnr_db": 38.0 - 1.5 * i,
         "new_db": 40.0, "inherited": 0.5}
        for i, name in enumerate(names)
    ]  # fmt: skip
    data["model"]["graph"] = graph()
    data["calibration"] = audited()
    target = data["targets"][0]
    target["built"] = built_partly()
    target["ran"] = target_rows.ran(
        "device",
        "CPU",
        int8=target_rows.execution(precisions={"INT8": 19, "FP32": 6}, layers=layers),
    )
    for row in target["benchmark"]:
        row["quantiles_ms"] = [row["p50_ms"] * (0.8 + 0.01 * k) for k in range(41)]
    data["diagnosis"] = [
        quantize_rows.diagnosis(
            "mse-per-channel", n=64, loss=0.2, weights=0.05, activations=0.15, layers=noisy,
            order=[{"node": n, "gain": 0.1 / (1 + i)} for i, n in enumerate(names)], seconds=1.0,
        )
    ]  # fmt: skip
    points = [("full INT8", [], 0.2, 3.8, True), ("2 layers in float", names[:2], 0.05, 4.4, False),
              ("all in FP32", [], 0.0, 9.4, False)]  # fmt: skip
    data["recovery"] = [
        quantize_rows.recovery(
            "mse-per-channel", n=64, chosen="full INT8", reason="nothing else is fast enough",
            points=[
                quantize_rows.recovery_point(
                    name, nodes=nodes, loss=loss, agreement=99.0, chosen=chosen,
                    targets=[quantize_rows.recovery_price(target["target"], p50_ms=ms, front=True,
                                                 ci95_ms=[ms * 0.9, ms * 1.1])],
                )
                for name, nodes, loss, ms, chosen in points
            ],
            statements=[
                quantize_rows.statement(
                    target["target"], "INT8 pays here: 2.47x FP32, 95 % [2.41, 2.52]", pays=True
                )
            ],
        )
    ]  # fmt: skip
    data["faults"] = [
        {"target": target["target"], **fault("crashed", "seatrial_load", "died of SIGSEGV",
         signal="SIGSEGV", log=".seatrial/logs/x.log")}
    ]  # fmt: skip
    data["logs"] = [{"path": ".seatrial/logs/x.log", "tail": "first\nlast words", "bytes": 16}]
    return data


ALL = {
    "pictured": pictured,
    "ship": ship,
    "do_not_ship": do_not_ship,
    "not_proven": not_proven,
    "refused": refused,
    "interrupted": interrupted,
    "faults": faults,
    "check": check,
    "bench": bench,
    "quantized": quantized,
    "trained": trained,
}
