"""Wav2Vec 2.0, HuBERT and WavLM encoders whose layers may have heads and units of their own numbers.

Parts are named as transformers names them. Axes: B clips, T samples or frames, H heads, D features.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from plastsearch.export.portable.heads import Judged


class Convolution(nn.Module):
    """One layer of the feature extractor; its norm is over time (group), over features (layer), or absent."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        outputs = shape["outputs"]
        self.conv = nn.Conv1d(shape["inputs"], outputs, shape["kernel"], shape["stride"], bias=shape["bias"])
        self.over_features = shape["norm"] == "layer"
        self.layer_norm: nn.Module | None = None
        if shape["norm"] is not None:
            self.layer_norm = nn.LayerNorm(outputs) if self.over_features else nn.GroupNorm(outputs, outputs)

    def forward(self, hidden_BDT: Tensor) -> Tensor:
        """Fewer frames, `outputs` features each."""
        hidden_BDT = self.conv(hidden_BDT)
        if self.layer_norm is not None and self.over_features:
            hidden_BDT = self.layer_norm(hidden_BDT.transpose(1, 2)).transpose(1, 2)
        elif self.layer_norm is not None:
            hidden_BDT = self.layer_norm(hidden_BDT)
        return functional.gelu(hidden_BDT)


class FeatureExtractor(nn.Module):
    """Convolutions from the waveform to 50 frames per second."""

    def __init__(self, shapes: list[dict[str, Any]]) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList(Convolution(shape) for shape in shapes)

    def forward(self, wave_BT: Tensor) -> Tensor:
        """Frames of features, [B, T, D]."""
        hidden_BDT = wave_BT[:, None]
        for layer in self.conv_layers:
            hidden_BDT = layer(hidden_BDT)
        return hidden_BDT.transpose(1, 2)


