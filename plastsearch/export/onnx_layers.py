"""Layers that an exporter cannot take as they are, in a form that it can; they compute the same.

Axes: B clips, T samples or frames, D features, W directions, H hidden units, G gates × hidden units.
"""

import copy

import torch
from torch import Tensor, nn

from plastsearch.errors import PlastsearchError
from plastsearch.models.frontend import FilterBank


class ExportedRecurrent(nn.Module):
    """A one-layer nn.GRU or nn.LSTM as ONNX's operator of that name; it has values in an exported graph alone.

    torch.export knows them only unrolled over time, which freezes the length of clips. ONNX lists gates in another
    order than torch; and torch applies the reset gate of a GRU after the candidate's hidden side was multiplied, which
    `linear_before_reset` says.
    """

    weight: Tensor
    recurrence: Tensor
    bias: Tensor

    def __init__(self, layer: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.kind = "LSTM" if isinstance(layer, nn.LSTM) else "GRU"
        if layer.num_layers != 1 or not layer.batch_first or not layer.bias:
            raise PlastsearchError(
                f"a {self.kind} of {layer.num_layers} layers, batch_first={layer.batch_first}, bias={layer.bias} has "
                "no form for ONNX here; one layer, batch first and with biases has"
            )
        self.hidden_size = layer.hidden_size
        self.bidirectional = layer.bidirectional
        # Each direction as torch lists it: input weights, recurrent ones, their biases.
        rows = [[_reordered(self.kind, one.detach()) for one in direction] for direction in layer.all_weights]
        self.register_buffer("weight", torch.stack([row[0] for row in rows]))
        self.register_buffer("recurrence", torch.stack([row[1] for row in rows]))
        self.register_buffer("bias", torch.stack([torch.cat(row[2:]) for row in rows]))

    def forward(self, frames_BTD: Tensor, state: Tensor | None = None) -> tuple[Tensor, None]:
        """The outputs of all frames, and no last state: nobody here reads it."""
        if state is not None:
            raise PlastsearchError(f"a {self.kind} with a first state of its own has no form for ONNX here")
        clips, frames, _ = frames_BTD.shape
        out_TWBH = torch.onnx.ops.symbolic(
            self.kind,
            (frames_BTD.transpose(0, 1), self.weight, self.recurrence, self.bias),
            {
                "hidden_size": self.hidden_size,
                "direction": "bidirectional" if self.bidirectional else "forward",
                **({"linear_before_reset": 1} if self.kind == "GRU" else {}),
            },
            dtype=frames_BTD.dtype,
            shape=(frames, len(self.weight), clips, self.hidden_size),
        )
        return out_TWBH.permute(2, 0, 1, 3).flatten(2), None


class ExportedFilterBank(FilterBank):
    """A front end whose spectrum is computed in double precision.

    In a band that holds little of a loud frame the rounding of an STFT in single precision is much, and the logarithm
    brings it before the network: torch's moves scores by up to 1.6e-4, ONNX Runtime's by several times that.
    """

    def _power(self, wave_BT: Tensor) -> Tensor:
        return super()._power(wave_BT.double()).float()


def _reordered(kind: str, gates_G: Tensor) -> Tensor:
    if kind == "LSTM":
        enter, forget, candidate, leave = gates_G.chunk(4)
        return torch.cat([enter, leave, forget, candidate])
    reset, update, candidate = gates_G.chunk(3)
    return torch.cat([update, reset, candidate])


def exact(module: nn.Module) -> nn.Module:
    """A copy on the CPU, in eval mode, whose front end computes its spectrum in double precision."""
    made = copy.deepcopy(module).cpu().eval()
    for path, part in list(made.named_modules()):
        if isinstance(part, FilterBank):
            front_end = ExportedFilterBank(part.kind, part.rate_hz, part.shape, part.normalise, part.deltas).eval()
            front_end.load_state_dict(part.state_dict())
            front_end.window = front_end.window.double()
            _put_(made, path, front_end)
    return made


def exportable(module: nn.Module) -> nn.Module:
    """The same, and each of its recurrent layers in the exporter's form."""
    made = exact(module)
    for path, part in list(made.named_modules()):
        if isinstance(part, nn.GRU | nn.LSTM):
            _put_(made, path, ExportedRecurrent(part))
    return made


def _put_(module: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part)
