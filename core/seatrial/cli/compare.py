"""``seatrial compare``: what got better or worse between two reports."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction

from . import flags, output

_EPILOG = """\
exit codes
  0 no regression   1 a regression   2 not a report   3 what was asked could not be compared

a regression is
  accuracy  the 95 % interval of the drop lies above the tolerance
  latency   the intervals of the medians do not meet, and the ratio is beyond the tolerance
  memory    peak memory or artefact size grew by more than the tolerance (peak: and 4 MB)
  support   a build or a node that was placed is no longer, or a fault is new
  verdict   SHIP, NOT PROVEN, DO NOT SHIP: one step down or more, under the same limits
"""


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compare",
        help="what got better or worse between two reports, beyond noise",
        description="Compare two reports, or two folders of reports matched by model.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("old", metavar="OLD", help="a report.json, a trial folder, or a folder")
    parser.add_argument("new", metavar="NEW", help="what is compared with it, likewise")
    parser.add_argument(
        "--fail-on",
        metavar="AREAS",
        help="what decides the exit code: accuracy,latency,memory,support,verdict "
        "(default: all that the reports hold); an area named here must be comparable",
    )
    parser.add_argument(
        "--latency-tolerance", metavar="PERCENT", help="a median may grow by this (default 5)"
    )
    parser.add_argument(
        "--memory-tolerance", metavar="PERCENT", help="memory and size may grow by this (default 5)"
    )
    parser.add_argument(
        "--accuracy-tolerance", metavar="POINTS", help="accuracy may drop by this (default 0)"
    )
    parser.add_argument(
        "--markdown", metavar="FILE", help="write a comment for a pull request ('-': stdout, alone)"
    )
    flags.output(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Compare; exit code 0, 1 or 3."""
    from seatrial import api
    from seatrial.errors import UserError
    from seatrial.options import CompareOptions

    if args.json == args.markdown == "-":
        raise UserError("--markdown", "only one document fits on standard output")
    names = ("latency_tolerance", "memory_tolerance", "accuracy_tolerance")
    given = {n: v for n in names if (v := flags.number(args, n, high=1000)) is not None}
    areas = tuple(part.strip() for part in (args.fail_on or "").split(",") if part.strip())
    if args.fail_on is not None and not areas:
        raise UserError("--fail-on", "names no area", advice="as in accuracy,latency")
    result = api.compare(CompareOptions(old=args.old, new=args.new, fail_on=areas, **given))
    if args.json:
        output.write_json(result.to_json(), args.json)
    if args.markdown:
        output.write_json(result.to_markdown(), args.markdown)
    if "-" not in (args.json, args.markdown):
        from seatrial.report import compare_view

        if args.quiet:
            output.put(compare_view.one_line(result.data), sys.stdout)
        else:
            compare_view.show(result.data, sys.stdout, every=args.verbose)
    return result.exit_code
