"""W2V-BERT 2.0: Conformer layers on filter banks, whose feed-forwards may have units of their own numbers.

Parts are named as transformers names them. Axes: B clips, T samples or frames, H heads, D features.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from plastsearch.export.portable.heads import Judged
from plastsearch.models.kaldi import BANDS, STRIDE, StackedBank


class HalfStep(nn.Module):
    """A feed-forward; the layer adds half of what it gives."""

    def __init__(self, hidden: int, units: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(hidden, units)
        self.output_dense = nn.Linear(units, hidden)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """Each frame by itself."""
        output_BTD: Tensor = self.output_dense(functional.silu(self.intermediate_dense(hidden_BTD)))
        return output_BTD


class RelativeAttention(nn.Module):
    """Heads whose scores add what a table says of a query and how far the key is from it."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        hidden, self.heads = shape["hidden"], shape["heads"]
        self.left, self.right = shape["left"], shape["right"]
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (nn.Linear(hidden, hidden) for _ in range(4))
        self.distance_embedding = nn.Embedding(self.left + self.right + 1, hidden // self.heads)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """The same frames, each of them having read the others."""
        query, key, value = (
            projection(hidden_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.linear_q, self.linear_k, self.linear_v)
        )
        at = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device)
        apart = (at[None] - at[:, None]).clamp(-self.left, self.right) + self.left
        told_BHTT = torch.einsum("bhld,lrd->bhlr", query, self.distance_embedding(apart)) * query.shape[-1] ** -0.5
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=told_BHTT)
        out_BTD: Tensor = self.linear_out(read.transpose(1, 2).flatten(2))
        return out_BTD


class Convolved(nn.Module):
    """A gated convolution over the frames before."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        hidden = shape["hidden"]
        self.reach = shape["kernel"] - 1
        self.layer_norm = nn.LayerNorm(hidden, eps=shape["eps"])
        self.pointwise_conv1 = nn.Conv1d(hidden, 2 * hidden, 1, bias=False)
        self.depthwise_conv = nn.Conv1d(hidden, hidden, shape["kernel"], groups=hidden, bias=False)
        self.depthwise_layer_norm = nn.LayerNorm(hidden, eps=shape["eps"])
        self.pointwise_conv2 = nn.Conv1d(hidden, hidden, 1, bias=False)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """The same frames."""
        gated_BDT = functional.glu(self.pointwise_conv1(self.layer_norm(hidden_BTD).transpose(1, 2)), dim=1)
        heard_BDT = self.depthwise_conv(functional.pad(gated_BDT, (self.reach, 0)))
        normed_BTD = functional.silu(self.depthwise_layer_norm(heard_BDT.transpose(1, 2)))
        out_BTD: Tensor = self.pointwise_conv2(normed_BTD.transpose(1, 2)).transpose(1, 2)
        return out_BTD


class ConformerLayer(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, each beside a shortcut, and a norm."""

    def __init__(self, shape: dict[str, Any], units: tuple[int, int]) -> None:
        super().__init__()
        hidden, eps = shape["hidden"], shape["eps"]
        self.ffn1_layer_norm = nn.LayerNorm(hidden, eps=eps)
        self.ffn1 = HalfStep(hidden, units[0])
        self.self_attn_layer_norm = nn.LayerNorm(hidden, eps=eps)
        self.self_attn = RelativeAttention(shape)
        self.conv_module = Convolved(shape)
        self.ffn2_layer_norm = nn.LayerNorm(hidden, eps=eps)
        self.ffn2 = HalfStep(hidden, units[1])
        self.final_layer_norm = nn.LayerNorm(hidden, eps=eps)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """The same frames."""
        hidden_BTD = hidden_BTD + 0.5 * self.ffn1(self.ffn1_layer_norm(hidden_BTD))
        hidden_BTD = hidden_BTD + self.self_attn(self.self_attn_layer_norm(hidden_BTD))
        hidden_BTD = hidden_BTD + self.conv_module(hidden_BTD)
        hidden_BTD = hidden_BTD + 0.5 * self.ffn2(self.ffn2_layer_norm(hidden_BTD))
        normed_BTD: Tensor = self.final_layer_norm(hidden_BTD)
        return normed_BTD


class BankProjection(nn.Module):
    """From filter banks to the encoder's features."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(STRIDE * BANDS, eps=shape["eps"])
        self.projection = nn.Linear(STRIDE * BANDS, shape["hidden"])

    def forward(self, frames_BTD: Tensor) -> Tensor:
        """The same frames."""
        projected_BTD: Tensor = self.projection(self.layer_norm(frames_BTD))
        return projected_BTD


class Conformer(Judged):
    """Filter banks, Conformer layers and a head."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__(shape["head"])
        self.bank = StackedBank()
        layers = nn.ModuleList(ConformerLayer(shape, (one[0], one[1])) for one in shape["layers"])
        self.backbone = nn.ModuleDict(
            {"feature_projection": BankProjection(shape), "encoder": nn.ModuleDict({"layers": layers})}
        )
        self.every_layer = bool(shape["head"].get("every_layer", False))

    def forward(self, wave_BT: Tensor) -> Tensor:
        """Logits of each clip."""
        encoder: Any = self.backbone["encoder"]
        states = [self.backbone["feature_projection"](self.bank(wave_BT))]
        for layer in encoder["layers"]:
            states.append(layer(states[-1]))
        return self.classify(torch.stack(states, 1) if self.every_layer else states[-1])
