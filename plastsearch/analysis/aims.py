"""Whether published figures that a space aims at were reproduced by its finalists, and how surely."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal, cast

from pydantic import JsonValue

from plastsearch.analysis.paired import student_reach
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import Finalist
from plastsearch.data.counts import ALL, published
from plastsearch.spec.aims import Aim
from plastsearch.spec.data import DataConfig

Verdict = Literal["reproduced", "not reproduced", "not comparable", "not known yet"]


@dataclass(frozen=True)
class Judged:
    """One published figure, and what the finalist that the search would have named has beside it."""

    aim: Aim
    verdict: Verdict
    why: str
    values: tuple[float, ...] = ()  # one for each seed
    interval: tuple[float, float] | None = None  # 95 %, of the mean

    @property
    def mean(self) -> float | None:
        """Over seeds."""
        return fmean(self.values) if self.values else None


def judged(results: Results) -> list[Judged]:
    """Every aim of the space, in its order."""
    aims = [Aim.model_validate(one) for one in cast("list[JsonValue]", results.spec.get("aims") or [])]
    base = cast("Mapping[str, JsonValue]", results.spec.get("base") or {})
    data = DataConfig.model_validate(base.get("data") or {})
    return [_judge(results, data, aim) for aim in aims]


def _judge(results: Results, data: DataConfig, aim: Aim) -> Judged:
    if data.corpus not in (aim.corpus, "manifest"):
        how = "a manifest with that one's evaluation clips makes them comparable (docs/strong.md)"
        return Judged(aim, "not comparable", f"finalists were scored on {data.corpus}, not {aim.corpus}: {how}")
    one = results.finalist or next(iter(results.finalists), None)
    values = tuple(one.values(aim.metric)) if one is not None else ()
    if one is None or not values:
        return Judged(aim, "not known yet", "no finalist was scored on the evaluation split")
    interval = _interval(one, values, aim.metric)
    lacking = _lacking(data, one, aim)
    if lacking:
        return Judged(aim, "not comparable", lacking, values, interval)
    target, what = (aim.mean, "mean") if aim.mean is not None else (aim.best, "best")
    assert target is not None  # an aim has one of them
    if interval is None:
        return Judged(aim, "not known yet", "one run without an interval; raise finalists.seeds", values)
    low, high = interval
    if low > target:
        why = f"even {low:.2f} %, where the interval begins, is above the published {what}"
        return Judged(aim, "not reproduced", why, values, interval)
    why = (
        f"the interval lies below the published {what}" if high < target else f"the interval holds the published {what}"
    )
    return Judged(aim, "reproduced", why, values, interval)


def _lacking(data: DataConfig, one: Finalist, aim: Aim) -> str | None:
    """What keeps a run on the right corpus from being a run of the published task."""
    if data.clips is not None:
        return f"it was trained on {data.clips:,} clips of the corpus alone (data.clips)"
    variant = data.variant if data.corpus == aim.corpus else None
    splits = published(aim.corpus, variant)
    split = splits.get("eval") or splits.get(ALL)
    scored = [row.record.details.get("eval_clips") for row in one.rows if aim.metric in row.metrics]
    if split is None:
        return f"nobody has published how many clips {aim.corpus} is scored on"
    other = [count for count in scored if count != split.clips]
    return f"{other[0]} clips were scored, and {aim.corpus} has {split.clips}" if other else None


def _interval(one: Finalist, values: tuple[float, ...], metric: str) -> tuple[float, float] | None:
    """Of the mean over seeds by Student's t; of a single run that of its clips."""
    if len(values) == 1:
        return next((found for row in one.rows if (found := row.interval(metric)) is not None), None)
    reach = student_reach(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return max(0.0, fmean(values) - reach), fmean(values) + reach
