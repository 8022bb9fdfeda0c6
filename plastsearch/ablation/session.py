"""One session of an ablation: the question is put to a sweep's journal, its runs go through the sweep's own driver.

<sweep>/ablate/<trial>/   journal, log and answer: a folder of its own, so that neither search nor report of the sweep
                          ever meets these runs; stages are those of the sweep, from its store
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from plastsearch.ablation.answer import Answers
from plastsearch.ablation.fields import Contrast
from plastsearch.ablation.greedy import NoPathError
from plastsearch.ablation.plan import Plan
from plastsearch.addresses import typed
from plastsearch.analysis.ablations import FOLDER, Ablation
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.errors import PlastsearchError
from plastsearch.preflight.checks import preflight
from plastsearch.spec.constraints import METRICS, Goal, known_metric
from plastsearch.spec.methods import YARDSTICK
from plastsearch.spec.sweep import Finalists, Halt, SweepSpec
from plastsearch.sweep.folder import FINISHED, status_of
from plastsearch.sweep.options import Options, Outcome
from plastsearch.sweep.session import run_sweep
from plastsearch.sweep.state import Closing
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.journal import read
from plastsearch.tracking.records import TrialRecord, trials
from plastsearch.words import typed_again

BEST, KNEE = "best", "knee"


@dataclass(frozen=True)
class Question:
    """Why did this trial of this sweep win?"""

    results: Results
    row: TrialRow
    spec: SweepSpec  # of the ablation: the sweep's, without what only a search has
    plan: Plan

    @property
    def folder(self) -> Path:
        """Where the runs and the answer go."""
        return self.results.folder / FOLDER / str(self.row.number)

    @property
    def finished(self) -> bool:
        """Whether an ablation of this trial ended here before; its runs count."""
        return status_of(self.folder) in FINISHED

    @property
    def answered(self) -> bool:
        """Whether what ran there is all that the question takes."""
        return self.finished and not self.plan.next_round(trials(read(self.folder)))


@dataclass(frozen=True)
class AblationOptions(Options):
    """Where and how it runs; what is asked is typed again to go on with it."""

    seeds: int = 1
    metric: str | None = None
    most: int | None = None
    parallel: int | None = None

    def command(self, folder: Path) -> str:
        """What to type to go on with it."""
        words = ["plastsearch", "ablate", str(folder.parent.parent), folder.name, "--resume"]
        mlflow = self.mlflow and typed(self.mlflow)
        given = {
            "--seeds": self.seeds if self.seeds > 1 else None, "--metric": self.metric, "--max-runs": self.most,
            "--executor": self.executor if self.executor != "tune" else None, "--address": self.address,
            "--parallel": self.parallel,
            "--store": self.store, "--cache": self.cache, "--clips": self.clips, "--mlflow": mlflow,
        }  # fmt: skip
        words += [word for key, value in given.items() if value for word in (key, str(value))]
        return typed_again([*words, *(["--deterministic"] if self.deterministic else [])])


def ask(results: Results, trial: str = BEST, *, seeds: int = 1, metric: str | None = None, most: int | None = None
) -> Question:  # fmt: skip
    """Find the trial and everything in which it differs from the baseline; each mistake in a sentence."""
    row = _row(results, trial)
    try:
        whole = SweepSpec.model_validate(results.spec)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise PlastsearchError(
            f"{results.folder}: this program cannot read the sweep's space ({where}: {first['msg']}); "
            "use the version of plastsearch that ran it"
        ) from None
    spec = _without_search(whole, row)
    space = preflight(spec, evaluation=False).space
    assert space is not None  # a space that has none is a mistake, and was raised
    contrast = Contrast(space, row.config)
    if not contrast.fields:
        raise PlastsearchError(f"{row.label} is the baseline itself: there is no path from one to the other")
    name, goal = _metric(results, row, metric)
    plan = Plan(contrast, name, goal, seeds, most)
    least = len(Plan(contrast, name, goal, seeds).next_round({}))
    if most is not None and most < least:
        raise PlastsearchError(f"--max-runs {most}: the first step alone takes {least} runs; allow at least as many")
    return Question(results, row, spec, plan)


def run(
    question: Question,
    options: AblationOptions,
    listen: Callable[[Path, SweepView], Sequence[Closing]],
    tell: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Run what is missing, from wherever it stands."""
    search = question.spec.search
    parallel = options.parallel or search.parallel
    search = search.model_copy(update={"trials": question.plan.bound, "parallel": parallel})
    spec = question.spec.model_copy(update={"search": search})
    return run_sweep(spec, options, listen, tell, question.plan.phases())


