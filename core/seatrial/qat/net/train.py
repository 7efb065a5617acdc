"""The training loop: epochs, schedule, validation, the best epoch kept. Runs in a child only."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from seatrial.codec import canonical, decode, encode
from seatrial.errors import UserError
from seatrial.export.torch_module import blame
from seatrial.qat.records import CONSTANT, Epoch, Settings
from seatrial.results import TensorIO

from . import checkpoint, loading
from .loading import Batches
from .network import Network

#: Share of all steps in which the rate rises from zero.
WARM_UP = 0.05
#: Largest norm of a gradient; a longer one is shortened to it.
CLIP = 5.0
#: Progress is reported at most this often, in seconds.
PROGRESS_S = 0.5

#: Says how far it is: text and fraction.
Say = Callable[[str, float], None]


@dataclasses.dataclass
class Training:
    """One training, from its start or from its checkpoint.

    Attributes:
        network: what learns.
        inputs: of the model, to hold batches against.
        loss: the user's.
        batches: the user's.
        settings: how.
        folder: of the checkpoint.
        names: what the user called loader and loss, for messages.
        say: progress.
    """

    network: Network
    inputs: tuple[TensorIO, ...]
    loss: Any
    batches: Batches
    settings: Settings
    folder: Path
    names: tuple[str, str]
    say: Say
    history: list[Epoch] = dataclasses.field(default_factory=list)
    best: int = 0
    resumed: int = 0
    float_loss: float = 0.0
    kept: dict[str, Any] = dataclasses.field(default_factory=dict)

    def run(self) -> None:
        """Train to the end; afterwards the network holds the best epoch."""
        learns = [p for p in self.network.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(learns, lr=self.settings.lr, foreach=True)
        if not self._resume():
            self.network.quantised = False
            self.float_loss = self._validate()
            self.network.quantised = True
            self.history = [Epoch(number=0, validation_loss=self._validate())]
            self.kept = self._state()
            self._save()
        for number in range(len(self.history), self.settings.epochs + 1):
            self._epoch(number)
        with torch.no_grad():
            for name, p in self.network.named_parameters():
                p.copy_(self.kept[name])

    # --- one epoch ------------------------------------------------------------------------------

    def _epoch(self, number: int) -> None:
        started = time.monotonic()
        loading.reseed(self.settings.seed + number, self.batches.train)
        total, seen, rate = 0.0, 0, 0.0
        for k, (feeds, target) in enumerate(self._read(self.batches.train, 0)):
            rate = self._rate(number, k)
            for group in self.adam.param_groups:
                group["lr"] = rate
            self.adam.zero_grad(set_to_none=True)
            loss = self._loss(feeds, target)
            value = float(loss.detach())
            if not math.isfinite(value):
                text = f"the loss is {value} in epoch {number}, batch {k}"
                raise UserError(self.names[1], text, advice="a smaller --lr, or look at that batch")
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.adam.param_groups[0]["params"], CLIP)
            self.adam.step()
            size = _size(feeds)
            total, seen = total + value * size, seen + size
            self._tell(number, k, value)
        if not seen:
            raise UserError(self.names[0], f"gave no batch in epoch {number}")
        self._finish(number, total / seen, rate, started)

    def _finish(self, number: int, train_loss: float, rate: float, started: float) -> None:
        """Judge the epoch on the slice that chooses, and write the checkpoint."""
        judged = self._validate()
        seconds = time.monotonic() - started
        entry = Epoch(
            number=number,
            validation_loss=judged,
            train_loss=train_loss,
            lr=rate,
            seconds=round(seconds, 3),
        )
        if judged < min(e.validation_loss for e in self.history):
            self.best, self.kept = number, self._state()
        self.history.append(entry)
        self._save()

    def _rate(self, number: int, k: int) -> float:
        """The learning rate of a batch: a linear rise, then constant or half a cosine to zero."""
        length = self._length()
        epochs = self.settings.epochs
        at = (number - 1 + ((k + 1) / length if length else 0.5)) / epochs
        at = min(at, 1.0)
        rise = min(1.0, at / WARM_UP) if length else 1.0
        if self.settings.schedule == CONSTANT:
            return self.settings.lr * rise
        fall = 0.5 * (1 + math.cos(math.pi * max(0.0, at - WARM_UP) / (1 - WARM_UP)))
        return self.settings.lr * rise * fall

    def _length(self) -> int:
        """Batches per epoch; 0: unknown."""
        try:
            return len(self.batches.train)
        except TypeError:
            return 0

    def _loss(self, feeds: dict[str, Any], target: Any) -> Any:
        outputs = self.network(feeds)
        given = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        try:
            loss = self.loss(given, target)
        except Exception as error:  # noqa: BLE001  # the user's code may raise anything
            blame(self.names[1], error)
        if not torch.is_tensor(loss) or loss.numel() != 1:
            what = f"a tensor of shape {tuple(loss.shape)}" if torch.is_tensor(loss) else repr(loss)
            raise UserError(self.names[1], f"gave {what[:60]}, not a tensor of one number")
        return loss.reshape(())

    def _validate(self) -> float:
        """Mean loss over the slice that chooses; its augmentation, if any, is always the same."""
        loading.reseed(self.settings.seed, self.batches.validation)
        total, seen = 0.0, 0
        with torch.no_grad():
            for feeds, target in self._read(self.batches.validation, 1):
                size = _size(feeds)
                total += float(self._loss(feeds, target)) * size
                seen += size
        if not seen or not math.isfinite(total):
            what = "gave no batch" if not seen else "the loss is not finite"
            raise UserError(self.names[0 if not seen else 1], f"{what} in validation")
        return total / seen

    def _read(self, loader: Any, _: int) -> Iterator[tuple[dict[str, Any], Any]]:
        """Batches of the user's loader, held against the model's inputs."""
        source = iter(loader)
        while True:
            try:
                batch = next(source)
            except StopIteration:
                return
            except Exception as error:  # noqa: BLE001  # the user's code may raise anything
                blame(self.names[0], error)
            feeds, target = loading.split(batch, self.network.inputs, self.names[0])
            for tensor in self.inputs:
                _check(feeds[tensor.name], tensor, self.names[0])
            yield feeds, target

    def _tell(self, number: int, k: int, value: float) -> None:
        now = time.monotonic()
        if now - getattr(self, "_told", 0.0) > PROGRESS_S:
            self._told = now
            length = self._length()
            done = (number - 1 + (k + 1) / length if length else number - 1) / self.settings.epochs
            best = min(e.validation_loss for e in self.history)
            self.say(f"epoch {number}: loss {value:.4g}, best validation {best:.4g}", min(done, 1))

    # --- checkpoints ----------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {n: p.detach().clone() for n, p in self.network.named_parameters()}

    def identity(self) -> str:
        """Digest of everything that decides what this training becomes, but for the data."""
        if not hasattr(self, "_identity"):
            state = hashlib.sha256()
            for name, p in self.network.named_parameters():
                state.update(name.encode() + p.detach().numpy().tobytes())
            for root, zero in self.network.zeros.items():
                state.update(f"{root}={zero};".encode())
            facts = [encode(self.settings), encode(self.network.dialect), list(self.names)]
            facts += [self.batches.train_samples, self.batches.validation_samples]
            state.update(canonical(facts))
            self._identity = state.hexdigest()
        return self._identity

    def _save(self) -> None:
        tensors = {f"now.{n}": t for n, t in self._state().items()}
        tensors |= {f"best.{n}": t for n, t in self.kept.items()}
        for n, p in self.network.named_parameters():
            for key, value in self.adam.state.get(p, {}).items():
                tensors[f"adam.{key}.{n}"] = value
        facts = {
            "identity": self.identity(),
            "history": encode(self.history),
            "best": self.best,
            "float_loss": self.float_loss,
        }
        checkpoint.write(self.folder, tensors, facts)

    def _resume(self) -> bool:
        """Take up a checkpoint of this very training.

        Raises:
            UserError: there is one of another training.
        """
        identity = self.identity()
        found = checkpoint.read(self.folder)
        if found is None:
            return False
        tensors, facts = found
        if facts["identity"] != identity:
            raise UserError(
                str(self.folder),
                "holds the checkpoint of another training (model, data or settings differ)",
                advice="--fresh begins anew, or choose another -o",
            )
        self.history = [decode(Epoch, e) for e in facts["history"]]
        self.best, self.float_loss = facts["best"], facts["float_loss"]
        self.resumed = len(self.history) - 1
        with torch.no_grad():
            for n, p in self.network.named_parameters():
                p.copy_(tensors[f"now.{n}"])
                self.kept[n] = tensors[f"best.{n}"]
                prefixes = ("step", "exp_avg", "exp_avg_sq")
                held = {k: tensors.get(f"adam.{k}.{n}") for k in prefixes}
                if held["step"] is not None:
                    self.adam.state[p] = held
        return True


def _size(feeds: dict[str, Any]) -> int:
    return len(next(iter(feeds.values())))


def _check(value: Any, tensor: TensorIO, where: str) -> None:
    """A batch must be what the model takes, batch axis apart.

    Raises:
        UserError: it is not.
    """
    wanted = tensor.shape[1:]
    got = tuple(value.shape[1:]) if torch.is_tensor(value) else ()
    fits = torch.is_tensor(value) and (
        not tensor.shape
        or tensor.shape == ("...",)
        or (
            len(got) == len(wanted)
            and all(isinstance(w, str) or w == g for w, g in zip(wanted, got, strict=True))
        )
    )
    kind = str(value.dtype).removeprefix("torch.") if torch.is_tensor(value) else ""
    if fits and (not tensor.dtype or kind == tensor.dtype):
        return
    have = f"{kind} {tuple(value.shape)}" if torch.is_tensor(value) else type(value).__name__
    axes = ", ".join(["N", *(str(d) for d in wanted)])
    raise UserError(
        where,
        f"a batch holds {have} for the input {tensor.name}, which takes {tensor.dtype} ({axes})",
    )
