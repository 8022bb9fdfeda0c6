"""Laws of a step: the host does not wait for the device, and a lost loss is still told with its step."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from plastsearch.errors import TrialError
from plastsearch.training.checkpoint import Checkpoints
from plastsearch.training.fit import UNREAD, fit
from plastsearch.training.losses import build_loss
from plastsearch.training.state import FitInputs, FitSettings, Quality

STEPS = 2 * UNREAD


class Calls(TorchDispatchMode):
    """Counts operators; `item` and `float` are `_local_scalar_dense`, which waits for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


class Clips:
    """Random inputs; the batches of some steps are broken."""

    def __init__(self, broken: int | None = None) -> None:
        self.broken = broken

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        return (x * float("nan") if step + 1 == self.broken else x), torch.arange(8) % 2


def _fit(folder: Path, feed: Clips, every_s: float = 1000.0) -> Any:
    module = nn.Linear(4, 2)
    plan = FitSettings("train", STEPS, 1e-3, 0.1, 0.0, 1.0, 1, 1, 0, False, 0)
    loss = build_loss("cross_entropy", (1, 1))
    on = FitInputs(module, module, loss, feed, lambda: Quality(10.0, 1.0), module.train, torch.device("cpu"))
    return fit(on, plan, Checkpoints(folder, every_s), lambda: False)


def test_no_step_reads_a_number_from_the_device(tmp_path: Path) -> None:
    with Calls() as calls:
        (progress,) = _fit(tmp_path, Clips())
    assert calls.count["_fused_adamw_"] >= STEPS
    assert calls.count["_local_scalar_dense"] <= STEPS // UNREAD
    assert 0 < progress.train_loss < 2


@pytest.mark.parametrize("step", [1, UNREAD, UNREAD + 5])
def test_the_step_whose_loss_was_lost_is_named_although_it_is_read_later(step: int, tmp_path: Path) -> None:
    with pytest.raises(TrialError, match=rf"the loss became nan in train at step {step} \(learning rate 0\.001\)"):
        list(_fit(tmp_path, Clips(broken=step)))


def test_a_state_after_a_lost_loss_is_never_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="at step 5 "):
        list(_fit(tmp_path, Clips(broken=5), every_s=0.0))
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["state"]["step"] == 4
    assert all(tensor.isfinite().all() for tensor in saved["moving"].values())


def test_weights_of_the_loss_are_on_the_trials_device(settings, monkeypatch) -> None:
    """A copy of two numbers to the GPU at every step makes the host wait, too."""
    from plastsearch.trial import context as bench_of
    from tests.trial.conftest import make_config

    context = bench_of.open_context(make_config(), settings(), lambda: False)
    there = []
    monkeypatch.setattr(nn.Module, "to", lambda self, *args: (there.append(args), self)[1])
    _ = context.loss, context.loss_each
    assert there == [(torch.device("cpu"),)] * 2
