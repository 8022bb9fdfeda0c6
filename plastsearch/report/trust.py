"""How far a ranking can be trusted: spreads between configurations and runs, in numbers and in words."""

from plastsearch.analysis.figure import column, title
from plastsearch.analysis.results import Results
from plastsearch.documents import Block, Heading, Points, Table, Text
from plastsearch.pareto.noise import Noise, runs_for, words

HEADING = "How far can this ranking be trusted?"
COLUMNS = (
    "objective", "between configurations", "between runs", "seeds, all alike", "reliability", "95 % interval", "says",
)  # fmt: skip
LEFT = frozenset({"objective", "says"})
UNKNOWN = (
    "Not known: {why}, so what configurations differ by and what luck does cannot be told apart. "
    "`search: {{replicate: auto}}` repeats trials whose place in the front is uncertain; `finalists` runs a few "
    "members again."
)
EXPLAINED = (
    "Standard deviations, in each metric's unit: of the configurations' true levels, of one run where seeds are common "
    "to all, and of what a seed does to all alike, which changes no ranking. Reliability is the share of the variance "
    "between single runs that is the configurations' own."
)
RIVALS = ("dev_eer", "dev_eer_smooth", "dev_auc", "dev_cllr", "dev_min_dcf", "dev_act_dcf")
CLEARLY = 0.1  # a metric that much more reliable is worth a word


def trust(results: Results) -> list[Block]:
    """The section of the report; for programs `reliabilities`."""
    found = [(one.metric, results.noise(one.metric)) for one in results.objectives]
    known = [(metric, noise) for metric, noise in found if noise is not None]
    if not results.plotted:
        return []
    if not known:
        return [Heading(HEADING), Text(UNKNOWN.format(why=_why(results)))]
    rows = tuple(_row(metric, noise) for metric, noise in known if noise.rest > 0)
    said = [_words(results, metric, noise) for metric, noise in known if noise.rest > 0]
    fixed = [title(metric) for metric, noise in known if noise.rest == 0]
    if fixed:
        said.append(f"No scatter between runs: {', '.join(fixed)}.")
    said += _others(results)
    return [Heading(HEADING), Text(EXPLAINED), Table(COLUMNS, rows, LEFT), Points(tuple(said))]


def _row(metric: str, noise: Noise) -> tuple[str, ...]:
    return (
        column(metric), _short(noise.between), _short(noise.rest), _short(noise.seeds), f"{noise.reliability:.2f}",
        f"[{noise.low:.2f}, {noise.high:.2f}]", words(noise.reliability),
    )  # fmt: skip


def _words(results: Results, metric: str, noise: Noise) -> str:
    """What the reliability of a metric means and, below one half, what would help."""
    runs = f"{noise.configurations} configurations, {noise.runs} runs"
    text = f"By {title(metric)} {words(noise.reliability)}: reliability {noise.reliability:.2f} "
    text += f"[{noise.low:.2f}, {noise.high:.2f}] ({runs})."
    if noise.low < 0.5 <= noise.reliability:
        text += " Luck may still have the upper hand: the interval reaches below one half."
    if noise.reliability >= 0.5:
        needed = runs_for(noise.reliability)
        more = needed is not None and needed > 1
        return f"{text} Means of {needed} runs would bring it to 0.8." if more else text
    return f"{text} What would help: {'; '.join(_help(results, metric, noise))}."


def _help(results: Results, metric: str, noise: Noise) -> list[str]:
    needed = runs_for(noise.reliability)
    found = [
        "a search space whose configurations differ more, for no difference was found"
        if needed is None
        else f"means of {needed} runs, which would bring it to 0.8 (`search: {{replicate: auto}}`)"
    ]
    share = _clips_share(results, metric, noise)
    if share is None:
        found.append("more dev clips, or more steps")
    elif share >= 0.5:
        found.append(f"more dev clips: which clips are drawn explains about {min(1.0, share):.0%} of that scatter")
    else:
        found.append("more steps: which clips are drawn explains little of it")
    rival = _rival(results, metric, noise)
    if rival is not None:
        name, other = rival
        found.append(
            f"another metric: `{name}` has {other.reliability:.2f} on the same runs, the most of those at hand"
        )
    return found


def _clips_share(results: Results, metric: str, noise: Noise) -> float | None:
    """How much of the scatter between runs other clips would account for; None where clips were not looked at."""
    certainty = results.certainty
    if metric != "dev_eer" or certainty is None or certainty.clips != "scores" or noise.rest <= 0:
        return None
    return float((certainty.own**2).mean()) / noise.rest**2


def _rival(results: Results, metric: str, noise: Noise) -> tuple[str, Noise] | None:
    measured = {name for row in results.every for name in row.metrics}
    others = [(name, results.noise(name)) for name in RIVALS if name != metric and name in measured]
    known = [(name, other) for name, other in others if other is not None]
    best = max(known, key=lambda one: one[1].reliability, default=None)
    return best if best is not None and best[1].reliability >= noise.reliability + CLEARLY else None


def _others(results: Results) -> list[str]:
    """Dev metrics that were measured beside the objectives, the most reliable first."""
    asked = {one.metric for one in results.objectives}
    found = [(name, noise) for name, noise in reliabilities(results).items() if name not in asked]
    found.sort(key=lambda one: -one[1].reliability)
    listed = ", ".join(f"{title(name)} {noise.reliability:.2f}" for name, noise in found)
    return [f"Other dev metrics of the same runs: {listed}."] if listed else []


def _why(results: Results) -> str:
    again = results.repeated or any(row.record.state == "done" for one in results.finalists for row in one.rows)
    return "fewer than three configurations have finished" if again else "no configuration ran twice"


def reliabilities(results: Results) -> dict[str, Noise]:
    """Of every objective, and of every other dev metric at hand, as far as known."""
    measured = {name for row in results.every for name in row.metrics}
    names = dict.fromkeys([*(one.metric for one in results.objectives), *RIVALS])
    found = {name: results.noise(name) for name in names if name in measured}
    return {name: noise for name, noise in found.items() if noise is not None}


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
