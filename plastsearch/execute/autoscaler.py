"""What a cluster's autoscaler may still bring: the manifest declares it, and the autoscaler itself says what it cannot.

Ray's own record of worker groups (`get_cluster_config`) stays empty on KubeRay, so an empty cluster looks like one that
can do nothing. Whoever writes the manifest knows its groups, and tells the driver in an environment variable.
"""

import os
from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from plastsearch.errors import ClusterError
from plastsearch.execute.resources import NodeKind
from plastsearch.words import duration

GROUPS = "PLASTSEARCH_WORKER_GROUPS"
PATIENCE = "PLASTSEARCH_NODE_WAIT_S"
SAY_FIRST_S, SAY_AGAIN_S = 10.0, 60.0
ASK_EVERY_S = 5.0
PATIENCE_S = 1800.0  # a GPU node of a cloud is there in minutes or, where there are none left, not for hours

UNDECLARED = (
    "the cluster has no worker now, and nobody says what its autoscaler may bring: declare the groups "
    f'({GROUPS}=\'[{{"name": "gpu", "resources": {{"CPU": 8, "GPU": 1}}, "max": 4}}]\'), or say what one '
    "trial asks for (--set resources.gpu=1, or 0)"
)


class WorkerGroup(BaseModel):
    """Nodes of one kind, in Ray's words; at most `max` of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    resources: dict[str, float]
    max: int = Field(ge=0)


_GROUPS = TypeAdapter(list[WorkerGroup])


def declared_groups(environment: Mapping[str, str] = os.environ) -> list[NodeKind]:
    """The worker groups that the manifest declares; none where nobody did."""
    text = environment.get(GROUPS, "").strip()
    if not text:
        return []
    try:
        groups = _GROUPS.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ClusterError(
            f"{GROUPS}: {where + ': ' if where else ''}{first['msg']}; "
            'it lists worker groups such as [{"name": "gpu", "resources": {"CPU": 8, "GPU": 1}, "max": 4}]'
        ) from None
    return [NodeKind(group.resources, group.max) for group in groups]


def patience_s(environment: Mapping[str, str] = os.environ) -> float:
    """How long to wait for a first node before giving the attempt up."""
    text = environment.get(PATIENCE, "").strip()
    try:
        seconds = float(text or PATIENCE_S)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ClusterError(f"{PATIENCE}={text}: give a number of seconds above 0, such as 1800")
    return seconds


class NodeWait:
    """Watches attempts that were handed out and that no node takes up: says so, and knows when waiting is no use."""

    def __init__(self, request: Mapping[str, float], most: int, patience_s: float | None) -> None:
        self._request = {name: amount for name, amount in request.items() if amount}
        self._most, self._patience_s = most, patience_s  # None: there is nobody who could bring a node
        self._since: float | None = None
        self._said = self._asked = 0.0
        self._refused = 0  # times in a row that the autoscaler called it infeasible

    def look(self, waiting: bool, now: float, infeasible: Callable[[], Sequence[Mapping[str, float]]]) -> str | None:
        """What to tell the user now, if anything; raises ClusterError when no node will come."""
        if not waiting:
            self._since, self._refused = None, 0
            return None
        if self._since is None:
            self._since = self._said = self._asked = now
        if self._patience_s is not None:
            self._judge(now, infeasible)
        first = self._said == self._since
        if now - self._said < (SAY_FIRST_S if first else SAY_AGAIN_S):
            return None
        self._said = now
        coming = f"; room for {self._most} at a time may come" if self._patience_s is not None else ""
        return f"waiting for a node that holds {self._words()}, for {duration(now - self._since)} now{coming}"

    def _judge(self, now: float, infeasible: Callable[[], Sequence[Mapping[str, float]]]) -> None:
        assert self._since is not None
        assert self._patience_s is not None
        if now - self._since > self._patience_s:
            raise ClusterError(
                f"no node that holds {self._words()} came in {duration(self._patience_s)} ({PATIENCE} sets how long to "
                "wait); see `ray status` and the pending Pods for the reason"
            )
        if now - self._asked < ASK_EVERY_S:
            return
        self._asked = now
        # Twice, since the autoscaler may have judged before it had read a change of its groups.
        self._refused = self._refused + 1 if self._among(infeasible()) else 0
        if self._refused > 1:
            raise ClusterError(
                f"the autoscaler has no group of nodes that holds {self._words()}; lower resources in the space "
                "(or with --set), or give the cluster a group of such workers"
            )

    def _among(self, bundles: Sequence[Mapping[str, float]]) -> bool:
        return any(all(bundle.get(name) == amount for name, amount in self._request.items()) for bundle in bundles)

    def _words(self) -> str:
        return ", ".join(f"{amount:g} {name}" for name, amount in self._request.items()) or "one trial"
