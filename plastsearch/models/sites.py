"""The table of a network's sites, from its widths alone. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from plastsearch.models.catalog import (
    AASIST_CHANNELS,
    AASIST_GATE,
    ATTENTION_POOL_HIDDEN,
    CONFORMERS,
    LIGHT_HALVES,
    LIGHT_KERNELS,
    POOLED,
    SPEECH,
    Widths,
    rows_read,
)
from plastsearch.models.widths import widths_of
from plastsearch.spec.model import ModelConfig

UNITS = {
    "channels": "inner channels of the block, or those between two convolutions",
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
    kernel: int | None = None  # taps of its convolutions along each axis, where a ring could grow around them
    scaled: bool = True  # of a convolutional site, whether a norm has a weight for each of its channels
    directions: int | None = None  # of a feed-forward site's output, as many as gradmax can steer units along

    @property
    def neurons(self) -> int:
        """The width now."""
        return self.units * self.step


def site_table(model: ModelConfig) -> list[SiteRow]:
    """Every site of a network in order of depth, from plain configuration."""
    return table_of(widths_of(model))


def table_of(widths: Widths) -> list[SiteRow]:
    """Every site of a network in order of depth, from what a detector's `plain_config` says."""
    kind = widths["model_type"]
    return _TABLES["wav2vec2" if kind in SPEECH else kind](widths)


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
    if widths_of(model)["model_type"] in CONFORMERS:
        return [
            "w2v-bert: attention and head_width are missing, because its attention scores positions by a table that "
            "all heads share, for which there is no rule; ffn1 and ffn2 of each layer can grow"
        ]
    return []


def _transformer_table(widths: Widths) -> list[SiteRow]:
    hidden, heads = widths["hidden_size"], widths["num_attention_heads"]
    head_width = hidden // heads
    attention = 4 * hidden + 3  # a row with bias in query, key and value, a column in the output projection
    ffn = 2 * hidden + 1
    rows = []
    for layer in range(widths["num_hidden_layers"]):
        if widths["model_type"] in CONFORMERS:
            for name in ("ffn1", "ffn2"):
                rows.append(
                    SiteRow(f"encoder.{layer}.{name}", "ffn", widths["intermediate_size"], 1, ffn, directions=hidden)
                )
            continue
        if widths["model_type"] != "wavlm":
            rows.append(SiteRow(f"encoder.{layer}.attention", "attention", heads, head_width, attention))
            rows.append(SiteRow(f"encoder.{layer}.head_width", "head_width", head_width, heads, attention))
        rows.append(SiteRow(f"encoder.{layer}.ffn", "ffn", widths["intermediate_size"], 1, ffn, directions=hidden))
    return [*rows, *(_aasist_rows() if widths.get("head") == "aasist" else ())]


def _aasist_rows() -> list[SiteRow]:
    """What may grow in the head itself: channels within its residual blocks, and of the gate over its picture."""
    rows, before = [], 1
    for block, channels in enumerate(AASIST_CHANNELS):
        cost = 6 * before + 1 + 2 + 6 * channels  # filters of two by three, a bias, BatchNorm's pair
        rows.append(SiteRow(f"head.block.{block}", "channels", channels, 1, cost, kernel=3))
        before = channels
    rows.append(SiteRow("head.gate", "channels", AASIST_GATE, 1, 2 * before + 1 + 2))
    return rows


def _resnet_table(widths: Widths) -> list[SiteRow]:
    rows = []
    before = widths["channels"][0]
    for stage, channels in enumerate(widths["channels"], start=1):
        for block in range(2):
            cost = 9 * before + 2 + 9 * channels  # a 3×3 filter, BatchNorm's pair, one channel of the next 3×3 filters
            rows.append(SiteRow(f"layer{stage}.{block}", "channels", channels, 1, cost, kernel=3))
            before = channels
    return rows[: widths.get("blocks", len(rows))]


def _cnn_table(widths: Widths) -> list[SiteRow]:
    channels = widths["channels"][: widths.get("blocks", len(widths["channels"]))]
    before, rows = 1, []
    for layer, (width, after) in enumerate(pairwise(channels)):
        rows.append(SiteRow(f"conv.{layer}", "channels", width, 1, 9 * before + 2 + 9 * after, kernel=3))
        before = width
    return rows


def _lcnn_table(widths: Widths) -> list[SiteRow]:
    channels = widths["channels"]
    left = channels[: widths.get("blocks", len(channels) + 1)]
    before, rows = 1, []
    for layer, (width, after) in enumerate(pairwise(left)):
        here, there = LIGHT_KERNELS[layer], LIGHT_KERNELS[layer + 1]
        # Two maps of the convolution, with a bias each, and what both maps of each next channel read of one more.
        cost = 2 * (here**2 * before + 1) + 2 * there**2 * after
        # One of the two has a single tap, around which no ring goes.
        rows.append(SiteRow(f"conv.{layer}", "channels", width, 1, cost, kernel=max(here, there), scaled=False))
        before = width
    if widths.get("blocks", len(channels) + 1) > len(channels):
        features = channels[-1] * (rows_read(widths) >> len(LIGHT_HALVES))
        half = features // 2
        # In each of two directions four gates, with a row of inputs, two biases, the new row and column of the
        # recurrent square, and in the upper layer the columns of both directions for each of its rows.
        cost = 2 * 4 * (features + 2 + 2 * half + 1) + 2 * (2 * 4 * half)
        rows.append(SiteRow("lstm.0", "hidden", half, 1, cost))
    return rows


def _gru_table(widths: Widths) -> list[SiteRow]:
    directions = 2 if widths["bidirectional"] else 1
    layers = widths["hidden"][: widths.get("blocks", len(widths["hidden"]))]
    rows = []
    before = rows_read(widths)
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


_TABLES: dict[str, Callable[[Widths], list[SiteRow]]] = {
    "wav2vec2": _transformer_table,
    "resnet18": _resnet_table,
    "grnn": _gru_table,
    "cnn": _cnn_table,
    "lcnn": _lcnn_table,
}
