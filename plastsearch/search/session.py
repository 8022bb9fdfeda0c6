"""One session of a sweep, first or resumed: opens folder, executor and study, runs the desk, writes the last word."""

import os
import shlex
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from plastsearch.errors import PlastsearchError
from plastsearch.search import worker
from plastsearch.search.budget import Limits, Spent, exhausted
from plastsearch.search.controls import against_best, baseline
from plastsearch.search.display import View, note
from plastsearch.search.executor import Executor
from plastsearch.search.finalists import finalists
from plastsearch.search.folder import Opened, open_folder
from plastsearch.search.halting import Halting
from plastsearch.search.inline import InlineExecutor
from plastsearch.search.interrupts import Interrupts
from plastsearch.search.phases import Listed, Phase, Search
from plastsearch.search.preflight import data_of, has_finalists
from plastsearch.search.preparing import Preparing
from plastsearch.search.run import Listener, Sweep
from plastsearch.search.standing import Aim, Standing
from plastsearch.spec.config import RunSettings, TrialConfig
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.journal import Event, TrialRecord, seconds_so_far, trials
from plastsearch.trial.keys import Surroundings, stage_keys
from plastsearch.trial.methods import plan

_SOME = 1000  # clips: their number is the same for all
if TYPE_CHECKING:
    from plastsearch.search.study import Study

EXIT = {"done": 0, "budget": 0, "failures": 4, "interrupted": 130}


@dataclass(frozen=True)
class Options:
    """Where and how a sweep runs; nothing here changes what it asks."""

    root: Path
    name: str | None = None
    resume: bool = False
    executor: str = "tune"
    address: str | None = None
    store: Path | None = None
    cache: Path | None = None
    finalists: bool = True
    trial: str = worker.TRIAL
    finalist: str = worker.FINALIST
    space_file: Path | None = None
    overrides: Sequence[str] = ()
    mlflow: str | None = None

    def cache_of(self, root: Path) -> Path:
        """Where decoded clips are kept."""
        return (self.cache or root / "cache").resolve()

    def command(self, folder: Path) -> str:
        """What to type to go on with it."""
        words = ["plastsearch", "sweep", str(self.space_file or "SPACE"), "--out", str(folder.parent)]
        words += ["--name", folder.name, "--resume"]
        words += [word for text in self.overrides for word in ("--set", text)]
        if self.executor != "tune":
            words += ["--executor", self.executor]
        given = {"--address": self.address, "--store": self.store, "--cache": self.cache, "--mlflow": self.mlflow}
        words += [word for key, value in given.items() if value for word in (key, str(value))]
        if not self.finalists:
            words.append("--no-finalists")
        return shlex.join(words)


@dataclass
class Outcome:
    """How the session ended."""

    folder: Path
    status: str  # done | budget | failures | interrupted
    command: str  # to resume
    reason: str | None = None
    notes: list[str] = field(default_factory=list)
    stuck: bool = False  # the executor cannot be closed: leave without a word to it

    @property
    def exit_code(self) -> int:
        """0 done, 4 too many failures, 130 interrupted and resumable."""
        return EXIT[self.status]


class Closing(Listener, Protocol):
    """A listener that has something to finish."""

    def close(self) -> str | None:
        """A message if anything is missing."""


def run_sweep(spec: SweepSpec, options: Options, listen: Callable[[Path, View], Sequence[Closing]]) -> Outcome:
    """Run the sweep from wherever it stands to its end, or to an interrupt."""
    name = options.name or spec.name or "sweep"
    command = options.command(options.root / name)
    opened = open_folder(options.root, name, spec, options.overrides, resume=options.resume, command=command)
    command = options.command(opened.folder)
    with opened.journal, Interrupts() as interrupts, _preparing(spec, options) as preparing:
        executor = open_executor(spec, options, opened.folder, lambda reason: _abandon(reason, command))
        try:
            return _session(spec, options, opened, executor, listen, interrupts, preparing)
        finally:
            interrupts.hold()
            executor.close()


