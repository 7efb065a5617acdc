"""``seatrial quantize``: the best INT8 that the data supports."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import flags, output, progress


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "quantize",
        help="write the best INT8 model that the data supports",
        description="Try every way to quantize on held-out samples and write the best one.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="an ONNX file, or MODULE:FACTORY")
    parser.add_argument(
        "--calibration", default="", metavar="SRC", help="samples that set the ranges"
    )
    parser.add_argument(
        "--ranges",
        default="",
        metavar="TABLE",
        help="go on from ranges that an earlier call wrote (OUT.ranges.json); samples only judge",
    )
    parser.add_argument("-o", "--out", required=True, metavar="OUT.onnx", help="the file to write")
    parser.add_argument(
        "--force-synthetic", action="store_true", help="go on without real data, and say so"
    )
    parser.add_argument(
        "--methods",
        default="",
        metavar="NAME,...",
        help="try these first: minmax, moving-average, percentile-99.9 (99.99, 99.999), mse, "
        "entropy, weighted-mse, equalised, smoothed, adaround, per-tensor, signed, symmetric, "
        "7-bit, 16-bit, dynamic, weight-only",
    )
    flags.targets(parser)
    flags.config(parser)
    parser.add_argument("--seed", metavar="N", help="of everything random (default 0)")
    flags.all_int8(parser)
    flags.fresh(parser)
    flags.jobs(parser)
    flags.output(parser, page=True)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Quantize; exit code 0 when a candidate was written, 3 when none came out."""
    from seatrial import api
    from seatrial.options import QuantizeOptions

    options = QuantizeOptions(
        model=args.model,
        out=args.out,
        calibration=args.calibration,
        ranges=args.ranges,
        methods=tuple(name.strip() for name in args.methods.split(",") if name.strip()),
        targets=tuple(args.targets),
        all_targets=args.all_targets,
        config=args.config,
        seed=flags.whole(args, "seed"),
        force_synthetic=args.force_synthetic,
        all_int8=args.all_int8,
        jobs=flags.jobs_of(args),
        command_line=args.command_line,
    )
    with output.reserved(), progress.make(args) as shown:
        report = api.quantize(options, shown)
    return output.deliver(report, args)
