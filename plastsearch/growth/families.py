"""Recognises the sites of networks that declare none: speech encoders of transformers, ResNets, GRUs and their head."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from plastsearch.errors import GrowthError
from plastsearch.growth.paths import at, ordinary
from plastsearch.growth.site import CONFORMER_REFUSED, Refusal, Site, attempt, conv_pair, ffn, head_width, heads, hidden

# Each acts on every entry alike, so that new channels may pass through it by themselves.
_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Hardshrink,
    nn.Softshrink, nn.Threshold,
)  # fmt: skip
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_RELU = (functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_")


@dataclass(frozen=True)
class Between:
    """Names of the parts that lie between two convolutions, and of the norm after the second."""

    norm: str | None = None
    act: str | None = None  # None: a ReLU without a module of its own
    dropout: str | None = None
    out_norm: str | None = None


def between(block: nn.Module, first: str, second: str) -> Between:
    """The norm, the activation and the dropout that the first convolution's channels pass on their way to the second.

    Anything else on the way, or another reader of those channels, is an error that says what it is.
    """
    graph = _graph(block)
    start, end = (_only_call(graph, name) for name in (first, second))
    found: dict[str, str | None] = {}
    node = start
    while node is not end:
        if len(node.users) != 1:
            raise GrowthError(f"the channels after {first} are read in {len(node.users)} places, not by {second} alone")
        node = next(iter(node.users))
        if node is not end:
            kind, name = _step(block, graph, node)
            order = ("norm", "act", "dropout")
            if kind in found or (kind in order and any(later in found for later in order[order.index(kind) :])):
                raise GrowthError(f"{_called(node)} follows {_called(node.args[0])} between {first} and {second}")
            if kind != "nothing":
                found[kind] = name
    if "act" not in found:
        raise GrowthError(f"there is no activation between {first} and {second}")
    after = next(iter(end.users)) if len(end.users) == 1 else None
    is_norm = after is not None and after.op == "call_module" and isinstance(_part(block, after), nn.BatchNorm2d)
    return Between(**found, out_norm=str(after.target) if after is not None and is_norm else None)


def _graph(block: nn.Module) -> fx.Graph:
    try:
        return _ForwardTracer().trace(block)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise GrowthError(f"its forward cannot be read ({reason})") from error


class _ForwardTracer(fx.Tracer):
    """Follows the block's own forward and looks into none of its parts."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True


def _only_call(graph: fx.Graph, name: str) -> fx.Node:
    calls: list[fx.Node] = [node for node in graph.nodes if node.op == "call_module" and node.target == name]
    if len(calls) != 1:
        raise GrowthError(f"its forward calls {name} {len(calls)} times, not once")
    return calls[0]


def _step(block: nn.Module, graph: fx.Graph, node: fx.Node) -> tuple[str, str | None]:
    """What one step between the convolutions is, and the name of its module."""
    if node.op != "call_module":
        if node.target in _RELU:
            return "act", None
        kept = [name for name, value in vars(block).items() if value is node.target]  # self.act = functional.silu
        if kept and _by_default(node):
            return "act", kept[0]
        raise GrowthError(
            f"{_called(node)} is called on the channels, which may treat new ones otherwise than old ones"
        )
    name = str(node.target)
    part = _part(block, node)
    if type(part) is nn.Identity:
        return "nothing", name
    if isinstance(part, nn.BatchNorm2d):
        _only_call(graph, name)
        return "norm", name
    if type(part) in _ACTIVATIONS or (type(part) is nn.PReLU and part.num_parameters == 1):
        return "act", name
    if type(part) in _DROPOUTS:
        return "dropout", name
    if isinstance(part, nn.PReLU):
        raise GrowthError(f"its activation {type(part).__name__} has weights of its own, one for each channel")
    raise GrowthError(
        f"{name}, a {type(part).__name__}, reads the channels and may treat new ones otherwise than old ones"
    )


def _by_default(node: fx.Node) -> bool:
    """Whether a function is called on the channels alone, or with what it takes anyway."""
    settings = {key: value for key, value in node.kwargs.items() if key != "inplace"}
    if len(node.args) != 1 or not callable(node.target):
        return False
    known = inspect.signature(node.target).parameters if settings else {}
    return all(key in known and known[key].default == value for key, value in settings.items())


def _part(block: nn.Module, node: fx.Node) -> Any:
    return ordinary(block.get_submodule(str(node.target)))


def _called(node: object) -> str:
    return str(getattr(node.target, "__name__", node.target)) if isinstance(node, fx.Node) else str(node)


_SHARED_OUT = (nn.Softmax, nn.Softmin, nn.LogSoftmax)
_STAGE = re.compile(r"layer[1-9]")