def _preparing(spec: SweepSpec, options: Options) -> AbstractContextManager[Preparing | None]:
    """Real trials on this machine need clips; on a cluster the first worker decodes them, where the cores are."""
    if options.trial != worker.TRIAL or options.address is not None:
        return nullcontext()
    evaluation = options.finalists and has_finalists(spec)
    return closing(Preparing(data_of(spec), options.cache_of(options.root), evaluation=evaluation))


def _abandon(reason: str, command: str) -> None:
    """The last resort, from another thread: the journal is whole, and the main thread may never come back."""
    os.write(2, f"error: {reason}\ngo on with: {command}\n".encode())
    os._exit(EXIT["interrupted"])


def open_executor(spec: SweepSpec, options: Options, folder: Path, abandon: Callable[[str], None]) -> Executor:
    """This process, or Ray, which is imported only here."""
    if options.executor == "inline":
        return InlineExecutor(spec.trial_timeout_s, spec.resources.cpu or 1.0)
    from plastsearch.search.ray_tune import RayExecutor, Request

    asked = spec.resources
    request = Request(asked.cpu, asked.gpu, asked.memory_gb, asked.custom)
    return RayExecutor(folder, request, parallel=spec.search.parallel, address=options.address, abandon=abandon)


def _session(
    spec: SweepSpec,
    options: Options,
    opened: Opened,
    executor: Executor,
    listen: Callable[[Path, View], Sequence[Closing]],
    interrupts: Interrupts,
    preparing: Preparing | None,
) -> Outcome:
    from plastsearch.search.space import open_space
    from plastsearch.search.study import open_study

    records, began = trials(opened.events), time.time()
    spent_s = seconds_so_far(opened.events)
    standing = Standing([Aim(one.metric, one.goal, one.reference) for one in spec.objectives], spec.limits)
    limits = limits_of(spec)
    study = open_study(spec, opened.folder, list(records.values()))
    search = Search(
        study, lambda r: exhausted(limits, standing, Spent(list(r.values()), spent_s + time.time() - began))
    )
    view = View(records, standing, spec.search.trials, executor.slots, spent_s, began)
    listeners = listen(opened.folder, view)
    try:
        _prepare(preparing, study, listeners)
    except BaseException:
        _leave(listeners)
        raise
    _announce(opened, listeners)
    sweep = Sweep(
        opened.journal,
        records,
        _phases(spec, options, open_space(spec), standing, search),
        standing,
        limits,
        task_of(options, executor, opened.folder),
        proposer=study,
        halting=halting_of(spec, standing),
        first_stage=_first_stage,
        listeners=listeners,
        slots=executor.slots,
        gpus=executor.gpus,
    )
    interrupts.serve(sweep, view.hint, patient=options.executor != "inline")
    try:
        _serve(executor, sweep)
    finally:
        interrupts.hold()
        status, reason = _last_word(opened, sweep, search, listeners, spent_s + time.time() - began)
    interrupts.release()
    notes = [*([executor.trouble] if executor.trouble else []), *_leave(listeners)]
    stuck = executor.trouble is not None
    return Outcome(opened.folder, status, options.command(opened.folder), reason, notes, stuck)


def _prepare(preparing: Preparing | None, study: "Study", listeners: Sequence[Closing]) -> None:
    """Wait for the clips, saying so."""

    def say(text: str) -> None:
        for listener in listeners:
            listener.feed(note(text))

    if study.rebuilt:
        say("optuna.log did not agree with trials.jsonl and was made anew from it")
    if preparing is not None:
        preparing.wait(say)


def limits_of(spec: SweepSpec) -> Limits:
    """What the spec allows to spend and to bear."""
    asked = spec.search
    return Limits(
        trials=asked.trials,
        wall_s=asked.wall_s,
        gpu_hours=asked.gpu_hours,
        hypervolume=asked.target_hypervolume,
        stagnation=asked.stagnation,
        max_failures=spec.max_failures,
        max_failed_fraction=spec.max_failed_fraction,
        trial_timeout_s=spec.trial_timeout_s,
    )


