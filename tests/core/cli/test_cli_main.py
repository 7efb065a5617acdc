"""The command line: exit codes, one-line errors, pure JSON, instant help."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

import seatrial.api
from seatrial import cli
from seatrial.cli import app, flags, output, progress
from seatrial.errors import UserError
from seatrial.init.records import InitResult
from seatrial.progress import NoProgress
from seatrial.report import Report
from seatrial.sla import FAIL_ON, SLA, LatencyLimit
from seatrial.trial.setup import BackendRow, BackendsResult

_spec = importlib.util.spec_from_file_location(
    "seatrial_cli_examples", Path(__file__).parents[1] / "report" / "examples.py"
)
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)

#: Loaded by nothing that only parses a command line.
HEAVY = {
    "numpy",
    "rich",
    "pluggy",
    "onnx",
    "onnxruntime",
    "torch",
    "PIL",
    "seatrial.api",
    "asyncio",
}


def python(*words, **more):
    """Run a child Python and give its completed process."""
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "SEATRIAL_TRACEBACK")}
    env |= more.pop("env", {})
    return subprocess.run(
        [sys.executable, *words], capture_output=True, env=env, timeout=60, check=False, **more
    )


class Verbs:
    """Stands in for the Python verbs: remembers options, gives or raises what it was told."""

    def __init__(self, gives):
        self.gives = gives
        self.options = []

    def __call__(self, options, shown):
        self.options.append(options)
        with shown.stage("build one:cpu int8", 3, 9):
            shown("seatrial_build", "step \x1b[31m one", 0.5)
        gives = self.gives.pop(0) if isinstance(self.gives, list) else self.gives
        if isinstance(gives, BaseException):
            raise gives
        return gives


@pytest.fixture
def verb(monkeypatch):
    def install(name, gives):
        verbs = Verbs(gives)
        monkeypatch.setattr(seatrial.api, name, verbs)
        return verbs

    return install


def run(capsys, *words):
    code = cli.main(list(words))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


# --- start-up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["backends", "--help"], []])
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys\nfrom seatrial.cli import main\n"
        f"code = main({words!r})\n"
        "print('MODULES', *sys.modules, file=sys.stderr)\nsys.exit(code)\n"
    )
    done = python("-c", code)
    assert done.returncode == (0 if words else 2), done.stderr[-500:]
    assert b"usage: seatrial" in done.stdout
    loaded = set(done.stderr.decode().split("MODULES", 1)[1].split())
    assert not loaded & HEAVY


def test_the_help_names_every_command_and_is_ascii(capsys):
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    for name in ("run", "check", "init", "quantize", "bench", "backends", "demo"):
        assert f"\n    {name}" in out
        code, own, _ = run(capsys, name, "--help")
        assert code == 0
        assert own.isascii()
    assert out.isascii()


def test_all_commands_have_one_shape():
    for command in app.COMMANDS:
        assert callable(command.add_parser)
        assert callable(command.run)
        assert command.__doc__.startswith("``seatrial ")


def test_python_dash_m_and_the_version():
    done = python("-m", "seatrial", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith(b"seatrial 0.")


# --- exit codes and errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"),
    [("ship", 0), ("do_not_ship", 1), ("not_proven", 3), ("faults", 3), ("interrupted", 130)],
)
def test_run_ends_with_the_verdict(capsys, verb, name, code):
    verb("run", Report(examples.ALL[name]()))
    got, out, err = run(capsys, "run", "m.onnx")
    assert got == code
    assert "mobilenet_v2.onnx" in out
    assert "[3/9] build one:cpu int8\n" in err


def test_a_refused_input_is_one_line_and_2(capsys, verb):
    error = UserError("m.onnx", "not \x1b[2J a model\n::error::", place="byte 7", advice="look")
    verb("run", error)
    code, out, err = run(capsys, "run", "m.onnx", "-q")
    assert (code, out) == (2, "")
    assert err == "seatrial: error: m.onnx: byte 7: not \\x1b[2J a model\\x0a::error:: (look)\n"


@pytest.mark.parametrize("length", [10, 150, 4000])
def test_a_long_path_does_not_push_the_advice_out(capsys, verb, length):
    path = "/data" * (length // 5) + "/model-of-the-year.onnx"
    verb("run", UserError(path, "is not a model", place="byte 7", advice="export it again"))
    code, _, err = run(capsys, "run", "m.onnx", "-q")
    assert code == 2
    assert len(err) <= 200 + len("seatrial: error: \n")
    assert err.endswith("/model-of-the-year.onnx: byte 7: is not a model (export it again)\n")


def test_an_interrupt_is_130(capsys, verb):
    verb("run", KeyboardInterrupt())
    assert run(capsys, "run", "m.onnx", "-q") == (130, "", "seatrial: interrupted\n")


def test_a_crash_is_one_line_a_log_and_3(capsys, verb, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("SEATRIAL_TRACEBACK", raising=False)
    verb("run", ZeroDivisionError("by\nzero"))
    code, out, err = run(capsys, "run", "m.onnx", "-q")
    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert err.startswith("seatrial: internal error: ZeroDivisionError: by\\x0azero (traceback: ")
    (log,) = tmp_path.iterdir()
    assert str(log) in err
    assert "Traceback" in log.read_text()


def test_the_traceback_is_shown_when_asked_for(capsys, verb, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("SEATRIAL_TRACEBACK", "1")
    verb("run", ZeroDivisionError("by\x1bzero"))
    code, _, err = run(capsys, "run", "m.onnx", "-q")
    assert code == 3
    assert "Traceback (most recent call last)" in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["run", "m.onnx", "--max-latency", "12ms"],
        ["run", "m.onnx", "--max-latency", "p99=-1ms"],
        ["run", "m.onnx", "--max-drop", "nan"],
        ["run", "m.onnx", "--max-drop", "inf"],
        ["run", "m.onnx", "--max-drop", "-1"],
        ["run", "m.onnx", "--accept-agreement", "101"],
        ["run", "m.onnx", "--max-memory", "big"],
        ["run", "m.onnx", "--seed", "1.5"],
        ["run", "m.onnx", "--threads", "x"],
        ["run", "m.onnx", "--shape", "input"],
        ["run", "m.onnx", "--shape", "input=1x0x3"],
        ["run", "m.onnx", "--shape", "a=1", "--shape", "a=2"],
        ["run", "m.onnx", "--fail-on", "monday"],
        ["run", "m.onnx", "-q", "-v"],
        ["run", "m.onnx", "--calib", "x"],
        ["run", "m.onnx", "--timeout", "0"],
        ["quantize", "m.onnx"],
        ["bench", "m.onnx", "--streams", "0"],
        ["export", "m.onnx"],
        ["run", "m\x1b[2J.onnx", "\u202eextra"],
    ],
)
def test_every_wrong_flag_is_one_line_and_2(capsys, verb, words):
    verbs = verb("run", Report(examples.ship()))
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("seatrial: error: ")
    assert err.isprintable() or err[:-1].isprintable()
    assert verbs.options == []


# --- flags reach the verbs ----------------------------------------------------------------------


GIVEN = """
run m.onnx --calibration c[0:9] --test t -o out -b a:x -b b:y --all --max-drop 0.5
--max-latency p99=12ms --max-memory 1.5GB --min-metric 70 --device-drop 0.2
--accept-agreement 99 --fail-on never --quick --config c.toml --seed 7 --threads 2
--timeout 9.5 --memory-mb 512 --force-synthetic --in-process --allow-network a:x
--shape in=1x3x8x8 --shape a=b=2 -q
"""


def test_the_flags_of_run_reach_the_verb(capsys, verb):
    verbs = verb("run", Report(examples.ship()))
    words = GIVEN.split()
    assert run(capsys, *words)[0] == 0
    (options,) = verbs.options
    assert options.calibration == "c[0:9]"
    assert options.targets == ("a:x", "b:y")
    assert options.all_targets
    assert options.quick
    assert options.force_synthetic
    assert (options.seed, options.threads, options.config) == (7, 2, "c.toml")
    assert options.shapes == {"in": (1, 3, 8, 8), "a=b": (2,)}
    assert options.command_line == ("seatrial", *words)
    assert options.sla == SLA(
        max_drop=0.5,
        max_latency=LatencyLimit(quantile="p99", ms=12.0),
        max_memory_mb=1536.0,
        min_metric=70.0,
        device_drop=0.2,
        accept_agreement=99.0,
        fail_on="never",
    )
    jobs = options.jobs
    assert (jobs.timeout_s, jobs.memory_mb, jobs.in_process) == (9.5, 512, True)
    assert jobs.allow_network == ("a:x",)


def test_what_is_not_given_is_not_said(capsys, verb):
    verbs = verb("run", Report(examples.ship()))
    run(capsys, "run", "m.onnx", "-q")
    (options,) = verbs.options
    assert options.sla == SLA()
    assert (options.seed, options.threads, options.jobs.timeout_s) == (None, None, None)


def test_the_model_of_run_may_stand_in_the_configuration(capsys, verb):
    verbs = verb("run", Report(examples.ship()))
    assert run(capsys, "run", "--config", "c.toml", "-q")[0] == 0
    (options,) = verbs.options
    assert (options.model, options.config) == ("", "c.toml")


def test_run_without_any_model_is_one_line_and_2(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "run")
    assert (code, out) == (2, "")
    assert err == "seatrial: error: MODEL: no model was named (seatrial run MODEL ...)\n"


def test_limits_of_the_flags_win_over_the_configuration():
    flags_ = SLA(max_drop=0.0, fail_on="never")
    merged = flags_.over(SLA(max_drop=2.0, min_metric=70.0)).with_defaults()
    assert (merged.max_drop, merged.min_metric, merged.device_drop) == (0.0, 70.0, 0.5)
    assert merged.defaults == ("device_drop", "class_drop")
    everything = ("max_drop", "device_drop", "fail_on", "class_drop")
    assert SLA().with_defaults().defaults == everything


@pytest.mark.parametrize(
    ("text", "ms"), [("p50=1s", 1000.0), ("p99.9=250us", 0.25), ("p90=0.5ms", 0.5)]
)
def test_latency_units(text, ms):
    assert flags.latency_of(text).ms == pytest.approx(ms)


def test_fail_on_offers_what_the_records_know():
    import argparse

    parser = argparse.ArgumentParser()
    flags.sla(parser)
    (action,) = [a for a in parser._actions if a.dest == "fail_on"]
    assert tuple(action.choices) == FAIL_ON


def test_the_other_verbs_get_their_options(capsys, verb):
    quantize = verb("quantize", Report(examples.quantized()))
    code, out, _ = run(capsys, "quantize", "m.onnx", "--calibration", "c", "-o", "o.onnx")
    assert code == 0
    assert "int8-model: int8.onnx (3.80 MB)" in out
    assert quantize.options[0].out == "o.onnx"
    bench = verb("bench", Report(examples.bench()))
    code, out, _ = run(capsys, "bench", "a.onnx", "b.onnx", "--seconds", "2", "--streams", "4")
    assert code == 0
    assert "fastest" in out
    assert (bench.options[0].models, bench.options[0].streams) == (("a.onnx", "b.onnx"), 4)


def test_init_says_what_it_wrote(capsys, verb):
    verbs = verb("init", InitResult(config="s.toml", lines=("one input",), next=("seatrial x",)))
    code, out, _ = run(capsys, "init", "m.onnx", "--data", "d", "-o", "s.toml", "--force")
    assert code == 0
    assert "wrote s.toml" in out
    assert "seatrial x" in out
    assert verbs.options[0].force


def test_demo_ends_with_0_when_it_was_completed_whatever_the_verdict(capsys, verb):
    both = (Report(examples.ship()), Report(examples.do_not_ship()))
    verb("demo", both)
    code, out, _ = run(capsys, "demo")
    assert code == 0
    assert out.startswith(" SHIP ")
    assert "\n\n DO NOT SHIP " in out
    assert "Accuracy" in out
    assert "Support" not in out
    verb("demo", (both[0], Report(examples.interrupted())))
    assert run(capsys, "demo", "-q")[0] == 130
    verb("demo", ())
    assert run(capsys, "demo", "-q")[0] == 3


def test_backends_lists_freezes_and_fails_on_a_broken_plugin(capsys, verb):
    good = BackendRow(backend="a", dist="d", version="1")
    verb("backends", BackendsResult(rows=(good,), lock={"b": "2", "a": "1"}))
    assert run(capsys, "backends")[0] == 0
    code, out, _ = run(capsys, "backends", "--freeze")
    assert out.splitlines()[1:] == ['"a" = "1"', '"b" = "2"']
    code, out, _ = run(capsys, "backends", "--json", "-")
    assert json.loads(out)["rows"][0]["backend"] == "a"
    broken = BackendRow(backend="a", dist="d", version="1", problem="two of that name")
    verb("backends", BackendsResult(rows=(broken,)))
    code, out, _ = run(capsys, "backends", "-q")
    assert code == 3
    assert "two of that name" in out
    unfinished = BackendRow(backend="a", dist="d", version="1", problems=("b is missing",))
    verb("backends", BackendsResult(rows=(unfinished,)))
    code, out, _ = run(capsys, "backends", "-q")
    assert code == 3
    assert "a  b is missing" in out


def test_check_of_several_models(capsys, verb):
    fine = examples.check()
    fine["targets"] = fine["targets"][:1]
    verbs = verb("check", [Report(fine), Report(examples.check())])
    code, out, _ = run(capsys, "check", "a.onnx", "b.onnx", "--json", "-")
    assert code == 1
    assert [o.model for o in verbs.options] == ["a.onnx", "b.onnx"]
    document = json.loads(out)
    assert [r["exit_code"] for r in document["reports"]] == [0, 1]
    verb("check", [UserError("a.onnx", "is empty"), Report(fine)])
    code, out, err = run(capsys, "check", "a.onnx", "b.onnx", "-q")
    assert code == 2
    assert "seatrial: error: a.onnx: is empty\n" in err
    assert "exit code 0" in out


# --- output -------------------------------------------------------------------------------------


def test_json_dash_is_alone_on_standard_output(capsys, verb):
    report = Report(examples.do_not_ship())
    verb("run", report)
    code, out, err = run(capsys, "run", "m.onnx", "--json", "-", "-v")
    assert code == 1
    assert json.loads(out) == report.data
    assert "step \\x1b[31m one" in err


def test_json_goes_to_a_file_beside_the_view(capsys, verb, tmp_path):
    verb("run", Report(examples.ship()))
    file = tmp_path / "r.json"
    code, out, _ = run(capsys, "run", "m.onnx", "--json", str(file))
    assert code == 0
    assert json.loads(file.read_text())["verdict"] == "SHIP"
    assert "Accuracy" in out
    code, _, err = run(capsys, "run", "m.onnx", "-q", "--json", str(tmp_path / "no" / "r.json"))
    assert code == 2
    assert "No such file" in err


@pytest.mark.parametrize(
    "words",
    [["audit", "--calibration", "c"], ["quantize", "m.onnx", "--calibration", "c", "-o", "o"]],
)
def test_a_page_goes_to_a_file_where_no_folder_is_written(capsys, verb, tmp_path, words):
    verb(words[0], Report(examples.quantized()))
    file = tmp_path / "r.html"
    run(capsys, *words, "--html", str(file))
    assert file.read_text("utf-8").startswith("<!DOCTYPE html>")
    code, _, err = run(capsys, *words, "--html", str(tmp_path / "no" / "r.html"))
    assert code == 2 and "No such file" in err


def test_quiet_is_one_line_without_progress(capsys, verb):
    verb("run", Report(examples.do_not_ship()))
    code, out, err = run(capsys, "run", "m.onnx", "-q")
    assert (code, out, err) == (1, "DO NOT SHIP  mobilenet_v2.onnx\n", "")


CHILD = """
import importlib.util, os, sys
import seatrial.api
from seatrial.report import Report
spec = importlib.util.spec_from_file_location("e", sys.argv.pop(1))
examples = importlib.util.module_from_spec(spec)
spec.loader.exec_module(examples)
def run(options, shown):
    print("a plugin prints")
    os.system("echo a child prints")
    data = examples.do_not_ship()
    data["model"]["path"] = options.model
    return Report(data)
