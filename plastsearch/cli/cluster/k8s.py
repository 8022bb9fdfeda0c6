"""`plastsearch k8s`: a sweep as manifests, and what a cluster makes of it."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plastsearch.cli import options
from plastsearch.errors import PlastsearchError
from plastsearch.words import shown

if TYPE_CHECKING:
    from rich.console import Console

    from plastsearch.kubernetes.sweep_rules import Command

app = typer.Typer(
    help="A sweep on Kubernetes: write its manifests, check them, watch it, fetch it.", no_args_is_help=True
)


@app.command("render")
def render_sweep(
    space: options.Space,
    overlay: Annotated[str, typer.Option(metavar="KIND", help=options.listed("dev", "gpu", "spot", "kueue", "s3"))],
    name: Annotated[str, typer.Option(help="The sweep: names its RayJob, its folder and all that belongs to it.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    sets: options.Sets = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="GPUs at most, at a time; else as the overlay has it.")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(metavar="IMAGE", help="Where plastsearch:TAG and plastsearch-gpu:TAG are found; repeatable."),
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Where it runs; else plastsearch.")] = None,
    platform: Annotated[bool, typer.Option("--platform", help="With what sweeps share: MLflow, storage, …")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write SPACE as a folder of manifests for `kubectl apply -k`, and check it. No cluster is asked.

    Example: plastsearch k8s render search_spaces/w2v_layers.yaml --overlay gpu --name w2v --out w2v
    """
    import time

    from plastsearch.cli.output import print_json
    from plastsearch.kubernetes.overlays import tree
    from plastsearch.kubernetes.rendering import Wish, render
    from plastsearch.kubernetes.running import NAMESPACE

    submission = f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    wish = Wish(space, overlay, name, out, submission, sets or (), gpus, image or (), namespace, platform)
    made = render(wish, read_command)
    where = shlex.quote(str(out))
    todo = [
        f"kubectl create secret generic {secret} --namespace {made.namespace} "
        + " ".join(f"--from-literal={key}=…" for key in keys)
        for secret, keys in made.by_hand.items()
    ]
    if not made.platform and made.namespace == NAMESPACE and not image:
        todo.append(f"kubectl apply -k {shlex.quote(str(tree() / 'platform'))}  # once, before the first sweep")
    elif not made.platform:
        todo.append(
            f"# before the first sweep in {made.namespace}, once: this command with --platform and another --out"
        )
    if made.again:
        todo.append(
            f"kubectl -n {made.namespace} delete rayjob {name} --ignore-not-found  "
            "# if it has ended: a job that has is never started again"
        )
    todo += [
        f"kubectl apply -k {where}",
        f"plastsearch k8s watch {name} --namespace {made.namespace}",
        f"plastsearch k8s fetch {name} {name} --namespace {made.namespace}",
    ]
    if as_json:
        print_json({"folder": str(out), "name": name, "submission": submission, **vars(made), "next": todo})
        return
    typer.echo(
        f"{shown(out)}: {made.objects} objects for {made.trials} trials ({made.runs} runs with controls and "
        f"finalists), {made.parallel} at a time; no mistakes"
    )
    for note in made.notes:
        typer.echo(f"Note: {note}.", err=True)
    typer.echo("next:\n" + "\n".join(f"  {shown(line)}" for line in todo))


