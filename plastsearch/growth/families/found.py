"""Recognises the sites of networks that declare none: speech encoders, ResNets, blocks of two convolutions, GRUs."""

import re
from itertools import pairwise
from typing import Any

from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.families.between import Between, between, passable
from plastsearch.growth.families.chunks import chunk_sites
from plastsearch.growth.families.recurrent import recurrent_sites
from plastsearch.growth.families.walk import walk
from plastsearch.growth.paths import at, ordinary
from plastsearch.growth.site import CONFORMER_REFUSED, Refusal, Site, attempt, conv_pair, ffn, head_width, heads

_PAIR = ("conv1", "conv2")
_STAGE = re.compile(r"layer[1-9]")


def recognise(module: nn.Module) -> list[Site | Refusal]:
    """Sites of every known family inside a network; none is an error that says what is known."""
    sites = [*encoder_sites(module), *conformer_sites(module), *resnet_sites(module), *pair_sites(module)]
    sites += [*sequence_sites(module), *chunk_sites(module), *recurrent_sites(module)]
    if not sites:
        raise GrowthError(
            f"{type(module).__name__} has no site that can grow: known are encoder layers of transformers' Wav2Vec2, "
            "HuBERT, WavLM and W2V-BERT, ResNet basic blocks in layer1, layer2, …, other blocks with conv1 and conv2, "
            "Res2Net blocks as ECAPA has them "
            "and one-layer nn.GRU and nn.LSTM; declare others with growth.site.declare_(module, factory)"
        )
    return sites


def encoder_sites(module: nn.Module, order: int = 0) -> list[Site | Refusal]:
    """Feed-forward, heads and head width of each transformers speech encoder layer (WavLM: feed-forward only)."""
    sites: list[Site | Refusal] = []
    for index, path in enumerate(_encoder_layers(module)):
        layer = at(module, path)
        name = f"encoder.{index}"
        depth = order + 3 * index
        block = f"{path}.feed_forward"
        if not hasattr(layer.attention, "gru_rel_pos_const"):
            sites.append(attempt(heads, module, f"{name}.attention", f"{path}.attention", depth, layer=path))
            sites.append(attempt(head_width, module, f"{name}.head_width", f"{path}.attention", depth + 1))
        inner = {"act": f"{block}.intermediate_act_fn", "dropout": f"{block}.intermediate_dropout"}
        up, down = f"{block}.intermediate_dense", f"{block}.output_dense"
        sites.append(attempt(ffn, module, f"{name}.ffn", up, down, depth + 2, **inner, layer=path))
    return sites


def conformer_sites(module: nn.Module, order: int = 0) -> list[Site | Refusal]:
    """Both feed-forwards of each Conformer layer that has the parts of transformers' W2V-BERT."""
    sites: list[Site | Refusal] = []
    layers = [path for path, part in walk(module) if _is_conformer(ordinary(part))]
    for index, path in enumerate(layers):
        for place, name in enumerate(("ffn1", "ffn2")):
            block = f"{path}.{name}"
            inner = {"act": f"{block}.intermediate_act_fn", "dropout": f"{block}.intermediate_dropout"}
            up, down = f"{block}.intermediate_dense", f"{block}.output_dense"
            depth = order + 3 * index + 2 * place
            sites.append(attempt(ffn, module, f"encoder.{index}.{name}", up, down, depth, **inner, layer=path))
        sites += [Refusal(f"encoder.{index}.{name}", CONFORMER_REFUSED) for name in ("attention", "head_width")]
    return sites


def _is_conformer(layer: Any) -> bool:
    parts = ("intermediate_dense", "output_dense", "intermediate_act_fn")
    return all(hasattr(getattr(layer, name, None), part) for name in ("ffn1", "ffn2") for part in parts)


