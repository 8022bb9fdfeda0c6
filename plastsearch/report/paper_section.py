"""The report's sections for a paper: its table, EER by dropin layer, layers × neurons, attacks, methods ranked."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from plastsearch.analysis.attacks import ByAttack, attacks_of, by_attack
from plastsearch.analysis.figure import number
from plastsearch.analysis.paired import Estimate
from plastsearch.analysis.paper import Arm, PaperTable, arms, paper_table
from plastsearch.analysis.placing import ByLayer, Grid, by_layer, grid
from plastsearch.analysis.prefixes import Prefixes, prefixes
from plastsearch.analysis.ranks import LEAST, Ranks, ranked
from plastsearch.analysis.results import Results
from plastsearch.documents import Block, Figure, Heading, Table, Text

PAPER = "Table for a paper"
LAYERS, GRID, RANKS = "eer_by_layer", "layers_neurons", "ranks"  # pictures, as .svg and .png
TABLE_COLUMNS = (
    "method", "trial", "dev EER %", "seeds", "reduction %", "eval EER %", "eval seeds",
    "eval reduction %", "backward ratio", "backward ms", "parameters", "largest",
)  # fmt: skip
TABLE_NOTE = (
    "Each method by its best trial on search-dev, and the controls; brackets hold 95 % intervals. Dev EERs of trials "
    "that a search chose flatter them. Reduction: by how many percent of the baseline's an EER is lower, "
    "paired by clip and by the seeds that both ran with; below zero it is higher. The evaluation split was opened for "
    "finalists alone, and chose nothing here. Parameters are of the final network; largest: on the way to it."
)
LAYERS_NOTE = (
    "Dots: mean EER on search-dev of all finished trials that grew at a site, whatever else they grew, with its 95 % "
    "interval over trials (Student's t); small dots: trials that grew there alone. {against}A search visits good "
    "places more often, so this describes its trials; what a site is worth by itself is told by the importances."
)
GRID_NOTE = (
    "Mean EER on search-dev (%) of the trials that added so many neurons at a site, with the number of trials in "
    "brackets. {empty} of {all} cells are empty: no finished trial ran that pair, so nothing is known of it."
)


@dataclass(frozen=True)
class Gathered:
    """What these sections, the pictures and the LaTeX tables are made of: worked out once for all of them."""

    table: PaperTable
    layers: ByLayer | None
    cells: Grid | None
    prefixes: Prefixes
    attacks: ByAttack | None
    blocks: int  # attacks that arms were measured on
    ranks: Ranks | None

    def plain(self) -> dict[str, object]:
        """The same for programs."""

        def numbers(one: Estimate | None) -> dict[str, object] | None:
            return None if one is None else asdict(one)

        return {
            "methods": [
                {"method": arm.name, "trial": arm.row.number, "seeds": arm.seeds, "dev_eer": numbers(arm.dev),
                 "relative_reduction": numbers(arm.less), "eval_seeds": arm.eval_seeds,
                 "eval_eer": numbers(arm.evaluation), "eval_relative_reduction": numbers(arm.eval_less),
                 "backward_ratio": arm.ratio, "backward_ms": arm.ms, "params_final": arm.final,
                 "params_total": arm.largest}
                for arm in self.table.arms
            ],
            "layers": [] if self.layers is None else [asdict(one) for one in self.layers.sites],
            "layers_neurons": [] if self.cells is None else [
                {"site": site, "neurons": count, **asdict(cell)} for (site, count), cell in self.cells.cells.items()
            ],
            "criteria": [asdict(one) | {"finding": one.finding} for one in self.prefixes.duels],
            "attacks": None if self.attacks is None else {
                "split": self.attacks.split,
                "finalists": [
                    {"of": one.of, "eer": {attack: asdict(value) for attack, value in values.items()}}
                    for one, values in self.attacks.lines
                ],
            },
            "ranks": None if self.ranks is None else asdict(self.ranks),
        }  # fmt: skip


def gather(results: Results) -> Gathered:
    """All of it."""
    blocks = dict(blocks_by_attack(results)) if len(arms(results)) > 1 else {}
    return Gathered(
        paper_table(results), by_layer(results), grid(results), prefixes(results), by_attack(results), len(blocks),
        ranked(blocks),
    )  # fmt: skip


def paper(found: PaperTable) -> list[Block]:
    """The table, and what its numbers rest on."""
    if not found.arms:
        return []
    notes = [Text(TABLE_NOTE), *(Text(note) for note in found.notes)]
    return [Heading(PAPER), table(found), *notes]


def table(found: PaperTable) -> Table:
    """The same columns in every format; those that nobody has are left out."""
    lines = [_line(arm) for arm in found.arms]
    kept = [at for at, _ in enumerate(TABLE_COLUMNS) if any(line[at] not in ("", "–") for line in lines)]
    names = tuple(TABLE_COLUMNS[at] for at in kept)
    return Table(names, tuple(tuple(line[at] for at in kept) for line in lines), frozenset({"method"}))


def _line(arm: Arm) -> tuple[str, ...]:
    return (
        arm.name, str(arm.row.number), estimate(arm.dev), str(arm.seeds), estimate(arm.less, "+.1f"),
        estimate(arm.evaluation), str(arm.eval_seeds) if arm.eval_seeds else "–", estimate(arm.eval_less, "+.1f"),
        _cell(arm.ratio, "backward_ratio"), _cell(arm.ms, "backward_ms"), _cell(arm.final, "params_final"),
        _cell(arm.largest, "params_total"),
    )  # fmt: skip


def estimate(found: Estimate | None, form: str = ".2f") -> str:
    """A number with its interval in brackets."""
    if found is None:
        return "–"
    if found.low is None or found.high is None:
        return f"{found.value:{form}}"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _cell(value: float | None, metric: str) -> str:
    return "–" if value is None else number(value, metric)


def placing(layers: ByLayer | None, cells: Grid | None) -> list[Block]:
    """EER by dropin layer, and layers × neurons."""
    if layers is None or cells is None:
        return []
    against = "" if layers.baseline is None else "Line: the baseline, with its interval. "
    blocks: list[Block] = [Heading("EER by dropin layer"), Figure(f"{LAYERS}.svg", "EER by dropin layer"),
                           Text(LAYERS_NOTE.format(against=against)), _layers_table(layers)]  # fmt: skip
    if layers.left_out:
        blocks.append(Text(f"{layers.left_out} sites that fewer trials used are not shown; trials.csv has them."))
    note = GRID_NOTE.format(empty=cells.empty, all=len(cells.sites) * len(cells.counts))
    return [*blocks, Heading("Layers × neurons"), Figure(f"{GRID}.svg", "Mean EER by layer and neurons"), Text(note),
            _grid_table(cells)]  # fmt: skip


def _layers_table(found: ByLayer) -> Table:
    rows = tuple(
        (one.site, str(one.trials), estimate(Estimate(one.mean, one.low, one.high)), f"{one.best:.2f}",
         str(len(one.alone)), f"{sum(one.alone) / len(one.alone):.2f}" if one.alone else "–")
        for one in found.sites
    )  # fmt: skip
    return Table(("site", "trials", "mean dev EER %", "best", "alone", "mean alone"), rows, frozenset({"site"}))


def _grid_table(found: Grid) -> Table:
    def cell(site: str, count: str) -> str:
        one = found.cells.get((site, count))
        return "–" if one is None else f"{one.mean:.2f} ({one.trials})"

    rows = tuple((site, *(cell(site, count) for count in found.counts)) for site in found.sites)
    return Table(("site", *(f"+{count}" for count in found.counts)), rows, frozenset({"site"}))


def criteria(found: Prefixes) -> list[Block]:
    """Criteria where they pruned the very same network."""
    if not found.networks:
        return []
    head = Heading("Criteria on equal prefixes")
    if not found.duels:
        return [head, Text(
            f"{found.networks} networks were pruned, each by one criterion alone, so criteria cannot be compared as "
            "pairs; a search of fewer sites, or `try_first`, lets several prune the same network."
        )]  # fmt: skip
    text = (
        f"{found.shared} of {found.networks} networks that came to be pruned were pruned by several criteria, all else "
        "being equal (told by the stages' keys). Differences in points of dev EER, one minus the other, with 95 % "
        "intervals over these networks (Student's t) and Holm's correction over all pairs."
    )
    return [head, Text(text), _duels(found)]


def _duels(found: Prefixes) -> Table:
    rows = tuple(
        (
            one.one, one.other, str(one.prefixes), "–" if one.pruned is None else f"{one.pruned:+.2f}",
            f"{one.points:+.2f}" + ("" if one.low is None else f" [{one.low:+.2f}, {one.high:+.2f}]"),
            "–" if one.p is None else _p(one.p), "–" if one.p_corrected is None else _p(one.p_corrected), one.finding,
        )
        for one in found.duels
    )  # fmt: skip
    columns = ("one", "other", "networks", "right after removal", "at the end", "p", "p, Holm", "finding")
    return Table(columns, rows, frozenset({"one", "other", "finding"}))


def attacks(results: Results, found: ByAttack | None) -> list[Block]:
    """Each finalist's EER by attack."""
    if found is None:
        return []
    where = (
        "the evaluation split" if found.split == "evaluation" else "search-dev (the evaluation split has no attacks)"
    )
    what = "seeds and clips (by speaker)" if found.by_clips else "seeds alone, for so many clips are not resampled here"
    text = f"EER (%) of finalists by attack on {where}, means over seeds; brackets hold 95 % intervals by {what}."
    return [Heading("Finalists by attack"), Text(text), attacks_table(results, found)]


