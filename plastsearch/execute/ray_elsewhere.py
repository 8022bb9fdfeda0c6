"""A module run as a program on some worker of the cluster, its lines heard here: what wants cores, and no GPU."""

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from plastsearch.errors import ClusterLostError
from plastsearch.execute.autoscaler import NodeWait, patience_s
from plastsearch.execute.ray_cluster import Cluster, hush
from plastsearch.execute.resources import NodeKind

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations among Ray's own modules
    import ray

_LOOK_S = 0.5
_RETRIES = 3  # with a node that is taken away; the program goes on where its files end
_END = "\0"  # begins the one item that is no line of output


class Elsewhere:
    """The program runs from here on; `lines`, then `ended`."""

    def __init__(self, cluster: Cluster, module: str, words: Sequence[str], text: str) -> None:
        kinds = cluster.node_kinds()
        self.cores = cores_for(kinds)
        self._cluster = cluster
        request = {"CPU": self.cores}
        most = sum(kind.holds(request) for kind in kinds)
        self._wait = NodeWait(request, most, patience_s() if cluster.nodes_may_come else None)
        # Not retried by Ray, which goes on with a stream at the item where it broke off: a second run says less.
        task = ray.remote(num_cpus=self.cores, max_retries=0, num_returns="streaming")(_program)
        self._start: Callable[[], Any] = lambda: task.remote(module, list(words), text)
        self._stream = self._start()
        self._heard = 0
        self._end: tuple[int, str] | None = None

    def lines(self, say: Callable[[str], None]) -> Iterator[str]:
        """What the program writes, line by line; `say` hears of waiting for a node."""
        with hush():
            for left in range(_RETRIES, -1, -1):
                try:
                    yield from self._lines(say)
                    return
                except ray.exceptions.RayError as error:
                    if not left:
                        words = str(error).strip().splitlines()
                        raise ClusterLostError(
                            f"the worker that prepares for all died {_RETRIES + 1} times "
                            f"({words[-1] if words else type(error).__name__}); see its memory, and its node"
                        ) from None
                    self._stream, self._heard = self._start(), 0

    def _lines(self, say: Callable[[str], None]) -> Iterator[str]:
        while self._end is None:
            ready, _ = ray.wait([self._stream], timeout=_LOOK_S, fetch_local=False)
            if not ready:
                said = self._wait.look(not self._heard, time.monotonic(), self._cluster.infeasible)
                if said is not None:
                    say(said)
                continue
            item = str(ray.get(next(self._stream)))
            self._heard += 1
            if item.startswith(_END):
                status, _, trouble = item[1:].partition(_END)
                self._end = int(status), trouble
            elif item:
                yield item

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it wrote on standard error."""
        assert self._end is not None
        return self._end

    def close(self) -> None:
        """Leave nothing running there."""
        if self._end is None and ray.is_initialized():
            ray.cancel(self._stream, force=True)  # the worker dies, and the program sees its standard input close


def cores_for(kinds: Sequence[NodeKind]) -> float:
    """All cores of the largest node that has no GPU, so that none waits for this; of any node where all have one."""
    plain = [kind for kind in kinds if kind.count and not kind.resources.get("GPU")]
    most = max((kind.resources.get("CPU", 0.0) for kind in plain), default=0.0)
    if most < 1:
        most = max((kind.resources.get("CPU", 0.0) for kind in kinds if kind.count), default=1.0)
    return max(1.0, float(int(most)))


def _program(module: str, words: list[str], text: str) -> Iterator[str]:
    """On the worker: run it to its end, a line at a time."""
    yield ""  # a node was found
    with tempfile.TemporaryFile("w+") as trouble:  # not a pipe: nobody reads it while the program runs
        child = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=trouble, text=True,
        )  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(text)
            child.stdin.close()
            for line in child.stdout:
                yield line.rstrip("\n")
            status = child.wait()
        finally:
            child.kill()
            child.wait()
        trouble.seek(0)
        yield f"{_END}{status}{_END}{trouble.read()[-8000:]}"
