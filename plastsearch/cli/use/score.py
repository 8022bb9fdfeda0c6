"""`plastsearch score`: what a found model says of any files."""

from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import options


def score(
    model: options.ModelName,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="Files, folders, patterns like 'clips/*.flac'; - reads a list.")
    ],
    csv: Annotated[bool, typer.Option("--csv", help="One line of CSV for each clip.")] = False,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="One JSON object for each clip.")] = False,
    asvspoof: Annotated[bool, typer.Option("--asvspoof", help="A score file as the challenges read it.")] = False,
    edition: Annotated[str, typer.Option(help="Of --asvspoof: 2021, 5, or 2019 (needs --protocol).")] = "2021",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write there; a run that was stopped goes on where it was.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin --out anew.")] = False,
    timeline: Annotated[bool, typer.Option("--timeline", help="Every window, too.")] = False,
    prior: Annotated[float, typer.Option(help="Probability of bona fide speech before hearing a clip.")] = 0.5,
    threshold: Annotated[
        float | None, typer.Option(help="Bona fide from this score on; else Bayes', or that of the EER on search-dev.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Leave the model's calibration out.")] = False,
    window: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Length of a window; else that of the model's training.")
    ] = None,
    hop: Annotated[float, typer.Option(metavar="SECONDS", min=0.01, max=3600, help="From window to window.")] = 1.0,
    aggregation: Annotated[
        str, typer.Option(help="One score out of a clip's windows: mean, median, min, max or first.")
    ] = "mean",
    protocol: Annotated[
        Path | None, typer.Option("--protocol", "-p", help="Score the clips it names, and judge the scores at once.")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Of a 2021 key: eval (default), progress or hidden.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=4096, help="Windows at a time.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=64, help="That read files ahead.")] = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Score files with a found model: log-likelihood ratio or logit difference, probability, decision.

    Example: plastsearch score plastsearch-runs/w2v_layers:best clips/ --csv
    """
    from plastsearch.cli.sessions.score import Request, run

    run(
        Request(
            model=model, paths=paths, wanted=[name for name, on in (("csv", csv), ("json-lines", json_lines),
            ("asvspoof", asvspoof)) if on], edition=edition, out=out, overwrite=overwrite, timeline=timeline,
            prior=prior, threshold=threshold, plain=plain, window_s=window, hop_s=hop, aggregation=aggregation,
            protocol=protocol, subset=subset, batch=batch, threads=threads, device=device, quiet=quiet,
        )
    )  # fmt: skip
