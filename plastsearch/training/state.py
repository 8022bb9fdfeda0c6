"""What a stage of training is given, all that moves while it runs, and that in a checkpoint and back."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

import torch
from torch import Tensor, nn

from plastsearch.growth.optimizer import load_state_
from plastsearch.training.checkpoint import Checkpoints, Snapshot, random_state, restore_random_state
from plastsearch.training.newborns import Standing


class Feed(Protocol):
    """Inputs and labels of an optimiser step, the same whenever it is asked for."""

    def batch(self, step: int) -> tuple[Tensor, Tensor]: ...


class Companion(Protocol):
    """What goes along with a stage's training: it adds to each step's loss, acts after the step, and has a state."""

    def begin(self, optimizer: torch.optim.Optimizer) -> None: ...
    def penalty(self) -> Tensor | None: ...
    def after_step(self, step: int) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def load(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class FitSettings:
    """How a stage trains."""

    stage: str
    steps: int
    lr: float
    warmup: float
    weight_decay: float
    clip_norm: float
    accumulate: int
    evaluations: int
    early_stop: int
    bf16: bool
    seed: int
    before: int = 0  # steps of the same schedule that an earlier part took
    whole: int | None = None  # steps of the schedule; None: those of this stage
    average_best: int = 1  # states whose mean may be what the stage ends with


@dataclass(frozen=True)
class Quality:
    """How good a state is on the search-dev set; the loss decides between equal error rates."""

    eer: float
    loss: float
    scores: Tensor | None = None  # of every clip, so that the best state need not be scored again

    def better_than(self, other: "Quality | None") -> bool:
        return other is None or (self.eer, self.loss) < (other.eer, other.loss)


@dataclass(frozen=True)
class Progress:
    """One evaluation: the step it was made after, the training loss since the last one, the dev set's answer."""

    step: int
    train_loss: float
    quality: Quality
    newborns: Mapping[str, Standing] = field(default_factory=dict)  # by site


class RunnerUp(TypedDict):
    """One of the best states of a stage, in plain values, since checkpoints know no classes of ours."""

    eer: float
    loss: float
    tensors: dict[str, Tensor]


@dataclass
class FitState:
    """All that moves while a stage trains, beside weights, optimiser and generators."""

    step: int = 0
    micro: int = 1  # micro-batches per step; doubled when memory runs out
    loss_sum: float = 0.0
    loss_steps: int = 0
    unread: list[Tensor] = field(default_factory=list)  # losses of the last steps, left where they were computed
    train_loss: float = math.nan
    best_step: int = 0
    best: Quality | None = None
    best_tensors: dict[str, Tensor] = field(default_factory=dict)
    stale: int = 0
    runners_up: list[RunnerUp] = field(default_factory=list)  # the best states so far, best first; for their mean
    averaged: int | None = None  # states whose mean the stage ended with; None: it ended with one of them
    seconds: float = 0.0
    halved: bool = False
    history: list[list[float | None]] = field(default_factory=list)  # step, train loss, EER, dev loss; from step 0 on
    newborns: list[dict[str, Any]] = field(default_factory=list)  # how they stood at each of these steps, by site
    watched_s: float = 0.0  # of `seconds`, to find that out


@dataclass(frozen=True)
class FitInputs:
    """The network and what a step does with it."""

    module: nn.Module
    logits: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]  # mean over the micro-batch
    feed: Feed
    evaluate: Callable[[], Quality]
    to_train_mode: Callable[[], None]
    device: torch.device
    companion: Companion | None = None
    factors: Mapping[str, float] = field(default_factory=dict)  # of the learning rate, by parameter
    newborns: Callable[[], Mapping[str, Standing]] | None = None  # asked at every evaluation; changes nothing


def changing_tensors(module: nn.Module) -> dict[str, Tensor]:
    """What training can change: parameters that learn, and buffers."""
    # A frozen base is most of the network: neither the best state nor a checkpoint needs another copy of it.
    fixed = {name for name, p in module.named_parameters() if not p.requires_grad}
    return {name: tensor for name, tensor in module.state_dict().items() if name not in fixed}


def checkpoint_bytes(module: nn.Module, kept: int = 1) -> int:
    """About what a checkpoint takes: what moves, now and at its best `kept` times, and two moments of what learns."""
    moving = sum(tensor.nbytes for tensor in changing_tensors(module).values())
    return (1 + kept + (kept > 1)) * moving + 2 * sum(p.nbytes for p in module.parameters() if p.requires_grad)


def restore_best(module: nn.Module, state: FitState) -> None:
    """Put the best state back."""
    tensors = changing_tensors(module)
    with torch.no_grad():
        for name, best in state.best_tensors.items():
            tensors[name].copy_(best)


def keep_runner_up(on: FitInputs, count: int, state: FitState, quality: Quality) -> None:
    """Keep this state if it is one of the best `count`; on the host, since a GPU has other things to hold."""
    runners = state.runners_up
    place = sum((other["eer"], other["loss"]) <= (quality.eer, quality.loss) for other in runners)
    if place < count:
        tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in changing_tensors(on.module).items()}
        runners.insert(place, {"eer": quality.eer, "loss": quality.loss, "tensors": tensors})
        del runners[count:]


def average_best(on: FitInputs, state: FitState) -> None:
    """Put the mean of the best states in the place of the best one, where it is better on search-dev."""
    if len(state.runners_up) < 2:
        return
    every = [runner["tensors"] for runner in state.runners_up]
    # Whole numbers (how many batches a norm has seen) have no mean that means anything: the best state's stay.
    mean = {
        name: torch.stack([one[name] for one in every]).mean(0) if best.is_floating_point() else best
        for name, best in every[0].items()
    }
    tensors = changing_tensors(on.module)
    with torch.no_grad():
        for name, value in mean.items():
            tensors[name].copy_(value)
    quality = on.evaluate()
    if quality.better_than(state.best):
        state.best = quality
        state.averaged = len(every)
        state.best_tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}


def snapshot(on: FitInputs, optimizer: torch.optim.Optimizer, state: FitState) -> Snapshot:
    """All that moves, as a checkpoint keeps it."""
    # Written out in plain values, since a checkpoint is read with weights_only, which knows no classes of ours.
    plain = {name: value for name, value in vars(state).items() if name != "best"}
    best = None if state.best is None else [state.best.eer, state.best.loss, state.best.scores]
    found: Snapshot = {
        "state": plain | {"best": best},
        "moving": changing_tensors(on.module),
        "optimizer": optimizer.state_dict(),
        "random": random_state(on.device),
    }
    if on.companion is not None:
        found["companion"] = on.companion.state()
    return found


def resume(
    on: FitInputs, settings: FitSettings, optimizer: torch.optim.Optimizer, checkpoints: Checkpoints
) -> FitState:
    """The state of the last checkpoint, with everything that moves put back; without one, a fresh state."""
    saved = checkpoints.load(on.device)
    if saved is None:
        return FitState(micro=settings.accumulate)
    best = saved["state"].pop("best")
    state = FitState(**saved["state"], best=None if best is None else Quality(*best))
    tensors = changing_tensors(on.module)
    with torch.no_grad():
        for name, tensor in saved["moving"].items():
            tensors[name].copy_(tensor)
    load_state_(optimizer, saved["optimizer"])
    restore_random_state(saved["random"], on.device)
    if on.companion is not None:
        on.companion.load(saved["companion"])
    return state