def recognise(module: nn.Module) -> list[Site | Refusal]:
    """Sites of every known family inside a network; none is an error that says what is known."""
    sites = [*encoder_sites(module), *conformer_sites(module), *resnet_sites(module), *gru_sites(module)]
    if not sites:
        raise GrowthError(
            f"{type(module).__name__} has no site that can grow: known are encoder layers of transformers' Wav2Vec2, "
            "HuBERT, WavLM and W2V-BERT, ResNet basic blocks in layer1, layer2, …, and one-layer nn.GRU; "
            "declare others with growth.site.declare_(module, factory)"
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
    layers = [path for path, part in _walk(module) if _is_conformer(ordinary(part))]
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
    for path, part in _walk(module):
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


def _basic(module: nn.Module, name: str, where: str, order: int, *, read: bool) -> Site:
    """The channels between the two convolutions of one block."""
    found = Between("bn1", "relu", None, "bn2")
    if read:
        try:
            found = between(at(module, where), "conv1", "conv2")
        except GrowthError as error:
            raise GrowthError(
                f"site '{name}': {where}, a {type(at(module, where)).__name__}, is no basic block: {error}; if its "
                "channels can grow, declare them with growth.site.declare_(module, lambda net: [conv_pair(net, …)])"
            ) from error
    paths = {part: f"{where}.{value}" for part, value in vars(found).items() if value is not None}
    norm = paths.pop("norm", None)
    return conv_pair(module, name, f"{where}.conv1", norm, f"{where}.conv2", order, **paths)


def gru_sites(module: nn.Module, order: int = 0) -> list[Site | Refusal]:
    """Each one-layer nn.GRU, read by the next one in the stack or by the only linear layer that fits."""
    grus = [path for path, part in _walk(module) if isinstance(ordinary(part), nn.GRU)]
    sites: list[Site | Refusal] = []
    for index, path in enumerate(grus):
        later = grus[index + 1] if index + 1 < len(grus) else None
        sites.append(attempt(_recurrent, module, f"gru.{index}", path, later, order + index))
    return sites


def _recurrent(module: nn.Module, name: str, path: str, later: str | None, order: int) -> Site:
    readers = [_reader(module, path, later)] if at(module, path).num_layers == 1 else []  # `hidden` says why not
    return hidden(module, name, path, readers, order)


def _reader(module: nn.Module, path: str, later: str | None) -> str:
    """The one layer that can read a GRU: up to the next GRU, if that fits, or else the one that fits after it.

    What else would read the features, average over them, or make that layer another GRU's reader is an error.
    """
    size = _outputs(module, path)
    after = _after(module, path)
    if later is not None and at(module, later).input_size == size:
        after = after[: after.index(later) + 1]
    for name in after:
        part = at(module, name)
        width = getattr(part, "normalized_shape", (getattr(part, "num_features", 0),))[-1]
        if (width and width % size == 0) or (isinstance(part, _SHARED_OUT) and part.dim in (None, -1, 2)):
            raise GrowthError(
                f"{path} cannot grow: {name}, a {type(part).__name__} over its {size} features, would average over new "
                "units too; only a GRU read by linear or recurrent layers keeps its function"
            )
    fits = [name for name in after if _fits(module, name, size)]
    readers = [name for name in fits if isinstance(at(module, name), nn.GRU | nn.Linear)]
    linear = [name for name in readers if isinstance(at(module, name), nn.Linear)]
    if len(fits) == len(readers) == 1 and not (linear and _rivals(module, path, linear[0])):
        return readers[0]
    found = ", ".join(fits) or "none"
    if len(fits) == 1 and readers:
        found = f"{fits[0]}, which may as well read {', '.join(_rivals(module, path, fits[0]))}"
    raise GrowthError(
        f"cannot tell which layers read the output of {path} ({size} features; layers that fit: {found}); "
        "declare them with growth.site.declare_(module, lambda net: [hidden(net, 'gru.0', …)])"
    )


def _outputs(module: nn.Module, path: str) -> int:
    gru = at(module, path)
    size: int = gru.hidden_size * (2 if gru.bidirectional else 1)
    return size


def _after(module: nn.Module, path: str) -> list[str]:
    names = [name for name, _ in _walk(module)]
    return names[names.index(path) + 1 :]


def _fits(module: nn.Module, path: str, size: int) -> bool:
    """Whether a layer may read so many features: a linear one several times over, such as mean and deviation."""
    part = at(module, path)
    if isinstance(part, nn.Linear):
        return part.in_features % size == 0 and not _fed_in_sequence(module, path)
    return any(getattr(part, name, None) == size for name in ("in_channels", "input_size", "embed_dim"))


def _rivals(module: nn.Module, path: str, linear: str) -> list[str]:
    """Other GRUs before a linear layer whose output it may read, since no GRU after them does."""
    grus = [name for name, part in _walk(module) if isinstance(ordinary(part), nn.GRU)]
    found = []
    for name, following in zip(grus, [*grus[1:], None], strict=True):
        size = _outputs(module, name)
        read = following is not None and at(module, following).input_size == size
        if name != path and not read and linear in _after(module, name) and _fits(module, linear, size):
            found.append(name)
    return found


def _fed_in_sequence(module: nn.Module, path: str) -> bool:
    """Whether a linear layer follows another one in an nn.Sequential, and so reads that one."""
    parent, _, name = path.rpartition(".")
    held = at(module, parent)
    if not isinstance(held, nn.Sequential):
        return False
    names = list(held._modules)
    earlier = [at(module, f"{parent}.{other}".strip(".")) for other in names[: names.index(name)]]
    return any(isinstance(layer, nn.Linear) for layer in earlier)


def _encoder_layers(module: nn.Module) -> list[str]:
    """Paths of the transformer layers that have the attention and feed-forward parts of the wav2vec 2.0 family."""
    parts = ("intermediate_dense", "output_dense", "intermediate_act_fn")
    return [
        path
        for path, part in ((path, ordinary(part)) for path, part in _walk(module))
        if hasattr(part, "attention") and all(hasattr(getattr(part, "feed_forward", None), name) for name in parts)
    ]


def _walk(module: nn.Module, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, nn.Module]]:
    """Logical paths and modules in the order of registration, grown blocks counted as the module they stand for.

    What stands in several places is found once: its sites are the same neurons.
    """
    seen = set() if seen is None else seen
    for name, child in module.named_children():
        if id(child) in seen:
            continue
        seen.add(id(child))
        path = f"{prefix}{name}"
        yield path, child
        yield from _walk(ordinary(child), f"{path}.", seen)
