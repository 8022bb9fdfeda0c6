"""One session of a sweep, first or resumed: opens folder, executor and study, runs its trials, writes the last word."""

import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plastsearch.errors import PlastsearchError
from plastsearch.execute import worker
from plastsearch.execute.executor import Executor
from plastsearch.execute.inline import InlineExecutor
from plastsearch.execute.plain_metrics import PlainMeters
from plastsearch.imports import uncollected
from plastsearch.preflight.data_checks import data_of, has_finalists
from plastsearch.preflight.preparing import MODULE, CorpusPreparation, prepare_here, request_for
from plastsearch.search.proposer import Nobody
from plastsearch.spec.methods import Runs
from plastsearch.spec.sweep import SweepSpec
from plastsearch.sweep.budget import Spent, exhausted, limits_of
from plastsearch.sweep.driver_log import DriverLog, versions
from plastsearch.sweep.ending import Ending, Interrupts, leave
from plastsearch.sweep.folder import OpenedFolder, open_folder
from plastsearch.sweep.halting import HaltedCheckpoints, HaltingWatch, halting_of
from plastsearch.sweep.metrics import Exporter, metrics_page
from plastsearch.sweep.options import Options, Outcome
from plastsearch.sweep.phases import Phase, SearchPhase, phases_of, replication_of
from plastsearch.sweep.planned import Records
from plastsearch.sweep.run import Sweep
from plastsearch.sweep.source import source
from plastsearch.sweep.state import Closing, SweepState
from plastsearch.sweep.tasks import task_of
from plastsearch.sweep.view import Lagging, SweepView
from plastsearch.sweep.waiting import FirstStages
from plastsearch.tracking.events import Opened, SessionBegun, Tally, note
from plastsearch.tracking.journal import seconds_so_far
from plastsearch.tracking.ranking import ranking_of
from plastsearch.tracking.standing import tally_of

if TYPE_CHECKING:  # with optuna, which `--help` and a refused folder do not need
    from plastsearch.search.study import Study


def run_sweep(
    spec: SweepSpec,
    options: Options,
    listen: Callable[[Path, SweepView], Sequence[Closing]],
    tell: Callable[[Outcome], None] | None = None,
    phases: Sequence[Phase] | None = None,
) -> Outcome:
    """Run the sweep from wherever it stands to its end, or to an interrupt; `phases` take the place of its own.

    If Ray dies and this thread never returns from it, another one calls `tell` with the outcome and ends the process.
    """
    name = options.name or spec.name or "sweep"
    command = options.command(options.root / name)
    opened = open_folder(
        options.root, name, spec, options.overrides, resume=options.resume, command=command, say=_say_waiting
    )
    # The clips are prepared while Ray starts, which takes 3 to 9 s. Handlers stand before either: an interrupt then
    # unwinds through here and leaves no process.
    with (
        opened.journal,
        Interrupts() as interrupts,
        metrics_page(options, _say_waiting) as page,
        _prepare_corpus(spec, options) as preparing,
    ):
        executor = open_executor(spec, options, opened.folder)
        try:
            session = _Session(spec, options, opened, executor, listen, phases, page)
            session.prepare(preparing or _prepare_elsewhere(spec, options, executor))
            session.announce()
            return session.run(interrupts, tell or _tell)
        finally:
            interrupts.hold()
            executor.close()


def _prepare_corpus(spec: SweepSpec, options: Options) -> AbstractContextManager[CorpusPreparation | None]:
    """Real trials on this machine need clips; on a cluster workers decode them, where the cores are."""
    if options.trial != worker.TRIAL or options.address is not None:
        return nullcontext()
    evaluation = _opens_evaluation(spec, options)
    return closing(prepare_here(data_of(spec), options.clips_of(options.root), evaluation=evaluation))


def _prepare_elsewhere(spec: SweepSpec, options: Options, executor: Executor) -> CorpusPreparation | None:
    """Once for all nodes, if they share a folder for clips: no GPU is asked for before that is done."""
    if options.trial != worker.TRIAL or options.address is None or options.clips is None:
        return None
    from plastsearch.execute.ray_tune import RayExecutor

    if not isinstance(executor, RayExecutor):  # --executor inline beside an address: trials decode as they go
        return None
    configs, clips = data_of(spec), str(options.clips_of(options.root))
    text = request_for(configs, evaluation=_opens_evaluation(spec, options))
    return CorpusPreparation(configs, executor.elsewhere(MODULE, [clips], text))


