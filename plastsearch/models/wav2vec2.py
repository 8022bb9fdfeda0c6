"""Wav2Vec 2.0, HuBERT, WavLM and W2V-BERT encoders as detectors: the door to transformers, beside masked.py.

The encoder is run block by block here rather than through its own forward, for two reasons: it can be cut between
any two layers, and transformers' feature encoder, which in train mode makes autograd run back to the waveform even
when everything is frozen, is never called.

Axes: B clips, T samples or frames, D features.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.errors import PlastsearchError
from plastsearch.files import json_of
from plastsearch.growth.families.found import conformer_sites, encoder_sites
from plastsearch.growth.site import Refusal, Site, conv_pair
from plastsearch.imports import uncollected
from plastsearch.models.catalog import CONFIG_FILE, CONFORMERS, POOLED, SPEECH, Widths
from plastsearch.models.detector import CLASSES, Detector, build_pool
from plastsearch.models.heads.back_end import BackEnd, LayerMix
from plastsearch.models.heads.table import HEADS
from plastsearch.models.kaldi import BANDS, STRIDE, StackedBank
from plastsearch.models.widths import hub_cache, local_folder, weights_in
from plastsearch.models.written import MOST_BYTES
from plastsearch.spec.model import EVERY_LAYER

# Masks and layer drop would make two passes over one clip differ, and a cached prefix wrong.
_NEVER = {"layerdrop": 0.0, "apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
# What a preprocessor_config.json says of any encoder here, beside its rate and whether waves are normalised.
WAVE_SETTINGS: dict[str, object] = {
    "feature_size": 1,
    "padding_value": 0.0,
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "return_attention_mask": False,
}
_BANK_SETTINGS: dict[str, object] = {
    "feature_size": BANDS,
    "num_mel_bins": BANDS,
    "stride": STRIDE,
    "padding_value": 1,
    "feature_extractor_type": "SeamlessM4TFeatureExtractor",
    "return_attention_mask": True,
}
_DROPOUTS = ("hidden_dropout", "attention_dropout", "activation_dropout")
_MORE_DROPOUTS = ("feat_proj_dropout", "conformer_conv_dropout")


@dataclass(frozen=True)
class Judged:
    """How the frames of an encoder become logits: a head, what it reads, the linear head's pooling."""

    head: str = "linear"
    layers_in: str = "last"
    pooling: str = "mean"
    dropout: float = 0.0

    @property
    def every_layer(self) -> bool:
        """Whether more than the last layer is read."""
        return self.head in EVERY_LAYER or self.layers_in == "weighted_sum"