def answer(question: Question) -> Ablation:
    """What the runs so far say."""
    records = trials(read(question.folder))
    _both_ends(question, records)
    notes = []
    if question.plan.stopped(records):
        notes.append(
            f"--max-runs {question.plan.most} ended it after {len(records)} runs, so a path is not whole; "
            "with a larger number it goes on from there"
        )
    answers = Answers(question.plan, records, question.results.folder)
    return answers.ablation(question.results.name, question.row.number, notes)


def _both_ends(question: Question, records: Mapping[int, TrialRecord]) -> None:
    """The ends of the path have results, in every seed."""
    contrast, by_id = question.plan.contrast, {record.id: record for record in records.values()}
    for label, end in (("the baseline", frozenset[str]()), (question.row.label, contrast.names)):
        for config in question.plan.seeded(contrast.config(end)):
            record = by_id.get(config.trial_id())
            if record is not None and record.state == "failed":
                raise NoPathError(
                    f"{label} failed when run again with seed {config.seed}, so no path can be walked: {record.reason}"
                )


def store_of(question: Question) -> Path:
    """Where the sweep kept its finished stages, as its trial tells: ablations share them."""
    kept = question.row.record.details.get("scores") or {}
    told = [Path(str(path)).parent.parent for path in kept.values()]
    beside = question.results.folder.parent / "store"
    return next((path for path in told if path.is_dir()), beside)


def _row(results: Results, trial: str) -> TrialRow:
    """The trial that is meant, if it can be asked about."""
    if trial in (BEST, KNEE):
        row = results.winner if trial == BEST else results.knee
        if row is None:
            raise PlastsearchError(
                f"{results.folder}: no trial that grew has finished in the front; name one by its number"
            )
        return row
    if not trial.isdecimal():
        raise PlastsearchError(f"trial '{trial}': give its number, or {BEST}, or {KNEE}")
    number = int(trial)
    record = trials(results.events).get(number)
    if record is not None and record.role in ("finalist", "replicate"):
        raise PlastsearchError(f"trial {number} runs trial {record.of} again with another seed; name that one")
    row = next((one for one in results.rows if one.number == number), None)
    if row is None:
        most = max((one.number for one in results.rows), default=None)
        known = "none" if most is None else f"0 to {most}"
        raise PlastsearchError(f"{results.folder}: no trial {number} in its table; numbers there: {known}")
    record = row.record
    if record.reuse_of is not None:
        raise PlastsearchError(f"trial {number} repeats trial {record.reuse_of}; name that one")
    if record.state != "done":
        why = f" ({record.reason})" if record.reason else ""
        raise PlastsearchError(f"trial {number} has no result: it is {record.state}{why}; name one that is done")
    return row


def _without_search(spec: SweepSpec, row: TrialRow) -> SweepSpec:
    """The same trials, nothing around them: no controls, finalists, halting, limits, repeats."""
    search = spec.search.model_copy(update={
        "wall_s": None, "gpu_hours": None, "target_hypervolume": None, "stagnation": None, "replicate": "none",
        "sampler": "auto",
    })  # fmt: skip
    return spec.model_copy(update={
        "controls": (), "constraints": (), "try_first": (), "finalists": Finalists(top=0), "halt": Halt(),
        "search": search, "question": f"Why did trial {row.number} win?",
    })  # fmt: skip


def _metric(results: Results, row: TrialRow, asked: str | None) -> tuple[str, Goal]:
    goals = {one.metric: one.goal for one in results.objectives}
    name = asked or results.objectives[0].metric
    try:
        known_metric(name)
    except ValueError as error:
        raise PlastsearchError(f"--metric {name}: {error}") from None
    for one in (row, results.control(YARDSTICK)):
        if one is not None and name not in one.metrics:
            raise PlastsearchError(f"--metric {name}: {one.label} does not have it; use one that both ends report")
    return name, goals.get(name, METRICS[name].goal)
