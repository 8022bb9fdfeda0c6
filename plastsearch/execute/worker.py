"""One attempt at a trial, in whatever process: plain data in, plain messages out. Trials are imported here only."""

import gc
import importlib
import os
import socket
import time
import traceback
from collections.abc import Callable, Generator, Iterator

from plastsearch.errors import (
    DeviceError,
    PlastsearchError,
    StageBusyError,
    StorageError,
    TrialError,
    out_of_memory,
    out_of_room,
)
from plastsearch.execute.messages import Busy, Done, End, Failed, Message, Progress, Task
from plastsearch.execute.own_figures import OwnFigures
from plastsearch.imports import uncollected
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.trial.waits import waited_s

TRIAL = "plastsearch.trial.run:run_trial"
FINALIST = "plastsearch.trial.finalist:run_finalist"

CPU = "cpu"
GPU_LOST = "this process has lost its GPU (the last failure says why); a new one, with --resume, goes on"
MORE_MEMORY = "run fewer at a time (--parallel), or let each ask for more (resources.memory_gb)"
TrialFunction = Callable[[TrialConfig, RunSettings], Iterator[Report]]


def messages(task: Task) -> Generator[Message]:
    """Run the attempt; any number of reports, then exactly one end."""
    began = time.monotonic()
    node = f"{socket.gethostname()}:{os.getpid()}"
    final: Report | None = None
    end: End
    figures = OwnFigures()
    try:
        # By name, resolved in the worker: to send the function itself the driver would have to import torch with it.
        for report in resolve(task.function)(task.config, task.settings):
            if report.final:
                final = report  # held back until the trial has cleaned up: whatever fails there is its failure
            else:
                yield _progress(report, node, figures.now())
        end = _done(final)
    except Exception as error:  # noqa: BLE001 - every failure of a trial is a result: the reason is kept
        end = _failed(error, task.settings.device)
    if task.settings.waits is not None:
        task.settings.waits.unlink(missing_ok=True)
    yield end.model_copy(update={"node": node, "seconds": round(time.monotonic() - began, 6)})


def own_s(task: Task, seconds: float) -> float:
    """Of the seconds since an attempt began those that it did not wait for others."""
    return seconds - waited_s(task.settings.waits)


def resolve(reference: str) -> TrialFunction:
    """`package.module:function` → the function."""
    module, _, name = reference.partition(":")
    with uncollected():
        function: TrialFunction = getattr(importlib.import_module(module), name)
    return function


def tidy(task: Task) -> None:
    """Give back what a trial left in this process, for whoever comes next."""
    if task.function not in (TRIAL, FINALIST):  # others train nothing, and to look for cycles takes them 0.1 s
        return
    gc.collect()  # cycles may hold networks
    if task.settings.device != CPU:
        from plastsearch.trial.device import release_memory

        release_memory()


def _progress(report: Report, node: str, system: dict[str, float]) -> Progress:
    boundary = bool(report.details.get("boundary"))
    return Progress(
        stage=report.stage, step=report.step, steps_total=report.steps_total, metrics=_floats(report.metrics),
        node=node, boundary=boundary, system=system,
    )  # fmt: skip


def _done(final: Report | None) -> Done:
    if final is None:
        raise TrialError("the trial ended without a final report")
    return Done(metrics=_floats(final.metrics), details=final.details)


def _failed(error: Exception, device: str) -> Failed | Busy:
    gpu_lost = _gpu_lost(error, device)
    if isinstance(error, StageBusyError):
        return Busy(reason=str(error), gpu_lost=gpu_lost)
    expected = isinstance(error, PlastsearchError)
    reason = str(error) if expected else f"{type(error).__name__}: {error}"
    # An accident of who ran beside it: the configuration may well fit where it is alone.
    if out_of_memory(error):
        reason = f"out of memory ({reason}); {MORE_MEMORY}"
    # A user's mistake is a message; a bug keeps its traceback, cut, since it stands in the journal.
    details = {} if expected else {"traceback": "".join(traceback.format_exception(error))[-4000:]}
    no_room = out_of_room(error)
    return Failed(reason=reason, again=_may_pass(error), details=details, gpu_lost=gpu_lost, no_room=no_room)


def _gpu_lost(error: Exception, device: str) -> bool:
    """Whether this process can do nothing more on its GPU: after a stray access, say, every call there fails."""
    if "CUDA error" in str(error) and not out_of_memory(error):
        return True
    if device == CPU:  # nor is torch imported for the sake of asking: fake trials have none
        return False
    try:
        from plastsearch.trial.device import lost
    except (ImportError, OSError):  # which may be the very failure: torch, or a library of it, is not usable here
        return False
    return lost()


def _may_pass(error: Exception) -> bool:
    """Whether the same configuration may do better elsewhere: the machine failed, not the configuration."""
    if isinstance(error, PlastsearchError):
        return isinstance(error, DeviceError | StorageError)
    return isinstance(error, OSError) or out_of_memory(error) or "CUDA" in str(error)


def _floats(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}
