"""Forward, backward and optimiser times of a training step, and their ratio to a reference step.

The two steps are timed in turn, A B A B, in one process, so that a machine's load falls on both alike. On CPUs the
clock is the CPU time of this thread (with one intra-op thread), on GPUs it is events on the stream; what else runs on
the machine then disturbs caches and clocks only. Trials of one node take turns by a lock of the node.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from plastsearch.lock import hold
from plastsearch.private_folder import private_folder
from plastsearch.trial.device import physical_name

# Laps that scatter get more rounds: until the ratio is known to this, up to MORE times as many, for MORE_S CPU seconds.
ENOUGH = 0.01
MORE = 4
MORE_S = 2.5
PATIENCE_S = 900.0  # with one holder of the turn: no timing takes that long, so it hangs and disturbs nobody


@dataclass(frozen=True)
class StepUnderTest:
    """A training step in three parts; `forward` returns the loss."""

    forward: Callable[[], Tensor]
    optimizer: torch.optim.Optimizer | None  # None: nothing learns

    def zero(self) -> None:
        if self.optimizer is not None:
            self.optimizer.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class Timing:
    """Medians in milliseconds over the rounds, ratios to the reference, and the spread of the backward times."""

    rounds: int

    forward_ms: float
    backward_ms: float
    optimizer_ms: float
    backward_ratio: float  # mean of the lower half of this step's backward times / of the reference's
    step_ratio: float
    backward_cv: float  # standard deviation / mean of the middle nine tenths

    def metrics(self) -> dict[str, float]:
        return {
            "forward_ms": self.forward_ms, "backward_ms": self.backward_ms, "optimizer_ms": self.optimizer_ms,
            "backward_ratio": self.backward_ratio, "step_ratio": self.step_ratio, "backward_cv": self.backward_cv,
        }  # fmt: skip


Lap = tuple[float, float, float]


def interleave(step: StepUnderTest, reference: StepUnderTest, rounds: int, device: torch.device) -> Timing:
    """Time both steps in turn, after a warm-up of both, for `rounds` rounds or more."""
    with _one_thread(device):
        for _ in range(2):
            _lap(step, device)
            _lap(reference, device)
        pairs: list[tuple[Lap, Lap]] = []
        until = time.thread_time() + MORE_S  # own time: on a crowded machine rounds take longer, and need to be as many
        while len(pairs) < rounds or (
            len(pairs) < MORE * rounds and time.thread_time() < until and _uncertainty(pairs) > ENOUGH
        ):
            if len(pairs) % 2:  # who goes first changes: the second finds warmer or fuller caches
                other = _lap(reference, device)
                pairs.append((_lap(step, device), other))
            else:
                mine = _lap(step, device)
                pairs.append((mine, _lap(reference, device)))
    return _summary(pairs)


def _summary(pairs: list[tuple[Lap, Lap]]) -> Timing:
    """Ratios compare lower halves: a disturbance only ever lengthens a lap, so the lower part repeats best.

    Measured on 320 rounds of each of three small networks at a load of 14 on two cores, cut into windows of 40: largest
    deviation of the ratio 6 % with means of lower halves, 8 % with lower quartiles, 7 % with medians, 7 % with medians
    of the ratios of rounds, 15 % with minima or with the rounds that were interrupted least.
    """
    median = statistics.median
    backwards = sorted(mine[1] for mine, _ in pairs)
    cut = len(backwards) // 20
    middle = backwards[cut : len(backwards) - cut]
    mean = statistics.fmean(middle)
    return Timing(
        rounds=len(pairs),
        forward_ms=median(mine[0] for mine, _ in pairs),
        backward_ms=median(backwards),
        optimizer_ms=median(mine[2] for mine, _ in pairs),
        backward_ratio=_lower_half(backwards) / _lower_half(other[1] for _, other in pairs),
        step_ratio=_lower_half(sum(mine) for mine, _ in pairs) / _lower_half(sum(other) for _, other in pairs),
        backward_cv=statistics.pstdev(middle) / mean if mean else 0.0,
    )


def _lower_half(values: Iterable[float]) -> float:
    """Mean of the smaller half, the middle one included."""
    ordered = sorted(values)
    return statistics.fmean(ordered[: (len(ordered) + 1) // 2])


def _uncertainty(pairs: list[tuple[Lap, Lap]]) -> float:
    """About the standard error of the ratio, relative, from the interquartile ranges of both backward times."""
    squares = 0.0
    for side in (0, 1):
        low, middle, high = statistics.quantiles((pair[side][1] for pair in pairs), n=4, method="inclusive")
        squares += ((high - low) / middle) ** 2 if middle else 0.0
    return math.sqrt(squares / len(pairs))


def _lap(step: StepUnderTest, device: torch.device) -> Lap:
    """One step: milliseconds of forward, backward and optimiser."""
    step.zero()
    clock = _Stream(device) if device.type == "cuda" else _Thread()
    clock.mark()
    loss = step.forward()
    clock.mark()
    if loss.requires_grad:  # not where nothing learns, as in a network whose head is frozen too
        loss.backward()  # type: ignore[no-untyped-call]
    clock.mark()
    if step.optimizer is not None:
        step.optimizer.step()
    clock.mark()
    forward, backward, update = clock.laps()
    return forward, backward, update


class _Thread:
    """CPU time of the calling thread; autograd runs a CPU graph's backward in the thread that asks for it."""

    def __init__(self) -> None:
        self.marks: list[int] = []

    def mark(self) -> None:
        self.marks.append(time.thread_time_ns())

    def laps(self) -> list[float]:
        return [(b - a) / 1e6 for a, b in zip(self.marks, self.marks[1:], strict=False)]


