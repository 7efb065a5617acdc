"""``seatrial run``: the whole trial."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import flags, output, progress


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "run",
        help="the whole trial: compile, quantize, accuracy ladder, benchmark, verdict",
        description="Try a model on every backend and give one verdict per target.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        default="",
        help="an ONNX file, MODULE:FACTORY or a .pt2 program (default: the configuration's)",
    )
    data = parser.add_argument_group(
        "data", "a folder of images, .npz, .npy or MODULE:CALLABLE; SRC[0:256] is a slice"
    )
    data.add_argument(
        "--calibration", default="", metavar="SRC", help="samples that set the ranges"
    )
    data.add_argument("--test", default="", metavar="SRC", help="samples that judge; opened once")
    data.add_argument("--data", default="", metavar="SRC", help="one source, split in two by group")
    data.add_argument(
        "--force-synthetic",
        action="store_true",
        help="go on without real data; at best NOT PROVEN",
    )
    parser.add_argument(
        "-o", "--out", default="", metavar="DIR", help="output folder (default MODEL-trial)"
    )
    flags.weights(parser)
    parser.add_argument(
        "--qdq",
        action="append",
        default=[],
        metavar="FILE",
        help="judge this Q/DQ model of MODEL instead of the best one found here; repeat",
    )
    flags.targets(parser)
    flags.config(parser)
    parser.add_argument("--quick", action="store_true", help="end within two minutes")
    parser.add_argument("--seed", metavar="N", help="of everything random (default 0)")
    flags.all_int8(parser)
    flags.fresh(parser)
    parser.add_argument("--threads", metavar="N", help="CPU threads of one inference")
    flags.shapes(parser)
    flags.sla(parser.add_argument_group("limits: what must hold to ship"))
    flags.jobs(parser)
    flags.output(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Run the trial; exit code 0 SHIP, 1 DO NOT SHIP, 3 NOT PROVEN or a fault."""
    from seatrial import api
    from seatrial.options import RunOptions

    options = RunOptions(
        model=args.model,
        weights=args.weights,
        trust_pickle=args.trust_pickle,
        calibration=args.calibration,
        test=args.test,
        data=args.data,
        out=args.out,
        targets=tuple(args.targets),
        all_targets=args.all_targets,
        sla=flags.sla_of(args),
        config=args.config,
        quick=args.quick,
        qdq=tuple(args.qdq),
        seed=flags.whole(args, "seed"),
        threads=flags.whole(args, "threads"),
        force_synthetic=args.force_synthetic,
        all_int8=args.all_int8,
        shapes=flags.shapes_of(args),
        jobs=flags.jobs_of(args),
        command_line=args.command_line,
    )
    with output.reserved(), progress.make(args) as shown:
        report = api.run(options, shown)
    return output.deliver(report, args)
