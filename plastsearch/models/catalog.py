"""What the networks look like before any is built: presets, and what shapes them. Imports no torch."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypedDict

from plastsearch.errors import PlastsearchError


class Spikes(TypedDict):
    """How leaky integrate-and-fire neurons behave, and for how many steps (models/lif.py)."""

    time_steps: int
    leak: float
    threshold: float
    reset: str
    surrogate: str


class Widths(TypedDict, total=False):
    """What a config.json says of a network's shape; those of transformers say more, which is handed on as it is."""

    model_type: str
    # A speech encoder's, by the names of transformers.
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    conv_dim: list[int]
    conv_stride: list[int]
    conv_kernel: list[int]
    conv_bias: bool
    feat_extract_norm: str
    do_stable_layer_norm: bool
    num_conv_pos_embeddings: int
    num_conv_pos_embedding_groups: int
    normalize: bool  # of the waveform, before the encoder
    # Our own networks'.
    channels: list[int]  # resnet18: of each stage; cnn and lcnn: of each convolution
    hidden: list[int]  # grnn: of each layer
    bidirectional: bool
    blocks: int  # that are left after truncation
    front_end: str
    bins: int  # of a front end, without slopes; absent: as many as BINS says
    normalise: str  # of a front end's bins; absent: clip
    deltas: int  # slopes beside its bins; absent: 0
    stem: str  # resnet18; absent: quarter
    masks: int  # bands of rows, and of frames, that training hides; absent: 0
    spikes: Spikes  # absent: its own activations
    # Any network's.
    rate_hz: int
    pooling: str
    dropout: float
    head: str
    layers_in: str


# The geometry every wav2vec 2.0 shares: 25 ms windows, one frame each 20 ms at 16 kHz.
_CONV_STRIDE = [5, 2, 2, 2, 2, 2, 2]
_CONV_KERNEL = [10, 3, 3, 3, 3, 2, 2]


def _transformer(hidden: int, layers: int, heads: int, ffn: int, conv: int, more: Widths) -> Widths:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": ffn,
        "conv_dim": [conv] * len(_CONV_STRIDE),
        "conv_stride": _CONV_STRIDE,
        "conv_kernel": _CONV_KERNEL,
        **more,
    }


# Keys of wav2vec2 are those of its transformers config. Pre-norm (`do_stable_layer_norm`) learns from random weights
# at once; `base` keeps the post-norm of the published network.
_PRE_NORM: Widths = {"do_stable_layer_norm": True}
_XLSR: Widths = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
_TINY_POSITIONS: Widths = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}

PRESETS: dict[str, dict[str, Widths]] = {
    "wav2vec2": {
        "tiny": _transformer(48, 6, 4, 128, 32, {**_PRE_NORM, **_TINY_POSITIONS}),
        "small": _transformer(256, 12, 4, 512, 256, _PRE_NORM),
        "base": _transformer(768, 12, 12, 3072, 512, {}),
        "large": _transformer(1024, 24, 16, 4096, 512, _XLSR),
    },
    "resnet18": {
        "tiny": {"channels": [8, 16, 32, 64]},
        "small": {"channels": [32, 64, 128, 256]},
        "base": {"channels": [64, 128, 256, 512]},
        "large": {"channels": [96, 192, 384, 768]},
    },
    "grnn": {
        "tiny": {"hidden": [48, 48, 48]},
        "small": {"hidden": [64, 64, 32, 32]},
        "base": {"hidden": [256, 256, 256]},
        "large": {"hidden": [512, 512, 512, 512]},
    },
    "cnn": {
        "tiny": {"channels": [16, 32, 64, 64]},
        "small": {"channels": [32, 64, 128, 128]},
        "base": {"channels": [64, 128, 256, 256, 256]},
        "large": {"channels": [96, 192, 384, 512, 512]},
    },
    # `base` is the published one; of each two maps one counts, so its convolutions give 64, 64, 96, … maps.
    "lcnn": {
        "tiny": {"channels": [8, 8, 12, 12, 16, 16, 8, 8, 8]},
        "small": {"channels": [16, 16, 24, 24, 32, 32, 16, 16, 16]},
        "base": {"channels": [32, 32, 48, 48, 64, 64, 32, 32, 32]},
        "large": {"channels": [64, 64, 96, 96, 128, 128, 64, 64, 64]},
    },
}
FRONT_ENDS = {"wav2vec2": "waveform", "resnet18": "log_mel", "grnn": "lfcc", "cnn": "log_mel", "lcnn": "lfcc"}
NOT_COMPILED = {
    "grnn": "grnn has nothing to compile: torch.compile runs recurrent layers as they are; set it to false",
    "lcnn": "lcnn is not compiled, since torch.compile runs its recurrent layers as they are; set it to false",
}
TRANSFORMERS = ("wav2vec2", "hubert", "wavlm")
CONFORMERS = ("wav2vec2-bert",)
SPEECH = TRANSFORMERS + CONFORMERS  # model types that `model.name: wav2vec2` stands for