class _Stream:
    """Events on the device's own stream, read after one synchronisation at the end."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: list[torch.cuda.Event] = []

    def mark(self) -> None:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        self.marks.append(event)

    def laps(self) -> list[float]:
        torch.cuda.synchronize(self.device)
        return [a.elapsed_time(b) for a, b in zip(self.marks, self.marks[1:], strict=False)]


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """The thread clock sees one thread, so only one may compute."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)  # the context is left again before anything else is computed
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Turn:
    """How a timing came to its turn."""

    waited_s: float
    alone: bool = True  # False: its turn never came, since one process did not give it back


@contextmanager
def turn(device: torch.device, exclusive: bool, while_waiting: Callable[[], None] = lambda: None) -> Iterator[Turn]:
    """This node's turn to time; `while_waiting` is called again and again and may raise to leave."""
    if not exclusive:
        yield Turn(0.0)
        return
    path = private_folder() / lock_name(device)
    begin = time.monotonic()
    with ExitStack() as until_done:
        try:
            until_done.enter_context(hold(path, "timing", while_waiting=_Patience(path, while_waiting).look))
        except _HangsError:
            alone = False
        else:
            alone = True
        yield Turn(time.monotonic() - begin, alone)


def lock_name(device: torch.device) -> str:
    """The name of the lock by which trials on one device of a node take turns."""
    return f"timing-{physical_name(device)}"


class _HangsError(Exception):
    """One process has held the turn for too long."""


class _Patience:
    """Gives up waiting when one process holds the turn for longer than PATIENCE_S; each holder has all of that time."""

    def __init__(self, path: Path, while_waiting: Callable[[], None]) -> None:
        self._path = path
        self._while_waiting = while_waiting
        self._holder = ""
        self._since = time.monotonic()

    def look(self) -> None:
        self._while_waiting()
        holder = self._path.read_text()  # whoever takes the turn writes there who it is
        if holder != self._holder:
            self._holder = holder
            self._since = time.monotonic()
        elif time.monotonic() - self._since > PATIENCE_S:
            raise _HangsError


def saved_bytes(step: StepUnderTest, module: nn.Module) -> int:
    """Bytes autograd keeps between forward and backward beside the weights, each storage counted once."""
    seen: dict[int, int] = {}
    weights = {tensor.untyped_storage().data_ptr() for tensor in module.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    step.zero()
    # By storage, since views share one, and what several layers keep of one tensor is there once.
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = step.forward()
    del loss  # kept until here: a freed storage's address is given away again
    return sum(size for pointer, size in seen.items() if pointer not in weights)
