"""Which rows of an activation belong to which clip: clips first, frames first, packed, one sequence, or a last state.

Axes: B clips, P positions (frames, or pixels of a feature map), F features; a packed sequence holds its rows in order
of time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from plastsearch.errors import GrowthError
from plastsearch.growth.kernels.rings import CONVOLUTIONS
from plastsearch.growth.recurrent.cells import RECURRENT, Frames
from plastsearch.growth.resize import unflatten


@dataclass(frozen=True)
class ClipRows:
    """How tensors of one shape lie: `spread` gives [B, P, F] of any of them, with zeros where a clip is over."""

    spread: Callable[[Tensor], Tensor]
    lengths: Tensor | None = None  # positions of each clip, if they differ
    frames_first: bool = False
    steps: int = 1  # rows of each clip along the first axis

    def counts(self, value_BPF: Tensor) -> Tensor:
        """Positions of every clip, [B]."""
        if self.lengths is not None:
            return self.lengths.to(value_BPF.device)
        return torch.full(value_BPF.shape[:1], value_BPF.shape[1], device=value_BPF.device)

    def valid(self, value_BPF: Tensor) -> Tensor:
        """True where a clip has a position, [B, P]."""
        places_P = torch.arange(value_BPF.shape[1], device=value_BPF.device)
        return places_P < self.counts(value_BPF)[:, None]


def clips_first(dim: int, steps: int = 1) -> ClipRows:
    """Clips along the first axis, features along `dim`, positions along all others; steps are positions, too."""

    def spread(value: Tensor) -> Tensor:
        last = value.movedim(dim, -1)
        if steps > 1:
            last = unflatten(last, 0, (-1, steps))
        return last.flatten(1, -2) if last.dim() > 2 else last[:, None]

    return ClipRows(spread, steps=steps)


def recurrent(output: Frames, layer: nn.GRU | nn.LSTM) -> ClipRows:
    """The frames that a recurrent layer gave."""
    if isinstance(output, PackedSequence):
        return packed(output)
    if output.dim() == 2:
        return ClipRows(lambda value: value[None])
    if layer.batch_first:
        return clips_first(-1)
    return ClipRows(lambda value: value.transpose(0, 1), frames_first=True)


def last_state(state: Tensor) -> ClipRows:
    """A recurrent layer's last state, [directions, B, H] whatever `batch_first` says: one position of each clip."""
    if state.dim() == 2:
        return ClipRows(lambda value: value.flatten()[None, None])
    return ClipRows(lambda value: value.transpose(0, 1).flatten(1)[:, None])


def packed(sequence: PackedSequence) -> ClipRows:
    """Rows of a packed sequence: at each time those of the clips that are not over, the longest clip first."""
    sizes_P = sequence.batch_sizes  # on the CPU always
    lengths = (torch.arange(int(sizes_P[0]))[:, None] < sizes_P).sum(1)
    first_P = sizes_P.cumsum(0) - sizes_P
    row_BP = first_P + torch.arange(int(sizes_P[0]))[:, None]
    if sequence.unsorted_indices is not None:
        order_B = sequence.unsorted_indices.cpu()
        lengths, row_BP = lengths[order_B], row_BP[order_B]
    over_BP = torch.arange(len(sizes_P)) >= lengths[:, None]
    row_BP = row_BP.masked_fill(over_BP, 0)

    def spread(value: Tensor) -> Tensor:
        return value[row_BP.to(value.device)].masked_fill(over_BP.to(value.device)[..., None], 0)

    return ClipRows(spread, lengths)


def reader(output: Frames, layer: nn.Module, clips: int, rows: int, read: ClipRows, site: str) -> ClipRows:
    """How the output of a layer lies that reads a site, whose activations are `rows` long and lie as `read` says."""
    if read.steps > 1 and isinstance(output, Tensor):
        # Of a spiking network's site: the layer ran on every step, or on their mean, which has a row for each clip.
        return clips_first(1 if isinstance(layer, CONVOLUTIONS) else -1, 1 if output.shape[0] == clips else read.steps)
    if isinstance(layer, RECURRENT):
        return recurrent(output, layer)
    assert isinstance(output, Tensor)
    if isinstance(layer, CONVOLUTIONS):
        return clips_first(1)
    if read.lengths is not None and output.dim() == 2 and output.shape[0] == rows != clips:
        return read  # a linear layer over the rows of a packed sequence
    if read.frames_first and output.dim() > 2:
        if clips == output.shape[0] == output.shape[1]:
            raise GrowthError(
                f"site '{site}': its frames come first, and with {clips} clips of {clips} frames nothing says whether "
                "those of its reader's output do; give batches of another size"
            )
        if output.shape[0] != clips:
            return read
    return clips_first(-1)