class Projection(nn.Module):
    """From the extractor's features to the encoder's."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        features = shape["convolutions"][-1]["outputs"]
        self.layer_norm = nn.LayerNorm(features, eps=shape["eps"]) if shape["projection_norm"] else nn.Identity()
        self.projection = nn.Linear(features, shape["hidden"])

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """The same frames."""
        projected_BTD: Tensor = self.projection(self.layer_norm(hidden_BTD))
        return projected_BTD


class Positions(nn.Module):
    """A grouped convolution over time that tells frames where they are."""

    def __init__(self, hidden: int, shape: dict[str, Any]) -> None:
        super().__init__()
        size = shape["kernel"]
        conv = nn.Conv1d(hidden, hidden, size, padding=size // 2, groups=shape["groups"])
        self.batch_norm = nn.BatchNorm1d(hidden) if shape["batch_norm"] else None
        self.conv = conv if shape["batch_norm"] else weight_norm(conv, name="weight", dim=2)
        self.even = size % 2 == 0

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """What is added to the frames."""
        hidden_BDT = hidden_BTD.transpose(1, 2)
        if self.batch_norm is not None:
            hidden_BDT = self.batch_norm(hidden_BDT)
        out_BDT = self.conv(hidden_BDT)
        return functional.gelu(out_BDT[..., :-1] if self.even else out_BDT).transpose(1, 2)


class Attention(nn.Module):
    """Heads of any number and width; scores keep the scale they were trained with. WavLM's add a position bias."""

    def __init__(self, hidden: int, shape: dict[str, Any]) -> None:
        super().__init__()
        self.heads, self.width, self.scale = shape["heads"], shape["width"], shape["scale"]
        wide = self.heads * self.width
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(hidden, wide) for _ in range(3))
        self.out_proj = nn.Linear(wide, hidden)
        bias = shape["bias"]
        if bias is not None:
            self.gru_rel_pos_const = nn.Parameter(torch.ones(1, self.heads, 1, 1))
            self.gru_rel_pos_linear = nn.Linear(self.width, 8)
            if bias["owner"]:
                self.rel_attn_embed = nn.Embedding(bias["buckets"], self.heads)

    def forward(self, hidden_BTD: Tensor, bias_HTT: Tensor | None) -> Tensor:
        """The same frames, each of them having read the others."""
        query, key, value = (
            projection(hidden_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        gated = None if bias_HTT is None else self._gate(hidden_BTD) * bias_HTT
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=gated, scale=self.scale)
        out_BTD: Tensor = self.out_proj(read.transpose(1, 2).flatten(2))
        return out_BTD

    def _gate(self, hidden_BTD: Tensor) -> Tensor:
        """How much of the position bias each head takes at each frame, [B, H, T, 1]."""
        each_BHTD = hidden_BTD.reshape(*hidden_BTD.shape[:2], self.heads, -1).transpose(1, 2)
        read = self.gru_rel_pos_linear(each_BHTD).unflatten(-1, (2, 4)).sum(-1).sigmoid()
        gate: Tensor = read[..., :1] * (read[..., 1:] * self.gru_rel_pos_const - 1.0) + 2.0
        return gate

    def position_bias(self, frames: int, furthest: int) -> Tensor:
        """WavLM's bias of each head for each pair of frames, by their distance in buckets that widen with it."""
        half = self.rel_attn_embed.num_embeddings // 2
        exact = half // 2
        at = torch.arange(frames, device=self.rel_attn_embed.weight.device)
        ahead = at[None] - at[:, None]
        far = ahead.abs()
        wide = torch.log(far.float() / exact) / math.log(furthest / exact) * (half - exact)
        wide = (exact + wide).to(torch.long).clamp(max=half - 1)
        bucket = (ahead > 0) * half + torch.where(far < exact, far, wide)
        bias_HTT: Tensor = self.rel_attn_embed(bucket).permute(2, 0, 1)
        return bias_HTT


class FeedForward(nn.Module):
    """Two linear layers; the number of units between them is the layer's own."""

    def __init__(self, hidden: int, units: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(hidden, units)
        self.output_dense = nn.Linear(units, hidden)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """Each frame by itself."""
        output_BTD: Tensor = self.output_dense(functional.gelu(self.intermediate_dense(hidden_BTD)))
        return output_BTD


class Layer(nn.Module):
    """Attention and feed-forward, each beside a shortcut, with the norms before (pre-norm) or behind them."""

    def __init__(self, hidden: int, shape: dict[str, Any], eps: float, pre_norm: bool) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.attention = Attention(hidden, shape["attention"])
        self.layer_norm = nn.LayerNorm(hidden, eps=eps)
        self.feed_forward = FeedForward(hidden, shape["units"])
        self.final_layer_norm = nn.LayerNorm(hidden, eps=eps)

    def forward(self, hidden_BTD: Tensor, bias_HTT: Tensor | None) -> Tensor:
        """The same frames."""
        if self.pre_norm:
            hidden_BTD = hidden_BTD + self.attention(self.layer_norm(hidden_BTD), bias_HTT)
            out_BTD: Tensor = hidden_BTD + self.feed_forward(self.final_layer_norm(hidden_BTD))
            return out_BTD
        hidden_BTD = self.layer_norm(hidden_BTD + self.attention(hidden_BTD, bias_HTT))
        normed_BTD: Tensor = self.final_layer_norm(hidden_BTD + self.feed_forward(hidden_BTD))
        return normed_BTD


class Row(nn.Module):
    """Neurons between two linear layers."""

    def __init__(self, hidden: int, units: int) -> None:
        super().__init__()
        self.enter = nn.Linear(hidden, units)
        self.leave = nn.Linear(units, hidden, bias=False)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """Each frame by itself."""
        output_BTD: Tensor = self.leave(functional.gelu(self.enter(hidden_BTD)))
        return output_BTD


class Branch(nn.Module):
    """A norm and then neurons or heads, on top of a layer."""

    def __init__(self, hidden: int, shape: dict[str, Any]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        if shape["kind"] == "units":
            self.row = Row(hidden, shape["units"])
        else:
            self.attention = Attention(hidden, shape["attention"])
            if not shape["attention"]["out_bias"]:
                self.attention.out_proj = nn.Linear(self.attention.heads * self.attention.width, hidden, bias=False)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """What is added to the layer's output."""
        normed_BTD = self.norm(hidden_BTD)
        added: Tensor = self.row(normed_BTD) if hasattr(self, "row") else self.attention(normed_BTD, None)
        return added


class OnTop(nn.Module):
    """A layer with one more after it, beside a shortcut."""

    def __init__(self, base: nn.Module, branch: Branch) -> None:
        super().__init__()
        self.base, self.branch = base, branch

    def forward(self, hidden_BTD: Tensor, bias_HTT: Tensor | None) -> Tensor:
        """The layer's output and what the upper one adds to it."""
        out_BTD = self.base(hidden_BTD, bias_HTT)
        sum_BTD: Tensor = out_BTD + self.branch(out_BTD)
        return sum_BTD


def encoder_layer(shape: dict[str, Any], whole: dict[str, Any]) -> nn.Module:
    """One layer with what was stacked on it, from the inside out."""
    layer: nn.Module = Layer(whole["hidden"], shape, whole["eps"], whole["pre_norm"])
    for around in shape["around"]:
        layer = OnTop(layer, Branch(whole["hidden"], around))
    return layer


class Layers(nn.Module):
    """Positions, layers and the norm before or behind them."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        self.pre_norm = shape["pre_norm"]
        self.furthest = shape["bias_distance"]
        self.pos_conv_embed = Positions(shape["hidden"], shape["positions"])
        self.layer_norm = nn.LayerNorm(shape["hidden"], eps=shape["eps"])
        self.layers = nn.ModuleList(encoder_layer(layer, shape) for layer in shape["layers"])

    def forward(self, hidden_BTD: Tensor) -> list[Tensor]:
        """What the first layer reads and what each layer gives; the last of them is ready to pool."""
        hidden_BTD = hidden_BTD + self.pos_conv_embed(hidden_BTD)
        if not self.pre_norm:
            hidden_BTD = self.layer_norm(hidden_BTD)
        bias_HTT = None
        if self.furthest is not None:
            first: Any = self.layers[0]
            while isinstance(first, OnTop):
                first = first.base
            bias_HTT = first.attention.position_bias(hidden_BTD.shape[1], self.furthest)
        states = [hidden_BTD]
        for layer in self.layers:
            states.append(layer(states[-1], bias_HTT))
        if self.pre_norm:
            states[-1] = self.layer_norm(states[-1])
        return states


class Backbone(nn.Module):
    """Waves in, frames out."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        self.feature_extractor = FeatureExtractor(shape["convolutions"])
        self.feature_projection = Projection(shape)
        self.encoder = Layers(shape)

    def forward(self, wave_BT: Tensor) -> list[Tensor]:
        """50 frames per second, before and after each layer."""
        states: list[Tensor] = self.encoder(self.feature_projection(self.feature_extractor(wave_BT)))
        return states


class Encoder(Judged):
    """A transformer encoder under a head."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__(shape["head"])
        self.backbone = Backbone(shape)
        self.normalize = bool(shape["normalize"])
        self.every_layer = bool(shape["head"].get("every_layer", False))

    def forward(self, wave_BT: Tensor) -> Tensor:
        """Logits of each clip."""
        if self.normalize:
            centred_BT = wave_BT - wave_BT.mean(1, keepdim=True)
            wave_BT = centred_BT / (centred_BT.square().mean(1, keepdim=True) + 1e-7).sqrt()
        states = self.backbone(wave_BT)
        return self.classify(torch.stack(states, 1) if self.every_layer else states[-1])
