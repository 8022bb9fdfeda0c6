"""`plastsearch k8s`: a sweep as manifests, and what a cluster makes of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plastsearch.cli import options

if TYPE_CHECKING:
    from plastsearch.kubernetes.sweep_rules import Command

app = typer.Typer(
    help="A sweep on Kubernetes: write its manifests, check them, watch it, fetch it.", no_args_is_help=True
)


@app.command("check")
def check_manifests(
    manifests: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A folder with a kustomization, or plain YAML: a folder, a file or - (stdin)."
        ),
    ],
    beside: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="What the cluster has already, such as the platform of a sweep; repeatable."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Check manifests against KubeRay 1.6 and 1.7, and whether their parts agree. No cluster is asked.

    Exit status 2 if there is a mistake.
    """
    from plastsearch.cli.output import print_error, print_json
    from plastsearch.kubernetes.check import check
    from plastsearch.kubernetes.manifests import Objects, read_objects
    from plastsearch.kubernetes.schema import releases

    objects = read_objects(manifests)
    there = Objects(tuple(one for where in beside or () for one in read_objects(where).all))
    found, note = check(objects, read_command, there)
    if as_json:
        said = [{"object": str(one.about), "field": one.field, "mistake": one.said} for one in found]
        ok = {"ok": not found, "objects": len(objects.all), "kuberay": releases(), "note": note}
        print_json({"manifests": str(manifests), **ok, "mistakes": said})
    elif found:
        print_error("\n".join(map(str, found)))
    else:
        known = " and ".join(reversed(releases()))
        typer.echo(f"{manifests}: {len(objects.all)} objects, no mistakes (KubeRay {known})")
    if note and not as_json:
        typer.echo(f"Note: {note}.", err=True)
    if found:
        raise typer.Exit(2)


def read_command(words: Sequence[str]) -> "Command | str":
    """A command line of ours as this program understands it, or what is wrong with it; nothing is run."""
    from typer.main import get_command

    from plastsearch.cli.main import app as root
    from plastsearch.kubernetes.sweep_rules import Command

    command: Any = get_command(root)  # what Typer builds on has moved between its releases
    names: list[str] = []
    rest = list(words)
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            said = f"has no command {rest[0]}" if rest else "names no command"
            return f"plastsearch {' '.join(names)} {said} (there are: {', '.join(command.commands)})".replace("  ", " ")
        names.append(rest[0])
        command = command.commands[rest.pop(0)]
    try:
        context = command.make_context(" ".join(names), rest)
    except Exception as error:  # its own hierarchy, from a package that Typer may bring along
        if not hasattr(error, "format_message"):
            raise
        return f"plastsearch {' '.join(names)}: {error.format_message().rstrip('.')}"
    return Command(" ".join(names), dict(context.params))
