"""What Tune calls: it asks for attempts, hears what workers say, and sees them start and die; the driver decides.

One Tune trial is one attempt.
"""
# ruff: noqa: ARG002 - Tune calls its hooks by keyword, with more than we need

import re
import sys
import time
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from plastsearch.errors import ClusterLostError, PlastsearchError
from plastsearch.execute import worker
from plastsearch.execute.autoscaler import NodeWait
from plastsearch.execute.executor import Attempt, Driver
from plastsearch.execute.messages import Failed, Message, Progress, Task, message_as_text, message_from, task_from
from plastsearch.execute.ray_cluster import Cluster
from plastsearch.execute.ray_notice import heed
from plastsearch.execute.worker_output import Output

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations among Ray's own modules
    import ray
    from ray import tune
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler
    from ray.tune.search import Searcher

Result = dict[str, object]
Sent = dict[str, str]  # what Tune calls a configuration: ours has one entry, the task as text
_KILLED = re.compile(r"Selected to kill: \(Actor\((\w+)\).*?actual memory used=([\d.]+)GB")


class AttemptTrainable(tune.Trainable):
    """One worker process, one attempt after another: a step is one message of the trial."""

    _stream: Generator[Message] | None = None
    _task: Task
    _output: Output | None = None

    def setup(self, config: Sent) -> None:
        """Begin the first attempt."""
        heed()
        self._begin(config)

    def reset_config(self, new_config: Sent) -> bool:
        """Begin another attempt in the same process, which saves 1.4 to 4 s of starting one."""
        self.cleanup()
        worker.tidy(self._task)
        self._begin(new_config)
        return True

    def step(self) -> Result:
        """The next message, as text, so that Tune neither flattens nor copies it."""
        # A class with steps, not a function that reports: Tune runs functions in a thread of their own, and a process
        # whose thread does not end within 2 s cannot be used again.
        assert self._stream is not None
        message = next(self._stream)
        if not isinstance(message, Progress):
            self._close_output(message)
        return {"message": message_as_text(message), "done": not isinstance(message, Progress)}

    def cleanup(self) -> None:
        """Drop an attempt that was not heard to its end."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._close_output(None)

    def _close_output(self, end: Message | None) -> None:
        if self._output is None:
            return
        if isinstance(end, Failed):
            sys.stderr.write(f"{end.reason}\n{end.details.get('traceback', '')}")
        self._output.close(keep=isinstance(end, Failed))
        self._output = None

    def _begin(self, config: Sent) -> None:
        self._task = task_from(config["task"])
        if self._task.settings.output is not None:
            self._output = Output(self._task.settings.output)
        self._stream = worker.messages(self._task)


@dataclass
class Bridge:
    """What all hooks share: which of Tune's trials is which of our attempts, and the driver that decides."""

    driver: Driver
    cluster: Cluster
    attempts: dict[str, Attempt] = field(default_factory=dict)
    killed: dict[str, str] = field(default_factory=dict)  # Tune trial → why we killed its worker
    gpu_lost: set[str] = field(default_factory=set)  # Tune trials after which their worker must not be used again
    node_wait: NodeWait | None = None
    started: set[str] = field(default_factory=set)  # Tune trials whose worker has begun
    ahead: Attempt | None = None  # asked for before Tune began
    error: PlastsearchError | None = None  # why the driver cannot go on, where Tune makes a text of it
    alive_at: float = field(default_factory=time.monotonic)  # when Tune last took a step

    def __getstate__(self) -> dict[str, object]:
        return {}  # what Tune pickles is never read

    @contextmanager
    def asked(self) -> Iterator[Driver]:
        """The driver; what it refuses is kept, for Tune would hand on a traceback of it as text."""
        try:
            yield self.driver
        except PlastsearchError as error:
            self.error = self.error or error
            raise

    def hear(self, trial: Trial, result: Mapping[str, object]) -> bool:
        """Pass a worker's message on to the driver; False: the trial is to be stopped."""
        attempt = self.attempts.get(trial.trial_id)
        text = result.get("message")
        if attempt is None or not isinstance(text, str):
            return False
        message = message_from(text)
        if not isinstance(message, Progress) and message.gpu_lost:
            self.gpu_lost.add(trial.trial_id)
        with self.asked() as driver:
            return driver.heard(attempt, message)


class DriverSearcher(Searcher):
    """What Tune takes for a search algorithm: it asks for a configuration and gets the driver's next attempt."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self.bridge = bridge

    def suggest(self, trial_id: str) -> Sent | str | None:
        # None: ask again later. FINISHED is for ever: said too early, a retry or a finalist would never run.
        with self.bridge.asked() as driver:
            attempt, self.bridge.ahead = self.bridge.ahead or driver.next(), None
        if attempt is None:
            return str(Searcher.FINISHED) if self.bridge.driver.over else None
        self.bridge.attempts[trial_id] = attempt
        return {"task": attempt.task.as_text()}

    def on_trial_complete(self, trial_id: str, result: Result | None = None, error: bool = False) -> None:
        """Nothing: the scheduler has passed the end on already."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: there is no state beside the journal's."""


