"""What a folder's config.json says of a network's shape, checked before anything is built by it. Imports no torch.

The folder may come from anybody: each width has its kind and its limit, and all of them together fit the weights.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plastsearch.errors import PlastsearchError
from plastsearch.files import json_of
from plastsearch.models.catalog import Widths
from plastsearch.spec.limits import MOST_AMOUNT, MOST_LAYERS, MOST_RATE_HZ, MOST_REPEATS, MOST_WIDTH
from plastsearch.spec.vocabulary import Head

MOST_BYTES = 1 << 20  # of a config.json
_ROOM = 1 << 22  # bytes; a network this small needs no comparing

Width = Annotated[int, Field(ge=1, le=MOST_WIDTH)]
_Layers = Annotated[list[Width], Field(min_length=1, max_length=MOST_LAYERS)]
_Convolutions = Annotated[list[Annotated[int, Field(ge=1, le=MOST_REPEATS)]], Field(min_length=1, max_length=32)]


class _Spikes(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    time_steps: int = Field(ge=1, le=64)
    leak: float = Field(gt=0, le=1)
    threshold: float = Field(gt=0, le=MOST_AMOUNT)
    reset: Literal["soft", "hard"]
    surrogate: Literal["arctan", "fast_sigmoid"]


class _Written(BaseModel):
    """The keys that are read here; transformers keeps many more in the same file."""

    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())

    model_type: str = Field(max_length=100)
    hidden_size: Width = 1
    num_hidden_layers: int = Field(1, ge=1, le=MOST_LAYERS)
    num_attention_heads: Width = 1
    intermediate_size: Width = 1
    conv_dim: _Convolutions | None = None
    conv_stride: _Convolutions | None = None
    conv_kernel: _Convolutions | None = None
    conv_bias: bool = False
    do_stable_layer_norm: bool = False
    num_conv_pos_embeddings: int = Field(1, ge=1, le=MOST_REPEATS)
    num_conv_pos_embedding_groups: Width = 1
    channels: _Layers | None = None
    hidden: _Layers | None = None
    bidirectional: bool = False
    blocks: int = Field(1, ge=1, le=MOST_LAYERS)
    front_end: Literal["waveform", "log_mel", "linear", "lfcc", "mfcc"] = "waveform"
    normalise: Literal["none", "corpus", "clip"] = "clip"
    bins: int = Field(64, ge=4, le=128)
    deltas: int = Field(0, ge=0, le=2)
    stem: Literal["quarter", "half", "whole"] = "quarter"
    masks: int = Field(0, ge=0, le=8)
    rate_hz: int = Field(1, ge=1, le=MOST_RATE_HZ)
    pooling: Literal["mean", "attention", "mean_std"] = "mean"
    dropout: float = Field(0.0, ge=0, lt=1)
    head: Head = "linear"
    layers_in: Literal["last", "weighted_sum"] = "last"
    spikes: _Spikes | None = None


def read_widths(path: Path) -> Widths:
    """The widths in a config.json, each of its kind and within its limits."""
    try:
        plain = json_of(path, MOST_BYTES)
    except FileNotFoundError:
        raise PlastsearchError(f"{path}: there is no such file; a model's folder has one") from None
    if not isinstance(plain, dict):
        raise PlastsearchError(f"{path}: no model's config: it should be `{{…}}`")
    try:
        _Written.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise PlastsearchError(
            f"{path}: {key}: {first['msg'].removeprefix('Input ')}, not {str(first['input'])[:60]!r}; "
            "is it the file that came with the weights?"
        ) from None
    heads = plain.get("num_attention_heads", 1)
    if plain.get("hidden_size", heads) % heads:
        raise PlastsearchError(f"{path}: hidden_size {plain['hidden_size']} is no multiple of {heads} attention heads")
    return cast("Widths", plain)


def fits_weights(widths: Mapping[str, object], parameters: float, weights: list[Path], config: Path) -> None:
    """Refuses a config that describes a network far larger than the file of its weights: it would fill the memory."""
    size = sum(path.stat().st_size for path in weights if path.is_file())
    if not size:
        return  # whoever reads them says so, before it builds anything
    convolved = _convolved(widths)
    # `parameters` counts what two sites share twice, and a weight takes two bytes at least.
    if parameters + 2 * convolved > 2 * size + _ROOM:
        raise PlastsearchError(
            f"{config}: describes a network of some {(parameters / 2 + convolved) / 1e6:,.0f} million weights, and its "
            f"weights are {size / 1e6:,.1f} MB; are both files of one model?"
        )


def _convolved(widths: Mapping[str, object]) -> float:
    """Weights of a speech encoder's convolutions."""
    written = _Written.model_validate(widths)
    if written.conv_dim is None or written.conv_kernel is None:
        return 0.0
    before, total = 1, 0
    for channels, kernel in zip(written.conv_dim, written.conv_kernel, strict=False):
        total += before * channels * kernel
        before = channels
    positions = written.hidden_size**2 * written.num_conv_pos_embeddings / written.num_conv_pos_embedding_groups
    return total + positions