seatrial.api.run = run
from seatrial.cli import main
sys.exit(main())
"""


def child(*words, **more):
    example = str(Path(__file__).parents[1] / "report" / "examples.py")
    return python("-c", CHILD, example, *words, **more)


def test_json_dash_survives_whatever_prints():
    done = child("run", "m.onnx", "--json", "-", "--in-process")
    assert done.returncode == 1
    assert json.loads(done.stdout)["verdict"] == "DO NOT SHIP"
    assert b"a plugin prints" in done.stderr
    assert b"a child prints" in done.stderr


@pytest.mark.parametrize("name", ["m\u202e模型.onnx".encode(), b"not-utf8-\xff.onnx"])
def test_any_locale_can_print(name):
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict", "LANG": "C"}
    done = child(*[b"run", name], env=env)
    assert done.returncode == 1, done.stderr[-800:]
    assert done.stdout.isascii()
    assert b"DO NOT SHIP" in done.stdout
    done = python("-m", "seatrial", "--help", env=env)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", [["--json", "-"], []])
def test_a_reader_that_goes_away_changes_nothing(words):
    example = str(Path(__file__).parents[1] / "report" / "examples.py")
    command = [sys.executable, "-c", CHILD, example, "run", "m.onnx", *words]
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err


# --- progress -----------------------------------------------------------------------------------


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def asked(**flags_):
    return Namespace(**({"quiet": False, "verbose": False} | flags_))


def test_progress_is_plain_without_a_terminal():
    stream = io.StringIO()
    with progress.make(asked(), stream) as shown, shown.stage("build a:b int8", 3, 9):
        shown("seatrial_build", "compiling", 0.3)
    assert stream.getvalue() == "[3/9] build a:b int8\n"


def test_verbose_progress_prints_each_step_once():
    stream = io.StringIO()
    with progress.make(asked(verbose=True), stream) as shown, shown.stage("s", 1, 1):
        shown("h", "a\n::error::b", 0.3)
        shown("h", "a\n::error::b", 0.6)
        shown("h", "c")
    assert stream.getvalue() == "[1/1] s\n  h: a\\x0a::error::b\n  h: c\n"


def test_quiet_progress_says_nothing():
    stream = Terminal()
    with progress.make(asked(quiet=True), stream) as shown:
        assert isinstance(shown, NoProgress)
        with shown.stage("s", 1, 1):
            shown("h", "text", 0.5)
    assert stream.getvalue() == ""


def test_live_progress_on_a_terminal(monkeypatch):
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    with progress.make(asked(), stream) as shown:
        with shown.stage("build [bold]a:b[/nonsense]", 3, 9):
            shown("h", "half \x1b]0;x\x07 {task}", 0.5)
            shown._bars.refresh()
            shown("h", "lost", float("nan"))
        with pytest.raises(ValueError, match="stage"), shown.stage("next", 4, 9):
            raise ValueError("stage")
    seen = stream.getvalue()
    assert "[3/9] build [bold]a:b[/nonsense]" in seen
    assert "half \\x1b]0;x\\x07 {task}" in seen
    assert "\x1b]" not in seen
    assert "\x07" not in seen
    assert seen.rstrip("\n").endswith(("\x1b[2K", "\x1b[?25h")) or "\x1b[?25h" in seen


@pytest.mark.parametrize("variables", [{"CI": "1"}, {"TERM": "dumb"}])
def test_progress_is_plain_in_ci_even_on_a_terminal(monkeypatch, variables):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert progress.lively(Terminal())
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert not progress.lively(Terminal())


def test_settling_a_closed_stream_is_no_error(monkeypatch):
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    output.settle()
    assert stream.closed
