"""Statistics of the recorded table, as docs/recorded.md shows them: what differs, what is luck, what can be known.

python benchmarks/recorded_figures.py            # writes them into the page and into results/
"""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import recorded
from recorded import Key, Recorded
from results import Cell, Table, write

from plastsearch.pareto.foretelling import rank_correlation
from plastsearch.pareto.noise import Measured, noise

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recorded.md"
PLACE = re.compile(r"(<!-- table (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
METRICS = (
    "dev_eer", "dev_eer_smooth", "dev_auc", "dev_eer_grown", "dev_eer_pruned", "dev_cllr", "dev_min_dcf", "train_loss",
)  # fmt: skip


def spread(table: Recorded) -> Table:
    """Standard deviations, and the reliability of one run's ranking."""
    rows: list[list[Cell]] = []
    for metric in METRICS:
        triples = list(table.triples(metric))
        found = noise([Measured(*one) for one in triples])
        assert found is not None
        mean = float(np.mean([value for *_, value in triples]))
        rows.append([f"`{metric}`", mean, found.between, found.rest, found.seeds,
                     f"{found.reliability:.2f} [{found.low:.2f}, {found.high:.2f}]"])  # fmt: skip
    return Table([("metric", ""), ("mean", ".3f"), ("between configurations", ".3f"), ("one run, common seed", ".3f"),
                  ("seeds, all alike", ".3f"), ("reliability", "")], rows)  # fmt: skip


def levels(table: Recorded) -> Table:
    """True EERs by regime and width, and the baseline's."""
    rows: list[list[Cell]] = []
    for regime in recorded.REGIMES:
        for neurons in recorded.NEURONS:
            keys = [key for key in table.keys if key[1] == neurons and key[3] == regime]
            values = [table.truth(key) for key in keys]
            eers, work = zip(*values, strict=True)
            rows.append([regime, neurons, len(keys), min(eers), float(np.mean(eers)), max(eers), min(work), max(work)])
    eer, gflop = table.truth(recorded.BASELINE)
    rows.append(["baseline", None, 1, eer, eer, eer, gflop, gflop])
    return Table([("regime", ""), ("neurons", ".0f"), ("configurations", ".0f"), ("lowest EER", ".2f"), ("mean", ".2f"),
                  ("highest", ".2f"), ("least GFLOP", ".5f"), ("most", ".5f")], rows)  # fmt: skip


def true_front(table: Recorded) -> Table:
    """Members, those that are worth exactly the same in one line."""

    def worth(key: Key) -> tuple[float, float]:
        eer, gflop = table.truth(key)
        return gflop, eer

    rows: list[list[Cell]] = []
    for (gflop, eer), found in groupby(sorted(table.front_keys, key=worth), key=worth):
        same = list(found)
        layers, neurons, _, regime = same[0]
        criteria = " or ".join(sorted({key[2] for key in same if key[:2] == same[0][:2]}))
        runs = [table.value(same[0], seed)[0] for seed in table.seeds]
        error = float(np.std(runs, ddof=1) / len(runs) ** 0.5)
        others = len({key[0] for key in same}) - 1
        name = layers.replace(".ffn", "").replace("encoder.", "") + (f" and {others} more" if others else "")
        rows.append([name, neurons, criteria, regime, eer, error, gflop])
    return Table([("encoder layers", ""), ("neurons", ".0f"), ("criterion", ""), ("regime", ""), ("EER", ".2f"),
                  ("standard error", ".2f"), ("GFLOP", ".5f")], rows)  # fmt: skip


def ceilings(table: Recorded) -> Table:
    """What can be known from one run, and from the mean of all but one: judged by the seeds that were not looked at."""
    values = np.array([[table.value(key, seed)[0] for seed in table.seeds] for key in table.keys])
    rows: list[list[Cell]] = []
    count = len(table.seeds)
    others = [[i for i in range(count) if i != at] for at in range(count)]
    for name, seen in (("one run", [[at] for at in range(count)]), (f"mean of {count - 1}", others)):
        correlation, regret = [], []
        for chosen in seen:
            rest = [at for at in range(count) if at not in chosen]
            shown, true = values[:, chosen].mean(axis=1), values[:, rest].mean(axis=1)
            correlation.append(rank_correlation(list(shown), list(true)) or 0.0)
            best = np.flatnonzero(shown == shown.min())
            regret.append(float(true[best].mean() - true.min()))
        rows.append([name, float(np.mean(correlation)), float(np.mean(regret))])
    return Table([("who chooses by", ""), ("rank correlation with the other seeds", ".2f"),
                  ("regret of the lowest, points", ".2f")], rows)  # fmt: skip


def tables(table: Recorded) -> dict[str, Table]:
    """All of the page's."""
    return {"spread": spread(table), "levels": levels(table), "front": true_front(table), "ceilings": ceilings(table)}


def page(text: str, found: dict[str, Table]) -> str:
    """The page with its tables as they are now."""
    return PLACE.sub(lambda place: f"{place[1]}{found[place[2]].markdown()}\n{place[4]}", text)


def places(text: str) -> Sequence[str]:
    """The tables that a page asks for."""
    return [place[2] for place in PLACE.finditer(text)]


def main() -> None:
    found = tables(recorded.load())
    PAGE.write_text(page(PAGE.read_text("utf-8"), found), "utf-8")
    write("recorded", found)
    for one in found.values():
        print(f"{one.markdown()}\n")


if __name__ == "__main__":
    main()
