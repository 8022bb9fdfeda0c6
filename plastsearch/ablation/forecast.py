"""What an ablation would take, before it runs: how many runs at most, how many stages they share, how long."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from plastsearch.ablation.greedy import most_runs
from plastsearch.ablation.plan import Plan
from plastsearch.ablation.session import Question
from plastsearch.spec.config import TrialConfig
from plastsearch.tracking.journal import FILE, read
from plastsearch.tracking.records import TrialRecord, trials
from plastsearch.trial.keys import foreseen, stage_keys
from plastsearch.trial.methods import stages_of

CLIPS = 1_000  # where a corpus has not been counted: their number is the same for all


@dataclass(frozen=True)
class Forecast:
    """Figures of a dry run; the runs of one order of the fields stand for those that results will ask for."""

    fields: int
    most: int  # runs, whatever the results are
    done: int  # of them, by earlier sessions
    runs: int  # of this order
    stages: int  # of these runs
    shared: int  # of these, that another of them makes, too
    of_sweep: int  # of the rest, that the sweep's own trials have made
    seconds: float | None  # one after the other; None: the sweep's journal does not say how long its trials took

    def plain(self) -> dict[str, float | int | None]:
        """For programs."""
        return asdict(self)


def forecast(question: Question) -> Forecast:
    """Walk both directions as if every run came out alike, and count what that takes."""
    plan = question.plan
    configs = _example(plan)
    wanted = [_stages(config) for config in configs]
    keys = [one for run in wanted for one in run]
    new = dict(keys)
    searched = [record for record in trials(question.results.events).values() if record.state == "done"]
    kept = {key for record in searched for key, _ in _stages(record.trial_config)}
    done = trials(read(question.folder)) if (question.folder / FILE).is_file() else {}
    own = [name for key, name in new.items() if key not in kept]
    whole = plan.seeds * most_runs(plan.walker)
    return Forecast(
        fields=len(plan.contrast.fields),
        most=whole if plan.most is None else min(whole, plan.most),
        done=sum(record.state == "done" for record in done.values()),
        runs=len(configs),
        stages=len(keys),
        shared=len(keys) - len(new),
        of_sweep=len(new) - len(own),
        seconds=_seconds(searched, own, len(configs)),
    )


def _example(plan: Plan) -> list[TrialConfig]:
    """The runs of one order."""
    found: dict[str, TrialConfig] = {}
    while True:
        known = dict.fromkeys(found, 0.0)
        wanted = [one for way in ("forward", "backward") for one in plan.walker.walk(way, known).wanted]
        if not wanted or (plan.most is not None and plan.seeds * (len(found) + len(wanted)) > plan.most):
            return [one for config in found.values() for one in plan.seeded(config)]
        found |= {one.trial_id(): one for one in wanted}


def _stages(config: TrialConfig) -> list[tuple[str, str]]:
    """Key and name of each stage, as far as a configuration tells them."""
    stages = stages_of(config, config.data.clips or CLIPS)
    keys = stage_keys(config, stages, foreseen(config))
    return [(key.key, str(stage.name)) for key, stage in zip(keys, stages, strict=True)]


def _seconds(searched: Sequence[TrialRecord], own: Sequence[str], runs: int) -> float | None:
    """By stage: what stages of that name took in the sweep, and what a trial takes beside its stages."""
    took: dict[str, list[float]] = {}
    beside: list[float] = []
    for record in searched:
        stages = record.details.get("stages") or []
        for stage in stages:
            took.setdefault(str(stage["stage"]), []).append(float(stage["seconds"]))
        computed = sum(float(stage["seconds"]) for stage in stages if stage.get("from") == "computed")
        beside.append(max(0.0, record.seconds - record.metrics.get("waited_seconds", 0.0) - computed))
    if not beside:
        return None
    whole = fmean([record.seconds for record in searched])
    return runs * fmean(beside) + sum(fmean(took[name]) if name in took else whole / 4 for name in own)
