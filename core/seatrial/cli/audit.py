"""``seatrial audit``: the calibration set, reviewed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction

from . import flags, output, progress

EPILOG = """\
exit codes
  0 no red finding   1 red findings   2 the input was refused
  3 something could not be judged   130 interrupted
"""


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "audit",
        help="is this calibration set fit to calibrate on?",
        description="Review a calibration set: each finding names images, tensors and its rule.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--calibration", default="", metavar="SRC", help="samples that set the ranges"
    )
    parser.add_argument(
        "--test", default="", metavar="SRC", help="held-out samples; their labels stay closed"
    )
    parser.add_argument("--train", default="", metavar="SRC", help="training data, for overlap")
    parser.add_argument(
        "--model", default="", metavar="MODEL", help="an ONNX file: its behaviour is looked at too"
    )
    parser.add_argument(
        "--force-synthetic", action="store_true", help="go on without real data, and say so"
    )
    flags.config(parser)
    parser.add_argument("--seed", metavar="N", help="of everything random (default 0)")
    flags.jobs(parser)
    flags.output(parser, page=True)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Audit; exit code 0 clean, 1 red findings, 2 refused, 3 something could not be judged."""
    from seatrial import api
    from seatrial.options import AuditOptions

    options = AuditOptions(
        calibration=args.calibration,
        test=args.test,
        train=args.train,
        model=args.model,
        config=args.config,
        seed=flags.whole(args, "seed"),
        force_synthetic=args.force_synthetic,
        jobs=flags.jobs_of(args),
        command_line=args.command_line,
    )
    with output.reserved(), progress.make(args) as shown:
        report = api.audit(options, shown)
    return output.deliver(report, args)
