"""Where a stage stood when it was interrupted: written aside and renamed, so that none is ever torn."""

import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NotRequired, TypedDict, cast

import torch

from plastsearch.errors import StorageError, TrialError
from plastsearch.files import whole_file
from plastsearch.store.room import OWNER

NAME = "checkpoint.pt"
MOST = 0.02  # share of a stage's time that writing may take
BYTES_PER_S = 200e6  # the price of the first checkpoint, until one has been paid for


class Snapshot(TypedDict):
    """All that moves while a stage trains, as torch.save keeps it."""

    state: dict[str, Any]  # the fields of fit.FitState
    moving: dict[str, torch.Tensor]
    optimizer: dict[str, Any]  # as torch makes it
    random: dict[str, torch.Tensor]
    companion: NotRequired[dict[str, Any]]  # of fit.Companion, where a stage has one


class Checkpoints:
    """The newest checkpoint of one stage, in that stage's work folder, with the id of the trial that wrote it.

    `every_s` is the least time between two, and as much more as keeps writing below MOST of the time; 0: after every
    step, whatever it costs.
    """

    def __init__(self, folder: Path, every_s: float, trial: str = "", expected_bytes: int = 0) -> None:
        self.path = folder / NAME
        self.every_s = every_s
        self.trial = trial
        self._began = self._last = time.monotonic()
        self._price_s = expected_bytes / BYTES_PER_S
        self._spent_s = 0.0

    def due(self) -> bool:
        """The least time is over, and another one can be afforded."""
        now = time.monotonic()
        if not self.every_s:
            return True
        affordable = self._spent_s + self._price_s <= MOST * (now - self._began)
        return affordable and now - self._last >= self.every_s

    def save(self, state: Snapshot) -> None:
        """Replace the checkpoint in one rename."""
        began = time.monotonic()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as draft, draft.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            (self.path.parent / OWNER).write_text(self.trial)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            raise TrialError(
                f"{self.path}: no checkpoint could be written ({error}); is the disk full? What was stored before is "
                "whole: make room (`plastsearch store gc`), and the trial goes on from there"
            ) from error
        self._last = time.monotonic()
        self._price_s = self._last - began
        self._spent_s += self._price_s

    def load(self, device: torch.device) -> Snapshot | None:
        """The newest state, or None to start the stage anew; an unreadable file counts as none."""
        self._began = self._last = time.monotonic()
        try:
            with self.path.open("rb") as file:
                return cast(Snapshot, dict(torch.load(file, map_location=device, weights_only=True)))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be read now ({error}); nothing was deleted") from error
        except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):  # damage: the stage's beginning is as good
            self.path.unlink(missing_ok=True)
            return None


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The generators that layers draw from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


class StopRequest:
    """Whether somebody asked this process to end; a stage looks after every step and checkpoints first."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    def note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number


class Stopped(BaseException):  # like KeyboardInterrupt: no handler of errors may catch it
    """The stage has checkpointed because the process was asked to end."""


@contextmanager
def stop_on_sigterm() -> Iterator[StopRequest]:
    """Put SIGTERM off until a stage has checkpointed, then let it do what it did before.

    Python delivers signals to the main thread only; in any other thread the request never comes and nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.signal(signal.SIGTERM, request.note)
    try:
        yield request
    except Stopped:
        pass  # re-raised as the signal below
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
        if request():
            signal.raise_signal(signal.SIGTERM)
