"""What a sweep would do and cost, without running it: size, sizes of networks, infeasible share, time, sharing."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from plastsearch.data.counts import published
from plastsearch.errors import PlastsearchError
from plastsearch.preflight.forecast import NO_ROOM, CachedPrefix, ForecastAnswer, ForecastRequest, Parameters, kept
from plastsearch.preflight.hours import Needs, needs
from plastsearch.search.space import Space, open_space
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.sweep import SweepSpec
from plastsearch.trial.keys import foreseen, stage_keys
from plastsearch.trial.methods import stages_of, total_steps

SAMPLED = 1_000
SOME = 1_000  # clips, where a corpus has not been counted: their number is the same for all


@dataclass(frozen=True)
class Forecast:
    """Figures of a dry run; None: not known before the corpus or the weights are here."""

    size: int | None
    sampled: int
    distinct: int
    params_baseline: int | None
    params_total: tuple[int, int, int] | None  # least, median, most of the samples
    infeasible: float | None  # share of samples beyond a constraint on parameters
    steps: int | None  # of one trial
    step_s: float | None  # of the full network, where this was run
    device: str | None
    trial_s: float | None
    runs: int  # trials, controls and finalists, at most
    total_s: float | None  # one after the other, nothing shared
    saved: float  # share of the search's steps that stages shared between trials save
    needs: Needs | None = None  # memory and hours per GPU, where the network is one for GPUs
    kept: CachedPrefix | None = None  # activations of frozen parts; None where no cache folder was named


def dry_run(
    spec: SweepSpec,
    space: Space | None = None,
    *,
    measure: bool = True,
    cache: Path | None = None,
    cache_max_gb: float | None = None,
) -> Forecast:
    """Sample the space, count parameters in a child process, and predict."""
    space = space or open_space(spec)
    # Drawn at random, not proposed: what a sampler will prefer depends on results that nobody has yet.
    rng = np.random.default_rng(spec.search.seed)
    configs = [space.config(space.draw(rng)) for _ in range(SAMPLED)]
    distinct = {config.trial_id(): config for config in configs}
    asked = ForecastRequest(configs=tuple(distinct.values()), time=measure, cache=cache, cache_max_gb=cache_max_gb)
    answer = _child(asked)
    # By content, for small spaces repeat themselves; shares and medians are over all draws again.
    counts = dict(zip(distinct, answer.counts, strict=True))
    known = [count for config in configs if (count := counts[config.trial_id()]) is not None]
    totals = sorted(count.params_total for count in known)
    steps = _steps(spec.base)
    step_s = answer.step_s
    # Every method gets the same total of optimiser steps, so one trial's time stands for all.
    trial_s = steps * step_s if steps is not None and step_s is not None else None
    return Forecast(
        size=space.size,
        sampled=SAMPLED,
        distinct=len(distinct),
        params_baseline=known[0].params_baseline if known else None,
        params_total=(totals[0], int(median(totals)), totals[-1]) if totals else None,
        infeasible=_infeasible(spec, known),
        steps=steps,
        step_s=step_s,
        device=answer.device,
        trial_s=trial_s,
        runs=spec.runs.total,
        total_s=trial_s * spec.runs.total if trial_s is not None else None,
        saved=shared(configs[: spec.search.trials], spec.base.data.clips or SOME),
        needs=needs(answer.demand, spec.base.train, steps) if answer.demand else None,
        kept=kept(spec.base, answer.kept) if answer.kept else None,
    )


def plain(forecast: Forecast) -> dict[str, object]:
    """The forecast as plain data, for `--json`."""
    return asdict(forecast)


def shared(configs: Sequence[TrialConfig], n_clips: int = SOME) -> float:
    """The share of all steps that is saved when trials share the stages on which they agree."""
    steps: dict[str, int] = {}
    wanted = 0
    for config in configs:
        try:
            stages = stages_of(config, n_clips)
        except PlastsearchError:
            continue  # it will refuse to run, and cost nothing
        wanted += sum(stage.steps for stage in stages)
        steps |= {
            key.key: one.steps for key, one in zip(stage_keys(config, stages, foreseen(config)), stages, strict=True)
        }
    return 1 - sum(steps.values()) / wanted if wanted else 0.0


def _infeasible(spec: SweepSpec, known: Sequence[Parameters]) -> float | None:
    limits = [one for one in spec.parsed_constraints if one.metric == "params_total"]
    if not limits or not known:
        return None
    # A limit relative to the baseline's measurements is none of these: `params_total` alone is known beforehand.
    beyond = [any((one.violation(count.model_dump(), {}) or 0) > 0 for one in limits) for count in known]
    return sum(beyond) / len(beyond)


def _steps(config: TrialConfig) -> int | None:
    clips = config.data.clips
    if config.train.epochs is not None and clips is None:
        split = published(config.data.corpus, config.data.variant).get("train")
        if split is None:
            return None  # epochs of a corpus that nobody has counted yet
        clips = split.clips
    return total_steps(config, clips or 0)


def _child(request: ForecastRequest) -> ForecastAnswer:
    # A process of its own: torch takes 1.6 s and 650 MB, which the driver would carry through the whole sweep.
    done = subprocess.run(
        [sys.executable, "-m", "plastsearch.preflight.forecast_child"],
        input=request.model_dump_json(by_alias=True),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == -signal.SIGKILL:  # by the system, when its memory is spent
        raise PlastsearchError(NO_ROOM)
    if done.returncode:
        raise RuntimeError(f"counting parameters failed:\n{done.stderr}")
    answer = ForecastAnswer.model_validate_json(done.stdout)
    if answer.error is not None:
        raise PlastsearchError(answer.error)
    return answer