def halting_of(spec: SweepSpec, standing: Standing) -> Halting | None:
    """The halting rule; those on one metric take its goal from the objectives, if it is one."""
    halt = spec.halt
    if halt.kind == "none":
        return None
    own = next((aim for aim in standing.aims if aim.metric == halt.metric), Aim(halt.metric))
    aims = standing.aims if halt.kind == "moasha" else [own]
    return Halting(halt.kind, aims, halt.rungs, halt.eta, halt.least)


def task_of(options: Options, executor: Executor, folder: Path) -> Callable[[TrialRecord, bool], dict[str, Any]]:
    """How a record becomes what a worker runs."""
    settings = RunSettings(
        device="auto" if executor.gpus or options.executor == "inline" else "cpu",
        threads=max(1, int(executor.cpus)),
        store=(options.store or folder.parent / "store").resolve(),
        cache=options.cache_of(folder.parent),
    )

    def task(record: TrialRecord, defer: bool) -> dict[str, Any]:
        function = options.finalist if record.role == "finalist" else options.trial
        config = TrialConfig.model_validate(record.config)
        return worker.task(function, config, settings.model_copy(update={"defer_busy": defer}))

    return task


def _first_stage(record: TrialRecord) -> str | None:
    """What a trial shares with others from the start, by the name it would have in the stage store; None: nothing."""
    config = TrialConfig.model_validate(record.config)
    try:
        first = plan(config, _SOME)[0]
        return stage_keys(config, [first], Surroundings("", "", "", "", ""))[0].key if first.name == "train" else None
    except PlastsearchError:
        return None  # the trial will say what is wrong


def _phases(spec: SweepSpec, options: Options, space: Any, standing: Standing, search: Search) -> list[Phase]:
    phases: list[Phase] = []
    if "baseline" in spec.controls:
        phases.append(Listed(lambda _: [baseline(space.base)], barrier=False))
    phases.append(search)
    others = [name for name in spec.controls if name != "baseline"]
    if others:
        phases.append(Listed(against_best(others, standing, space.candidates, spec.search.seed)))
    if options.finalists and spec.finalists.top:
        phases.append(Listed(finalists(standing, spec.finalists.top, spec.finalists.seeds), alone=True))
    return phases


def _announce(opened: Opened, listeners: Sequence[Closing]) -> None:
    """Open a session in the journal; the first listener hears of the sweep itself, too."""
    resumed = any(event["event"] == "session" for event in opened.events)
    session = opened.journal.append(
        "session", session=uuid.uuid4().hex[:8], pid=os.getpid(), host=socket.gethostname(), resumed=resumed
    )
    head: list[Event] = [] if resumed else [event for event in opened.events if event["event"] == "sweep"]
    for event in [*head, session]:
        for listener in listeners:
            listener.feed(event)


def _serve(executor: Executor, sweep: Sweep) -> None:
    try:
        executor.run(sweep)
    except KeyboardInterrupt:
        if not sweep.interrupted:
            sweep.interrupt()


def _last_word(
    opened: Opened, sweep: Sweep, search: Search, listeners: Sequence[Closing], seconds: float
) -> tuple[str, str | None]:
    status, reason = _verdict(sweep, search)
    finish = opened.journal.append("finish", status=status, reason=reason, seconds=round(seconds, 3))
    for listener in listeners:
        listener.feed(finish)
    return status, reason


def _leave(listeners: Sequence[Closing]) -> list[str]:
    """Let every listener finish; a further interrupt means not to wait for the rest."""
    notes = []
    try:
        for listener in listeners:
            note = listener.close()
            if note:
                notes.append(note)
    except KeyboardInterrupt:
        notes.append("interrupted before every record was mirrored; the journal has all of it")
    return notes


def _verdict(sweep: Sweep, search: Search) -> tuple[str, str | None]:
    if sweep.failure:
        return "failures", sweep.failure
    if sweep.interrupted or not sweep.over:
        return "interrupted", None
    too_many = sweep.too_many_failures()
    if too_many:
        return "failures", too_many
    if search.ended_by in {"trials", "space", None}:
        return "done", None
    return "budget", search.ended_by
