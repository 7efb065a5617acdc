"""``seatrial report``: a report in another form, or fit to be shared, without running again."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction

from . import output

_EPILOG = """\
forms
  terminal   the overview (default)           json      the document itself
  html       one self-contained page          markdown  a summary for a pull request
  junit      test cases for a CI system       sarif     findings by node for code scanning
  csv        every table for a spreadsheet

sharing
  internal   as it is (default)
  customer   no pictures of samples, file names, paths, host names or logs
  public     also nodes, tensors, modules and classes renamed
  What was taken out is listed in the result. The exit code is that of the trial.
"""


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "report",
        help="show a report again, in another form, or fit to be shared",
        description="Render a finished report again. Nothing is run, nothing is measured.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="DIR", help="a trial's folder, or a report.json")
    parser.add_argument(
        "--format", metavar="FORMS", default="", help="one or more, as in html,junit (or: all)"
    )
    parser.add_argument(
        "--share", metavar="LEVEL", default="internal", help="internal, customer or public"
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="DIR",
        default="",
        help="where to write (default: DIR, or DIR-LEVEL when shared; '-': stdout, one form)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="one line")
    parser.set_defaults(run=run, json=None)


def run(args: Namespace) -> int:
    """Render; the exit code is that of the command which made the report."""
    from seatrial import api
    from seatrial.options import ReportOptions

    forms = tuple(part.strip() for part in args.format.split(",") if part.strip())
    options = ReportOptions(source=args.source, forms=forms, share=args.share, out=args.out)
    result = api.report(options)
    if args.out == "-":
        output.put(next(iter(result.texts.values())), sys.stdout)
    elif result.written:
        if not args.quiet:
            output.put("".join(f"{path}\n" for path in result.written), sys.stdout)
        for line in result.removed:
            output.complain(line, "taken out")
    else:
        output.show([result.report], args)
    return result.report.exit_code
