"""``seatrial check``: does the model compile, and where?"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction
from typing import TYPE_CHECKING

from seatrial.errors import UserError

from . import flags, output, progress

if TYPE_CHECKING:
    from seatrial.options import CheckOptions
    from seatrial.report import Report

#: Which exit code wins when several models were checked: the first of these that occurred.
ORDER = (130, 2, 1, 3, 0)


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "check",
        help="does this model compile? every backend, in seconds",
        description="Ask every compiler, and name each node that is refused or placed elsewhere.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="ONNX files (default: the configuration's)",
    )
    flags.targets(parser)
    flags.config(parser)
    flags.shapes(parser)
    parser.add_argument("--strict", action="store_true", help="a partial build is a failure")
    parser.add_argument("--deep", action="store_true", help="no budget")
    parser.add_argument("--budget", metavar="S", help="seconds per target (default 30)")
    parser.add_argument(
        "-o", "--out", default="", metavar="DIR", help="keep logs and artefacts here"
    )
    flags.jobs(parser)
    flags.output(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Check each model; exit code 0 all taken, 1 one refused, 3 a fault or unknown."""
    from seatrial import api

    jobs = [_options(args, model) for model in args.models or ("",)]
    reports: list[Report] = []
    codes = []
    with output.reserved(), progress.make(args) as shown:
        for options in jobs:
            try:
                reports.append(api.check(options, shown))
            except UserError as error:
                if len(jobs) == 1:
                    raise
                output.complain(output.refusal(error))
                codes.append(2)
    if args.json:
        output.write_json(_document(args, reports), args.json)
    if args.json != "-":
        output.show(reports, args)
    codes += [report.exit_code for report in reports]
    return next(code for code in ORDER if code in codes)


def _options(args: Namespace, model: str) -> CheckOptions:
    from seatrial.options import CheckOptions

    return CheckOptions(
        model=model,
        targets=tuple(args.targets),
        all_targets=args.all_targets,
        strict=args.strict,
        deep=args.deep,
        budget_s=flags.number(args, "budget"),
        out=args.out,
        config=args.config,
        shapes=flags.shapes_of(args),
        jobs=flags.jobs_of(args),
        command_line=args.command_line,
    )


def _document(args: Namespace, reports: list[Report]) -> str:
    """The report itself for one model, and a list of reports for several."""
    if len(args.models) <= 1:
        return reports[0].to_json()
    return output.dump({"schema": "seatrial.reports/1", "reports": [r.data for r in reports]})
