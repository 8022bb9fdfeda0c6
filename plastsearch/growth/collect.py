"""One pass over calibration clips that gathers, for each unit of each site, what the criteria need.

Axes: B clips of a batch, N clips in all, P positions (frames, or pixels of a feature map), U units of a site,
W entries of one unit (the width of a head), K outputs of a layer that reads the site.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.growth.paths import at
from plastsearch.growth.site import Site, Slot, Tap

Need = Literal["means", "moments", "frames", "gates", "weights", "readers"]
Batches = Iterable[tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]

FRAMES_PER_CLIP = 8  # for correlations between units: neighbouring frames say little new


@dataclass
class Record:
    """What a pass saw at one site.

    The gate of a recurrent unit scales what leaves the layer, not what the layer reads of its own last state.
    """

    clips: int = 0
    means: list[Tensor] = field(default_factory=list)  # [B, U] each: mean activation of a clip
    frames: list[Tensor] = field(default_factory=list)  # [P, U] each: activations at a few positions of each clip
    readers: dict[str, list[Tensor]] = field(default_factory=dict)  # path → [B, K] each: mean output of a reader
    positions: int = 0
    total: Tensor | float = 0.0  # Σ a, Σ a², over clips and positions
    square: Tensor | float = 0.0
    gate_abs: Tensor | float = 0.0  # Σ_clips |G|, Σ_clips G², with G = Σ_t ∂loss/∂a · a of one clip
    gate_square: Tensor | float = 0.0
    weight_abs: Tensor | float = 0.0  # Σ_batches |Σ_w ∂loss/∂w · w| over the connections that read the unit
    grad_square: Tensor | float = 0.0  # Σ_batches ‖∂loss/∂w‖² / clips, over all connections of the unit

    def clip_means(self) -> Tensor:
        """Mean activation of every clip, [N, U]."""
        return torch.cat(self.means)


def collect(
    module: nn.Module, sites: Mapping[str, Site], needs: frozenset[Need], batches: Batches, loss: Loss
) -> dict[str, Record]:
    """Runs every batch once in eval mode; parameters, gradients and modes are afterwards as they were."""
    gauges = [_Gauge(module, site, needs) for site in sites.values()]
    backward = bool({"gates", "weights"} & needs)
    slots = {id(p): p for g in gauges for _, p in g.parameters()} if "weights" in needs else {}
    with _calm(module, list(slots.values())), _hooked(gauges):
        for inputs, labels in batches:
            with torch.set_grad_enabled(backward):
                output = module(inputs)
                for gauge in gauges:
                    gauge.read(len(inputs))
                if backward:
                    _differentiate(gauges, list(slots.values()), needs, loss(output, labels), len(inputs))
    records = {gauge.site.name: gauge.record for gauge in gauges}
    if any(record.clips == 0 for record in records.values()):
        raise GrowthError("these criteria need calibration clips, and none came")
    return records


def by_unit(tensor: Tensor, slot: Slot | Tap, units: int) -> Tensor:
    """Entries of a tensor sorted by unit, [U, everything else], without those that belong to none."""
    moved = tensor.movedim(slot.dim, 0)[slot.offset : slot.offset + slot.gates * units * slot.width]
    split = moved.reshape(slot.gates, units, slot.width, -1)
    return split.transpose(0, 1).reshape(units, -1)


def split_activations(tensor: Tensor, tap: Tap, units: int) -> Tensor:
    """A tap's tensor as [B, P, U, W]."""
    moved = tensor.movedim(tap.dim, -1).flatten(1, -2)
    used = moved[..., tap.offset : tap.offset + tap.gates * units * tap.width]
    split = used.reshape(*used.shape[:2], tap.gates, units, tap.width)
    return split.transpose(2, 3).flatten(3)


