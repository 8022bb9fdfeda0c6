"""What the networks look like before any is built: presets, and the table of their sites. Imports no torch."""

import json
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypedDict

from plastsearch.errors import PlastsearchError
from plastsearch.spec.config import ModelConfig
from plastsearch.spec.places import looks_like_path


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
    channels: list[int]  # resnet18: of each stage
    hidden: list[int]  # grnn: of each layer
    bidirectional: bool
    blocks: int  # that are left after truncation
    front_end: str
    spikes: Spikes  # absent: its own activations
    # Any network's.
    rate_hz: int
    pooling: str
    dropout: float


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
}
FRONT_ENDS = {"wav2vec2": "waveform", "resnet18": "log_mel", "grnn": "lfcc"}
NOT_COMPILED = {"grnn": "grnn has nothing to compile: torch.compile runs recurrent layers as they are; set it to false"}
TRANSFORMERS = ("wav2vec2", "hubert", "wavlm")
CONFIG_FILE = "config.json"

# Rows of each front end; a recurrent network's first layer reads that many numbers per frame.
BINS = {"log_mel": 64, "linear": 64, "lfcc": 40, "mfcc": 40}
# How many numbers per channel the head reads from each pooling.
POOLED = {"mean": 1, "attention": 1, "mean_std": 2}
ATTENTION_POOL_HIDDEN = 32

UNITS = {
    "channels": "inner channels of the block",
    "hidden": "hidden units of the layer (in both directions, if it has two)",
    "attention": "width of whole heads: a multiple of the head width",
    "head_width": "dimensions over all heads: a multiple of the number of heads",
    "ffn": "intermediate units",
}


@dataclass(frozen=True)
class SiteRow:
    """One site as `plastsearch sites` prints it; `neurons` counts in multiples of `step`."""

    name: str
    kind: str
    units: int  # channels, hidden units, heads, dims per head, intermediate units
    step: int  # neurons per unit
    parameters_per_neuron: float  # of the next unit, over its neurons; grows with the width in a recurrent layer
    directions: int | None = None  # of a feed-forward site's output, as many as gradmax can steer units along

    @property
    def neurons(self) -> int:
        """The width now."""
        return self.units * self.step


class SitesUnknownError(PlastsearchError):
    """The sites of a hub name that is not on this machine; a search may go on and look again later."""


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


def widths_of(model: ModelConfig) -> Widths:
    """All that shapes the network a configuration asks for: preset or folder, and choices."""
    if model.from_ is None:
        widths: Widths = {"model_type": model.name, **preset_widths(model.name, model.preset)}
        widths |= {"bidirectional": model.bidirectional, "front_end": front_end_of(model.name, model.front_end)}
    else:
        widths = folder_widths(model.name, model.from_, model.front_end)
    spikes = spikes_of(
        model.name, model.activation, Spikes(
            time_steps=model.time_steps, leak=model.leak, threshold=model.threshold, reset=model.reset,
            surrogate=model.surrogate,
        )
    )  # fmt: skip
    return with_spikes({**widths, "pooling": model.pooling}, spikes, model.from_)


def spikes_of(name: str, activation: str, spikes: Spikes) -> Spikes | None:
    """How the neurons of a network spike, if they do; refused where they cannot."""
    if activation == "own":
        return None
    if name == "wav2vec2":
        raise PlastsearchError(
            "model.activation: wav2vec2 has no spiking variant: softmax, LayerNorm and GELU work on real values, and "
            "a pretrained encoder would lose what it knows; lif is for resnet18 and grnn"
        )
    return spikes


def with_spikes(widths: Widths, spikes: Spikes | None, source: str | None) -> Widths:
    """A network's widths with the spikes that are asked for; those of a folder are never dropped in silence.

    A folder of the usual network may start a spiking one, whose weights have the same names and shapes.
    """
    if spikes is not None:
        return {**widths, "spikes": spikes}
    if "spikes" in widths:
        raise PlastsearchError(
            f"model.activation: the weights in {source} were trained as a spiking network; say `activation: lif`, and "
            "its settings if they are not the usual ones"
        )
    return widths


def front_end_of(name: str, wanted: str | None) -> str:
    """The front end asked for, or the network's own; refused if the network cannot read it."""
    if wanted is None:
        return FRONT_ENDS[known_model(name)]
    if (wanted == "waveform") != (name == "wav2vec2"):
        reads = "the waveform itself" if name == "wav2vec2" else f"a spectrogram or cepstra: {', '.join(BINS)}"
        raise PlastsearchError(f"model.front_end: {name} cannot read {wanted!r}; it reads {reads}")
    return wanted


def folder_widths(name: str, source: str, front_end: str | None = None) -> Widths:
    """The widths written in a folder's config.json."""
    folder = local_folder(source)
    if folder is None:
        raise SitesUnknownError(
            f"{source!r} is no folder and no finished download on this machine; the sites of a hub name are only known "
            "once its weights are here: download them into a folder and give that as model.from"
        )
    path = folder / CONFIG_FILE
    try:
        read = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PlastsearchError(f"{path}: cannot be read as a model's config: {error}") from error
    kind = read.get("model_type") if isinstance(read, dict) else None
    family = TRANSFORMERS if name == "wav2vec2" else (name,)
    if kind not in family:
        raise PlastsearchError(f"{path}: model_type {kind!r} is no {name}; known here: {', '.join(family)}")
    widths: Widths = {**(_LEFT_OUT if name == "wav2vec2" else {}), **read}
    lacking = [key for key in _NEEDED[name] if key not in widths]
    if lacking:
        raise PlastsearchError(f"{path}: lacks {', '.join(lacking)}, without which the sites are unknown")
    saved = widths.setdefault("front_end", FRONT_ENDS[name])
    if front_end not in (None, saved):
        raise PlastsearchError(f"model.front_end: the weights in {folder} were trained on {saved!r}, not {front_end!r}")
    return widths


