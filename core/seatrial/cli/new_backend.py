"""``seatrial new-backend``: a vendor package that passes the conformance kit."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import flags, output


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "new-backend",
        help="write a vendor package that passes the conformance kit, ready to edit",
        description="Write a package with hooks, a stand-in for a toolchain, and its tests.",
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", help="the backend's id, as in acme")
    parser.add_argument(
        "-o", "--out", default="", metavar="DIR", help="where to (default ./seatrial-NAME)"
    )
    parser.add_argument("--title", default="", metavar="TEXT", help="the toolchain's own name")
    parser.add_argument("--vendor", default="", metavar="TEXT", help="who makes it")
    flags.output(parser, report=False)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Write the files; exit code 0."""
    from seatrial import api
    from seatrial.options import NewBackendOptions
    from seatrial.report import scaffold_view

    options = NewBackendOptions(name=args.name, out=args.out, title=args.title, vendor=args.vendor)
    with output.reserved():
        result = api.new_backend(options)
    if not args.quiet:
        scaffold_view.show(result, sys.stdout)
    return 0
