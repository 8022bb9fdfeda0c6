"""What lies between two convolutions of a block, read from its forward."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from plastsearch.errors import GrowthError
from plastsearch.growth.paths import ordinary

# Each acts on every entry alike, so that new channels may pass through it by themselves.
_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Hardshrink,
    nn.Softshrink, nn.Threshold,
)  # fmt: skip
# So does each of these, though not on each entry: what lies last before the second convolution.
_LAST = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.MaxPool1d,
    nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d,
)  # fmt: skip
_RELU = (functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_")


@dataclass(frozen=True)
class Between:
    """Names of the parts that lie between two convolutions, and of the norm after the second."""

    norm: str | None = None
    act: str | None = None  # None: a ReLU without a module of its own
    act_first: bool = False  # whether the norm stands behind the activation
    dropout: str | None = None
    out_norm: str | None = None


def between(block: nn.Module, first: str, second: str) -> Between:
    """The norm, the activation and the dropout, or pooling, that the first convolution's channels pass.

    Anything else on the way, or another reader of those channels, is an error that says what it is.
    """
    graph = traced(block)
    start, end = (only_call(graph, name) for name in (first, second))
    found: dict[str, str | None] = {}
    node = start
    while node is not end:
        if len(node.users) != 1:
            raise GrowthError(f"the channels after {first} are read in {len(node.users)} places, not by {second} alone")
        node = next(iter(node.users))
        if node is not end:
            kind, name = _step(block, graph, node)
            if kind in found or "dropout" in found:
                raise GrowthError(f"{_called(node)} follows {_called(node.args[0])} between {first} and {second}")
            if kind != "nothing":
                found[kind] = name
    if "act" not in found:
        raise GrowthError(f"there is no activation between {first} and {second}")
    after = next(iter(end.users)) if len(end.users) == 1 else None
    is_norm = (
        after is not None
        and after.op == "call_module"
        and isinstance(part_of(block, after), nn.BatchNorm1d | nn.BatchNorm2d)
    )
    late = [kind for kind in found if kind != "dropout"] == ["act", "norm"]
    return Between(**found, act_first=late, out_norm=str(after.target) if after is not None and is_norm else None)


def traced(block: nn.Module) -> fx.Graph:
    """The steps of a block's forward, with its parts as they are called."""
    try:
        return _ForwardTracer().trace(block)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise GrowthError(f"its forward cannot be read ({reason})") from error


class _ForwardTracer(fx.Tracer):
    """Follows the block's own forward and looks into none of its parts."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True


def only_call(graph: fx.Graph, name: str) -> fx.Node:
    """The one call of a part."""
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
    part = part_of(block, node)
    if type(part) is nn.Identity:
        return "nothing", name
    if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
        only_call(graph, name)
        return "norm", name
    if activation(part):
        return "act", name
    if type(part) in _LAST:
        return "dropout", name
    if isinstance(part, nn.PReLU):
        raise GrowthError(f"its activation {type(part).__name__} has weights of its own, one for each channel")
    raise GrowthError(
        f"{name}, a {type(part).__name__}, reads the channels and may treat new ones otherwise than old ones"
    )


def activation(part: nn.Module) -> bool:
    """Whether a part acts on every entry alike."""
    return type(part) in _ACTIVATIONS or (type(part) is nn.PReLU and part.num_parameters == 1)


def passable(part: nn.Module) -> bool:
    """Whether channels may pass a part each by itself."""
    known = isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) or type(part) in (nn.Identity, *_LAST)
    return known or activation(part)


def _by_default(node: fx.Node) -> bool:
    """Whether a function is called on the channels alone, or with what it takes anyway."""
    settings = {key: value for key, value in node.kwargs.items() if key != "inplace"}
    if len(node.args) != 1 or not callable(node.target):
        return False
    known = inspect.signature(node.target).parameters if settings else {}
    return all(key in known and known[key].default == value for key, value in settings.items())


def part_of(block: nn.Module, node: fx.Node) -> Any:
    """The part that a step calls, without what grew around it."""
    return ordinary(block.get_submodule(str(node.target)))


def _called(node: object) -> str:
    return str(getattr(node.target, "__name__", node.target)) if isinstance(node, fx.Node) else str(node)
