"""``seatrial export``: PyTorch to ONNX, proven equal."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import flags, output, progress


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="PyTorch to ONNX, proven equal on your samples",
        description="Export a PyTorch module by every route, compare, and keep the better one.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "model",
        metavar="MODULE:FACTORY",
        help="or FILE.py:FACTORY, a .pt2 program, a TorchScript archive; with --recipe, an .onnx",
    )
    parser.add_argument("-o", "--out", required=True, metavar="FILE", help="the .onnx to write")
    parser.add_argument("--data", default="", metavar="SRC", help="samples for the parity gate")
    parser.add_argument("--samples", metavar="N", help="use N of them (default and most 100)")
    flags.weights(parser)
    flags.shapes(parser)
    parser.add_argument(
        "--dynamic",
        action="append",
        default=[],
        metavar="batch|INPUT:AXES",
        help="axes to leave free, as in batch or x:2,3; repeat (default: static, batch 1)",
    )
    parser.add_argument("--opset", metavar="N", help="default: the lowest that all targets read")
    parser.add_argument(
        "--route",
        dest="routes",
        action="append",
        default=[],
        choices=("dynamo", "torchscript"),
        help="only this exporter",
    )
    parser.add_argument(
        "--translations", default="", metavar="MODULE:TABLE", help="custom operators to ONNX"
    )
    parser.add_argument(
        "--recipe",
        dest="recipes",
        action="append",
        default=[],
        metavar="RECIPE",
        help="change the graph: opset:N, static, fold, plain:OP,OP, fuse:OP,OP, decompose:OP,OP; "
        "kept only if proven equal and no target refuses more",
    )
    parser.add_argument("--seed", metavar="N", help="of everything random (default 0)")
    flags.targets(parser)
    flags.config(parser)
    flags.jobs(parser)
    flags.output(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Export; exit code 0 proven equal, 1 not equal or impossible, 3 not proven or a fault."""
    from seatrial import api
    from seatrial.options import ExportOptions

    options = ExportOptions(
        model=args.model,
        out=args.out,
        data=args.data,
        weights=args.weights,
        trust_pickle=args.trust_pickle,
        shapes=flags.shapes_of(args),
        dynamic=tuple(args.dynamic),
        opset=flags.whole(args, "opset", low=1),
        routes=tuple(args.routes),
        translations=args.translations,
        recipes=tuple(args.recipes),
        samples=flags.whole(args, "samples", low=1),
        targets=tuple(args.targets),
        all_targets=args.all_targets,
        config=args.config,
        seed=flags.whole(args, "seed"),
        jobs=flags.jobs_of(args),
        command_line=args.command_line,
    )
    with output.reserved(), progress.make(args) as shown:
        report = api.export(options, shown)
    return output.deliver(report, args)
