"""What of Ray and Tune is patched while they run: costs that serve nobody here, and a death Tune does not expect.

All of it is private to Ray: tests/execute/test_private_names.py says which names a new version has moved.
"""

from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # each is imported where it is needed: Ray takes a second
    from ray.air.execution._internal.actor_manager import RayActorManager, TrackedActorTask
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment.trial import Trial
    from ray.tune.utils.object_cache import _ObjectCache

Answer = object  # of Tune's registry: whatever was registered


@contextmanager
def patched(gpu_lost: Container[str], *, own: bool) -> Iterator[None]:
    """Patch Tune for as long as it runs; the workers of the trials `gpu_lost` are ended with them.

    `own`: this process has started the Ray that Tune runs on.
    """
    with ExitStack() as patches:
        for patch in (
            _callbacks_not_counted, _nothing_saved, _registry_asked_once, _workers_kept, _deaths_expected,
        ):  # fmt: skip
            patches.enter_context(patch())
        if own:
            patches.enter_context(_waiting_workers_taken())
        patches.enter_context(_workers_ended(gpu_lost))
        yield


@contextmanager
def fewer_daemons() -> Iterator[None]:
    """A Ray that starts within does without three of its seven processes: 3 s of processor time, and 180 MB."""
    # One hands workers' logs to drivers, one asks for nodes, one serves dashboard and jobs: none of it is wanted of a
    # Ray on one machine, for one driver, that reads no logs.
    from ray._private.node import Node

    def left_out(*_: object, **__: object) -> None:
        pass

    with swapped(Node, start_log_monitor=left_out, start_monitor=left_out, start_api_server=left_out):
        yield


@contextmanager
def swapped(owner: object, **names: object) -> Iterator[None]:
    """Other attributes for a while, in the process's one copy of Ray."""
    # What an owner only inherits is not put on it afterwards but taken off again: a copy would hide its base's.
    before = {name: vars(owner)[name] for name in names if name in vars(owner)}
    for name, new in names.items():
        setattr(owner, name, new)
    try:
        yield
    finally:
        for name in names:
            if name in before:
                setattr(owner, name, before[name])
            else:
                delattr(owner, name)


@contextmanager
def _callbacks_not_counted() -> Iterator[None]:
    """Tune imports mlflow (5 s, 60 MB) only to count the callbacks that are its own."""
    from ray.air._internal import usage

    with swapped(usage, tag_callbacks=lambda callbacks: False):  # noqa: ARG005
        yield


@contextmanager
def _nothing_saved() -> Iterator[None]:
    """Tune keeps statistics of every number of every trial, and writes all of them down at the end for nobody."""
    # 37 MB of the driver at 1,000 trials. Its snapshots are no safe record anyway: a truncated one makes Tune start
    # over without a word, so no resume ever reads them.
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.trainable.metadata import _TrainingRunMetadata

    def saved(self: "TuneController") -> None:
        with suppress(OSError):  # a full disk: nobody reads it
            Path(self._storage.experiment_driver_staging_path).mkdir(parents=True, exist_ok=True)

    nothing = swapped(_TrainingRunMetadata, update_metric=lambda *_, **__: None)
    unread = swapped(import_module("ray.tune.tune"), ExperimentAnalysis=_Unread)
    with nothing, unread, swapped(TuneController, save_to_dir=saved):
        yield


class _Unread:
    """What Tune gives back of a run: its reader would look for the files of trials, which a full disk does not have."""

    trials: tuple[()] = ()

    def __init__(self, **_: object) -> None:
        pass


@contextmanager
def _registry_asked_once() -> Iterator[None]:
    """Tune asks the cluster five times per trial for the one class it was given."""
    from ray.tune.registry import _global_registry as registry

    with swapped(registry, contains=_remembering(registry.contains), get=_remembering(registry.get)):
        yield


def _remembering(ask: Callable[[str, str], Answer]) -> Callable[[str, str], Answer]:
    """Answers of the registry; what it does not have yet is asked again."""
    known: dict[tuple[str, str], Answer] = {}

    def answer(category: str, key: str) -> Answer:
        found = known.get((category, key)) or ask(category, key)
        if found:
            known[category, key] = found
        return found

    return answer


@contextmanager
def _waiting_workers_taken() -> Iterator[None]:
    """Tune names variables for its workers, so that Ray starts them anew and lets those idle that it has ready."""
    # That is two seconds until the first trial begins, and a second of processor time for each of them. What Ray has
    # started here has our variables anyhow; the one that Tune adds to them is for PyTorch Lightning.
    from ray.tune.execution import class_cache

    with swapped(class_cache, DEFAULT_ENV_VARS={}, ENV_VARS_TO_PROPAGATE=frozenset()):
        yield


@contextmanager
def _workers_kept() -> Iterator[None]:
    """Where trials wait for each other Tune ends all idle workers but one, and a new one takes seconds to start."""
    # Before, short finalists ran one by one on two slots, for each restart of a worker was called off when the first
    # came free; six of 5 s now take 15 s.
    from ray.tune.utils.object_cache import _ObjectCache

    drop = _ObjectCache.flush_cached_objects

    def kept(self: "_ObjectCache", key: object, worker: object) -> bool:
        self._cached_objects[key].append(worker)
        self._num_cached_objects += 1
        return True

    def dropped(self: "_ObjectCache", force_all: bool = False) -> Iterator[object]:
        # Tune flushes at every step, and once more, with force_all, when all is over.
        return iter(drop(self, force_all=True)) if force_all else iter(())

    with swapped(_ObjectCache, cache_object=kept, flush_cached_objects=dropped):
        yield


@contextmanager
def _workers_ended(gpu_lost: Container[str]) -> Iterator[None]:
    """Tune gives a worker whose trial ended in order to the next one, also when its process has lost its GPU."""
    from ray.tune.execution.tune_controller import TuneController

    keep = TuneController._maybe_cache_trial_actor

    def kept(self: "TuneController", trial: "Trial") -> bool:
        return trial.trial_id not in gpu_lost and bool(keep(self, trial))

    with swapped(TuneController, _maybe_cache_trial_actor=kept):
        yield


@contextmanager
def _deaths_expected() -> Iterator[None]:
    """Tune takes the death of a worker by Ray's memory monitor for a bug of its own, and ends the sweep."""
    from ray import exceptions as failures
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.tune.experiment.trial import Trial

    plain = RayActorManager._actor_task_failed
    first_result = Trial._get_default_result_or_future

    def failed(self: "RayActorManager", tracked_actor_task: "TrackedActorTask", exception: Exception) -> None:
        if isinstance(exception, failures.OutOfMemoryError | failures.NodeDiedError):
            actor, _ = self._live_actors_to_ray_actors_resources[tracked_actor_task._tracked_actor]
            exception = failures.RayActorError(actor._actor_id.hex(), str(exception))
        plain(self, tracked_actor_task, exception)

    def result(self: "Trial") -> object:
        try:
            return first_result(self)
        except (failures.OutOfMemoryError, failures.NodeDiedError):
            self._default_result_or_future = None  # as after any other death
            return None

    task_failed = swapped(RayActorManager, _actor_task_failed=failed)
    with task_failed, swapped(Trial, _get_default_result_or_future=result):
        yield
