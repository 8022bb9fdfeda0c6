"""Runs attempts on a Ray cluster through Tune.

Tune places workers, keeps them warm and sees them die; it retries nothing, and nobody ever reads the snapshots it
insists on: the journal is the truth, and every start is a fresh Tuner.
"""

import os
import shutil
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from plastsearch.errors import ClusterError, StorageError, out_of_room
from plastsearch.execute.autoscaler import UNDECLARED, NodeWait, declared_groups, patience_s
from plastsearch.execute.executor import Driver, Meters
from plastsearch.execute.ray_cluster import Cluster, hush, own_signals
from plastsearch.execute.ray_elsewhere import Elsewhere
from plastsearch.execute.ray_hooks import (
    AttemptTrainable,
    Bridge,
    DriverCallback,
    DriverScheduler,
    DriverSearcher,
    DriverStopper,
)
from plastsearch.execute.ray_patches import patched
from plastsearch.execute.resources import Request, check_fit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations among Ray's own modules
    from ray import tune

_LOOK_S = 1.0
_PATIENCE_S = 5.0  # for Tune to notice by itself that Ray is dead
_SILENT_S = 240.0  # without a step of Tune: Ray hangs, for some of its processes die without ending
_ASK_S = 5.0
_PARTING_S = 15.0  # the same after an interrupt
_HANGS = "Ray does not answer any more; what ran goes on with the next session"


class RayExecutor:
    """A local Ray of its own, or the cluster at `address`; opened at once: a misfit shows before anything runs."""

    def __init__(
        self,
        folder: Path,
        request: Request = Request(),
        *,
        parallel: int | None = None,
        address: str | None = None,
    ) -> None:
        self._folder = folder
        self._address = address
        self.trouble: str | None = None
        self._cluster = Cluster(address)
        try:
            node_kinds = self._cluster.node_kinds()
            self.request = request.on(node_kinds)
            most = sum(kind.holds(self.request) for kind in node_kinds)
            autoscaled = self._cluster.autoscaled
            if declared_groups() or not autoscaled:
                check_fit(self.request, node_kinds)
            elif request.gpu is None and not most:
                raise ClusterError(UNDECLARED)  # to choose a core where GPUs may come would be a silent fallback
            # Else nobody has declared what may come, and only the autoscaler can say what cannot.
            self.slots = parallel or max(1, most)
            # A Ray of our own has its one node at once: there only a slow start would be told as a wait.
            waits_s = patience_s() if self._cluster.nodes_may_come else None
            self._node_wait = NodeWait(self.request, most, waits_s) if address is not None else None
        except BaseException:
            self.close()
            raise

    def elsewhere(self, module: str, words: Sequence[str], text: str) -> Elsewhere:
        """A module as a program on a worker of the cluster, apart from all trials."""
        return Elsewhere(self._cluster, module, words, text)

    @property
    def meters(self) -> Meters | None:
        """A cluster's Ray serves them; our own shows nothing to anybody."""
        if self._address is None:
            return None
        from plastsearch.execute.ray_metrics import RayMeters

        return RayMeters()

    @property
    def cpus(self) -> float:
        """Cores of one trial."""
        return self.request["CPU"]

    @property
    def gpus(self) -> float:
        """GPUs of one trial."""
        return self.request.get("GPU", 0.0)

    @property
    def device(self) -> str:
        """`cuda` for a trial with a GPU, which then fails where it finds none, instead of training on a core."""
        return "cuda" if self.gpus else "cpu"

    def run(self, driver: Driver, abandon: Callable[[str], None] | None = None) -> None:
        """Serve the driver until it is over or stopping."""
        # Tune cannot run nothing: its reader of results fails where there are none. So the first attempt is asked for
        # before it starts; where there is none, a sweep that was resumed had all it needed.
        first = driver.next()
        if first is None and driver.over:
            return
        # With a searcher Tune keeps one trial pending, so that an autoscaled cluster would grow one node at a time: ask
        # for all at once.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.slots)
        # In the sweep's folder, for Tune's own under the home nobody would clean; in one of its own there, for a driver
        # that was taken over removes its files when it notices, while its successor uses others.
        scratch = self._folder / ".tune" / uuid.uuid4().hex[:8]
        shutil.rmtree(scratch.parent, ignore_errors=True)  # of drivers that were killed
        bridge = Bridge(driver, self._cluster, node_wait=self._node_wait, ahead=first)
        tuner = tune.Tuner(
            tune.with_resources(AttemptTrainable, _lower(self.request)),
            tune_config=tune.TuneConfig(
                search_alg=DriverSearcher(bridge),
                scheduler=DriverScheduler(bridge),
                num_samples=-1,  # until the searcher says that it has finished
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda _: "attempt",  # one for all: nothing stays there but the last error
            ),
            run_config=tune.RunConfig(
                name="attempts",
                storage_path=str(scratch.resolve()),  # pyarrow refuses relative paths
                verbose=0,
                stop=DriverStopper(bridge),
                callbacks=[DriverCallback(bridge)],
                failure_config=tune.FailureConfig(max_failures=0),  # the driver retries: it tells nodes from failures
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        # Never Tuner.restore: what is to be run follows from the journal, and here it is handed out anew.
        try:
            ours = patched(bridge.gpu_lost, own=self._address is None)
            with own_signals(), hush(), ours, self._watch(bridge, abandon):
                tuner.fit()
        except Exception as error:
            if bridge.error is not None:  # the driver's own, such as a disk on which no journal can be written
                raise bridge.error from None
            self.trouble = self._cluster.fallen()
            if self.trouble is None and out_of_room(error):
                raise StorageError(
                    f"{self._folder}: no room left on its disk ({error}); make room and go on with --resume: what is "
                    "in the journal is not lost"
                ) from None
            if self.trouble is None:
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):
                scratch.parent.rmdir()

    @contextmanager
    def _watch(self, bridge: Bridge, abandon: Callable[[str], None] | None) -> Iterator[None]:
        """Tune asks Ray in calls that do not return once Ray is dead: then only another thread can say so."""
        done = threading.Event()

        # It looks at processes and at a clock and asks Ray nothing: its call would hang as well.
        def watch() -> None:
            while abandon is not None and not done.wait(_LOOK_S):
                trouble = self._cluster.fallen()
                if trouble is not None and done.wait(_PATIENCE_S):
                    return
                # An interrupt makes impatient: after a SIGTERM to every process Ray may live on and never answer.
                silent_s = time.monotonic() - bridge.alive_at
                if trouble is None and silent_s > (_PARTING_S if bridge.driver.interrupted else _SILENT_S):
                    trouble = _HANGS
                if trouble is not None:
                    self.trouble = trouble
                    abandon(trouble)

        threading.Thread(target=watch, name="ray watch", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def surroundings(self) -> list[str]:
        """The nodes, and what the autoscaler says."""
        if self.trouble:
            return []
        found: list[str] = []
        # Apart from us: a cluster that is going away may never answer, and this is only for a log.
        thread = threading.Thread(target=lambda: found.extend(self._cluster.surroundings()), daemon=True)
        thread.start()
        thread.join(_ASK_S)
        return found if not thread.is_alive() else ["the cluster could not be asked for its nodes"]

    def close(self) -> None:
        """End our own Ray; leave a foreign one alone."""
        self._cluster.close(dead=self.trouble is not None)


def _lower(request: Mapping[str, float]) -> dict[str, float]:
    return {{"CPU": "cpu", "GPU": "gpu"}.get(name, name): amount for name, amount in request.items()}
