"""``seatrial demo``: the whole trial on small models, one that ships and one that does not."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import flags, output, progress

#: Where the reports go when nobody says.
OUT = "seatrial-demo"


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="the whole trial on a small model, nothing to prepare",
        description="Train a small model on real data, run the trial, and show both outcomes.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-o", "--out", default=OUT, metavar="DIR", help=f"output folder (default {OUT})"
    )
    parser.add_argument("--quick", action="store_true", help="end within two minutes")
    parser.add_argument(
        "-b",
        "--backend",
        dest="targets",
        action="append",
        default=[],
        metavar="TARGET",
        help="only this target; repeat for more",
    )
    flags.jobs(parser)
    flags.output(parser, report=False)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Run both trials; exit code 0 when they were completed, whatever the verdicts."""
    from seatrial import api
    from seatrial.options import DemoOptions

    options = DemoOptions(
        out=args.out,
        quick=args.quick,
        targets=tuple(args.targets),
        jobs=flags.jobs_of(args),
        command_line=args.command_line,
    )
    with output.reserved(), progress.make(args) as shown:
        reports = api.demo(options, shown)
    output.show(reports, args, brief=not args.verbose)
    if any(report.data["interrupted"] for report in reports):
        return 130
    return 0 if reports and all(report.verdict for report in reports) else 3
