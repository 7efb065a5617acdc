"""``seatrial bench``: models and targets side by side."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction

from . import flags, output, progress


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "bench",
        help="latency and memory, side by side, in interleaved rounds",
        description="Time models on targets in the same rounds; rank only what can be told apart.",
        allow_abbrev=False,
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="ONNX files")
    parser.add_argument(
        "--data", default="", metavar="SRC", help="what is fed (default: synthetic, and said so)"
    )
    flags.targets(parser)
    flags.config(parser)
    flags.shapes(parser)
    parser.add_argument("--threads", metavar="N", help="CPU threads of one inference")
    parser.add_argument(
        "--streams", metavar="N", help="calls in flight, beside one (default: one per CPU)"
    )
    parser.add_argument("--seconds", metavar="S", help="about how long to time each artefact")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, wider intervals")
    parser.add_argument("--seed", metavar="N", help="of everything random (default 0)")
    parser.add_argument("-o", "--out", default="", metavar="DIR", help="write the report here")
    flags.sla(parser.add_argument_group("limits: what must hold to ship"), accuracy=False)
    flags.jobs(parser)
    flags.output(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Time everything; exit code 0 when every target was timed and the limits hold."""
    from seatrial import api
    from seatrial.options import BenchOptions

    options = BenchOptions(
        models=tuple(args.models),
        data=args.data,
        targets=tuple(args.targets),
        all_targets=args.all_targets,
        sla=flags.sla_of(args),
        out=args.out,
        config=args.config,
        quick=args.quick,
        threads=flags.whole(args, "threads"),
        streams=flags.whole(args, "streams", low=1),
        seconds=flags.number(args, "seconds"),
        seed=flags.whole(args, "seed"),
        shapes=flags.shapes_of(args),
        jobs=flags.jobs_of(args),
        command_line=args.command_line,
    )
    with output.reserved(), progress.make(args) as shown:
        report = api.bench(options, shown)
    return output.deliver(report, args)
