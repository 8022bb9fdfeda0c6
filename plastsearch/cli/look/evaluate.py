"""`plastsearch evaluate`: the whole table of metrics for anybody's score file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, print_json, print_table
from plastsearch.documents import Table
from plastsearch.spec.limits import MOST_REPLICATES, MOST_SEED

if TYPE_CHECKING:
    from rich.console import Console

NAMES = {
    "eer": "EER (%)", "eer_tie_safe": "EER, ties crossed together (%)", "threshold": "threshold at the EER",
    "min_dcf": "minDCF", "act_dcf": "actDCF", "cllr": "Cllr (bits)", "auc": "AUC",
    "eer_smooth": "EER, smoothed (%)", "min_tdcf_2019": "min t-DCF (2019)",
    "min_tdcf_2021": "min t-DCF (2021)",
}  # fmt: skip


def evaluate(
    scores: Annotated[Path, typer.Argument(help="A score file: 2019, 2021 or ASVspoof 5 form; higher is bona fide.")],
    protocol: Annotated[
        Path | None, typer.Option("--protocol", "-p", help="The protocol or key; 2019 score files may do without.")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Of a 2021 key: eval (default), progress or hidden.")] = None,
    asv_scores: Annotated[Path | None, typer.Option(help="The organisers' verifier scores, for t-DCF.")] = None,
    asv_key: Annotated[Path | None, typer.Option(help="The key of 2021's verifier scores.")] = None,
    replicates: Annotated[
        int, typer.Option(min=0, max=MOST_REPLICATES, help="Bootstrap replicates; 0 for no interval.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of the bootstrap.")] = 0,
    as_json: options.AsJson = False,
) -> None:
    """Judge a score file: EER with interval, minDCF, actDCF, Cllr, t-DCF, pooled and per attack.

    Example: plastsearch evaluate scores.txt --protocol protocol.txt
    """
    from plastsearch.scores.files import judge, read_scores
    from plastsearch.scores.keys import read_key, read_verifier

    read = read_scores(scores)
    key = None if protocol is None else read_key(protocol, subset)
    verifier = None if asv_scores is None else read_verifier(asv_scores, asv_key, subset)
    found = judge(read, key, verifier, replicates, seed).plain()
    if as_json:
        print_json({"scores": str(scores), "protocol": str(protocol) if protocol else None, **found})
    else:
        print_judgement(console(), found)


def print_judgement(out: "Console", found: Mapping[str, Any]) -> None:
    """Every metric of a score file, and the error rate of each attack."""
    out.print(f"{found['n_bona']:,} bona fide and {found['n_spoof']:,} spoofed clips, higher scores mean bona fide")
    rows = [(words, f"{found[name]:.4f}") for name, words in NAMES.items() if name in found]
    if "eer_low" in found:
        words = f"95 % interval of the EER, over {found['interval_over']}"
        rows.insert(1, (words, f"{found['eer_low']:.4f} – {found['eer_high']:.4f}"))
    print_table(out, Table(("metric", "value"), tuple(rows), frozenset({"metric"})))
    attacks = found.get("per_attack") or {}
    if len(attacks) > 1:
        hardest = sorted(attacks.items(), key=lambda item: -item[1])
        lines = tuple((name, f"{value:.4f}") for name, value in hardest)
        print_table(out, Table(("attack", "EER (%)"), lines, frozenset({"attack"})))
    for warning in found["warnings"]:
        console(stderr=True).print(f"warning: {warning}", markup=False)
