"""One stage of training: AdamW, warm-up and cosine, clipping, mixed precision, accumulation; the best state is kept.

The state that comes in is the first candidate, so that no stage ends worse on the search-dev set than it began.
A stage is a function of its inputs and its seed: batches are looked up by step, the learning rate is computed from the
step, and everything else that moves (weights, optimiser, generators, the best state) is in the checkpoint.
"""

import math
import time
from collections.abc import Callable, Generator, Mapping
from typing import TypedDict

import torch
from torch import Tensor, nn

from plastsearch.errors import TrialError, out_of_memory
from plastsearch.growth.halving import Halving
from plastsearch.training.checkpoint import Checkpoints, Stopped, random_state, restore_random_state
from plastsearch.training.newborns import Standing
from plastsearch.training.state import (
    FitInputs,
    FitSettings,
    FitState,
    Progress,
    Quality,
    average_best,
    changing_tensors,
    keep_runner_up,
    restore_best,
    resume,
    snapshot,
)

UNREAD = 32  # losses that may wait on the device


class _Group(TypedDict):
    """Parameters that learn alike, as torch's optimisers take them."""

    params: list[nn.Parameter]
    weight_decay: float
    factor: float


def make_optimizer(
    module: nn.Module, lr: float, weight_decay: float, factors: Mapping[str, float] | None = None
) -> torch.optim.AdamW:
    """AdamW over what learns; vectors (biases, norms) do not decay. `factors`: of the learning rate, by name."""
    groups: dict[tuple[float, bool], _Group] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            factor, vector = (factors or {}).get(name, 1.0), parameter.dim() <= 1
            made: _Group = {"params": [], "weight_decay": 0.0 if vector else weight_decay, "factor": factor}
            groups.setdefault((-factor, vector), made)["params"].append(parameter)
    if not groups:
        raise TrialError("nothing learns in this stage: no site has neurons and train.train_head is off")
    # One kernel for all tensors: the networks here are small, and a step would be spent on starting kernels.
    return torch.optim.AdamW([dict(groups[key]) for key in sorted(groups)], lr=lr, fused=True)


def rate(settings: FitSettings, step: int) -> float:
    """Learning rate of a step: linear warm-up, then a half cosine down to a hundredth; parts share one schedule."""
    whole = settings.whole or settings.steps
    warm = max(1, math.ceil(settings.warmup * whole)) if settings.warmup else 0
    at = settings.before + step
    if at < warm:
        return settings.lr * (at + 1) / warm
    done = (at - warm) / max(1, whole - warm)
    lr = settings.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
    # A later part begins with a new optimiser, whose first steps are as long as the rate allows: they are eased in.
    return lr * min(1.0, (step + 1) / warm) if settings.before and warm else lr


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
    optimizer = make_optimizer(on.module, settings.lr, settings.weight_decay, on.factors)
    if on.companion is not None:
        on.companion.begin(optimizer)
    state = resume(on, settings, optimizer, checkpoints)
    evaluations_at = _evaluation_steps(settings)
    began = time.monotonic() - state.seconds
    if state.best is None:  # not resumed: the state that comes in is the first candidate
        _keep_if_best(on, settings, state, incoming or on.evaluate(), None)
        _watch(on, state)
    on.to_train_mode()
    while state.step < settings.steps:
        _train_step(on, settings, optimizer, state)
        state.step += 1
        if len(state.unread) >= UNREAD or state.step in evaluations_at:
            _read_losses(settings, state)
        state.seconds = time.monotonic() - began
        if state.step in evaluations_at:
            progress = _evaluate(on, settings, state)
            yield progress
            on.to_train_mode()
            if settings.early_stop and state.stale >= settings.early_stop:
                break
        # After the evaluation, so that what it cost is in the checkpoint. What was asked to stop leaves one whatever it
        # costs; after the last step none is worth it.
        if stop() or (checkpoints.due() and state.step < settings.steps):
            _read_losses(settings, state)
            checkpoints.save(snapshot(on, optimizer, state))
        if stop():
            raise Stopped
    average_best(on, state)
    restore_best(on.module, state)
    state.seconds = time.monotonic() - began
    return state


def _evaluation_steps(settings: FitSettings) -> set[int]:
    return {math.ceil(settings.steps * k / settings.evaluations) for k in range(1, settings.evaluations + 1)}


def _train_step(on: FitInputs, settings: FitSettings, optimizer: torch.optim.Optimizer, state: FitState) -> None:
    """One optimiser step; its loss stays on the device, or the host would wait for every step."""
    # From the step alone: a scheduler has a state of its own, which a resumed stage would have to restore.
    for group in optimizer.param_groups:
        group["lr"] = rate(settings, state.step) * group.get("factor", 1.0)  # older checkpoints have none
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


def _evaluate(on: FitInputs, settings: FitSettings, state: FitState) -> Progress:
    """Evaluate and keep the state if it is the best so far."""
    quality = on.evaluate()
    state.train_loss = state.loss_sum / max(1, state.loss_steps)
    state.loss_sum = 0.0
    state.loss_steps = 0
    _keep_if_best(on, settings, state, quality, state.train_loss)
    return Progress(state.step, state.train_loss, quality, _watch(on, state))


def _watch(on: FitInputs, state: FitState) -> Mapping[str, Standing]:
    """Note how newborns stand, where there are some."""
    if on.newborns is None:
        return {}
    began = time.monotonic()
    found = on.newborns()
    state.newborns.append({"step": state.step, "sites": {name: {**vars(one)} for name, one in found.items()}})
    state.watched_s += time.monotonic() - began
    return found


def _keep_if_best(
    on: FitInputs, settings: FitSettings, state: FitState, quality: Quality, train_loss: float | None
) -> None:
    if settings.average_best > 1 and state.step:  # what came in was trained by another stage
        keep_runner_up(on, settings.average_best, state, quality)
    if quality.better_than(state.best):
        state.best = quality
        state.best_step = state.step
        state.stale = 0
        state.best_tensors = {name: tensor.detach().clone() for name, tensor in changing_tensors(on.module).items()}
    else:
        state.stale += 1
    state.history.append([state.step, train_loss, quality.eer, quality.loss])
