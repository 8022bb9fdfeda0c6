"""Runs attempts on a Ray cluster through Tune.

Tune places workers, keeps them warm and sees them die; it retries nothing, and nobody ever reads the snapshots it
insists on: the journal is the truth, and every start is a fresh Tuner.
"""

import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plastsearch.search.executor import Desk
from plastsearch.search.ray_cluster import Cluster, hush, own_signals
from plastsearch.search.ray_hooks import AttemptTrainable, Bridge, Proposals, Stop, Verdicts, Watch
from plastsearch.search.resources import Request, check_fit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations among Ray's own modules
    from ray import tune

_PATIENCE_S = 5.0


class RayExecutor:
    """A local Ray of its own, or the cluster at `address`; opened at once: a misfit shows before anything runs."""

    def __init__(
        self,
        folder: Path,
        request: Request = Request(),
        *,
        parallel: int | None = None,
        address: str | None = None,
        abandon: Callable[[str], None] | None = None,
    ) -> None:
        self._folder, self._abandon = folder, abandon
        self.trouble: str | None = None
        self._cluster = Cluster(address)
        try:
            shapes = self._cluster.shapes()
            self.request = request.on(shapes)
            check_fit(self.request, shapes)
            self.slots = parallel or max(1, sum(shape.holds(self.request) for shape in shapes))
        except BaseException:
            self.close()
            raise

    @property
    def cpus(self) -> float:
        """Cores of one trial."""
        return self.request["CPU"]

    @property
    def gpus(self) -> float:
        """GPUs of one trial."""
        return self.request.get("GPU", 0.0)

    def run(self, desk: Desk) -> None:
        """Serve the desk until it is over or stopping."""
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.slots)  # ask the autoscaler for all at once
        scratch = self._folder / ".tune"
        bridge = Bridge(desk, self._cluster)
        tuner = tune.Tuner(
            tune.with_resources(AttemptTrainable, _lower(self.request)),
            tune_config=tune.TuneConfig(
                search_alg=Proposals(bridge),
                scheduler=Verdicts(bridge),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda _: "attempt",  # one for all: nothing stays there but the last error
            ),
            run_config=tune.RunConfig(
                name="attempts",
                storage_path=str(scratch.resolve()),
                verbose=0,
                stop=Stop(bridge),
                callbacks=[Watch(bridge)],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        try:
            with own_signals(), hush(), _lean(), self._watch():
                tuner.fit()
        except Exception:
            self.trouble = self._cluster.fallen()
            if self.trouble is None:
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """Tune asks Ray in calls that do not return once Ray is dead: then only another thread can say so."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_PATIENCE_S):
                fallen = self._cluster.fallen()
                if fallen is not None and self._abandon is not None and not done.wait(_PATIENCE_S):
                    self._abandon(fallen)

        threading.Thread(target=watch, name="ray watch", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def close(self) -> None:
        """End our own Ray; leave a foreign one alone."""
        self._cluster.close(dead=self.trouble is not None)


def _lower(request: Mapping[str, float]) -> dict[str, float]:
    return {{"CPU": "cpu", "GPU": "gpu"}.get(name, name): amount for name, amount in request.items()}


@contextmanager
def _lean() -> Iterator[None]:
    """Spare Tune what costs and serves nobody here: it imports mlflow (5 s, 60 MB) only to count the callbacks that are
    its own, and asks the cluster five times per trial for the one class it was given."""
    from ray.air._internal import usage
    from ray.tune.registry import _global_registry as registry

    tag, usage.tag_callbacks = usage.tag_callbacks, lambda callbacks: False  # noqa: ARG005
    registry.contains, registry.get = _remembering(registry.contains), _remembering(registry.get)
    try:
        yield
    finally:
        usage.tag_callbacks = tag
        del registry.contains, registry.get  # the class's own are back


def _remembering(ask: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    """Answers of the registry; what it does not have yet is asked again."""
    known: dict[tuple[str, str], Any] = {}

    def answer(category: str, key: str) -> Any:
        found = known.get((category, key)) or ask(category, key)
        if found:
            known[category, key] = found
        return found

    return answer