def attacks_table(results: Results, found: ByAttack) -> Table:
    """Attacks down, finalists across: so it stays narrow where attacks are many."""
    labels = {row.number: row.label for row in results.rows}
    names = [labels.get(one.of, f"trial {one.of}") for one, _ in found.lines]
    rows = tuple((attack, *(estimate(values.get(attack)) for _, values in found.lines)) for attack in found.attacks)
    return Table(("attack", *names), rows, frozenset({"attack"}))


def blocks_by_attack(results: Results, prefix: str = "") -> Iterator[tuple[str, dict[str, float]]]:
    """Each attack of this sweep's search-dev with every arm's EER: what methods are ranked over."""
    lines = [(name, attacks_of(row, "search_dev")) for name, row in arms(results)]
    every = dict.fromkeys(attack for _, found in lines for attack in found)
    for attack in every:
        yield f"{prefix}{attack}", {name: found[attack] for name, found in lines if attack in found}


def ranks_blocks(found: Ranks | None, count: int, what: str, picture: str = RANKS) -> list[Block]:
    """The diagram and its numbers, or why there is none."""
    head = Heading("Methods ranked")
    if found is None:
        why = f"{count} {what}" if count < LEAST else f"fewer than two methods that were measured on all {count} {what}"
        return [
            head,
            Text(f"No critical-difference diagram: it takes two methods on {LEAST} blocks, and here are {why}."),
        ]
    text = (
        f"Average ranks of EER on search-dev over {len(found.blocks)} {what}, 1 is best; Friedman's test that all are "
        f"alike: χ² {found.chi2:.2f}, p {_p(found.p, '= ')}. Bars join methods that Nemenyi's test does not tell "
        f"apart (critical difference {found.distance:.2f} ranks, 5 %); below, pairs by Wilcoxon's signed ranks. "
        "The search's trial was chosen on these clips, which flatters it."
    )
    means = [sum(line[at] for line in found.values) / len(found.values) for at in range(len(found.methods))]
    own = tuple((name, f"{rank:.2f}", f"{mean:.2f}") for name, rank, mean in
                zip(found.methods, found.ranks, means, strict=True))  # fmt: skip
    pairs = tuple(
        (one.one, one.other, _p(one.p), _p(one.p_corrected), "differ" if one.p_corrected < 0.05 else "not told apart")
        for one in found.pairs
    )
    return [
        head, Figure(f"{picture}.svg", "Critical-difference diagram"), Text(text),
        Table(("method", "average rank", "mean EER %"), own, frozenset({"method"})),
        Table(("one", "other", "p", "p, Holm", "says"), pairs, frozenset({"one", "other", "says"})),
    ]  # fmt: skip


def _p(value: float, equals: str = "") -> str:
    return f"{equals}{value:.3f}" if value >= 0.001 else "< 0.001"
