"""Whether early dev results rank trials as the last ones do: what halting rests on, shown of every sweep."""

from plastsearch.analysis.figure import column
from plastsearch.analysis.results import Results
from plastsearch.documents import Block, Heading, Points, Table, Text
from plastsearch.pareto.foretelling import LOW, lost, words
from plastsearch.spec.sweep import Halt
from plastsearch.tracking.early import SHARES, Foretold, foretold

EXPLAINED = (
    "Spearman's rank correlation of what trials showed on their way with what they ended at, over those that ran to "
    f"the end. Below {LOW:g} halting by it is not safe: a rule that keeps the better half would then stop the best of "
    f"sixteen trials in {lost(LOW):.0%} of sweeps or more."
)
SURVIVORS = "Halted trials have no end: only survivors are compared here, which look less alike than all trials would."


def early(results: Results) -> list[Foretold]:
    """For every share of the steps that enough trials reported at: the rungs, else quarters."""
    halt = halt_of(results)
    shares = SHARES if halt.kind == "none" else halt.rungs
    return foretold((row.record for row in results.rows), halt.metric, shares)


def halt_of(results: Results) -> Halt:
    """The rule, as the sweep's file had it."""
    return Halt.model_validate(results.spec.get("halt") or {})


def foretelling(results: Results) -> list[Block]:
    """The section of the report; nothing where too few trials tell."""
    found = early(results)
    if not found:
        return []
    halt = halt_of(results)
    rows = tuple((f"{one.share:.0%}", str(one.trials), f"{one.correlation:.2f}", words(one.correlation))
                 for one in found)  # fmt: skip
    low = [one for one in found if one.correlation < LOW]
    said = [SURVIVORS] if results.in_state("halted") else []
    if low and halt.kind != "none":
        said.append(
            f"Halting by {halt.kind} looked at rungs that foretell little here; later rungs (`halt.rungs`), a larger "
            "`halt.eta`, or no halting would have been safer."
        )
    points = [Points(tuple(said))] if said else []
    table = Table(("steps after growth", "trials", f"with the last {column(halt.metric)}", "says"), rows,
                  frozenset({"says"}))  # fmt: skip
    return [Heading("Do early results foretell late ones?"), Text(EXPLAINED), table, *points]
