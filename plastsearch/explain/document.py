"""What was found, in words and tables: for a terminal, a page and programs alike."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

from plastsearch.documents import Block, Heading, Points, Table, Text
from plastsearch.explain.evidence import Deletion, Splice
from plastsearch.explain.hearing import Explained, over_time
from plastsearch.explain.neurons import Answers, Neuron
from plastsearch.explain.picture import MOST_NEURONS, TITLES

MOST_LISTED = 12  # neurons in a terminal's table
ALONE = (
    "Nothing was put to the test, and a lone heat map proves nothing: give clips with classes "
    "(`--protocol KEY --audio FOLDER`), or name a trial of a sweep, without `--no-evidence`."
)


@dataclass(frozen=True)
class Explanation:
    """All that one call found."""

    model: str
    stages: tuple[str, ...]
    clips: tuple[Explained, ...] = ()
    tested_on: str | None = None
    deletions: tuple[Deletion, ...] = ()
    splices: tuple[Splice, ...] = ()
    neurons: Answers | None = None
    notes: tuple[str, ...] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)  # clip → the name of its picture

    def plain(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "model": self.model, "stages": list(self.stages), "notes": list(self.notes),
            "clips": [_plain_clip(one) | {"picture": self.pictures.get(one.name)} for one in self.clips],
            "evidence": None if self.tested_on is None else {
                "clips": self.tested_on,
                "deletion": [_plain(one) for one in self.deletions], "splice": [_plain(one) for one in self.splices],
            },
            "neurons": None if self.neurons is None else asdict(self.neurons)
            | {"beyond_chance": self.neurons.beyond_chance, "turnover": [
                asdict(one) | {"share": one.share} for one in self.neurons.turnover
            ]},
        }  # fmt: skip


def clip_blocks(one: Explained) -> list[Block]:
    """What is said of a clip; its picture is the page's."""
    verdict = "bona fide" if one.bona_fide else "a spoof"
    where = f", {one.start_s:.2f} to {one.start_s + one.window_s:.2f} s" if len(one.windows) > 1 else ""
    said = [f"Judged {verdict}, score {one.score:+.2f}; {one.length_s:.2f} s long{where}."]
    if one.heard_s < one.window_s - 0.02:
        said.append(f"It is repeated after {one.heard_s:.2f} s (dashed line) to fill the model's window.")
    missed = [
        f"{panel.stage} {100 * panel.found.missed:.0f} %"
        for panels in one.panels.values()
        for panel in panels
        if panel.found.missed is not None and panel.found.missed > 0.1
    ]
    if missed:
        said.append(f"Integrated gradients miss the score they share out by {', '.join(missed)}: read them with care.")
    return [Heading(one.name), Text(" ".join(said))]


def evidence_blocks(found: Explanation) -> list[Block]:
    """Whether any of it is worth looking at."""
    if found.tested_on is None:
        return [Heading("Evidence"), Text(ALONE)]
    rows = []
    for one, spliced in zip(found.deletions, found.splices, strict=True):
        rows.append(
            (TITLES[one.method], _interval(one.area.mean, one.area.low, one.area.high, "+.2f"), one.finding,
             _interval(spliced.area.mean, spliced.area.low, spliced.area.high, ".2f"), spliced.finding)
        )  # fmt: skip
    points = []
    for one, spliced in zip(found.deletions, found.splices, strict=True):
        points += [f"{TITLES[one.method]}: {one.words}.", f"{TITLES[one.method]}: {spliced.words}."]
    columns = ("method", "deletion: area to chance (logits)", "deletion", "splice: AUC", "splice")
    return [
        Heading("Evidence"),
        Text(f"On {found.tested_on}. Intervals of 95 % resample {found.deletions[0].over}."),
        Table(columns, tuple(rows), frozenset({"method", "deletion", "splice"})),
        Points(tuple(points)),
        Text(advice(found.deletions, found.splices)),
    ]


def advice(deletions: Sequence[Deletion], splices: Sequence[Splice]) -> str:
    """What a reader may do with the pictures."""
    faithful = [one.method for one in deletions if one.finding == "strong"]
    placed = [one.method for one in splices if one.finding == "strong"]
    if not faithful and not placed:
        return "The evidence is weak: no method's map should be shown as a reason for a verdict."
    first = (
        f"What the score rests on is best read from {TITLES[max(deletions, key=lambda one: one.area.mean).method]}."
        if faithful
        else "No map is shown to hold what the score rests on."
    )
    second = (
        f"Places of a spoof may be read from {', '.join(TITLES[name] for name in placed)}."
        if placed
        else "Places of a spoof should be read from none: no map finds a spliced half reliably."
    )
    return f"{first} {second}"