class SpeechEncoder(Detector):
    """A transformers encoder under a head.

    A head that reads every layer is given all states so far, [B, K, T, D], from cut to cut: what is kept below a cut
    then has whatever the head will read.
    """

    def __init__(self, backbone: nn.Module, judged: Judged, *, normalize: bool) -> None:
        config: Any = backbone.config
        super().__init__(config.hidden_size, judged.pooling, judged.dropout)
        self.backbone: Any = backbone
        self.judged = judged
        self.normalize = normalize
        self.final_norm_last = bool(getattr(config, "do_stable_layer_norm", False))
        if (judged.head, judged.layers_in) != ("linear", "last"):
            self.pool, outputs = _back_end(judged, config.hidden_size, config.num_hidden_layers + 1)
            self.head = nn.Linear(outputs, CLASSES)

    def stem(self, wave_BT: Tensor) -> Tensor:
        """Convolutions, projection and positions: 50 frames per second."""
        return self.placed(self.projected(wave_BT))

    def run(self, hidden: Tensor, first: int, last: int | None = None) -> Tensor:
        """The last state, or all of them for a head that reads them."""
        if not self.judged.every_layer:
            return super().run(hidden, first, last)
        states = list(hidden.unbind(1))
        for _, block in self.blocks()[first:last]:
            states.append(self.step(block, states[-1]))
        return torch.stack(states, 1)

    def projected(self, wave_BT: Tensor) -> Tensor:
        """Convolutions and projection: each frame hears 25 ms and nothing else."""
        hidden = self.normalized(wave_BT)[:, None]
        for conv in self.backbone.feature_extractor.conv_layers:
            hidden = conv(hidden)
        projected = self.backbone.feature_projection(hidden.transpose(1, 2))
        hidden_BTD: Tensor = projected[0] if isinstance(projected, tuple) else projected
        return hidden_BTD

    def placed(self, hidden_BTD: Tensor) -> Tensor:
        """Projected frames with their positions, as the first layer reads them."""
        encoder = self.backbone.encoder
        hidden_BTD = hidden_BTD + self._positions(hidden_BTD)
        if not self.final_norm_last:
            hidden_BTD = encoder.layer_norm(hidden_BTD)
        dropped: Tensor = encoder.dropout(hidden_BTD)
        return dropped[:, None] if self.judged.every_layer else dropped

    def normalized(self, wave_BT: Tensor) -> Tensor:
        """Clips with mean 0 and variance 1, where the weights were trained on such."""
        if not self.normalize:
            return wave_BT
        centred_BT = wave_BT - wave_BT.mean(1, keepdim=True)
        return centred_BT / (centred_BT.square().mean(1, keepdim=True) + 1e-7).sqrt()

    def blocks(self) -> list[tuple[str, nn.Module]]:
        """`encoder.0`, `encoder.1`, …"""
        return [(f"encoder.{i}", layer) for i, layer in enumerate(self.backbone.encoder.layers)]

    def run_block(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """One transformer layer; WavLM's read a position bias that its first layer owns."""
        if self.backbone.config.model_type != "wavlm":
            output: Tensor = block(hidden)
            return output
        biased: Tensor = block(hidden, position_bias=self._position_bias(hidden))[0]
        return biased

    def frames(self, hidden: Tensor) -> Tensor:
        """The last layer's output, normalised where the layers themselves are pre-norm; others go as they are."""
        if not self.final_norm_last:
            return hidden
        norm: nn.Module = self.backbone.encoder.layer_norm
        if self.judged.every_layer:
            return torch.cat([hidden[:, :-1], norm(hidden[:, -1:])], 1)
        frames_BTD: Tensor = norm(hidden)
        return frames_BTD

    def top_modules(self) -> tuple[str, ...]:
        """The norm behind the last layer, where the layers themselves are pre-norm."""
        return ("backbone.encoder.layer_norm",) if self.final_norm_last else ()

    def declare_sites(self) -> list[Site | Refusal]:
        """Attention heads, head width and feed-forward units of each layer; channels of a head that has such."""
        above = 3 * len(self.blocks())
        return [*encoder_sites(self), *conformer_sites(self), *self._head_sites(above)]

    def _head_sites(self, order: int) -> list[Site | Refusal]:
        """Of AASIST the channels within its residual blocks, and those of the gate over what they give."""
        if self.judged.head != "aasist":
            return []
        sites: list[Site | Refusal] = []
        blocks: Any = self.pool.net.blocks  # type: ignore[union-attr]
        for k in range(len(blocks)):
            own = f"pool.net.blocks.{k}"
            sites.append(
                conv_pair(
                    self, f"head.block.{k}", f"{own}.conv1", f"{own}.norm2", f"{own}.conv2", order + k,
                    act=f"{own}.act",
                )
            )  # fmt: skip
        gate = "pool.net.attention"
        sites.append(
            conv_pair(
                self, "head.gate", f"{gate}.0", f"{gate}.2", f"{gate}.3", order + len(blocks),
                act=f"{gate}.1", act_first=True,
            )
        )  # fmt: skip
        return sites

    def truncate_(self, count: int) -> None:
        """Keep the first `count` transformer layers."""
        self._check_count(count)
        self.backbone.encoder.layers = self.backbone.encoder.layers[:count]
        self.backbone.config.num_hidden_layers = count
        if isinstance(self.pool, BackEnd):
            self.pool.truncate_(count + 1)

    def plain_config(self) -> Widths:
        """The transformers config and what it does not say."""
        widths: Widths = self.backbone.config.to_dict()  # with what else transformers keeps there
        return {
            **widths,
            "pooling": self.pooling,
            "dropout": self.head_dropout.p,
            "normalize": self.normalize,
            "head": self.judged.head,
            "layers_in": self.judged.layers_in,
        }

    def _positions(self, hidden_BTD: Tensor) -> Tensor:
        positions: Any = self.backbone.encoder.pos_conv_embed
        if hidden_BTD.device.type != "cpu":
            embedded_BTD: Tensor = positions(hidden_BTD)
            return embedded_BTD
        # On CPUs torch 2.11 computes narrow grouped convolutions in bfloat16 wrongly (more error than signal).
        with torch.autocast("cpu", enabled=False):
            exact_BTD: Tensor = positions(hidden_BTD.to(positions.conv.bias.dtype))
        return exact_BTD

    def _position_bias(self, hidden_BTD: Tensor) -> Tensor:
        clips, frames = hidden_BTD.shape[:2]
        bias = self.backbone.encoder.layers[0].attention.compute_bias(frames, frames)
        repeated: Tensor = bias.repeat(clips, 1, 1)  # [B × heads, T, T], as its attention expects
        return repeated


class ConformerEncoder(SpeechEncoder):
    """W2V-BERT 2.0: filter banks instead of waves, feed-forward, attention, convolution, feed-forward in each layer."""

    def __init__(self, backbone: nn.Module, judged: Judged, *, normalize: bool) -> None:
        super().__init__(backbone, judged, normalize=normalize)
        self.bank = StackedBank()

    def projected(self, wave_BT: Tensor) -> Tensor:
        """Two neighbouring frames of the bank at a time: 50 a second."""
        hidden_BTD: Tensor = self.backbone.feature_projection(self.bank(wave_BT))[0]
        return hidden_BTD

    def placed(self, hidden_BTD: Tensor) -> Tensor:
        """As they are: positions are told to the attention of each layer."""
        dropped: Tensor = self.backbone.encoder.dropout(hidden_BTD)
        return dropped[:, None] if self.judged.every_layer else dropped

    def run_block(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """One Conformer layer."""
        embed: Any = self.backbone.encoder.embed_positions
        positions = None if embed is None else embed(hidden)
        output: Tensor = block(hidden, relative_position_embeddings=positions)
        return output


def _back_end(judged: Judged, features: int, states: int) -> tuple[BackEnd, int]:
    """What stands before the classifier, and how many features the classifier reads."""
    mix = LayerMix(states) if judged.layers_in == "weighted_sum" and judged.head not in EVERY_LAYER else None
    if judged.head == "linear":
        return BackEnd(build_pool(judged.pooling, features), mix), features * POOLED[judged.pooling]
    multiple = int(getattr(HEADS[judged.head], "multiple", 1))
    if features % multiple:
        raise PlastsearchError(
            f"model.head: {judged.head} splits the features of a frame into {multiple} parts, and this encoder has "
            f"{features}, no multiple of that; use another head"
        )
    net: Any = HEADS[judged.head](features, states)
    return BackEnd(net, mix), int(net.outputs)


def from_widths(widths: Mapping[str, object], judged: Judged, *, normalize: bool = True) -> SpeechEncoder:
    """An encoder with random weights, from the keys of its transformers config."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(**{**widths, **_NEVER, **dict.fromkeys(_DROPOUTS, judged.dropout)})
    for name in _MORE_DROPOUTS:
        setattr(config, name, judged.dropout)
    return _around(AutoModel.from_config(config), judged, normalize=normalize)


def from_source(source: str, judged: Judged) -> SpeechEncoder:
    """An encoder with the weights of a local folder or a hub name."""
    with uncollected():
        from transformers import MODEL_MAPPING, AutoConfig, AutoModel
        from transformers.utils import logging

    folder = fetch(source)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(str(folder))
        if config.model_type not in SPEECH:
            known = ", ".join(SPEECH)
            raise PlastsearchError(f"{source}: model_type {config.model_type!r} is no speech encoder; known: {known}")
        dropouts = dict.fromkeys((*_DROPOUTS, *_MORE_DROPOUTS), judged.dropout)
        for key, value in {**_NEVER, **dropouts}.items():
            setattr(config, key, value)
        with uncollected():
            MODEL_MAPPING[type(config)]  # loads the module of its class, which is most of transformers
        backbone = AutoModel.from_pretrained(str(folder), config=config, dtype=torch.float32)
    except PlastsearchError:
        raise
    except Exception as error:  # transformers lets out whatever a config or a file of weights leads to
        raise _no_weights(source, error) from error
    return _around(backbone, judged, normalize=_normalizes(folder))


def _around(backbone: Any, judged: Judged, *, normalize: bool) -> SpeechEncoder:
    """A detector around an encoder of its family."""
    kind = ConformerEncoder if backbone.config.model_type in CONFORMERS else SpeechEncoder
    return kind(_supported(backbone), judged, normalize=normalize)


def fetch(source: str) -> Path:
    """The folder of the weights; a hub name is downloaded once, and what is here is not looked for on the hub again."""
    folder = local_folder(source)
    if folder is not None:
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    name, _, revision = source.partition("@")
    try:
        for kind in ("*.safetensors", "*.bin"):  # the second only where there are none of the first
            wanted = ["*.json", kind]
            found = snapshot_download(name, revision=revision or None, allow_patterns=wanted, cache_dir=hub_cache())
            folder = Path(found)
            if weights_in(folder):
                return folder
    except (OSError, ValueError) as error:
        raise _no_weights(source, error) from error
    raise _no_weights(source, FileNotFoundError(f"{name} holds no weights"))


def _no_weights(source: str, error: Exception) -> PlastsearchError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return PlastsearchError(
        f"model.from: {source!r} gives no weights: {reason}; "
        "name a folder with config.json and model.safetensors, or a hub name that can be reached from here"
    )


def save_backbone(detector: SpeechEncoder, folder: Path) -> None:
    """The encoder alone as an ordinary transformers folder."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    detector.backbone.save_pretrained(folder)
    choices = {**WAVE_SETTINGS, "do_normalize": detector.normalize, "sampling_rate": 16_000}
    if isinstance(detector, ConformerEncoder):
        choices = {**_BANK_SETTINGS, "sampling_rate": 16_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(choices, indent=2) + "\n")


def _supported(backbone: nn.Module) -> nn.Module:
    if getattr(backbone, "intermediate_ffn", None) is not None:
        raise PlastsearchError(f"{CONFIG_FILE}: a feed-forward behind the last layer is set, which is not supported")
    if getattr(backbone, "adapter", None) is not None:
        raise PlastsearchError(f"{CONFIG_FILE}: add_adapter is set; encoders with an adapter on top are not supported")
    return backbone


def _normalizes(folder: Path) -> bool:
    path = folder / "preprocessor_config.json"
    found = json_of(path, MOST_BYTES) if path.is_file() else {}
    return bool(found.get("do_normalize", True)) if isinstance(found, dict) else True
