"""One pass over calibration clips that gathers, for each unit of each site, what the criteria need.

What is kept of it, and how, is in growth/gauge.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.growth.gauge import Gauge, Need, Record
from plastsearch.growth.halving import Halving
from plastsearch.growth.site import Site

Batches = Iterable[tuple[object, Tensor]]  # what the network is called with, and one label for each clip
Loss = Callable[[Tensor, Tensor], Tensor]


def collect(
    module: nn.Module, sites: Mapping[str, Site], needs: frozenset[Need], batches: Batches, loss: Loss
) -> dict[str, Record]:
    """Runs every batch once in eval mode; parameters, gradients and modes are afterwards as they were.

    A batch that does not fit into memory is taken in parts; its gradients are summed before anything is made of them,
    so that what is recorded is the same.
    """
    gauges = [Gauge(module, site, needs) for site in sites.values()]
    backward = bool({"gates", "weights"} & needs)
    slots = {id(p): p for g in gauges for _, p in g.parameters()} if "weights" in needs else {}
    parameters: list[Tensor] = list(slots.values())
    halving = Halving()

    def measure(inputs: object, labels: Tensor, parts: int) -> None:
        before = [gauge.record.copy() for gauge in gauges]
        sums: dict[int, Tensor] = {}
        try:
            for some, theirs in _split(inputs, labels, parts):
                clips = len(theirs)
                for gauge in gauges:
                    gauge.begin(clips)
                with torch.set_grad_enabled(backward):
                    output = module(some)
                    for gauge in gauges:
                        gauge.read()
                    if backward:
                        found = _differentiate(gauges, parameters, needs, loss(output, theirs), clips)
                        sums = {key: sums[key] + one if key in sums else one for key, one in found.items()}
            if "weights" in needs:
                for gauge in gauges:
                    gauge.add_weights(sums, len(labels))
        except (RuntimeError, MemoryError):
            for gauge, record in zip(gauges, before, strict=True):
                gauge.forget(record)
            raise

    with eval_mode(module, parameters), _hooked(gauges):
        for inputs, labels in batches:
            # What is no plain tensor, such as a packed sequence, has no parts.
            halving(partial(measure, inputs, labels), len(labels) if isinstance(inputs, Tensor) else 1)
    records = {gauge.site.name: gauge.record for gauge in gauges}
    if any(record.clips == 0 for record in records.values()):
        raise GrowthError("these criteria need calibration clips, and none came")
    return records


def _split(inputs: object, labels: Tensor, parts: int) -> Iterator[tuple[object, Tensor]]:
    """A batch whole, or in parts of some clips each."""
    if parts == 1 or not isinstance(inputs, Tensor):
        yield inputs, labels
    else:
        yield from zip(inputs.chunk(parts), labels.chunk(parts), strict=True)


def _differentiate(
    gauges: list[Gauge], parameters: list[Tensor], needs: frozenset[Need], losses: Tensor, clips: int
) -> dict[int, Tensor]:
    """Adds the gates' gradients; returns those of the parameters."""
    if losses.shape != (clips,):
        raise GrowthError(
            f"the loss for criteria must give one value per clip ({clips}), not shape {tuple(losses.shape)}"
        )
    taps = [tensor for gauge in gauges for tensor in gauge.tapped] if "gates" in needs else []
    for gauge in gauges if taps else ():
        if not all(tensor.requires_grad for tensor in gauge.tapped):
            raise GrowthError(
                f"site '{gauge.site.name}' runs under torch.no_grad within the network's forward, so no gradient "
                "tells what its neurons are worth; take a criterion without gradients, such as entropy or magnitude"
            )
    found = torch.autograd.grad(losses.sum(), [*taps, *parameters], allow_unused=True)
    if taps:
        left = iter(found)
        for gauge in gauges:
            gauge.add_gates([next(left) for _ in gauge.tapped])
    pairs = zip(parameters, found[len(taps) :], strict=True)
    return {id(parameter): gradient for parameter, gradient in pairs if gradient is not None}


@contextmanager
def _hooked(gauges: list[Gauge]) -> Iterator[None]:
    handles = [handle for gauge in gauges for handle in gauge.hook()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def eval_mode(module: nn.Module, learning: list[Tensor]) -> Iterator[None]:
    """Eval mode, with gradients for the given parameters alone."""
    modes = [(part, part.training) for part in module.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        module.eval()
        for part in module.modules():
            if isinstance(part, nn.RNNBase) and part.dropout == 0:
                part.train()  # cuDNN differentiates recurrent layers in train mode only
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        for learned in learning:
            learned.requires_grad_(True)
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)
