"""What a spec asks for as the parts of a sweep: limits, halting, phases, and the tasks of its workers."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plastsearch.search import worker
from plastsearch.search.budget import Limits
from plastsearch.search.controls import against_best, baseline
from plastsearch.search.executor import Executor
from plastsearch.search.finalists import finalists
from plastsearch.search.halting import Halting
from plastsearch.search.options import Options
from plastsearch.search.phases import Listed, Phase, Search
from plastsearch.spec.config import RunSettings, TrialConfig, content_id
from plastsearch.spec.methods import CONTROLS, YARDSTICK
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.journal import TrialRecord
from plastsearch.tracking.standing import Aim, Standing


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


def task_of(
    options: Options, executor: Executor, folder: Path, *, check_evaluation: bool = False, limited: bool = False
) -> Callable[[TrialRecord, bool], dict[str, Any]]:
    """How a record becomes what a worker runs."""
    given = {} if options.checkpoint_s is None else {"checkpoint_s": options.checkpoint_s}
    settings = RunSettings(
        device=executor.device,  # who was given a GPU fails without one; nobody falls back to a core
        deterministic=options.deterministic,
        threads=max(1, int(executor.cpus)),
        store=options.store_of(folder.parent),
        cache=options.cache_of(folder.parent),
        check_evaluation=check_evaluation,
        cache_max_gb=options.cache_max_gb,
        store_max_gb=options.store_max_gb,
        **given,
    )
    notes = settings.store / "waits" / content_id(str(folder.resolve()))
    shutil.rmtree(notes, ignore_errors=True)  # of attempts that were killed

    def task(record: TrialRecord, defer: bool) -> dict[str, Any]:
        function = options.finalist if record.role == "finalist" else options.trial
        config = TrialConfig.model_validate(record.config)
        waits = notes / f"{record.number}-{record.attempts + 1}" if limited else None
        return worker.task(function, config, settings.model_copy(update={"defer_busy": defer, "waits": waits}))

    return task


def phases_of(
    spec: SweepSpec, options: Options, space: Any, standing: Standing, search: Search, *, shared_gpu: bool
) -> list[Phase]:
    """Baseline, search, other controls, finalists."""
    phases: list[Phase] = []
    if YARDSTICK in spec.controls:
        phases.append(Listed(lambda _: [baseline(space.base)], barrier=False))
    phases.append(search)
    others = [name for name in spec.controls if CONTROLS[name].of_winner]
    if others:
        phases.append(Listed(against_best(others, standing, space.candidates, spec.search.seed)))
    if options.finalists and spec.finalists.top:
        again = finalists(standing, spec.finalists.top, spec.finalists.seeds)
        phases.append(Listed(again, alone=shared_gpu))  # who trains on the same GPU would disturb its clock
    return phases
