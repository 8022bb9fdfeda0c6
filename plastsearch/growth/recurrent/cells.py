"""What GRU and LSTM differ in, and what a layer of either kind is: gates, states, and torch's function for them."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

Weights = Mapping[str, Tensor]  # as a layer of one level names them
Frames = Tensor | PackedSequence  # what a layer reads and gives: a padded batch, a single sequence, or a packed batch
States = tuple[Tensor, ...]  # of a GRU its outputs alone; of an LSTM what its cells hold, too
RECURRENT = (nn.GRU, nn.LSTM)


@dataclass(frozen=True)
class Cell:
    """One kind of recurrent layer."""

    gates: int
    hearing: int  # so many of these, the first ones, of new units may read the old units' state
    function: Callable[..., tuple[Tensor, ...]]  # torch's own, on given weights
    single: bool  # one state, which torch takes and gives without a tuple around it

    def states(self, hx: Any) -> States | None:
        """The first states that a caller gave, as a tuple."""
        if hx is None:
            return None
        return (hx,) if self.single else tuple(hx)

    def given(self, states: States) -> Any:
        """States as the layer takes and gives them."""
        return states[0] if self.single else states

    def run(self, input: Tensor, sizes: Tensor | None, states: States, flat: Sequence[Tensor], *, biases: bool,
            both: bool) -> tuple[Tensor, States]:  # fmt: skip
        """Torch's function on a padded batch, time first, or on the rows of a packed one."""
        # Tells cuDNN to keep what a backward pass needs; module.training would say no in eval mode, and gradients fail.
        train = torch.is_grad_enabled()
        first = self.given(states)
        if sizes is None:
            found = _quietly(input, lambda: self.function(input, first, flat, biases, 1, 0.0, train, both, False))
        else:
            found = _quietly(input, lambda: self.function(input, sizes, first, flat, biases, 1, 0.0, train, both))
        return found[0], tuple(found[1:])


# nn.GRU applies its reset gate to the whole hidden side, so a candidate that reads the old state through the input side
# could not be folded into one layer again: the last gate of new units stays deaf. Gates of an LSTM add up both sides.
GRU = Cell(3, 2, lambda *given: torch._VF.gru(*given), single=True)
LSTM = Cell(4, 4, lambda *given: torch._VF.lstm(*given), single=False)


def kind_of(layer: nn.Module) -> type[nn.GRU] | type[nn.LSTM]:
    """The class of a recurrent layer."""
    return nn.LSTM if isinstance(layer, nn.LSTM) else nn.GRU


def cell_of(layer: nn.Module) -> Cell:
    """The kind of a recurrent layer."""
    return LSTM if isinstance(layer, nn.LSTM) else GRU


class RecurrentLayer(Protocol):
    """What a network's forward may ask of a one-layer nn.GRU or nn.LSTM, and so of the blocks that stand around one."""

    batch_first: bool
    bidirectional: bool

    @property
    def hidden_size(self) -> int: ...
    @property
    def input_size(self) -> int: ...
    def flatten_parameters(self) -> None: ...
    def __call__(self, input: Frames, hx: Any = None) -> tuple[Frames, Any]: ...


def data_of(frames: Frames) -> Tensor:
    """The tensor in what a recurrent layer reads or gives."""
    return frames.data if isinstance(frames, PackedSequence) else frames


def with_data(frames: Frames, data: Tensor) -> Frames:
    """Frames that lie as those given, with other values."""
    return frames._replace(data=data) if isinstance(frames, PackedSequence) else data


def _quietly(input: Tensor, call: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """torch's function on given weights; cuDNN packs assembled ones anew in each call, and need not always say so."""
    if not input.is_cuda:
        return call()  # without the filter, which is no thread's own
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        return call()