class _Gauge:
    """Hooks at one site, and what they saw."""

    def __init__(self, module: nn.Module, site: Site, needs: frozenset[Need]) -> None:
        self.module, self.site, self.needs = module, site, needs
        self.record = Record()
        self.tapped: Tensor | None = None
        self.outputs: dict[str, Tensor] = {}

    def hook(self) -> Iterator[Any]:
        """Registers the hooks; each can be removed."""
        tap = at(self.module, self.site.tap.module)
        if self.site.tap.end == "input":
            yield tap.register_forward_pre_hook(self._on_input)
        else:
            yield tap.register_forward_hook(self._on_output)
        if "readers" in self.needs:
            for path in {slot.module for slot in self.site.slots if slot.role == "out"}:
                yield at(self.module, path).register_forward_hook(self._on_reader(path))

    def parameters(self) -> list[tuple[Slot, nn.Parameter]]:
        """The site's slots that are parameters, not buffers."""
        pairs = [(slot, getattr(at(self.module, slot.module), slot.tensor)) for slot in self.site.slots]
        return [(slot, tensor) for slot, tensor in pairs if isinstance(tensor, nn.Parameter)]

    @torch.no_grad()
    def read(self, clips: int) -> None:
        """Adds what one forward pass left at the hooks."""
        if self.tapped is None:
            raise GrowthError(f"site '{self.site.name}': its module {self.site.tap.module} did not run in the forward")
        record = self.record
        record.clips += clips
        value_BPUW = split_activations(self.tapped, self.site.tap, self.site.units).double()
        # A unit of several entries, such as a head, is as active as their norm.
        active_BPU = value_BPUW[..., 0] if value_BPUW.shape[-1] == 1 else value_BPUW.norm(dim=-1)
        if "means" in self.needs:
            record.means.append(active_BPU.mean(1).cpu())
        if "moments" in self.needs:
            record.positions += active_BPU.shape[0] * active_BPU.shape[1]
            record.total = record.total + active_BPU.sum((0, 1))
            record.square = record.square + active_BPU.square().sum((0, 1))
        if "frames" in self.needs:
            positions = active_BPU.shape[1]
            some = torch.linspace(0, positions - 1, min(FRAMES_PER_CLIP, positions)).round().long()
            record.frames.append(active_BPU[:, some.to(active_BPU.device)].flatten(0, 1).cpu())
        for path, output in self.outputs.items():
            record.readers.setdefault(path, []).append(output.cpu())

    def add_gates(self, gradient: Tensor | None) -> None:
        """Adds each clip's gradient of a gate on the unit: Σ over positions and entries of gradient × activation."""
        assert self.tapped is not None
        value_BPUW = split_activations(self.tapped.detach(), self.site.tap, self.site.units).double()
        if gradient is None:
            gate_BU = value_BPUW.new_zeros(value_BPUW.shape[0], self.site.units)
        else:
            slope_BPUW = split_activations(gradient, self.site.tap, self.site.units).double()
            gate_BU = (slope_BPUW * value_BPUW).sum((1, 3))
        self.record.gate_abs = self.record.gate_abs + gate_BU.abs().sum(0)
        self.record.gate_square = self.record.gate_square + gate_BU.square().sum(0)

    def add_weights(self, gradients: Mapping[int, Tensor], clips: int) -> None:
        """Adds one batch's gradients of the site's connections."""
        units = self.site.units
        signed = square = torch.zeros(units, dtype=torch.float64, device=self.parameters()[0][1].device)
        for slot, parameter in self.parameters():
            gradient = gradients.get(id(parameter))
            if gradient is None:
                continue
            slope = by_unit(gradient.double(), slot, units)
            square = square + slope.square().sum(1)
            if slot.role in ("out", "recurrent"):
                signed = signed + (slope * by_unit(parameter.detach().double(), slot, units)).sum(1)
        self.record.weight_abs = self.record.weight_abs + signed.abs()
        self.record.grad_square = self.record.grad_square + square / clips

    def _on_input(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.tapped = _differentiable(args[0])
        return (self.tapped, *args[1:])

    def _on_output(self, _: nn.Module, __: Any, output: Any) -> Any:
        first, *rest = output if isinstance(output, tuple) else (output,)
        self.tapped = _differentiable(first)
        return (self.tapped, *rest) if isinstance(output, tuple) else self.tapped

    def _on_reader(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(layer: nn.Module, _: Any, output: Any) -> None:
            value = (output[0] if isinstance(output, tuple) else output).detach().double()
            last = value.movedim(1, -1) if isinstance(layer, nn.Conv2d) else value
            self.outputs[path] = last.flatten(1, -2).mean(1) if last.dim() > 2 else last

        return keep


def _differentiable(value: Tensor) -> Tensor:
    """The tensor itself, or where nothing below it learns, a leaf that takes a gradient."""
    if not torch.is_grad_enabled() or value.requires_grad:
        return value
    return value.detach().requires_grad_(True)


def _differentiate(
    gauges: list[_Gauge], parameters: list[Tensor], needs: frozenset[Need], losses: Tensor, clips: int
) -> None:
    if losses.shape != (clips,):
        raise GrowthError(
            f"the loss for criteria must give one value per clip ({clips}), not shape {tuple(losses.shape)}"
        )
    taps = [gauge.tapped for gauge in gauges if gauge.tapped is not None] if "gates" in needs else []
    found = torch.autograd.grad(losses.sum(), [*taps, *parameters], allow_unused=True)
    for gauge, gradient in zip(gauges, found[: len(taps)], strict=False):
        gauge.add_gates(gradient)
    if "weights" in needs:
        pairs = zip(parameters, found[len(taps) :], strict=True)
        gradients = {id(parameter): gradient for parameter, gradient in pairs if gradient is not None}
        for gauge in gauges:
            gauge.add_weights(gradients, clips)


@contextmanager
def _hooked(gauges: list[_Gauge]) -> Iterator[None]:
    handles = [handle for gauge in gauges for handle in gauge.hook()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _calm(module: nn.Module, learning: list[Any]) -> Iterator[None]:
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
        for parameter in learning:
            parameter.requires_grad_(True)
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)
