"""Runs attempts on a Ray cluster through Tune; the only door to ray.

One Tune trial is one attempt. Tune places workers, keeps them warm and sees them die; it retries nothing, and nobody
ever reads the snapshots it insists on: the journal is the truth, and every start is a fresh Tuner.
"""
# ruff: noqa: ARG002 - Tune calls its hooks by keyword, with more than we need

import atexit
import json
import logging
import os
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Read when ray is imported: silence, no telemetry, no loggers that would import torch into the driver.
_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",  # spelt as Ray spells it
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
for _name, _value in _QUIET.items():
    os.environ.setdefault(_name, _value)
# Since 2.60 an unset mode makes a local cluster leave a token in the home directory; a cluster of one machine is
# reachable from that machine only. A real cluster's own mode is in its environment already.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations among Ray's own modules
    import ray
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler
    from ray.tune.search import Searcher

from plastsearch.errors import ClusterError  # noqa: E402
from plastsearch.search import worker  # noqa: E402
from plastsearch.search.executor import Attempt, Desk  # noqa: E402

SILENT = 100  # above every log level
_PATIENCE_S = 5.0
_UNBOUNDED = 64  # nodes of a group without a limit
_SPELT = {"CPU": "cpu", "GPU": "gpu", "memory": "memory_gb"}
Result = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What one trial asks for; None: a GPU if there are any, and an equal share of the cores."""

    cpu: float | None = None
    gpu: float | None = None
    memory_gb: float | None = None
    custom: Mapping[str, float] = field(default_factory=dict)

    def on(self, shapes: "Sequence[Shape]") -> dict[str, float]:
        """The request in Ray's words, for a cluster of these nodes."""
        cpus, gpus = (sum(shape.resources.get(name, 0.0) * shape.count for shape in shapes) for name in ("CPU", "GPU"))
        gpu = self.gpu if self.gpu is not None else min(1.0, gpus)
        share = cpus * gpu / gpus if gpu and gpus else 1.0
        wanted = {"CPU": self.cpu if self.cpu is not None else max(1.0, float(int(share)))}
        if gpu:
            wanted["GPU"] = gpu
        if self.memory_gb:
            wanted["memory"] = self.memory_gb * 1e9
        return {**wanted, **self.custom}


