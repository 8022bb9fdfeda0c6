"""One session of a sweep, first or resumed: opens folder, executor and study, runs its trials, writes the last word."""

import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from plastsearch.execute import worker
from plastsearch.execute.executor import Executor
from plastsearch.execute.inline import InlineExecutor
from plastsearch.spec.sweep import SweepSpec
from plastsearch.sweep.budget import Spent, exhausted
from plastsearch.sweep.ending import Ending, Interrupts, leave
from plastsearch.sweep.first_stages import FirstStages
from plastsearch.sweep.folder import OpenedFolder, open_folder
from plastsearch.sweep.leftovers import Leftovers
from plastsearch.sweep.options import Options, Outcome
from plastsearch.sweep.phases import SearchPhase, halting_of, limits_of, phases_of, task_of
from plastsearch.sweep.preflight import data_of, has_finalists
from plastsearch.sweep.preparing import CorpusPreparation
from plastsearch.sweep.run import Sweep
from plastsearch.sweep.state import Closing, SweepState
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.events import Opened, SessionBegun, note
from plastsearch.tracking.journal import seconds_so_far
from plastsearch.tracking.ranking import ranking_of

if TYPE_CHECKING:
    from plastsearch.search.study import Study


def run_sweep(
    spec: SweepSpec,
    options: Options,
    listen: Callable[[Path, SweepView], Sequence[Closing]],
    tell: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Run the sweep from wherever it stands to its end, or to an interrupt.

    If Ray dies and this thread never returns from it, another one calls `tell` with the outcome and ends the process.
    """
    name = options.name or spec.name or "sweep"
    command = options.command(options.root / name)
    opened = open_folder(options.root, name, spec, options.overrides, resume=options.resume, command=command)
    with opened.journal, Interrupts() as interrupts, _prepare_corpus(spec, options) as preparing:
        executor = open_executor(spec, options, opened.folder)
        try:
            return _session(spec, options, opened, executor, listen, tell or _tell, interrupts, preparing)
        finally:
            interrupts.hold()
            executor.close()


def _prepare_corpus(spec: SweepSpec, options: Options) -> AbstractContextManager[CorpusPreparation | None]:
    """Real trials on this machine need clips; on a cluster workers decode them, where the cores are."""
    if options.trial != worker.TRIAL or options.address is not None:
        return nullcontext()
    evaluation = _opens_evaluation(spec, options)
    return closing(CorpusPreparation(data_of(spec), options.cache_of(options.root), evaluation=evaluation))


def _opens_evaluation(spec: SweepSpec, options: Options) -> bool:
    return options.finalists and has_finalists(spec)


def _tell(outcome: Outcome) -> None:
    sys.stderr.write("\n".join([*outcome.notes, f"go on with: {outcome.command}\n"]))


def _abandon(trouble: str, executor: Executor, ending: Ending, tell: Callable[[Outcome], None]) -> None:
    """The last resort, from another thread: everything that an end has, since the main thread may never come back."""
    ending.last_word()
    outcome = ending.outcome(trouble)
    try:
        tell(outcome)
        executor.close()
    finally:
        os._exit(outcome.exit_code)


def open_executor(spec: SweepSpec, options: Options, folder: Path) -> Executor:
    """This process, or Ray, which is imported only here."""
    if options.executor == "inline":
        return InlineExecutor(spec.trial_timeout_s, spec.resources.cpu or 1.0, spec.resources.gpu)
    from plastsearch.execute.ray_tune import RayExecutor
    from plastsearch.execute.resources import Request

    asked = spec.resources
    request = Request(asked.cpu, asked.gpu, asked.memory_gb, asked.custom)
    return RayExecutor(folder, request, parallel=spec.search.parallel, address=options.address)


def _session(
    spec: SweepSpec,
    options: Options,
    opened: OpenedFolder,
    executor: Executor,
    listen: Callable[[Path, SweepView], Sequence[Closing]],
    tell: Callable[[Outcome], None],
    interrupts: Interrupts,
    preparing: CorpusPreparation | None,
) -> Outcome:
    from plastsearch.search.space import open_space
    from plastsearch.search.study import open_study

    state = SweepState(opened.journal, opened.events)
    records = state.records
    began, spent_s = time.time(), seconds_so_far(opened.events)
    ranking = ranking_of(spec.plain())
    limits = limits_of(spec)
    on_cluster = options.address is not None  # nobody prepares clips ahead there: each worker looks at them first
    study = open_study(spec, opened.folder, list(records.values()))

    def elapsed_s() -> float:
        return spent_s + time.time() - began

    search = SearchPhase(study, lambda now: exhausted(limits, ranking, Spent(list(now.values()), elapsed_s())))
    first_stages = FirstStages(records)
    view = SweepView(records, ranking, spec.search.trials, executor.slots, spent_s, began, first_stages)
    listeners = [*listen(opened.folder, view), Leftovers(options.store_of(opened.folder.parent), records)]
    state.listeners.extend(listeners)
    try:
        _prepare(preparing, study, state)
    except BaseException:
        leave(listeners)
        raise
    _announce(opened, state)
    sweep = Sweep(
        state,
        phases_of(spec, options, open_space(spec), ranking, search, shared_gpu=executor.gpus % 1 > 0),
        ranking,
        limits,
        task_of(
            options,
            executor,
            opened.folder,
            check_evaluation=on_cluster and _opens_evaluation(spec, options),
            limited=spec.trial_timeout_s is not None,
        ),
        proposer=study,
        halting=halting_of(spec, ranking),
        first_stages=first_stages,
        slots=executor.slots,
        gpus=executor.gpus,
    )
    command = options.command(opened.folder)
    ending = Ending(opened.folder, state, sweep, search, listeners, command, elapsed_s)
    interrupts.serve(sweep, view.hint, patient=options.executor != "inline")
    try:
        _serve(executor, sweep, lambda trouble: _abandon(trouble, executor, ending, tell))
    finally:
        interrupts.hold()
        ending.last_word()
    interrupts.release()
    return ending.outcome(executor.trouble)


def _prepare(preparing: CorpusPreparation | None, study: "Study", state: SweepState) -> None:
    """Wait for the clips, saying so."""

    def say(text: str) -> None:
        state.tell(note(text))

    if study.rebuilt:
        say("optuna.log did not agree with trials.jsonl and was made anew from it")
    if preparing is not None:
        preparing.wait(say)


def _announce(opened: OpenedFolder, state: SweepState) -> None:
    """Open a session in the journal; who listens to the first session hears of the sweep itself, too."""
    resumed = any(isinstance(event, SessionBegun) for event in opened.events)
    if not resumed:
        for event in opened.events:
            if isinstance(event, Opened):
                state.tell(event)
    host, session = socket.gethostname(), uuid.uuid4().hex[:8]
    state.write(SessionBegun(session=session, pid=os.getpid(), host=host, resumed=resumed))


def _serve(executor: Executor, sweep: Sweep, abandon: Callable[[str], None]) -> None:
    try:
        executor.run(sweep, abandon)
    except KeyboardInterrupt:
        if not sweep.interrupted:
            sweep.interrupt()
