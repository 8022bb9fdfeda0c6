"""What a worker says of a failure: whose fault it is, and whether it may pass."""

import sys

import pytest
import torch

from plastsearch.errors import TrialError
from plastsearch.execute import worker
from plastsearch.execute.messages import Task
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings


def end_of(monkeypatch, error):
    def trial(config, settings):
        raise error
        yield

    monkeypatch.setattr(worker, "resolve", lambda reference: trial)
    return list(
        worker.messages(Task(function="any", config=TrialConfig(), settings=RunSettings(store="s", cache="c")))
    )[-1]


def torch_without_memory():
    try:
        torch.empty(2**60, dtype=torch.uint8)
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(12, "Cannot allocate memory"), RuntimeError("CUDA out of memory"), None]
)
def test_memory_that_is_lacking_is_named_and_may_be_there_next_time(monkeypatch, error):
    end = end_of(monkeypatch, error or torch_without_memory())
    assert (end.kind, end.again) == ("failed", True)
    assert end.reason.startswith("out of memory (")
    assert end.reason.endswith("or let each ask for more (resources.memory_gb)")


@pytest.mark.parametrize("error", [TrialError("no such site"), ZeroDivisionError("a bug")])
def test_a_failure_of_the_configuration_comes_again_and_is_not_repeated(monkeypatch, error):
    assert end_of(monkeypatch, error).again is False


def test_where_torch_cannot_be_imported_the_trial_says_so(monkeypatch):
    """To ask the GPU whether it answers takes torch, too: that must not end the process that has to report."""
    monkeypatch.setitem(sys.modules, "plastsearch.trial.device", None)
    end = end_of(monkeypatch, ImportError("libcudart.so.13: cannot open shared object file"))
    assert (end.kind, end.gpu_lost) == ("failed", False)
    assert end.reason.startswith("ImportError: libcudart.so.13")


@pytest.mark.parametrize(("function", "expected"), [(worker.TRIAL, [True]), (worker.FINALIST, [True]), ("any", [])])
def test_only_after_a_trial_that_trains_cycles_are_looked_for(monkeypatch, function, expected):
    """Looking for cycles takes 0.1 s in a worker of Ray: as long as all the rest that a trial costs the driver."""
    collected = []
    monkeypatch.setattr(worker.gc, "collect", lambda: collected.append(True))
    settings = RunSettings(store="s", cache="c", device="cpu")
    worker.tidy(Task(function=function, config=TrialConfig(), settings=settings))
    assert collected == expected
