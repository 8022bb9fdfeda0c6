"""`plastsearch calibrate`: scores that mean something, learnt from labelled clips."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, drawing, print_json, print_table
from plastsearch.documents import Table
from plastsearch.errors import PlastsearchError
from plastsearch.words import shown

if TYPE_CHECKING:
    from plastsearch.use.calibrating import Learnt


def calibrate(
    model: options.ModelName,
    on: Annotated[
        str,
        typer.Option("--on", metavar="CLIPS", help="dev (the sweep's search-dev scores), a score file, or audio."),
    ],
    protocol: Annotated[
        Path | None, typer.Option("--protocol", "-p", help="The classes of a score file's clips, or of audio.")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Of a 2021 key: eval (default), progress or hidden.")] = None,
    scale: Annotated[
        str | None, typer.Option(help="Of a calibrated model's score file: plain (score --plain) or llr.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep it in this exported folder of the model, too.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The reliability drawing (PNG); else beside what is kept.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be learnt; keep nothing.")] = False,
    even_evaluation: Annotated[
        bool, typer.Option("--even-evaluation", help="Also from clips that this sweep's finalists were judged on.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds.")] = 0,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Learn to turn a model's scores into log-likelihood ratios, and keep that with the model.

    Example: plastsearch calibrate runs/w2v_layers:best --on dev
    """
    from plastsearch.use.calibrating import DEV, keep, learn, of_dev, of_files, place_of
    from plastsearch.use.load import load
    from plastsearch.use.references import parse
    from plastsearch.use.reliability import reliability_png

    if scale not in (None, "plain", "llr"):
        raise PlastsearchError(f"--scale {scale}: known: plain, llr")
    reference = parse(model)
    loaded = load(model, device)
    place = place_of(reference, loaded)
    if on == DEV:
        if protocol is not None:
            raise PlastsearchError("--on dev: these clips bring their classes; leave out --protocol")
        labelled = of_dev(reference)
    else:
        chosen = cast("Literal['plain', 'llr'] | None", scale)
        with drawing() as (progress, _):
            labelled = of_files(loaded, reference, on, protocol, subset, chosen, even_evaluation, progress)
    learnt = learn(labelled, seed)
    kept = [] if dry_run else keep(reference, loaded, learnt, into)
    drawn = picture or (None if dry_run else place.with_suffix(".png"))
    if drawn is not None:
        reliability_png(learnt, loaded.facts.name, drawn)
    files = {"calibration": [str(path) for path in kept], "picture": None if drawn is None else str(drawn)}
    if as_json:
        print_json({"model": loaded.facts.name, **_plain(learnt), **files})
    else:
        _print(learnt, loaded.facts.name, [str(path) for path in (*kept, *([drawn] if drawn else []))])


def _plain(learnt: "Learnt") -> dict[str, Any]:
    kept = learnt.calibration().model_dump(mode="json")
    return {**kept, "cllr_cross": learnt.cllr_cross, "eer": learnt.eer, "separable": learnt.affine.separable}


def _print(learnt: "Learnt", name: str, files: list[str]) -> None:
    out = console()
    kept = learnt.calibration()
    out.print(
        f"{shown(name)} on {shown(kept.learnt_on)}: {kept.bona_fide:,} bona fide, {kept.spoofed:,} spoofed",
        markup=False,
    )
    out.print(f"log-likelihood ratio = {kept.slope:.6g} × score {kept.offset:+.6g}", markup=False)
    rows = (
        ("Cllr (bits) of the plain scores", f"{learnt.cllr_before:.4f}"),
        ("Cllr, calibrated", f"{learnt.cllr_after:.4f}"),
        ("Cllr, calibrated, of clips left out of learning", f"{learnt.cllr_cross:.4f}"),
        ("minCllr: the best increasing map (PAV)", f"{learnt.min_cllr:.4f}"),
        ("EER (%), which no increasing map moves", f"{learnt.eer:.4f}"),
    )
    print_table(out, Table(("measure", "value"), rows, frozenset({"measure"})))
    if learnt.affine.separable:
        out.print("These clips are told apart without an error: how steep the map is rests on their number alone.")
    if learnt.cllr_cross >= 1:
        out.print("On clips left out the ratios say nothing (Cllr 1 or more): this model knows these classes not.")
    for path in files:
        out.print(shown(path), markup=False)
