"""Hooks at one site of a network that is run on calibration clips, and the sums of what they saw.

Which rows of an activation are which clip's is said in growth/clips.py; the runs themselves are in growth/collect.py.

Axes: B clips of a batch, N clips in all, P positions (frames, or pixels of a feature map), U units of a site,
W entries of one unit (the width of a head), F features, K outputs of a layer that reads the site.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.growth.clips import ClipRows, clips_first, last_state, reader, recurrent
from plastsearch.growth.paths import at
from plastsearch.growth.recurrent.cells import RECURRENT, Frames, cell_of, data_of, with_data
from plastsearch.growth.site import Site, Slot, Tap

Need = Literal["means", "moments", "frames", "gates", "weights", "readers"]

FRAMES_PER_CLIP = 8  # for correlations between units: neighbouring frames say little new


@dataclass
class Record:
    """What a pass saw at one site.

    The gate of a recurrent unit scales what leaves the layer (frames and last state), not what the layer reads of its
    own last state. A layer that runs several times in a forward has one gate and the positions of all its runs.
    """

    clips: int = 0
    means: list[Tensor] = field(default_factory=list)  # [B, U] each: mean activation of a clip
    frames: list[Tensor] = field(default_factory=list)  # [P, U] each: activations at a few positions of each clip
    readers: dict[str, list[Tensor]] = field(default_factory=dict)  # path → [B, K] each: mean output of a reader
    positions: int = 0
    origin: Tensor | None = None  # an activation of each unit, from which the sums count: a constant then varies by 0
    total: Tensor | float = 0.0  # Σ a, Σ a², over clips and positions
    square: Tensor | float = 0.0
    gate_abs: Tensor | float = 0.0  # Σ_clips |G|, Σ_clips G², with G = Σ_t ∂loss/∂a · a of one clip
    gate_square: Tensor | float = 0.0
    weight_abs: Tensor | float = 0.0  # Σ_batches |Σ_w ∂loss/∂w · w| over the connections that read the unit
    grad_square: Tensor | float = 0.0  # Σ_batches ‖∂loss/∂w‖² / clips, over all connections of the unit

    def copy(self) -> "Record":
        """As it is now: lists go on growing, tensors are replaced."""
        return replace(
            self, means=list(self.means), frames=list(self.frames),
            readers={path: list(outputs) for path, outputs in self.readers.items()},
        )  # fmt: skip

    def clip_means(self) -> Tensor:
        """Mean activation of every clip, [N, U]."""
        return torch.cat(self.means)


def by_unit(tensor: Tensor, slot: Slot | Tap, units: int) -> Tensor:
    """Entries of a tensor sorted by unit, [U, everything else], without those that belong to none."""
    moved = tensor.movedim(slot.dim, 0)[slot.offset : slot.offset + slot.gates * units * slot.width]
    split = moved.reshape(slot.gates, units, slot.width, -1)
    return split.transpose(0, 1).reshape(units, -1)


def split_activations(tensor: Tensor, tap: Tap, units: int) -> Tensor:
    """A tap's tensor of clips first as [B, P, U, W]."""
    return _split(clips_first(tap.dim, tap.steps).spread(tensor), tap, units)


def _split(value_BPF: Tensor, tap: Tap, units: int) -> Tensor:
    used = value_BPF[..., tap.offset : tap.offset + tap.gates * units * tap.width]
    split = used.reshape(*used.shape[:2], tap.gates, units, tap.width)
    return split.transpose(2, 3).flatten(3)


@dataclass(frozen=True)
class _Leaving:
    """A tensor that left a site in one run of its module, and how it lies."""

    tensor: Tensor
    layout: ClipRows
    state: bool = False  # a recurrent layer's last state: its last frame again