def _runs(spec: SweepSpec, options: Options, phases: Sequence[Phase] | None) -> Runs:
    """How many runs the session can expect; phases from elsewhere are counted by their bound."""
    if phases is not None:
        return Runs(spec.search.trials, 0, 0)
    return spec.runs if options.finalists else replace(spec.runs, finalists=0, seeds=0)


def _opens_evaluation(spec: SweepSpec, options: Options) -> bool:
    return options.finalists and has_finalists(spec)


def _say_waiting(text: str) -> None:
    # On standard error, whatever the display: there is none yet.
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _tell(outcome: Outcome) -> None:
    sys.stderr.write("\n".join([*outcome.notes, f"go on with: {outcome.command}\n"]))


def _abandon(trouble: str, executor: Executor, ending: Ending, tell: Callable[[Outcome], None]) -> None:
    """The last resort, from another thread: everything that an end has, since the main thread may never come back."""
    # The journal first, then listeners and the user, then Ray: whatever of these hangs, what stands before it is done.
    try:
        ending.last_word()
    except PlastsearchError as error:  # nothing can be written any more
        sys.stderr.write(f"{error}\n")
        os._exit(error.exit_code)
    outcome = ending.outcome(trouble)
    try:
        tell(outcome)
        executor.close()
    finally:
        os._exit(outcome.exit_code)  # sys.exit would wait for the thread that hangs in Ray


def open_executor(spec: SweepSpec, options: Options, folder: Path) -> Executor:
    """This process, or Ray, which is imported only here."""
    if options.executor == "inline":
        return InlineExecutor(spec.trial_timeout_s, spec.resources.cpu or 1.0, spec.resources.gpu)
    with uncollected():
        from plastsearch.execute.ray_tune import RayExecutor
        from plastsearch.execute.resources import Request

    asked = spec.resources
    request = Request(asked.cpu, asked.gpu, asked.memory_gb, asked.custom)
    return RayExecutor(folder, request, parallel=spec.search.parallel, address=options.address)


