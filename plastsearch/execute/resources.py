"""What one trial asks for, and whether the nodes of a cluster can ever give it; knows no Ray but its words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plastsearch.errors import ClusterError

_SPELT = {"CPU": "cpu", "GPU": "gpu", "memory": "memory_gb"}


@dataclass(frozen=True)
class Request:
    """What one trial asks for; None: a GPU if there are any, and an equal share of the cores."""

    cpu: float | None = None
    gpu: float | None = None
    memory_gb: float | None = None
    custom: Mapping[str, float] = field(default_factory=dict)

    def on(self, node_kinds: "Sequence[NodeKind]") -> dict[str, float]:
        """The request in Ray's words, for a cluster of these nodes."""
        with_gpu = [kind.resources for kind in node_kinds if kind.count and kind.resources.get("GPU")]
        # A trial uses one GPU and no more, whatever a node has; fewer cores than its share would leave some idle, more
        # than the poorest node's share would leave a GPU there idle. Nodes without a GPU have no say.
        gpu = self.gpu if self.gpu is not None else float(bool(with_gpu))
        share = gpu * min((one.get("CPU", 0.0) / one["GPU"] for one in with_gpu), default=0.0) if gpu else 1.0
        wanted = {"CPU": self.cpu if self.cpu is not None else max(1.0, float(int(share)))}
        if gpu:
            wanted["GPU"] = gpu
        if self.memory_gb:
            wanted["memory"] = self.memory_gb * 1e9
        return {**wanted, **self.custom}


@dataclass(frozen=True)
class NodeKind:
    """A kind of node: what it has, and how many there are or may be."""

    resources: Mapping[str, float]
    count: int

    def holds(self, request: Mapping[str, float]) -> int:
        """How many such requests all its nodes take together."""
        # In floats 0.3 / 0.1 falls short of 3, hence the small surplus.
        fits = min((int(self.resources.get(k, 0) / v + 1e-9) for k, v in request.items() if v), default=1)
        return fits * self.count


def check_fit(request: Mapping[str, float], node_kinds: Sequence[NodeKind]) -> None:
    """Refuse a request that no node can ever meet: Ray would wait for ever."""
    # By kind of node, not by the cluster's sum: one trial runs on one node.
    if any(kind.holds(request) for kind in node_kinds):
        return
    best = {name: max((kind.resources.get(name, 0.0) for kind in node_kinds), default=0.0) for name in request}
    short = [f"{v:g} {_word(k, v)} (the largest node has {best[k]:g})" for k, v in request.items() if best[k] < v]
    lacking = " and ".join(short) or "all of it on one node"
    lower = ", ".join(f"resources.{_SPELT.get(k, f'custom.{k}')}" for k, v in request.items() if best[k] < v)
    raise ClusterError(
        f"one trial asks for {lacking}, and no node can ever give it; "
        f"lower {lower or 'resources'} in the space (or with --set), or add such a node to the cluster"
    )


def _word(resource: str, amount: float) -> str:
    words = {"CPU": "CPUs", "GPU": "GPUs", "memory": "bytes of memory"}
    return words.get(resource, resource) if amount != 1 else resource