def resnet_sites(module: nn.Module, order: int = 0, *, read: bool = True) -> list[Site | Refusal]:
    """Inner channels of each basic block in layer1, layer2, … of a torchvision-like ResNet.

    With `read` a block's forward says what lies between its convolutions; without, torchvision's names do.
    """
    sites: list[Site | Refusal] = []
    for path, part in walk(module):
        stage = path.rpartition(".")[2]
        if not (_STAGE.fullmatch(stage) and isinstance(part, nn.Sequential)):
            continue
        for index, child in enumerate(part):
            block = ordinary(child)
            if all(hasattr(block, name) for name in ("conv1", "bn1", "conv2", "bn2")) and not hasattr(block, "conv3"):
                where = f"{path}.{index}"
                depth = order + 10 * int(stage[5:]) + index
                sites.append(attempt(_basic, module, f"{stage}.{index}", where, depth, read=read))
    return sites


def pair_sites(module: nn.Module, order: int = 0) -> list[Site | Refusal]:
    """The channels between conv1 and conv2 of each other block that calls its two convolutions so, by the block's path.

    As RawNet2, AASIST and squeeze-and-excitation in ECAPA have them, of one dimension or two.
    """
    sites: list[Site | Refusal] = []
    for path, part in walk(module):
        block = ordinary(part)
        pair = [ordinary(found) if (found := getattr(block, name, None)) is not None else None for name in _PAIR]
        if not all(isinstance(conv, nn.Conv1d | nn.Conv2d) for conv in pair) or hasattr(block, "conv3"):
            continue
        if not _STAGE.fullmatch(path.split(".")[-2] if "." in path else ""):  # those are a ResNet's
            sites.append(attempt(_basic, module, path, path, order + len(sites), read=True))
    return sites


def sequence_sites(module: nn.Module, order: int = 0) -> list[Site | Refusal]:
    """The channels between two convolutions in an nn.Sequential, by the path of the first one.

    As squeeze-and-excitation in ECAPA is mostly written. What other things lie between is left to its author.
    """
    sites: list[Site | Refusal] = []
    for path, part in walk(module):
        row = ordinary(part)
        if type(row) is not nn.Sequential:
            continue
        steps = {name: ordinary(step) for name, step in row.named_children()}
        names = list(steps)
        convs = [k for k, step in enumerate(steps.values()) if isinstance(step, nn.Conv1d | nn.Conv2d)]
        for first, second in pairwise(convs):
            if all(passable(steps[name]) for name in names[first + 1 : second]):
                pair = (names[first], names[second])
                own = f"{path}.{pair[0]}"
                sites.append(attempt(_basic, module, own, path, order + len(sites), read=True, pair=pair))
    return sites


def _basic(module: nn.Module, name: str, where: str, order: int, *, read: bool, pair: tuple[str, str] = _PAIR) -> Site:
    """The channels between the two convolutions of one block."""
    found = Between("bn1", "relu", out_norm="bn2")
    if read:
        try:
            found = between(at(module, where), *pair)
        except GrowthError as error:
            raise GrowthError(
                f"site '{name}': {where}, a {type(at(module, where)).__name__}, is no basic block: {error}; if its "
                "channels can grow, declare them with growth.site.declare_(module, lambda net: [conv_pair(net, …)])"
            ) from error
    paths = {part: _under(where, getattr(found, part)) for part in ("norm", "act", "dropout", "out_norm")}
    return conv_pair(
        module, name, f"{where}.{pair[0]}", paths["norm"], f"{where}.{pair[1]}", order, act=paths["act"],
        dropout=paths["dropout"], out_norm=paths["out_norm"], act_first=found.act_first,
    )  # fmt: skip


def _under(where: str, name: str | None) -> str | None:
    return None if name is None else f"{where}.{name}"


def _encoder_layers(module: nn.Module) -> list[str]:
    """Paths of the transformer layers that have the attention and feed-forward parts of the wav2vec 2.0 family."""
    parts = ("intermediate_dense", "output_dense", "intermediate_act_fn")
    return [
        path
        for path, part in ((path, ordinary(part)) for path, part in walk(module))
        if hasattr(part, "attention") and all(hasattr(getattr(part, "feed_forward", None), name) for name in parts)
    ]
