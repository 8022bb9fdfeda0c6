"""`plastsearch doctor`: whether this machine is fit for sweeps, and what to do where it is not."""

from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import options

LONG_S = 0.5  # what takes longer is told
MARKS = {"ok": "  ok   ", "note": "  note ", "fault": "  FAULT"}
Onnx = Annotated[bool, typer.Option("--onnx", help="`export --onnx` is wanted, too.")]


def doctor(
    out: options.Out = Path("plastsearch-runs"),
    mlflow: options.Mlflow = None,
    address: options.Address = None,
    onnx: Onnx = False,
    as_json: options.AsJson = False,
) -> None:
    """Look at Python, packages, GPU, cores, memory, disk, locks, MLflow and Ray; name each fault with its remedy.

    Example: plastsearch doctor --out plastsearch-runs

    Nothing is started or changed. Exit status: 0 all well, 1 a fault; a note stops nothing.
    """
    from plastsearch.cli.output import print_json
    from plastsearch.doctor.examination import Asked, examine
    from plastsearch.words import printable

    found = examine(Asked(out, mlflow, address, onnx))
    faults = sum(one.state == "fault" for one in found)
    if as_json:
        print_json({"ok": not faults, "findings": [vars(one) for one in found]})
    else:
        width = max(len(one.name) for one in found)
        for one in found:
            took = f" (took {one.seconds:.1f} s)" if one.seconds >= LONG_S else ""
            typer.echo(f"{MARKS[one.state]}  {one.name:{width}}  {printable(one.said)}{took}")
            if one.remedy:
                typer.echo(f"{'':9}{'':{width}}  → {printable(one.remedy)}")
        typer.echo("all well" if not faults else f"{faults} fault{'s' if faults > 1 else ''}")
    if faults:
        raise typer.Exit(1)