class Gauge:
    """Hooks at one site, and what they saw of one batch."""

    def __init__(self, module: nn.Module, site: Site, needs: frozenset[Need]) -> None:
        self.module = module
        self.site = site
        self.needs = needs
        self.record = Record()
        self.clips = 0
        self.leaving: list[_Leaving] = []
        self.outputs: dict[str, list[Frames]] = {}

    def begin(self, clips: int) -> None:
        """Forgets what the hooks saw of the last batch, before one of `clips` clips."""
        self.clips = clips
        self.leaving = []
        self.outputs = {}

    def forget(self, record: Record) -> None:
        """Goes back to an earlier record, and lets go of what an interrupted pass left at the hooks."""
        self.record = record
        self.begin(0)

    @property
    def tapped(self) -> list[Tensor]:
        """All that left the site, each tensor once."""
        return [leaving.tensor for leaving in self.leaving]

    def hook(self) -> Iterator[Any]:
        """Registers the hooks; each can be removed."""
        tap = at(self.module, self.site.tap.module)
        if self.site.tap.end == "input":
            yield tap.register_forward_pre_hook(self._on_input)
        else:
            yield tap.register_forward_hook(self._on_output)
        if "readers" in self.needs:
            for path in self.readers():
                yield at(self.module, path).register_forward_hook(self._on_reader(path))

    def readers(self) -> list[str]:
        """Paths of the layers that read the site."""
        return list(dict.fromkeys(slot.module for slot in self.site.slots if slot.role == "out"))

    def parameters(self) -> list[tuple[Slot, nn.Parameter]]:
        """The site's slots that are parameters, not buffers."""
        pairs = [(slot, getattr(at(self.module, slot.module), slot.tensor)) for slot in self.site.slots]
        return [(slot, tensor) for slot, tensor in pairs if isinstance(tensor, nn.Parameter)]

    @torch.no_grad()
    def read(self) -> None:
        """Adds what one forward pass left at the hooks."""
        record = self.record
        clips = self.clips
        record.clips += clips
        sums_BU: Tensor | float = 0.0
        counts_B: Tensor | float = 0
        for run in self._runs():
            value_BPUW = self._by_clip(run.tensor, run.layout)
            # A unit of several entries, such as a head, is as active as their norm.
            active_BPU = value_BPUW[..., 0] if value_BPUW.shape[-1] == 1 else value_BPUW.norm(dim=-1)
            count_B = run.layout.counts(active_BPU)
            sums_BU = sums_BU + active_BPU.sum(1)
            counts_B = counts_B + count_B
            if "moments" in self.needs:
                self._add_moments(active_BPU, run.layout.valid(active_BPU)[..., None])
            if "frames" in self.needs:
                record.frames.append(_some(active_BPU, count_B).cpu())
        if not isinstance(sums_BU, Tensor) or not isinstance(counts_B, Tensor):
            raise GrowthError(f"site '{self.site.name}': its module {self.site.tap.module} did not run in the forward")
        if "means" in self.needs:
            record.means.append((sums_BU / counts_B[:, None]).cpu())
        if "readers" in self.needs:
            for path in self.readers():
                record.readers.setdefault(path, []).append(self._read_by(path).cpu())

    def _runs(self) -> list[_Leaving]:
        """The activations of each run of the module."""
        return [leaving for leaving in self.leaving if not leaving.state]

    def _by_clip(self, tensor: Tensor, layout: ClipRows) -> Tensor:
        """A tensor of the site as [B, P, U, W], if its rows are this batch's clips."""
        value_BPF = layout.spread(tensor.detach()).double()
        self._expect_clips(value_BPF, self.site.tap.module)
        return _split(value_BPF, self.site.tap, self.site.units)

    def _expect_clips(self, value_BPF: Tensor, path: str) -> None:
        if value_BPF.shape[0] != self.clips:
            raise GrowthError(
                f"site '{self.site.name}': {path} saw {value_BPF.shape[0]} rows for {self.clips} clips, so scores per "
                "clip cannot be told; the first axis must be the clips (for recurrent layers, what batch_first says)"
            )

    def _add_moments(self, active_BPU: Tensor, valid_BP1: Tensor) -> None:
        record = self.record
        if record.origin is None:
            record.origin = active_BPU[0, 0].clone()
        moved_BPU = (active_BPU - record.origin) * valid_BP1
        record.positions += int(valid_BP1.sum())
        record.total = record.total + moved_BPU.sum((0, 1))
        record.square = record.square + moved_BPU.square().sum((0, 1))

    def _read_by(self, path: str) -> Tensor:
        """Mean output of a reader over its runs and their positions, [B, K]."""
        layer = at(self.module, path)
        seen = self._runs()[-1]
        sums_BK: Tensor | float = 0.0
        counts_B: Tensor | float = 0
        for output in self.outputs.get(path, []):
            layout = reader(output, layer, self.clips, len(seen.tensor), seen.layout, self.site.name)
            value_BPK = layout.spread(data_of(output).double())
            self._expect_clips(value_BPK, path)
            sums_BK = sums_BK + value_BPK.sum(1)
            counts_B = counts_B + layout.counts(value_BPK)
        if not isinstance(sums_BK, Tensor) or not isinstance(counts_B, Tensor):
            raise GrowthError(f"site '{self.site.name}': its reader {path} did not run in the forward")
        return sums_BK / counts_B[:, None]

    def add_gates(self, gradients: Sequence[Tensor | None]) -> None:
        """Adds each clip's gradient of a gate on the unit: Σ over positions and entries of gradient × activation."""
        gate_BU = torch.zeros(self.clips, self.site.units, dtype=torch.float64, device=self.tapped[0].device)
        for leaving, gradient in zip(self.leaving, gradients, strict=True):
            if gradient is not None:
                slope_BPUW = self._by_clip(gradient, leaving.layout)
                gate_BU += (slope_BPUW * self._by_clip(leaving.tensor, leaving.layout)).sum((1, 3))
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
            if slot.role == "recurrent":  # what a unit reads of itself is among its rows, and counted there
                square = square - slope.view(units, -1, units).diagonal(dim1=0, dim2=2).square().sum(0)
            if slot.role in ("out", "recurrent"):
                signed = signed + (slope * by_unit(parameter.detach().double(), slot, units)).sum(1)
        self.record.weight_abs = self.record.weight_abs + signed.abs()
        self.record.grad_square = self.record.grad_square + square / clips

    def _on_input(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        value = _differentiable(args[0])
        self.leaving.append(_Leaving(value, clips_first(self.site.tap.dim, self.site.tap.steps)))
        return (value, *args[1:])

    def _on_output(self, layer: nn.Module, _: object, output: Tensor | tuple[Any, ...]) -> object:
        if not isinstance(layer, RECURRENT):
            first, *rest = output if isinstance(output, tuple) else (output,)
            value = _differentiable(first)
            self.leaving.append(_Leaving(value, clips_first(self.site.tap.dim, self.site.tap.steps)))
            return (value, *rest) if isinstance(output, tuple) else value
        frames, given = output
        cell = cell_of(layer)
        state, *memory = cell.states(given) or ()  # what an LSTM's cells hold leaves the layer for its next call alone
        value = _differentiable(data_of(frames))
        last = _differentiable(state)
        self.leaving.append(_Leaving(value, recurrent(frames, layer)))
        self.leaving.append(_Leaving(last, last_state(last), state=True))
        return with_data(frames, value), cell.given((last, *memory))

    def _on_reader(self, path: str) -> Callable[[nn.Module, object, Any], None]:
        def keep(layer: nn.Module, _: object, output: Tensor | tuple[Any, ...]) -> None:
            value: Any = output[0] if isinstance(layer, RECURRENT) else output
            self.outputs.setdefault(path, []).append(with_data(value, data_of(value).detach()))

        return keep


def _some(active_BPU: Tensor, count_B: Tensor) -> Tensor:
    """Activations at a few positions of each clip, evenly spread over it, [rows, U]."""
    most = min(FRAMES_PER_CLIP, active_BPU.shape[1])
    if bool((count_B == active_BPU.shape[1]).all()):
        some = torch.linspace(0, active_BPU.shape[1] - 1, most).round().long()
        return active_BPU[:, some.to(active_BPU.device)].flatten(0, 1)
    return torch.cat(
        [
            _some(clip_PU[None, :count], count_B.new_tensor([count]))
            for clip_PU, count in zip(active_BPU, count_B.tolist(), strict=True)
        ]
    )


def _differentiable(value: Tensor) -> Tensor:
    """The tensor itself, or where nothing below it learns, a leaf that takes a gradient."""
    if not torch.is_grad_enabled() or value.requires_grad:
        return value
    return value.detach().requires_grad_(True)
