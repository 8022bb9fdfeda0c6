"""Joined sweeps as the blocks of a report."""

from collections.abc import Sequence

from plastsearch.analysis.columns import device
from plastsearch.analysis.figure import column
from plastsearch.analysis.paired import Estimate
from plastsearch.documents import Block, Heading, Points, Table, Text
from plastsearch.joining.joined import Joined, MethodLine
from plastsearch.joining.meta import Pooled
from plastsearch.report.losses import took
from plastsearch.report.paper_section import estimate, ranks_blocks

HEADING = "Sweeps joined"
POOLED = (
    "Means over sweeps are random-effects means (DerSimonian-Laird) with 95 % intervals by Hartung, Knapp, Sidik and "
    "Jonkman: sweeps are taken for a sample of those that might have been run. Where a sweep's own interval is not "
    "known they are plain means with Student's t. Two or three sweeps give wide intervals, as they should. "
)
PICTURE = "joined_ranks"
SAME_CLIPS = "Sweeps on the same clips share what these clips do to all, which such a mean does not know."


def joined_blocks(found: Joined, level: int = 1, *, narrow: bool = False) -> list[Block]:
    """All of it; `level` 1: a report by itself, `narrow`: for a terminal, sweeps down instead of across."""
    title = f"{HEADING}: {', '.join(one.label for one in found.members)}" if level == 1 else HEADING
    own: list[Block] = [Heading(title, level), _members(found)]
    said = [*found.notes, *found.apart, *_unlike(found)]
    if said:
        own.append(Points(tuple(said)))
    inner = level + 1
    return [
        *own, Heading("Methods over sweeps", inner), *_methods(found, narrow=narrow),
        Heading("Configurations over sweeps", inner), *_configurations(found, narrow=narrow), *_ranks(found, inner),
    ]  # fmt: skip


def _members(found: Joined) -> Table:
    rows = []
    for one in found.members:
        results = one.results
        seeds = sorted({run.config.seed for row in results.plotted for run in row.runs})
        listed = ", ".join(map(str, seeds[:6])) + (" …" if len(seeds) > 6 else "")
        finished = sum(row.record.role == "search" for row in results.plotted)
        rows.append((
            one.label, one.corpus, one.machines, listed, str(finished),
            str(sum(len(again.rows) for again in results.finalists)), took(results.seconds), results.status,
        ))  # fmt: skip
    columns = ("sweep", "corpus", "machines", "seeds", "trials finished", "finalist runs", "took", "status")
    return Table(columns, tuple(rows), frozenset({"sweep", "corpus", "machines", "seeds", "status"}))


def _unlike(found: Joined) -> list[str]:
    said = []
    if found.corpora > 1:
        said.append(
            f"These are {found.corpora} corpora: their EERs have no common order, so no front is drawn over them; what "
            "compares is how far each method is below its own sweep's baseline."
        )
    devices = {name for one in found.members for row in one.results.every if (name := device(row))}
    if len(devices) > 1:
        said.append(f"Costs were timed on unlike devices ({', '.join(sorted(devices))}); times are not averaged.")
    return said


def methods_table(found: Joined, evaluation: bool, *, narrow: bool = False) -> Table | None:
    """Method × sweep: EER, relative reduction against the sweep's own baseline, and the mean of that."""
    rows = tuple(line for one in found.methods if (line := _line(one, evaluation)) is not None)
    if not rows:
        return None
    if narrow:
        return _down(found, rows)
    names = [part for one in found.members for part in (f"{one.label}: EER %", f"{one.label}: reduction %")]
    return Table(("method", *names, "mean reduction %", "sweeps"), rows, frozenset({"method"}))


def _down(found: Joined, rows: Sequence[tuple[str, ...]]) -> Table:
    """A line for each method and sweep, then one for the mean."""
    lines = []
    for name, *cells, mean, count in rows:
        parts = zip(found.members, cells[::2], cells[1::2], strict=True)
        lines += [(name, member.label, eer, less) for member, eer, less in parts if eer != "–"]
        lines += [(name, f"mean of {count}", "", mean)] if mean != "–" else []
    return Table(("method", "sweep", "EER %", "reduction %"), tuple(lines), frozenset({"method", "sweep"}))


def _line(one: MethodLine, evaluation: bool) -> tuple[str, ...] | None:
    cells = []
    for arm in one.arms:
        eer, less = (None, None) if arm is None else (
            (arm.evaluation, arm.eval_less) if evaluation else (arm.dev, arm.less)
        )  # fmt: skip
        cells += [estimate(eer), estimate(less, "+.1f")]
    mean = one.eval_less if evaluation else one.less
    if all(cell == "–" for cell in cells):
        return None
    return (one.name, *cells, _pooled(mean, "+.1f"), "–" if mean is None else str(mean.sweeps))


def _pooled(found: Pooled | None, form: str) -> str:
    return "–" if found is None else estimate(Estimate(found.value, found.low, found.high), form)


def _methods(found: Joined, *, narrow: bool) -> list[Block]:
    blocks: list[Block] = [Text(
        "Each method by its best trial of each sweep, chosen there on search-dev; reduction: by how many percent of "
        "the EER of the sweep's own baseline, paired. " + POOLED + SAME_CLIPS
    )]  # fmt: skip
    dev = methods_table(found, evaluation=False, narrow=narrow)
    evaluation = methods_table(found, evaluation=True, narrow=narrow)
    if dev is not None:
        blocks += [Text("On search-dev, which chose the trials and so flatters them:"), dev]
    if evaluation is not None:
        blocks += [Text("On the evaluation split, finalists alone, over fresh seeds; it chose nothing:"), evaluation]
    return blocks


def configurations_table(found: Joined, *, narrow: bool = False) -> Table:
    """Configuration × sweep by the first objective; narrow: the mean alone."""
    metric = found.members[0].results.objectives[0].metric
    shown = 0 if narrow else len(found.members)
    rows = tuple(
        (one.key, one.words, *map(estimate, one.values[:shown]), _pooled(one.mean, ".2f"), str(one.mean.sweeps))
        for one in found.configurations
    )
    names = [f"{one.label}: {column(metric)}" for one in found.members[:shown]]
    head = ("configuration", "settings", *names, f"mean {column(metric)}", "sweeps")
    return Table(head, rows, frozenset({"configuration", "settings"}))


def _configurations(found: Joined, *, narrow: bool) -> list[Block]:
    if not found.configurations:
        return [Text(
            f"No configuration was run by two of these sweeps ({found.alone} by one alone): each chose its own. The "
            "same `search: {seed: …}`, or `try_first`, makes sweeps run common ones."
        )]  # fmt: skip
    text = (
        f"Run by two of these sweeps or more: {len(found.configurations)} configurations ({found.alone} by one alone); "
        "equal but for seed and clips, told by a hash of all else."
    )
    return [Text(text), configurations_table(found, narrow=narrow)]


def _ranks(found: Joined, level: int) -> list[Block]:
    head, *rest = ranks_blocks(found.ranks, found.blocks, "corpora × attacks", PICTURE)
    assert isinstance(head, Heading)
    return [Heading(f"{head.text} over corpora × attacks", level), *rest]
