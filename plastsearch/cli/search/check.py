"""`plastsearch check`: every mistake of a search space at once, then what it would search. Imports no torch."""

from collections.abc import Sequence
from typing import Annotated

import typer

from plastsearch.cli import options


def check(
    space: options.Space,
    no_data: Annotated[bool, typer.Option("--no-data", help="Do not look whether the corpus is there.")] = False,
    sets: options.Sets = None,
    as_json: options.AsJson = False,
) -> None:
    """Validate SPACE: each mistake with file, line and key; then its size, sites, objectives and budget.

    Example: plastsearch check search_spaces/smoke.yaml --set search.trials=12

    Exit status 2 if there is a mistake.
    """
    from plastsearch.cli.output import print_error, print_json
    from plastsearch.cli.sessions.space import print_space, space_json
    from plastsearch.errors import SpecError
    from plastsearch.preflight.checks import Findings, examine
    from plastsearch.spec.load import read_sweep

    findings, spec = Findings(), None
    try:
        reading = read_sweep(space, sets or [])
        mistakes, spec = reading.mistakes, reading.spec
        if spec is not None:  # what could be read is looked up even beside mistakes: all of them are told at once
            findings = examine(spec, data=not no_data)
            mistakes += [
                reading.document.say(place, message)
                for place, message in findings.mistakes
                if not _read_before(place, reading.dropped)
            ]
    except SpecError as error:
        mistakes = error.mistakes
    if mistakes or spec is None:
        if as_json:
            print_json({"file": str(space), "ok": False, "mistakes": mistakes})
        else:
            print_error("\n".join(mistakes))
        raise typer.Exit(2)
    if as_json:
        print_json({"file": str(space), "ok": True, **space_json(spec, findings)})
    else:
        print_space(space, spec, findings)


def _read_before(place: Sequence[str | int], dropped: frozenset[str]) -> bool:
    """Whether a place was refused already, so that what stands there now is only a default."""
    if len(place) > 1 and place[0] == "space":
        return str(place[1]) in dropped
    dotted = ".".join(str(part) for part in place)
    return any(one and (dotted == one or dotted.startswith(one + ".")) for one in dropped)
