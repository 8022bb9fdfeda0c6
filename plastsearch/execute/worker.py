"""One attempt at a trial, in whatever process: plain data in, plain messages out. Trials are imported here only."""

import gc
import importlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from plastsearch.errors import DeviceError, PlastsearchError, StorageError, TrialError, out_of_memory
from plastsearch.spec.config import Report, RunSettings, TrialConfig
from plastsearch.trial.waits import waited_s

TRIAL = "plastsearch.trial.run:run_trial"
FINALIST = "plastsearch.trial.finalist:run_finalist"

SPENT = "this process has lost its GPU (the last failure says why); a new one, with --resume, goes on"
MORE_MEMORY = "run fewer at a time (--parallel), or let each ask for more (resources.memory_gb)"
Message = dict[str, Any]
TrialFunction = Callable[[TrialConfig, RunSettings], Iterator[Report]]


def task(function: str, config: TrialConfig, settings: RunSettings) -> dict[str, Any]:
    """What `messages` needs, as plain data that crosses processes."""
    return {
        "function": function,
        "config": config.model_dump(mode="json", by_alias=True),
        "settings": settings.model_dump(mode="json"),
    }


def messages(task: dict[str, Any]) -> Generator[Message]:
    """Run the attempt; any number of reports, then exactly one end, `spent` if nothing may run here any more."""
    began, node = time.monotonic(), f"{socket.gethostname()}:{os.getpid()}"
    final: Report | None = None
    end: Message
    try:
        run = resolve(task["function"])
        settings = RunSettings.model_validate(task["settings"])
        for report in run(TrialConfig.model_validate(task["config"]), settings):
            if report.final:
                final = report
            else:
                yield _report(report, node)
        end = _done(final)
    except Exception as error:  # noqa: BLE001 - every failure of a trial is a result: the reason is kept
        end = _failed(error)
        if _spent(error):
            end["spent"] = True
    end["seconds"] = round(time.monotonic() - began, 6)
    if (note := _waits(task)) is not None:
        note.unlink(missing_ok=True)
    yield {**end, "kind": "end", "node": node}


def own_s(task: dict[str, Any], seconds: float) -> float:
    """Of the seconds since an attempt began those that it did not wait for others."""
    return seconds - waited_s(_waits(task))


def _waits(task: dict[str, Any]) -> Path | None:
    note = task.get("settings", {}).get("waits")
    return Path(note) if note else None


def resolve(reference: str) -> TrialFunction:
    """`package.module:function` → the function."""
    module, _, name = reference.partition(":")
    function: TrialFunction = getattr(importlib.import_module(module), name)
    return function


def tidy() -> None:
    """Give back what the last trial left in this process, for whoever comes next."""
    torch = sys.modules.get("torch")  # a fake trial never imports it
    if torch is None:
        return
    gc.collect()  # cycles may hold networks
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _report(report: Report, node: str) -> Message:
    return {
        "kind": "report",
        "stage": report.stage,
        "step": report.step,
        "steps_total": report.steps_total,
        "metrics": _floats(report.metrics),
        "node": node,
        **({"boundary": True} if report.details.get("boundary") else {}),  # the stage is finished and kept
    }


def _done(final: Report | None) -> Message:
    if final is None:
        raise TrialError("the trial ended without a final report")
    return {"state": "done", "metrics": _floats(final.metrics), "details": final.details}


def _failed(error: Exception) -> Message:
    if _is_busy(error):
        return {"state": "busy", "reason": str(error)}
    known = isinstance(error, PlastsearchError)
    reason = str(error) if known else f"{type(error).__name__}: {error}"
    if out_of_memory(error):
        reason = f"out of memory ({reason}); {MORE_MEMORY}"
    details = {} if known else {"traceback": "".join(traceback.format_exception(error))[-4000:]}
    return {"state": "failed", "metrics": {}, "details": details, "reason": reason, "again": _may_pass(error)}


def _spent(error: Exception) -> bool:
    """Whether this process can do nothing more on its GPU: after a stray access, say, every call there fails."""
    if "CUDA error" in str(error) and not out_of_memory(error):
        return True
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def _is_busy(error: Exception) -> bool:
    """Whether another process holds the stage; who raised it has imported the store, and we need not."""
    store = sys.modules.get("plastsearch.store.stages")
    return store is not None and isinstance(error, store.StageBusy)


def _may_pass(error: Exception) -> bool:
    """Whether the same configuration may do better elsewhere: the machine failed, not the configuration."""
    if isinstance(error, PlastsearchError):
        return isinstance(error, DeviceError | StorageError)
    return isinstance(error, OSError) or out_of_memory(error) or "CUDA" in str(error)


def _floats(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}