# Encoders of the hub whose widths are known before their weights are here, from the configs they are published with.
_POST_NORM: Widths = {"do_stable_layer_norm": False}
PUBLISHED: dict[str, Widths] = {
    "facebook/wav2vec2-base": {"model_type": "wav2vec2", **_transformer(768, 12, 12, 3072, 512, _POST_NORM)},
    "facebook/wav2vec2-xls-r-300m": {"model_type": "wav2vec2", **_transformer(1024, 24, 16, 4096, 512, _XLSR)},
    "facebook/hubert-base-ls960": {"model_type": "hubert", **_transformer(768, 12, 12, 3072, 512, _POST_NORM)},
    "facebook/hubert-large-ll60k": {"model_type": "hubert", **_transformer(1024, 24, 16, 4096, 512, _XLSR)},
    "microsoft/wavlm-base": {"model_type": "wavlm", **_transformer(768, 12, 12, 3072, 512, _POST_NORM)},
    "microsoft/wavlm-base-plus": {"model_type": "wavlm", **_transformer(768, 12, 12, 3072, 512, _POST_NORM)},
    "microsoft/wavlm-large": {"model_type": "wavlm", **_transformer(1024, 24, 16, 4096, 512, _XLSR)},
    "facebook/w2v-bert-2.0": {
        "model_type": "wav2vec2-bert",
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}
CONFIG_FILE = "config.json"

# AASIST as a head: channels of its residual blocks, of a picture behind them, and of the gate over that.
AASIST_CHANNELS = (32, 32, 64, 64, 64, 64)
AASIST_GATE = 128

# Rows of each front end; a recurrent network's first layer reads that many numbers per frame.
BINS = {"log_mel": 64, "linear": 64, "lfcc": 40, "mfcc": 40}
# A ResNet's first convolution (kernel, stride, padding) and the pooling after it: the share of rows and frames that is
# left for the blocks.
STEMS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int] | None]] = {
    "quarter": ((7, 2, 3), (3, 2, 1)),  # torchvision's
    "half": ((3, 1, 1), (2, 2, 0)),
    "whole": ((3, 1, 1), None),
}
# An LCNN, convolution by convolution: kernels, after which ones half of rows and frames go, which ones a norm follows.
LIGHT_KERNELS = (5, 1, 3, 1, 3, 1, 3, 1, 3)
LIGHT_HALVES = (0, 2, 4, 8)
LIGHT_NORMED = (1, 2, 3, 5, 6, 7)
# How many numbers per channel the head reads from each pooling.
POOLED = {"mean": 1, "attention": 1, "mean_std": 2}
ATTENTION_POOL_HIDDEN = 32


def rows_read(widths: Widths) -> int:
    """Rows that a network's front end gives, slopes among them."""
    return widths.get("bins", BINS[widths["front_end"]]) * (1 + widths.get("deltas", 0))


def known_model(name: str) -> str:
    """The name, if there is such a network."""
    if name not in PRESETS:
        raise PlastsearchError(f"unknown model {name!r}{suggestion(name, PRESETS)}; known: {', '.join(PRESETS)}")
    return name


def suggestion(name: str, known: Iterable[str]) -> str:
    """' (did you mean …?)' if something known is close."""
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def preset_widths(name: str, preset: str) -> Widths:
    """The widths of a preset."""
    presets = PRESETS[known_model(name)]
    if preset not in presets:
        raise PlastsearchError(
            f"unknown preset {preset!r} of {name}{suggestion(preset, presets)}; known: {', '.join(presets)}"
        )
    return presets[preset]
