"""RKNN-Toolkit2: each call returns 0, or another number, or raises; and all of them talk."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import log

#: What step 1 of the quantisation writes and step 2 reads; also all that the simulator needs.
PARTS = ("model.model", "model.data", "model.quantization.cfg")

#: The last line of a traceback: the error's type and its message.
_NAMED = re.compile(r"[\w.]+(Error|Exception|Graph|Fail|Argument|NotImplemented)\b *:")


class ToolkitError(Exception):
    """A call failed; ``said`` is what was logged."""

    def __init__(self, step: str, reason: str, said: str = "") -> None:
        self.said = said
        super().__init__(f"{step}: {reason}")


class Toolkit:
    """One run of the compiler.

    Args:
        chip: to build for.
        folder: where it may write; it is the working directory of each call.
    """

    def __init__(self, chip: str, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "log.txt"
        with self._call("start"):
            from rknn.api import RKNN

            self._rknn: Any = RKNN(verbose=True)
            self._ok("config", self._rknn.config(target_platform=chip))

    @property
    def said(self) -> str:
        """Everything that was logged so far."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def read(self, model: Path) -> None:
        """Load an ONNX model."""
        with self._call("load_onnx"):
            self._ok("load_onnx", self._rknn.load_onnx(model=str(model)))

    def build(self) -> None:
        """Compile in FP16."""
        with self._call("build"):
            self._ok("build", self._rknn.build(do_quantization=False))

    def quantise(self, rows: Sequence[str]) -> None:
        """Calibrate; the :data:`PARTS` lie in the folder then.

        Args:
            rows: one per sample: the files of its inputs.
        """
        (self.folder / "samples.txt").write_text("\n".join(rows), "utf-8")
        with self._call("hybrid_quantization_step1"):
            self._ok(
                "hybrid_quantization_step1",
                self._rknn.hybrid_quantization_step1(dataset="samples.txt", proposal=False),
            )

    def build_quantised(self, folder: Path) -> None:
        """Compile what was calibrated."""
        with self._call("hybrid_quantization_step2"):
            parts = [str(folder / name) for name in PARTS]
            step = self._rknn.hybrid_quantization_step2(*parts)
            self._ok("hybrid_quantization_step2", step)

    def export(self, path: Path) -> None:
        """Write the chip's file."""
        with self._call("export_rknn"):
            self._ok("export_rknn", self._rknn.export_rknn(str(path)))

    def simulate(self) -> None:
        """Make what was built ready to run here."""
        with self._call("init_runtime"):
            self._ok("init_runtime", self._rknn.init_runtime(target=None))

    def run(self, values: Sequence[Any]) -> list[Any]:
        """Run once on arrays in the ONNX model's layout."""
        formats = ["nchw" if v.ndim == 4 else "undefined" for v in values]
        given = [v if v.ndim else v.reshape(1) for v in values]
        found = self._rknn.inference(inputs=given, data_format=formats)
        if found is None:
            raise ToolkitError("inference", "gave nothing", self.said)
        return list(found)

    def close(self) -> None:
        """Free everything."""
        with self._call("release"):
            self._rknn.release()

    @contextlib.contextmanager
    def _call(self, step: str) -> Iterator[None]:
        """One call: in the folder, with everything that is said in the log."""
        home = Path.cwd()
        os.chdir(self.folder)
        try:
            with log.captured(self._log):
                yield
        except (ToolkitError, ImportError):  # without the toolkit nothing is known of a model
            raise
        except Exception as error:  # noqa: BLE001 - it ends in errors of every kind
            raise ToolkitError(step, last_line(str(error)), self.said) from None
        finally:
            os.chdir(home)

    def _ok(self, step: str, code: int) -> None:
        if code != 0:
            raise ToolkitError(step, f"returned {code}", self.said)


def last_line(text: str) -> str:
    """What an error comes down to: texts of this toolkit are whole tracebacks."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" ^~")]
    named = [k for k, line in enumerate(lines) if _NAMED.match(line)]
    return " ".join(lines[named[-1] :] if named else lines)[:300] or "no reason given"
