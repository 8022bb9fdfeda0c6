"""How a record becomes what a worker runs."""

import shutil
from collections.abc import Callable
from pathlib import Path

from plastsearch.execute.executor import Executor
from plastsearch.execute.messages import Task
from plastsearch.spec.config import content_id
from plastsearch.spec.running import RunSettings
from plastsearch.sweep.driver_log import output_of
from plastsearch.sweep.options import Options
from plastsearch.tracking.records import TrialRecord


def task_of(
    options: Options, executor: Executor, folder: Path, *, check_evaluation: bool = False, limited: bool = False
) -> Callable[[TrialRecord, bool], Task]:
    """How a record becomes what a worker runs."""
    given = {} if options.checkpoint_s is None else {"checkpoint_s": options.checkpoint_s}
    settings = RunSettings(
        device=executor.device,  # who was given a GPU fails without one; nobody falls back to a core
        deterministic=options.deterministic,
        gpu_share=executor.gpus or 1.0,
        threads=max(1, int(executor.cpus)),
        store=options.store_of(folder.parent),
        cache=options.cache_of(folder.parent),
        clips=None if options.clips is None else options.clips_of(folder.parent),
        check_evaluation=check_evaluation,
        cache_max_gb=options.cache_max_gb,
        store_max_gb=options.store_max_gb,
        **given,
    )
    # Beside the store, the one folder that a driver and workers on other nodes both reach.
    notes = settings.store / "waits" / content_id(str(folder.resolve()))
    shutil.rmtree(notes, ignore_errors=True)  # of attempts that were killed

    def task(record: TrialRecord, defer: bool) -> Task:
        function = options.finalist if record.role == "finalist" else options.trial
        waits = notes / f"{record.number}-{record.attempts + 1}" if limited else None
        output = output_of(folder.resolve(), record.number, record.attempts + 1)
        own = settings.model_copy(update={"defer_busy": defer, "waits": waits, "output": output})
        return Task(function=function, config=record.trial_config, settings=own)

    return task
