"""What of Tune is mended while it runs: costs that serve nobody here, and a death it does not expect."""

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def mended(spent: Container[str]) -> Iterator[None]:
    """Tune as we need it; as it was, afterwards. The workers of the trials `spent` are ended with them."""
    with _uncounted(), _unkept(), _remembered(), _workers_kept(), _workers_ended(spent), _deaths_expected():
        yield


@contextmanager
def _uncounted() -> Iterator[None]:
    """It imports mlflow (5 s, 60 MB) only to count the callbacks that are its own."""
    from ray.air._internal import usage

    tag, usage.tag_callbacks = usage.tag_callbacks, lambda callbacks: False  # noqa: ARG005
    try:
        yield
    finally:
        usage.tag_callbacks = tag


@contextmanager
def _unkept() -> Iterator[None]:
    """It keeps statistics of every number of every trial, and writes all of them down at the end for nobody."""
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.trainable.metadata import _TrainingRunMetadata

    count, save = _TrainingRunMetadata.update_metric, TuneController.save_to_dir

    def saved(self: Any) -> None:
        folder = Path(self._storage.experiment_driver_staging_path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.experiment_state_file_name).write_text("{}")  # it looks whether there is such a file

    _TrainingRunMetadata.update_metric = lambda *_, **__: None
    TuneController.save_to_dir = saved
    try:
        yield
    finally:
        _TrainingRunMetadata.update_metric, TuneController.save_to_dir = count, save


@contextmanager
def _remembered() -> Iterator[None]:
    """It asks the cluster five times per trial for the one class it was given."""
    from ray.tune.registry import _global_registry as registry

    registry.contains, registry.get = _remembering(registry.contains), _remembering(registry.get)
    try:
        yield
    finally:
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


@contextmanager
def _workers_kept() -> Iterator[None]:
    """Where trials wait for each other it ends all idle workers but one, and a new one takes seconds to start."""
    from ray.tune.utils.object_cache import _ObjectCache

    keep, drop = _ObjectCache.cache_object, _ObjectCache.flush_cached_objects

    def kept(self: Any, key: Any, worker: Any) -> bool:
        self._cached_objects[key].append(worker)
        self._num_cached_objects += 1
        return True

    def dropped(self: Any, force_all: bool = False) -> Any:
        return drop(self, force_all=True) if force_all else ()

    _ObjectCache.cache_object, _ObjectCache.flush_cached_objects = kept, dropped
    try:
        yield
    finally:
        _ObjectCache.cache_object, _ObjectCache.flush_cached_objects = keep, drop


@contextmanager
def _workers_ended(spent: Container[str]) -> Iterator[None]:
    """It gives a worker whose trial ended in order to the next one, also when its process has lost its GPU."""
    from ray.tune.execution.tune_controller import TuneController

    keep = TuneController._maybe_cache_trial_actor

    def kept(self: Any, trial: Any) -> bool:
        return trial.trial_id not in spent and bool(keep(self, trial))

    TuneController._maybe_cache_trial_actor = kept
    try:
        yield
    finally:
        TuneController._maybe_cache_trial_actor = keep


@contextmanager
def _deaths_expected() -> Iterator[None]:
    """The death of a worker at the hands of Ray's memory monitor it takes for a bug of its own, and ends the sweep."""
    from ray import exceptions as failures
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.tune.experiment.trial import Trial

    plain, first_result = RayActorManager._actor_task_failed, Trial._get_default_result_or_future

    def failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, failures.OutOfMemoryError | failures.NodeDiedError):
            actor, _ = self._live_actors_to_ray_actors_resources[tracked_actor_task._tracked_actor]
            exception = failures.RayActorError(actor._actor_id.hex(), str(exception))
        plain(self, tracked_actor_task, exception)

    def result(self: Any) -> Any:
        try:
            return first_result(self)
        except (failures.OutOfMemoryError, failures.NodeDiedError):
            self._default_result_or_future = None  # as after any other death
            return None

    RayActorManager._actor_task_failed, Trial._get_default_result_or_future = failed, result
    try:
        yield
    finally:
        RayActorManager._actor_task_failed, Trial._get_default_result_or_future = plain, first_result
