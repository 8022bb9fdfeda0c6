"""Whether growth paid, said plainly: the best grown trial against controls of equal budget, intervals and all."""

import math
from statistics import mean

from plastsearch.analysis.figure import number
from plastsearch.analysis.results import Finalist, Results, Row

GROWN = ("dropin", "plasticity", "stack")
METRIC = "dev_eer"
CAUTION = (
    "{label} was picked as the best of {count} on the very clips that score it, so its own number flatters it; "
    "the finalists' evaluation scores are the fair comparison."
)


def verdict(results: Results) -> list[str]:
    """Sentences to be read before the front is believed."""
    grown = [row for row in results.plotted if row.record.role == "search" and row.config.method in GROWN]
    grown = [row for row in grown if METRIC in row.metrics]
    if not grown:
        return ["No trial that grows a network has finished with a dev EER, so nothing can be said about growth."]
    best = min(grown, key=lambda row: (row.metrics[METRIC], not row.in_front, row.number))
    sentences = [_against(best, results.control("baseline"), "the equal-budget baseline (no growth)", "growth")]
    for name, called in (("lora", "LoRA on the same sites"), ("random", "growth at random sites")):
        control = results.control(name)
        if control is not None:
            sentences.append(_against(best, control, called, "the searched configuration"))
    if len(grown) > 1:
        sentences.append(_capital(CAUTION.format(label=best.label, count=len(grown))))
    return sentences + _evaluated(results)


def _against(best: Row, control: Row | None, called: str, subject: str) -> str:
    if control is None or METRIC not in control.metrics:
        return (
            f"Nothing finished to compare with ({called}), so whether {subject} helps cannot be told from this sweep."
        )
    mine, its = best.metrics[METRIC], control.metrics[METRIC]
    pair = f"{best.label}: {_with_interval(best)}; {called}: {_with_interval(control)}"
    if mine >= its:
        return f"{_capital(subject)} did not beat {called} on dev EER ({pair})."
    mine_in, its_in = best.interval(METRIC), control.interval(METRIC)
    if mine_in is None or its_in is None:
        return f"{_capital(subject)} has the lower dev EER ({pair}), but without intervals that may be chance."
    if mine_in[1] >= its_in[0]:
        return f"{_capital(subject)} has the lower dev EER, but the intervals overlap, so it may be chance ({pair})."
    return f"{_capital(subject)} beats {called} on dev EER, and the intervals do not overlap ({pair})."


def _evaluated(results: Results) -> list[str]:
    """The same question put to the evaluation split, where finalists of both kinds exist."""
    by_number = {row.number: row for row in results.rows}
    scored = [(by_number.get(one.of), one.values("eval_eer"), one) for one in results.finalists]
    known = [(row, mean(values), one) for row, values, one in scored if row is not None and values]
    grown = [item for item in known if item[0].record.role == "search" and item[0].config.method in GROWN]
    baseline = [item for item in known if item[0].record.control == "baseline"]
    if not grown or not baseline:
        return []
    # The one the search would have named: picking by evaluation scores would be a search on them.
    best, base = min(grown, key=lambda item: item[0].metrics.get(METRIC, math.inf)), baseline[0]
    word = "beats" if best[1] < base[1] else "does not beat"
    seeds = min(len(best[2].rows), len(base[2].rows))
    plural = "seed" if seeds == 1 else "seeds"
    apart = "" if _apart(best[2], base[2]) else ", though seeds of the two overlap"
    return [
        f"On the evaluation split, {best[0].label} ({best[1]:.2f} % over {seeds} {plural}) {word} the baseline "
        f"({base[1]:.2f} %){apart}."
    ]


def _apart(one: Finalist, other: Finalist) -> bool:
    a, b = one.values("eval_eer"), other.values("eval_eer")
    return max(a) < min(b) or max(b) < min(a)


def _with_interval(row: Row) -> str:
    within = row.interval(METRIC)
    spread = f" [{number(within[0], METRIC)}, {number(within[1], METRIC)}]" if within else ""
    return f"{number(row.metrics[METRIC], METRIC)} %{spread}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