def local_folder(source: str) -> Path | None:
    """The folder itself, or where a hub name's finished download lies here; `name@revision` asks for that revision.

    A path without a folder is an error: no hub is asked for what lies on somebody's disk.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if looks_like_path(source) or folder.exists():
        reason = "is no folder" if folder.exists() else "does not exist"
        raise PlastsearchError(
            f"model.from: {folder} {reason} on {socket.gethostname()}; name a folder with config.json and "
            "model.safetensors that every node sees under this path, or a hub name (owner/name)"
        )
    name, _, revision = source.partition("@")
    download = hub_cache() / f"models--{name.replace('/', '--')}"
    branch = download / "refs" / (revision or "main")
    commit = branch.read_text().strip() if branch.is_file() else revision
    snapshot = download / "snapshots" / commit
    finished = commit and (snapshot / CONFIG_FILE).is_file() and any(weights_in(snapshot))
    return snapshot if finished else None


def hub_cache() -> Path:
    """Where the hub's library keeps what it downloads."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()


def weights_in(folder: Path) -> list[Path]:
    """The files that hold a folder's weights."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))


def site_table(model: ModelConfig) -> list[SiteRow]:
    """Every site of a network in order of depth, from plain configuration."""
    return table_of(widths_of(model))


def table_of(widths: Widths) -> list[SiteRow]:
    """Every site of a network in order of depth, from what a detector's `plain_config` says."""
    kind = widths["model_type"]
    return _TABLES["wav2vec2" if kind in TRANSFORMERS else kind](widths)


def layer_sites(rows: list[SiteRow]) -> dict[str, list[str]]:
    """Block of the network → the sites inside it: `encoder.3` → its attention, head width and feed-forward."""
    blocks: dict[str, list[str]] = {}
    for row in rows:
        blocks.setdefault(block_of(row.name), []).append(row.name)
    return blocks


def block_of(site: str) -> str:
    """The block a site lies in; for a ResNet or a recurrent network that is the site itself."""
    parts = site.split(".")
    return ".".join(parts[:2])


def missing_sites(model: ModelConfig) -> list[str]:
    """Why a network has fewer sites than its family, one sentence each."""
    if widths_of(model)["model_type"] == "wavlm":
        return [
            "wavlm: attention and head_width are missing, because its attention hands all heads to one fused call "
            "together with a position bias per head, so that heads cannot be added"
        ]
    return []


def _transformer_table(widths: Widths) -> list[SiteRow]:
    hidden, heads = widths["hidden_size"], widths["num_attention_heads"]
    head_width = hidden // heads
    attention = 4 * hidden + 3  # a row with bias in query, key and value, a column in the output projection
    ffn = 2 * hidden + 1
    rows = []
    for layer in range(widths["num_hidden_layers"]):
        if widths["model_type"] != "wavlm":
            rows.append(SiteRow(f"encoder.{layer}.attention", "attention", heads, head_width, attention))
            rows.append(SiteRow(f"encoder.{layer}.head_width", "head_width", head_width, heads, attention))
        rows.append(SiteRow(f"encoder.{layer}.ffn", "ffn", widths["intermediate_size"], 1, ffn, hidden))
    return rows


def _resnet_table(widths: Widths) -> list[SiteRow]:
    rows = []
    before = widths["channels"][0]
    for stage, channels in enumerate(widths["channels"], start=1):
        for block in range(2):
            cost = 9 * before + 2 + 9 * channels  # a 3×3 filter, BatchNorm's pair, one channel of the next 3×3 filters
            rows.append(SiteRow(f"layer{stage}.{block}", "channels", channels, 1, cost))
            before = channels
    return rows[: widths.get("blocks", len(rows))]


def _gru_table(widths: Widths) -> list[SiteRow]:
    directions = 2 if widths["bidirectional"] else 1
    layers = widths["hidden"][: widths.get("blocks", len(widths["hidden"]))]
    rows = []
    before = BINS[widths["front_end"]]
    for layer, hidden in enumerate(layers):
        # Three gates, each: a row of inputs, two biases, and the recurrent square's new row and column.
        own = 3 * (before + 2 + 2 * hidden + 1)
        # Its readers: the gates of the next layer in every direction, or pooling and head.
        read = 3 * directions * layers[layer + 1] if layer + 1 < len(layers) else _head_reads(widths["pooling"])
        rows.append(SiteRow(f"gru.{layer}", "hidden", hidden, 1, directions * (own + read)))
        before = hidden * directions
    return rows


def _head_reads(pooling: str) -> int:
    scorer = ATTENTION_POOL_HIDDEN if pooling == "attention" else 0
    return 2 * POOLED[pooling] + scorer


# What transformers takes for keys that a config.json leaves out.
_LEFT_OUT: Widths = {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12, "intermediate_size": 3072}
_NEEDED: dict[str, tuple[str, ...]] = {
    "wav2vec2": (),
    "resnet18": ("channels",),
    "grnn": ("hidden", "bidirectional", "front_end"),
}
_TABLES: dict[str, Callable[[Widths], list[SiteRow]]] = {
    "wav2vec2": _transformer_table,
    "resnet18": _resnet_table,
    "grnn": _gru_table,
}