class _Session:
    """What one session is put together from, and its steps in order: `prepare`, `announce`, `run`."""

    def __init__(
        self,
        spec: SweepSpec,
        options: Options,
        opened: OpenedFolder,
        executor: Executor,
        listen: Callable[[Path, SweepView], Sequence[Closing]],
        phases: Sequence[Phase] | None = None,
        page: PlainMeters | None = None,
    ) -> None:
        self._spec = spec
        self._options = options
        self._opened = opened
        self._executor = executor
        self._began = time.monotonic()  # not the time of day, which may be put back while a sweep runs
        self._spent_s = seconds_so_far(opened.events)  # by earlier sessions: budgets are on the sweep
        self._state = SweepState(opened.journal, opened.events)
        records = self._state.records
        self._ranking = ranking_of(spec.plain())
        self._limits = limits_of(spec)
        for record in records.values():
            self._ranking.note(record)
        self._phases = phases
        # Without a search there is no study to keep: nobody must learn from trials that a sampler did not choose.
        self._study = Nobody() if phases is not None else self._open_study()
        self._search = SearchPhase(self._study, self._exhausted, replication_of(spec, self._ranking))
        self._first_stages = FirstStages(records)
        self._view = SweepView(
            records,
            self._ranking,
            _runs(spec, options, phases),
            slots=executor.slots,
            wall_s=self._spent_s,
            began=self._began,
            first_stages=self._first_stages,
            halt=spec.halt,
        )
        # What deletes checkpoints comes last: where it waits for a file server, displays have heard of the end already.
        halted = HaltedCheckpoints(options.store_of(opened.folder.parent), records)
        self._log = DriverLog(opened.folder, self._view)
        watch = HaltingWatch(spec.halt, records, self._say)
        self._listeners = [self._log, *listen(opened.folder, self._view), watch, halted]
        self._view.mirrors = [one for one in self._listeners if isinstance(one, Lagging)]
        root, name, limit_gb = opened.folder.parent, opened.folder.name, options.store_max_gb
        store, cache = options.store_of(root), options.cache_of(root)
        for meters in (one for one in (executor.meters, page) if one is not None):
            exporter = Exporter(meters, name, self._view, store, limit_gb, self._state.tell, cache=cache)
            self._listeners.append(exporter)
        self._state.listeners.extend(self._listeners)

    def _open_study(self) -> "Study":
        from plastsearch.search.study import open_study

        records = self._state.records
        revised = self._ranking.revised(records)
        return open_study(self._spec, self._opened.folder, list(records.values()), revised=revised)

    def prepare(self, preparing: CorpusPreparation | None) -> None:
        """Wait for the clips, saying so; no session is in the journal yet if they cannot be used."""
        try:
            resumed = any(isinstance(event, SessionBegun) for event in self._opened.events)
            what = f"a session {'goes on' if resumed else 'begins'}: {self._options.command(self._opened.folder)}"
            self._log.begin(what, self._executor.surroundings())
            if self._study.rebuilt:
                self._say("optuna.log did not agree with trials.jsonl and was made anew from it")
            if preparing is not None:
                preparing.wait(self._say)
        except BaseException:
            leave(self._listeners)  # a live table, say, would keep the terminal
            raise

    def announce(self) -> None:
        """Open a session in the journal; who listens to the first session hears of the sweep itself, too."""
        events = self._opened.events
        resumed = any(isinstance(event, SessionBegun) for event in events)
        if not resumed:
            # The head was written when the folder was opened, before anybody could listen.
            for event in events:
                if isinstance(event, Opened):
                    self._state.tell(event)
        host, session = socket.gethostname(), uuid.uuid4().hex[:8]
        made_of = source()
        begun = SessionBegun(
            session=session, pid=os.getpid(), host=host, resumed=resumed, versions=versions(),
            commit=made_of.commit, branch=made_of.branch, command=self._options.command(self._opened.folder),
        )  # fmt: skip
        self._state.write(begun)

    def run(self, interrupts: Interrupts, tell: Callable[[Outcome], None]) -> Outcome:
        """Serve the driver until it is over or stopped, then write the last word."""
        try:
            ending = self._serve(interrupts, tell)
        except BaseException:  # a mistake that only a sampler could find, say: what listens still has to end
            leave(self._listeners)
            raise
        interrupts.release()  # trackers may wait a minute for a server; whoever is tired of it may break that off
        return ending.outcome(self._executor.trouble)

    def _serve(self, interrupts: Interrupts, tell: Callable[[Outcome], None]) -> Ending:
        sweep = self._driver()
        folder = self._opened.folder
        command = self._options.command(folder)
        ending = Ending(
            folder, self._state, sweep, self._search, self._listeners, command, self._elapsed_s, self._tally
        )
        # Trials of an inline executor run in this very thread: only an exception in it can stop them.
        interrupts.serve(sweep, self._view.hint, patient=self._options.executor != "inline")
        try:
            self._executor.run(sweep, lambda trouble: _abandon(trouble, self._executor, ending, tell))
        except KeyboardInterrupt:
            if not sweep.interrupted:  # raised by something else than our handler
                sweep.interrupt()
        finally:
            interrupts.hold()
            ending.last_word()
            self._log.end(self._executor.surroundings())
        return ending

    def _driver(self) -> Sweep:
        """The sweep's state machine, resumed from the journal."""
        from plastsearch.search.space import open_space

        spec, options, executor = self._spec, self._options, self._executor
        shared_gpu = executor.gpus % 1 > 0
        phases = self._phases
        if phases is None:
            phases = phases_of(spec, options, open_space(spec), self._ranking, self._search, shared_gpu=shared_gpu)
        # Where nobody prepares clips ahead, each worker looks at those of the evaluation split first.
        on_cluster = options.address is not None and options.clips is None
        task = task_of(
            options,
            executor,
            self._opened.folder,
            check_evaluation=on_cluster and _opens_evaluation(spec, options),
            limited=spec.trial_timeout_s is not None,
        )
        return Sweep(
            self._state,
            phases,
            self._ranking,
            self._limits,
            task,
            proposer=self._study,
            halting=halting_of(spec, self._ranking),
            first_stages=self._first_stages,
            slots=executor.slots,
            gpus=executor.gpus,
        )

    def _exhausted(self, records: Records) -> str | None:
        return exhausted(self._limits, self._ranking, Spent(records.values(), self._elapsed_s(), self._state.tally))

    def _tally(self) -> Tally:
        return tally_of(self._state.records.values(), self._ranking, self._spec.search.trials)

    def _elapsed_s(self) -> float:
        return self._spent_s + time.monotonic() - self._began

    def _say(self, text: str) -> None:
        self._state.tell(note(text))