def neuron_blocks(found: Answers, most: int = MOST_LISTED) -> list[Block]:
    """What new neurons answer to, and what became of them."""
    count = len(found.neurons)
    listed = sorted(found.neurons, key=lambda one: -abs(one.auc - 0.5))
    beyond = found.beyond_chance
    many = "none" if not beyond else f"{beyond:,}"
    said = [
        f"{count:,} new neurons on {found.clips}. Alone, {many} of them separate{'s' if beyond == 1 else ''} spoofs "
        f"from bona fide speech beyond chance (|AUC − ½| above {found.chance:.2f}, which the best of as many reaches "
        "in 5 % of permuted labels)."
    ]
    for site in dict.fromkeys(one.site for one in found.neurons):
        new = median(abs(one.auc - 0.5) for one in found.neurons if one.site == site)
        old = found.old.get(site) or ()
        if old:
            said.append(
                f"{site}: median |AUC − ½| of new neurons {new:.2f}, of the {len(old)} old ones {median(old):.2f}."
            )
    blocks: list[Block] = [Heading("New neurons"), Text(said[0]), Points(tuple(said[1:])), *_turnover(found)]
    columns = ("neuron", "AUC", *found.attacks, "pruned?", "most active on")
    rows = tuple(_neuron_row(one) for one in listed[:most])
    blocks.append(Table(columns, rows, frozenset({"neuron", "pruned?", "most active on"})))
    said_of = f"The {most} that separate best of {count}. " if count > most else ""
    drawn = f" (the picture shows the best {MOST_NEURONS})" if count > MOST_NEURONS else ""
    blocks.append(
        Text(
            f"{said_of}Columns of attacks: mean activation less that on bona fide clips, in their standard "
            f"deviations{drawn}. A neuron that answers to an attack need not be what the verdict rests on."
        )
    )
    return blocks


def _turnover(found: Answers) -> list[Block]:
    if not found.pruned:
        return [Text("Nothing was pruned in this trial: all new neurons are in the final network.")]
    rows = tuple(
        (one.site, str(one.added), str(one.removed), str(one.removed_new), str(one.added - one.removed_new),
         f"{100 * one.share:.0f} %")
        for one in found.turnover
    )  # fmt: skip
    lost = list(dict.fromkeys(one.site for one in found.neurons if one.survived is None))
    columns = ("site", "added", "pruned", "of these new", "new that stayed", "turnover")
    blocks: list[Block] = [Table(columns, rows, frozenset({"site"}))]
    if lost:
        blocks.append(Text(f"Which neurons of {', '.join(lost)} stayed cannot be told from the stored weights."))
    passing = [one.site for one in found.turnover if one.removed and one.share == 1]
    if passing:
        blocks.append(Text(f"At {', '.join(passing)} pruning took only new neurons: growth was a passing widening."))
    return blocks


def _neuron_row(one: Neuron) -> tuple[str, ...]:
    fate = "?" if one.survived is None else "no" if one.survived else "yes"
    clips = ", ".join(
        f"{driver.clip} ({driver.attack if driver.attack != '-' else 'bona fide'})" for driver in one.drivers
    )
    return (f"{one.site} #{one.unit}", f"{one.auc:.2f}", *(f"{value:+.1f}" for value in one.by_attack), fate, clips)


def _interval(mean: float, low: float, high: float, form: str) -> str:
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def _plain(one: Deletion | Splice) -> dict[str, object]:
    found: dict[str, object] = {"finding": one.finding, "words": one.words}
    for name, value in asdict(one).items():
        found[name] = value.tolist() if hasattr(value, "tolist") else value
    return found


def _plain_clip(one: Explained) -> dict[str, object]:
    return {
        "name": one.name, "length_s": one.length_s, "start_s": one.start_s, "window_s": one.window_s,
        "heard_s": one.heard_s, "score": one.score, "bona_fide": one.bona_fide,
        "windows": [asdict(window) for window in one.windows],
        "relevance": [
            {
                "method": method, "stage": panel.stage, "score": panel.score, "missed": panel.found.missed,
                "per_tenth_of_a_second": over_time(panel.found, one.window_s).tolist(),
                "rows": panel.found.map.shape[0], "frames": panel.found.map.shape[1],
            }
            for method, panels in one.panels.items()
            for panel in panels
        ],
    }  # fmt: skip
