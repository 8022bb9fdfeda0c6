"""What a sweep would do and cost, without running it: size, sizes of networks, infeasible share, time, sharing."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from plastsearch.errors import PlastsearchError
from plastsearch.search.canonical import READ_BY
from plastsearch.search.space import Space, open_space
from plastsearch.spec.config import TrialConfig, content_id
from plastsearch.spec.sweep import SweepSpec

SAMPLED = 1_000
DEFAULT_STEPS = 200  # of a trial that gives neither steps nor epochs
_PRUNING = tuple(key for key, methods in READ_BY.items() if methods == ("plasticity",))


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
    runs: int  # trials, controls and finalists
    total_s: float | None  # one after the other, nothing shared
    saved: float  # share of the search's steps that stages shared between trials save


def dry_run(spec: SweepSpec, space: Space | None = None, *, measure: bool = True) -> Forecast:
    """Sample the space, count parameters in a child process, and predict."""
    space = space or open_space(spec)
    dice = np.random.default_rng(spec.search.seed)
    configs = [space.config(space.draw(dice)) for _ in range(SAMPLED)]
    distinct = {config.trial_id(): config for config in configs}
    answer = _child(list(distinct.values()), measure)
    counts = dict(zip(distinct, answer["counts"], strict=True))
    known = [count for config in configs if (count := counts[config.trial_id()]) is not None]
    totals = sorted(count["params_total"] for count in known)
    steps, step_s = _steps(spec.base), answer["step_s"]
    trial_s = steps * step_s if steps is not None and step_s is not None else None
    runs = spec.search.trials + len(spec.controls) + spec.finalists.top * spec.finalists.seeds
    return Forecast(
        size=space.size,
        sampled=SAMPLED,
        distinct=len(distinct),
        params_baseline=known[0]["params_baseline"] if known else None,
        params_total=(totals[0], int(median(totals)), totals[-1]) if totals else None,
        infeasible=_infeasible(spec, known),
        steps=steps,
        step_s=step_s,
        device=answer["device"],
        trial_s=trial_s,
        runs=runs,
        total_s=trial_s * runs if trial_s is not None else None,
        saved=shared(configs[: spec.search.trials]),
    )


def plain(forecast: Forecast) -> dict[str, object]:
    """The same as plain data."""
    return asdict(forecast)


def shared(configs: Sequence[TrialConfig]) -> float:
    """The share of all steps that is saved when trials share the stages on which they agree."""
    if not configs:
        return 0.0
    trained: dict[str, float] = {}
    retrained: dict[str, float] = {}
    wanted = 0.0
    for config in configs:
        shares = config.train.shares
        wanted += 1.0
        # What `train` reads says nothing of growth; what `retrain` reads says nothing of pruning.
        start = _key(config, tuple(READ_BY))
        if config.start == "warm":
            trained[start] = shares.train
        retrained[_key(config, _PRUNING)] = shares.retrain
    spent = sum(trained.values()) + sum(retrained.values())
    full = sum((c.train.shares.train if c.start == "warm" else 0.0) + c.train.shares.retrain for c in configs)
    return max(0.0, (full - spent) / wanted)


def _key(config: TrialConfig, left_out: tuple[str, ...]) -> str:
    plain_config = config.model_dump(mode="json", by_alias=True)
    kept = {key: value for key, value in plain_config.items() if key not in left_out and key != "method"}
    if left_out == _PRUNING:
        # dropin and plasticity agree up to the end of retrain
        kept["method"] = "dropin" if config.method == "plasticity" else config.method
    return content_id(kept)


def _infeasible(spec: SweepSpec, known: Sequence[dict[str, int]]) -> float | None:
    limits = [one for one in spec.limits if one.metric == "params_total"]
    if not limits or not known:
        return None
    beyond = [any((one.violation(count, {}) or 0) > 0 for one in limits) for count in known]
    return sum(beyond) / len(beyond)


def _steps(config: TrialConfig) -> int | None:
    train, clips = config.train, config.data.clips
    if train.epochs is None:
        return train.steps or DEFAULT_STEPS
    return None if clips is None else max(3, round(train.epochs * clips / train.batch_size + 0.499))


def _child(configs: Sequence[TrialConfig], measure: bool) -> dict[str, Any]:
    request = {"configs": [one.model_dump(mode="json", by_alias=True) for one in configs], "time": measure}
    done = subprocess.run(
        [sys.executable, "-m", "plastsearch.search.counting"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"counting parameters failed:\n{done.stderr}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise PlastsearchError(str(answer["error"]))
    return dict(answer)
