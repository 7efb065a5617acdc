"""``seatrial init``: a commented configuration, and the inputs as the network sees them."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import flags, output, progress


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "init",
        help="write a commented seatrial.toml, and a contact sheet of the inputs",
        description="Write a configuration to edit; with data, also what the network would see.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="an ONNX file, or MODULE:FACTORY")
    parser.add_argument("--data", default="", metavar="SRC", help="samples for the contact sheet")
    parser.add_argument(
        "-o", "--out", default="", metavar="FILE", help="the file to write (default seatrial.toml)"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that exists")
    flags.jobs(parser)
    flags.output(parser, report=False)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Write the files; exit code 0."""
    from seatrial import api
    from seatrial.options import InitOptions
    from seatrial.report import init_view

    options = InitOptions(
        model=args.model,
        data=args.data,
        out=args.out,
        force=args.force,
        jobs=flags.jobs_of(args),
    )
    with output.reserved(), progress.make(args) as shown:
        result = api.init(options, shown)
    if not args.quiet:
        init_view.show(result, sys.stdout)
    return 0