class DriverScheduler(FIFOScheduler):
    """What Tune takes for a scheduler: it passes on what workers say, and the driver's decisions to halt.

    Tune's own rules know one metric, and have forgotten everything after a resume.
    """

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self.bridge = bridge

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: Result) -> str:
        # Heard in the scheduler, the one hook whose answer stops a trial.
        go_on = self.bridge.hear(trial, result)
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: Result) -> None:
        self.bridge.hear(trial, result)
        self.bridge.attempts.pop(trial.trial_id, None)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        attempt = self.bridge.attempts.pop(trial.trial_id, None)
        if attempt is None:
            return
        # Whom we killed ourselves, Ray reports as any dead worker: the reason is ours.
        killed = self.bridge.killed.pop(trial.trial_id, None)
        reason, blameless = (killed, False) if killed else _cause(trial.pickled_error_file)
        with self.bridge.asked() as driver:
            driver.lost(attempt, reason, blameless=blameless)


class DriverCallback(tune.Callback):
    """Tells the driver of starts and of passing time, and kills the workers that it calls overdue."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        attempt = self.bridge.attempts.get(trial.trial_id)
        if attempt is not None:
            self.bridge.started.add(trial.trial_id)
            with self.bridge.asked() as driver:
                driver.started(attempt)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: object) -> None:
        # Called in every round of Tune's loop, also while no trial has anything to say.
        self.bridge.alive_at = time.monotonic()
        with self.bridge.asked() as driver:
            driver.tick()
        fallen = self.bridge.cluster.fallen()
        if fallen is not None:
            raise ClusterLostError(fallen)  # out of Tune
        self._look_for_nodes()
        overdue = {attempt.trial: reason for attempt, reason in self.bridge.driver.overdue()}
        if self.bridge.driver.stopping:
            overdue = {attempt.trial: "stopped" for attempt in self.bridge.attempts.values()}
        if overdue:
            self._kill(overdue, trials)

    def _look_for_nodes(self) -> None:
        """Tune waits for ever without a word where no node takes up what it has asked for."""
        bridge = self.bridge
        if bridge.node_wait is None:
            return
        # One worker at work is enough: then the others only wait for their turn.
        waiting = bool(bridge.attempts) and not bridge.started & bridge.attempts.keys()
        said = bridge.node_wait.look(waiting, time.monotonic(), bridge.cluster.infeasible)
        if said is not None:
            bridge.driver.say(said)

    def _kill(self, overdue: dict[int, str], trials: list[Trial]) -> None:
        for trial in trials:
            attempt = self.bridge.attempts.get(trial.trial_id)
            actor = trial.temporary_state.ray_actor  # none while Ray still looks for a node
            if attempt is None or attempt.trial not in overdue:
                continue
            if actor is None or trial.trial_id in self.bridge.killed:  # its death takes Tune a few rounds to see
                continue
            self.bridge.killed[trial.trial_id] = overdue[attempt.trial]
            ray.kill(actor)  # even if it holds the interpreter lock


class DriverStopper(tune.Stopper):
    """Ends the whole run when the driver says so."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def __call__(self, trial_id: str, result: Result) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.bridge.driver.stopping


def _cause(pickled: str | None) -> tuple[str, bool]:
    """Why a worker is gone, in a line, and whether its whole node is; Tune has just left the error in that file."""
    # By words where Ray has no type of its own for a case, or gives one type to several.
    content = Path(pickled).read_bytes() if pickled and Path(pickled).is_file() else b""
    error = ray.cloudpickle.loads(content) if content else None  # none, too, where the disk had no room for it
    text, failures = str(error), ray.exceptions
    if "running low on memory" in text:
        return _out_of_memory(text, getattr(error, "actor_id", None))
    if getattr(error, "preempted", False):
        return "its node was taken away (preempted)", True
    if "its node has died" in text or "node is either dead" in text:
        return "its node died", True
    # A worker's death is told by its node at once: nobody answering means that there is no node.
    if isinstance(error, failures.ActorUnavailableError):
        return "its node does not answer any more", True
    if "receives a SIGTERM" in text:  # as ray_notice.py sends before a node goes, or somebody who clears a machine
        return "its worker was asked to end (SIGTERM), as before its node is taken away", True
    if isinstance(error, failures.RayActorError):
        return "its worker process died", False
    return f"its worker could not run: {text.strip().splitlines()[-1] if text.strip() else type(error).__name__}", False


def _out_of_memory(text: str, actor: str | None) -> tuple[str, bool]:
    """Ray ends several workers at once: of those on its list, the largest is to blame."""
    killed = {name: float(size) for name, size in _KILLED.findall(text)}
    own = killed.get(actor or "")
    largest = max(killed.values(), default=0.0)
    if own is not None and own < largest:
        return f"its worker was ended to free memory for another ({own:g} GB in use, the largest had {largest:g})", True
    return f"its worker ran out of memory and was killed; {worker.MORE_MEMORY}", False