@app.command("check")
def check_manifests(
    manifests: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A folder with a kustomization, or plain YAML: a folder, a file or - (stdin)."
        ),
    ],
    beside: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="What the cluster has already: other manifests, or KIND/NAME; repeatable."),
    ] = None,
    kuberay: Annotated[
        list[str] | None, typer.Option(metavar="RELEASE", help="1.6 or 1.7; else both; repeatable.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Check manifests against KubeRay 1.6 and 1.7, and whether their parts agree. No cluster is asked.

    Example: plastsearch k8s check w2v --beside k8s/platform

    Exit status 2 if there is a mistake.
    """
    from plastsearch.cli.output import print_error, print_json
    from plastsearch.kubernetes.check import check
    from plastsearch.kubernetes.manifests import Objects, read_beside, read_objects
    from plastsearch.kubernetes.references import ABSENT
    from plastsearch.kubernetes.schema import releases

    wanted = kuberay or releases()
    unknown = [one for one in wanted if one not in releases()]
    if unknown:
        raise PlastsearchError(f"--kuberay {unknown[0]}: unknown; known: {', '.join(releases())}")
    objects = read_objects(manifests)
    there = Objects(tuple(one for said in beside or () for one in read_beside(said).all))
    found, note = check(objects, read_command, there, wanted)
    if as_json:
        mistakes = [{"object": str(one.about), "field": one.field, "mistake": one.said} for one in found]
        ok = {"ok": not found, "objects": len(objects.all), "kuberay": wanted, "note": note}
        print_json({"manifests": str(manifests), **ok, "mistakes": mistakes})
    elif found:
        print_error("\n".join([f"{manifests}: {found[0]}", *map(str, found[1:])]))
    else:
        known = " and ".join(sorted(wanted))
        typer.echo(f"{shown(manifests)}: {len(objects.all)} objects, no mistakes (KubeRay {known})")
    notes = [note] if note else []
    if any(ABSENT in one.said for one in found):
        notes.append("what the cluster has already is named with --beside, such as --beside k8s/platform")
    for said in [] if as_json else notes:
        typer.echo(f"Note: {said}.", err=True)
    if found:
        raise typer.Exit(2)


Name = Annotated[str, typer.Argument(metavar="N", help="The sweep: the name of its RayJob.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Where it runs; else plastsearch.")]


@app.command("watch")
def watch_sweep(
    name: Name,
    namespace: Namespace = "plastsearch",
    once: Annotated[bool, typer.Option("--once", help="Look once and end with 0.")] = False,
) -> None:
    """Follow sweep N until it ends: its job, attempts, workers, trials and last events.

    Example: plastsearch k8s watch w2v

    Exit status: that of the sweep (0 done, 2 bad input, 3 the cluster, 4 too many failures).
    """
    import sys
    from datetime import UTC, datetime

    from plastsearch.cli.output import console, print_error
    from plastsearch.kubernetes.watching import Watch, follow

    watch = Watch(name, namespace, read_command)
    asked = f"{shlex.quote(name)} --namespace {shlex.quote(namespace)}"
    if once:
        typer.echo("\n".join(watch.look().lines(datetime.now(UTC))))
        return
    with _screen(console(stderr=True)) as show:
        try:
            status, said = follow(watch, show)
        except KeyboardInterrupt:
            sys.stderr.write(f"\nthe sweep goes on; again: plastsearch k8s watch {asked}\n")
            raise typer.Exit(130) from None
    if status:
        print_error(said)
    else:
        typer.echo(said)
    typer.echo(
        f"its folder: plastsearch k8s fetch {shlex.quote(name)} DIR --namespace {shlex.quote(namespace)}", err=True
    )
    raise typer.Exit(status)


@contextmanager
def _screen(out: "Console") -> Iterator[Callable[[list[str]], None]]:
    """On a terminal one screen that is drawn anew, elsewhere lines as they change."""
    if not out.is_terminal:
        before: list[str] = []

        def tell(lines: list[str]) -> None:
            # The age of an event changes with every look, and says nothing new.
            changed = [line for line in lines if line[7:] not in [old[7:] for old in before]]
            out.print("\n".join(line for line in changed if line), markup=False) if any(changed) else None
            before[:] = lines

        yield tell
        return
    from rich.live import Live
    from rich.text import Text

    with Live(console=out, auto_refresh=False) as live:
        yield lambda lines: live.update(Text("\n".join(lines)), refresh=True)


@app.command("fetch")
def fetch_sweep(
    name: Name,
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put it; there must be nothing yet.")],
    namespace: Namespace = "plastsearch",
    out: Annotated[Path | None, typer.Option(help="Root of all sweeps in the cluster; else as the job says.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Copy the folder of sweep N out of the cluster, without the store, through its head or the toolbox.

    Example: plastsearch k8s fetch w2v w2v
    """
    from pathlib import PurePosixPath

    from plastsearch.cli.output import print_json
    from plastsearch.kubernetes import kubectl, running
    from plastsearch.kubernetes.fetching import fetch
    from plastsearch.words import sized

    folder = PurePosixPath(out or running.ROOT) / name
    if out is None:
        with suppress(kubectl.MissingError):  # a job is removed some time after its end; what it wrote is not
            folder = running.job(name, namespace).folder(read_command) or folder
    place = running.some_place(name, namespace)
    fetched = fetch(place, folder, target)
    if as_json:
        print_json({"folder": str(target), "from": str(folder), "pod": place.pod, **vars(fetched)})
        return
    typer.echo(f"{shown(target)}: {fetched.files} files, {sized(fetched.bytes)}, from {folder} in Pod {place.pod}")
    if fetched.left_out:
        typer.echo(f"{fetched.left_out} links were left out", err=True)
    typer.echo(f"next: plastsearch report {shlex.quote(str(target))}")


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
    # Variables of this machine are not those of the Pod, which are looked at there.
    mine = {name for name in context.params if "ENVIRONMENT" in str(context.get_parameter_source(name))}
    return Command(" ".join(names), {name: None if name in mine else value for name, value in context.params.items()})
