"""One stage of training: AdamW, warm-up and cosine, clipping, mixed precision, accumulation; the best state is kept.

The state that comes in is the first candidate, so that no stage ends worse on the search-dev set than it began.
A stage is a function of its inputs and its seed: batches are looked up by step, the learning rate is computed from the
step, and everything else that moves (weights, optimiser, generators, the best state) is in the checkpoint.
"""

import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from plastsearch.errors import TrialError, out_of_memory
from plastsearch.growth.halving import Halving
from plastsearch.trial.checkpoint import Checkpoints, Snapshot, Stopped, random_state, restore_random_state

UNREAD = 32  # losses that may wait on the device


class Feed(Protocol):
    """Inputs and labels of an optimiser step, the same whenever it is asked for."""

    def batch(self, step: int) -> tuple[Tensor, Tensor]: ...


class Companion(Protocol):
    """What goes along with a stage's training: it adds to each step's loss, acts after the step, and has a state."""

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
    seconds: float = 0.0
    halved: bool = False
    history: list[list[float | None]] = field(default_factory=list)  # step, train loss, EER, dev loss; from step 0 on


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


def make_optimizer(module: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over what learns; vectors (biases, norms) do not decay."""
    learning = [p for p in module.parameters() if p.requires_grad]
    if not learning:
        raise TrialError("nothing learns in this stage: no site has neurons and train.train_head is off")
    groups = [
        {"params": [p for p in learning if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # One kernel for all tensors: the networks here are small, and a step would be spent on starting kernels.
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, fused=True)


def rate(settings: FitSettings, step: int) -> float:
    """Learning rate of a step: linear warm-up, then a half cosine down to a hundredth."""
    warm = max(1, math.ceil(settings.warmup * settings.steps)) if settings.warmup else 0
    if step < warm:
        return settings.lr * (step + 1) / warm
    done = (step - warm) / max(1, settings.steps - warm)
    return settings.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def fit(
    on: FitInputs,
    settings: FitSettings,
    checkpoints: Checkpoints,
    stop: Callable[[], bool],
    incoming: Quality | None = None,
) -> Generator[Progress, None, FitState]:
    """Train for the full count of steps, then put the best state back; yields at every evaluation on the way.

    `incoming`: how good the network is as it comes in, where that is known already.
    """
    # Dropout draws from the global generators. Before a checkpoint is read: that one brings their later state.
    torch.manual_seed(settings.seed)
    optimizer = make_optimizer(on.module, settings.lr, settings.weight_decay)
    state = _resume(on, settings, optimizer, checkpoints)
    evaluations_at = _evaluation_steps(settings)
    began = time.monotonic() - state.seconds
    if state.best is None:  # not resumed: the state that comes in is the first candidate
        _keep_if_best(on, state, incoming or on.evaluate(), None)
    on.to_train_mode()
    while state.step < settings.steps:
        _train_step(on, settings, optimizer, state)
        state.step += 1
        if len(state.unread) >= UNREAD or state.step in evaluations_at:
            _read_losses(settings, state)
        state.seconds = time.monotonic() - began
        if state.step in evaluations_at:
            progress = _evaluate(on, state)
            yield progress
            on.to_train_mode()
            if settings.early_stop and state.stale >= settings.early_stop:
                break
        # After the evaluation, so that what it cost is in the checkpoint. What was asked to stop leaves one whatever it
        # costs; after the last step none is worth it.
        if stop() or (checkpoints.due() and state.step < settings.steps):
            _read_losses(settings, state)
            checkpoints.save(_snapshot(on, optimizer, state))
        if stop():
            raise Stopped
    _restore_best(on.module, state)
    state.seconds = time.monotonic() - began
    return state


def _evaluation_steps(settings: FitSettings) -> set[int]:
    return {math.ceil(settings.steps * k / settings.evaluations) for k in range(1, settings.evaluations + 1)}


def _train_step(on: FitInputs, settings: FitSettings, optimizer: torch.optim.Optimizer, state: FitState) -> None:
    """One optimiser step; its loss stays on the device, or the host would wait for every step."""
    # From the step alone: a scheduler has a state of its own, which a resumed stage would have to restore.
    for group in optimizer.param_groups:
        group["lr"] = rate(settings, state.step)
    inputs, labels = on.feed.batch(state.step)
    loss = _gradients(on, settings, optimizer, state, inputs, labels)
    nn.utils.clip_grad_norm_([p for p in on.module.parameters() if p.requires_grad], settings.clip_norm)
    optimizer.step()
    if on.companion is not None:
        on.companion.after_step(state.step + 1)
    state.unread.append(loss)


def _gradients(
    on: FitInputs,
    settings: FitSettings,
    optimizer: torch.optim.Optimizer,
    state: FitState,
    inputs: Tensor,
    labels: Tensor,
) -> Tensor:
    """Gradients of a batch; short of memory it is begun again in micro-batches half the size, and so on."""
    # Begun again from here, an attempt draws the dropout of the one that failed.
    before = random_state(on.device)
    halving = Halving(state.micro)

    def attempt(micro: int) -> Tensor:
        if micro > state.micro:
            restore_random_state(before, on.device)
        return _accumulate(on, settings, optimizer, micro, inputs, labels)

    try:
        loss = halving(attempt, len(labels))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise TrialError(
            f"out of memory in {settings.stage} at step {state.step + 1}, also with one clip at a time: "
            "shorten data.length_samples, or take a smaller network"
        ) from error
    if halving.parts > state.micro:
        state.halved = True
        state.micro = halving.parts
    return loss


def _accumulate(
    on: FitInputs, settings: FitSettings, optimizer: torch.optim.Optimizer, micro: int, inputs: Tensor, labels: Tensor
) -> Tensor:
    """Gradients of the batch's mean loss; a micro-batch counts by its share of the clips."""
    optimizer.zero_grad(set_to_none=True)  # here rather than after the step: an attempt that failed left gradients
    total = torch.zeros((), device=on.device)
    penalty = on.companion.penalty() if on.companion is not None else None
    if penalty is not None:
        penalty.backward()  # type: ignore[no-untyped-call]
    size = math.ceil(len(labels) / micro)
    for part, target in zip(torch.split(inputs, size), torch.split(labels, size), strict=True):
        with torch.autocast(on.device.type, torch.bfloat16, enabled=settings.bf16):
            logits = on.logits(part)
        loss = on.loss(logits.float(), target) * (len(target) / len(labels))
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def _read_losses(settings: FitSettings, state: FitState) -> None:
    """Sum them on the host; NaN ends the trial, since every weight is NaN after it."""
    # One copy for many steps: reading each loss at its step would make the host wait for the GPU.
    values = torch.stack(state.unread).tolist() if state.unread else []
    state.unread.clear()
    for step, value in enumerate(values, state.step - len(values) + 1):
        if not math.isfinite(value):
            raise TrialError(
                f"the loss became {value} in {settings.stage} at step {step} (learning rate {settings.lr:g}); "
                f"lower train.lr or train.clip_norm"
            )
        state.loss_sum += value
    state.loss_steps += len(values)


def _evaluate(on: FitInputs, state: FitState) -> Progress:
    """Evaluate and keep the state if it is the best so far."""
    quality = on.evaluate()
    state.train_loss = state.loss_sum / max(1, state.loss_steps)
    state.loss_sum = 0.0
    state.loss_steps = 0
    _keep_if_best(on, state, quality, state.train_loss)
    return Progress(state.step, state.train_loss, quality)


def _keep_if_best(on: FitInputs, state: FitState, quality: Quality, train_loss: float | None) -> None:
    if quality.better_than(state.best):
        state.best = quality
        state.best_step = state.step
        state.stale = 0
        state.best_tensors = {name: tensor.detach().clone() for name, tensor in _changing_tensors(on.module).items()}
    else:
        state.stale += 1
    state.history.append([state.step, train_loss, quality.eer, quality.loss])


def _changing_tensors(module: nn.Module) -> dict[str, Tensor]:
    """What training can change: parameters that learn, and buffers."""
    # A frozen base is most of the network: neither the best state nor a checkpoint needs another copy of it.
    fixed = {name for name, p in module.named_parameters() if not p.requires_grad}
    return {name: tensor for name, tensor in module.state_dict().items() if name not in fixed}


def checkpoint_bytes(module: nn.Module) -> int:
    """About what a checkpoint takes: what moves twice (now and at its best), and two moments of what learns."""
    moving = sum(tensor.nbytes for tensor in _changing_tensors(module).values())
    return 2 * moving + 2 * sum(p.nbytes for p in module.parameters() if p.requires_grad)


def _restore_best(module: nn.Module, state: FitState) -> None:
    tensors = _changing_tensors(module)
    with torch.no_grad():
        for name, best in state.best_tensors.items():
            tensors[name].copy_(best)


def _snapshot(on: FitInputs, optimizer: torch.optim.Optimizer, state: FitState) -> Snapshot:
    # Written out in plain values, since a checkpoint is read with weights_only, which knows no classes of ours.
    plain = {name: value for name, value in vars(state).items() if name != "best"}
    best = None if state.best is None else [state.best.eer, state.best.loss, state.best.scores]
    found: Snapshot = {
        "state": plain | {"best": best},
        "moving": _changing_tensors(on.module),
        "optimizer": optimizer.state_dict(),
        "random": random_state(on.device),
    }
    if on.companion is not None:
        found["companion"] = on.companion.state()
    return found


def _resume(
    on: FitInputs, settings: FitSettings, optimizer: torch.optim.Optimizer, checkpoints: Checkpoints
) -> FitState:
    saved = checkpoints.load(on.device)
    if saved is None:
        return FitState(micro=settings.accumulate)
    best = saved["state"].pop("best")
    state = FitState(**saved["state"], best=None if best is None else Quality(*best))
    tensors = _changing_tensors(on.module)
    with torch.no_grad():
        for name, tensor in saved["moving"].items():
            tensors[name].copy_(tensor)
    optimizer.load_state_dict(saved["optimizer"])
    restore_random_state(saved["random"], on.device)
    if on.companion is not None:
        on.companion.load(saved["companion"])
    return state