@dataclass(frozen=True)
class Shape:
    """A kind of node: what it has, and how many there are or may be."""

    resources: Mapping[str, float]
    count: int

    def holds(self, request: Mapping[str, float]) -> int:
        """How many such requests all its nodes take together."""
        fits = min((int(self.resources.get(k, 0) / v + 1e-9) for k, v in request.items() if v), default=1)
        return fits * self.count


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
        self._temp: Path | None = None
        self.trouble: str | None = None
        self._own = not ray.is_initialized()
        if self._own:
            self._open(address)
        try:
            shapes = _shapes()
            self.request = request.on(shapes)
            _check_fit(self.request, shapes)
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
        bridge = _Bridge(desk, watched=self._own)
        tuner = tune.Tuner(
            tune.with_resources(AttemptTrainable, _lower(self.request)),
            tune_config=tune.TuneConfig(
                search_alg=_Proposals(bridge),
                scheduler=_Verdicts(bridge),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda _: "attempt",  # one for all: nothing stays there but the last error
            ),
            run_config=tune.RunConfig(
                name="attempts",
                storage_path=str(scratch.resolve()),
                verbose=0,
                stop=_Stop(bridge),
                callbacks=[_Watch(bridge)],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        try:
            with _own_signals(), _hush(), _lean(), self._watch(bridge):
                tuner.fit()
        except Exception:
            self.trouble = bridge.fallen()
            if self.trouble is None:
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    @contextmanager
    def _watch(self, bridge: "_Bridge") -> Iterator[None]:
        """Tune asks Ray in calls that do not return once Ray is dead: then only another thread can say so."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_PATIENCE_S):
                fallen = bridge.fallen()
                if fallen is not None and self._abandon is not None and not done.wait(_PATIENCE_S):
                    self._abandon(fallen)

        threading.Thread(target=watch, name="ray watch", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def close(self) -> None:
        """End our own Ray; leave a foreign one alone."""
        if self._own and self.trouble is not None:
            _bury()
        elif self._own and ray.is_initialized():
            ray.shutdown()
        if self._temp is not None:
            shutil.rmtree(self._temp, ignore_errors=True)

    def _open(self, address: str | None) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": SILENT, "configure_logging": True}
        # Ray prints what its daemons say on standard output, where results are, and has no switch for it.
        ray._private.worker.print_to_stdstream = _swallow
        with _own_signals(), _own_session(), _hush():
            if address is not None:
                _connect(address, quiet)
                return
            self._temp = _short_folder()
            # `local`: a Ray that somebody else started on this machine is none of our business.
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=100_000_000,
                _temp_dir=str(self._temp),
                **quiet,
            )


class AttemptTrainable(tune.Trainable):
    """One worker process, one attempt after another: a step is one message of the trial."""

    _stream: Generator[worker.Message] | None = None

    def setup(self, config: dict[str, Any]) -> None:
        """Begin the first attempt."""
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another attempt in the same process."""
        self.cleanup()
        worker.tidy()
        self._begin(new_config)
        return True

    def step(self) -> Result:
        """The next message, as text, so that Tune neither flattens nor copies it."""
        assert self._stream is not None
        message = next(self._stream)
        return {"message": json.dumps(message), "done": message["kind"] == "end"}

    def cleanup(self) -> None:
        """Drop an attempt that was not heard to its end."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _begin(self, config: dict[str, Any]) -> None:
        self._stream = worker.messages(json.loads(config["task"]))


@dataclass
class _Bridge:
    """Tune's trials and our attempts."""

    desk: Desk
    attempts: dict[str, Attempt] = field(default_factory=dict)
    killed: dict[str, str] = field(default_factory=dict)  # Tune trial → why we killed its worker
    watched: bool = False  # Ray's daemons are ours

    def fallen(self) -> str | None:
        """What there is to say if our own Ray is dead: every call would hang for a minute, then end this process."""
        return _fallen() if self.watched else None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # what Tune pickles is never read

    def hear(self, trial: Any, result: Mapping[str, Any]) -> bool:
        attempt, text = self.attempts.get(trial.trial_id), result.get("message")
        return attempt is not None and text is not None and self.desk.heard(attempt, json.loads(text))


class _Proposals(Searcher):
    """Tune asks; the desk answers."""

    def __init__(self, bridge: _Bridge) -> None:
        super().__init__()
        self.bridge = bridge

    def suggest(self, trial_id: str) -> Any:
        attempt = self.bridge.desk.next()
        if attempt is None:
            return Searcher.FINISHED if self.bridge.desk.over else None
        self.bridge.attempts[trial_id] = attempt
        return {"task": json.dumps(attempt.task)}

    def on_trial_complete(self, trial_id: str, result: Result | None = None, error: bool = False) -> None:
        """Heard through the scheduler already."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """The journal knows."""


class _Verdicts(FIFOScheduler):
    """Halting decisions come from the desk, which writes down what they rest on."""

    def __init__(self, bridge: _Bridge) -> None:
        super().__init__()
        self.bridge = bridge

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Result) -> str:
        go_on = self.bridge.hear(trial, result)
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Result) -> None:
        self.bridge.hear(trial, result)
        self.bridge.attempts.pop(trial.trial_id, None)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        attempt = self.bridge.attempts.pop(trial.trial_id, None)
        if attempt is not None:
            reason = self.bridge.killed.pop(trial.trial_id, None) or _cause(Path(trial.pickled_error_file))
            self.bridge.desk.lost(attempt, reason)


class _Watch(tune.Callback):
    """Starts are noted, overdue workers killed."""

    def __init__(self, bridge: _Bridge) -> None:
        self.bridge = bridge

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        attempt = self.bridge.attempts.get(trial.trial_id)
        if attempt is not None:
            self.bridge.desk.started(attempt)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.bridge.desk.tick()
        fallen = self.bridge.fallen()
        if fallen is not None:
            raise ClusterError(fallen)  # out of Tune
        overdue = {attempt.trial: reason for attempt, reason in self.bridge.desk.overdue()}
        if self.bridge.desk.stopping:
            overdue = {attempt.trial: "stopped" for attempt in self.bridge.attempts.values()}
        if overdue:
            self._kill(overdue, trials)

    def _kill(self, overdue: dict[int, str], trials: list[Any]) -> None:
        for trial in trials:
            attempt = self.bridge.attempts.get(trial.trial_id)
            actor = trial.temporary_state.ray_actor
            if attempt is None or attempt.trial not in overdue or actor is None or trial.trial_id in self.bridge.killed:
                continue
            self.bridge.killed[trial.trial_id] = overdue[attempt.trial]
            ray.kill(actor)  # even if it holds the interpreter lock


class _Stop(tune.Stopper):
    """Ends the whole run when the desk says so."""

    def __init__(self, bridge: _Bridge) -> None:
        self.bridge = bridge

    def __call__(self, trial_id: str, result: Result) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.bridge.desk.stopping


def _shapes() -> list[Shape]:
    """The nodes there are, or all those that the cluster's autoscaler may bring."""
    with _hush():
        config = ray._private.state.state.get_cluster_config()
    groups = config.node_group_configs if config is not None else []
    present = [Shape(node["Resources"], 1) for node in ray.nodes() if node["Alive"]]
    if not groups:
        return present
    return [Shape(dict(group.resources), group.max_count if group.max_count >= 0 else _UNBOUNDED) for group in groups]


def _check_fit(request: Mapping[str, float], shapes: Sequence[Shape]) -> None:
    """Refuse a request that no node can ever meet: Ray would wait for ever."""
    if any(shape.holds(request) for shape in shapes):
        return
    best = {name: max((shape.resources.get(name, 0.0) for shape in shapes), default=0.0) for name in request}
    short = [f"{v:g} {_word(k)} (the largest node has {best[k]:g})" for k, v in request.items() if best[k] < v]
    lacking = " and ".join(short) or "all of it on one node"
    lower = ", ".join(f"resources.{_SPELT.get(k, f'custom.{k}')}" for k, v in request.items() if best[k] < v)
    raise ClusterError(
        f"one trial asks for {lacking}, and no node can ever give it; "
        f"lower {lower or 'resources'} in the space (or with --set), or add such a node to the cluster"
    )


def _word(resource: str) -> str:
    return {"CPU": "CPUs", "GPU": "GPUs", "memory": "bytes of memory"}.get(resource, resource)


def _swallow(data: Any, ignore_prefix: bool) -> None:
    """Print nothing."""


def _lower(request: Mapping[str, float]) -> dict[str, float]:
    return {{"CPU": "cpu", "GPU": "gpu"}.get(name, name): amount for name, amount in request.items()}


def _connect(address: str, quiet: dict[str, Any]) -> None:
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"no Ray cluster answers at '{address}' ({str(error).splitlines()[0]}); "
            "check --address, or leave it out to use this machine alone"
        ) from None


def _cause(pickled: Path) -> str:
    """Why a worker is gone, in a line; Tune has just left the error in that file."""
    error = ray.cloudpickle.loads(pickled.read_bytes()) if pickled.is_file() else None
    text = str(error)
    if isinstance(error, ray.exceptions.OutOfMemoryError) or "memory pressure" in text:
        return "its worker ran out of memory and was killed"
    if isinstance(error, ray.exceptions.NodeDiedError) or "its node has died" in text:
        return "its node died"
    if isinstance(error, ray.exceptions.RayActorError):
        return "its worker process died"
    return f"its worker could not run: {text.strip().splitlines()[-1] if text.strip() else type(error).__name__}"


def _short_folder() -> Path:
    """Ray's sockets live below it, and their paths may not exceed 107 bytes. Leftovers of dead drivers are removed."""
    root = Path(tempfile.gettempdir()) / f"ps-{os.getuid()}"
    if len(str(root)) > 30:
        root = Path("/tmp") / root.name
    root.mkdir(mode=0o700, exist_ok=True)
    for old in root.iterdir():
        if old.name.isdigit() and not Path("/proc", old.name).exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = root / str(os.getpid())
    folder.mkdir(exist_ok=True)
    return folder


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


@contextmanager
def _own_session() -> Iterator[None]:
    """Ray's processes apart from ours: Ctrl-C and batch systems signal a whole group, and only we know what to do."""
    services = ray._private.services
    plain = services.ConsolePopen

    class Apart(plain):  # type: ignore[misc, valid-type]
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **{**more, "start_new_session": True})

    services.ConsolePopen = Apart
    try:
        yield
    finally:
        services.ConsolePopen = plain


def _daemons() -> dict[str, Any]:
    """The processes of our own Ray by kind."""
    node = ray._private.worker._global_node
    return {} if node is None else {kind: entry.process for kind, some in node.all_processes.items() for entry in some}


def _fallen() -> str | None:
    dead = [kind for kind, process in _daemons().items() if process.poll() is not None]
    vital = [kind for kind in dead if kind in {"gcs_server", "raylet"}]
    return f"Ray's {vital[0]} on this machine was killed; what ran goes on with the next session" if vital else None


def _bury() -> None:
    """End what is left of a Ray that can no longer be asked to end."""
    atexit.unregister(ray._private.worker.shutdown)
    for process in _daemons().values():
        if process.poll() is None:
            process.kill()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray and Tune put their own handlers in place; ours, which part in peace, come back at once."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        _restore(kept)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _hush() -> Iterator[None]:
    """No log line and no warning of Ray's reaches the user: what matters comes back as a reason."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.data", "ray.train")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(SILENT)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
