"""`plastsearch explain`: what a found model listens to, and whether that can be believed."""

from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, drawing, print_blocks, print_error, print_json
from plastsearch.errors import PlastsearchError

METHODS = ("grad-cam", "integrated-gradients", "attention")


def explain(
    model: options.ModelName,
    audio: Annotated[
        list[Path] | None, typer.Argument(metavar="[AUDIO…]", help="Clips to draw; none: evidence alone.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help=f"{options.listed(*METHODS)} May be given several times; else those that fit the network."),
    ] = None,
    layer: Annotated[str | None, typer.Option(help="A block for grad-cam, e.g. layer4.1; else a late one.")] = None,
    at: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Where in long clips; else where the verdict is clearest.")
    ] = None,
    neurons: Annotated[
        bool, typer.Option("--neurons", help="What the new neurons of a grown trial answer to, and which were pruned.")
    ] = False,
    evidence: Annotated[
        bool, typer.Option("--evidence/--no-evidence", help="Put the maps to the test by deletion and by a splice.")
    ] = True,
    protocol: Annotated[
        Path | None, typer.Option("--protocol", "-p", help="Classes of the clips to test on; else a sweep's dev set.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--audio", help="The folder of the protocol's clips.")] = None,
    subset: Annotated[str | None, typer.Option(help="Of a 2021 key: eval (default), progress or hidden.")] = None,
    most: Annotated[
        int, typer.Option(min=8, max=100_000, help="Clips to test on, half of each class where there are enough.")
    ] = 100,
    out: Annotated[
        Path | None, typer.Option(help="Pictures, page and JSON; else explain/TRIAL in the sweep's folder.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Decoded clips of the sweep; else the cache beside it.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of random deletion, pairs and intervals.")] = 0,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Draw what a model's verdicts rest on, with evidence: relevance over spectrograms, deletion and splice tests.

    Example: plastsearch explain runs/w2v_layers:best clip.flac --neurons

    Exit status 1: some clips could not be read.
    """
    names = tuple(dict.fromkeys(method or ()))
    for name in names:
        if name not in METHODS:
            raise PlastsearchError(f"--method {name}: unknown; known: {', '.join(METHODS)}")

    from plastsearch.explain.document import clip_blocks, evidence_blocks, neuron_blocks
    from plastsearch.explain.relevance import NAMES, Settings
    from plastsearch.explain.run import Request, run

    asked = Request(
        model, tuple(audio or ()), tuple(one for one in NAMES if one in names), Settings(layer=layer), at, neurons,
        evidence, protocol, folder, subset, cache, most, seed, out, device,
    )  # fmt: skip
    with drawing() as (progress, _):
        done = run(asked, progress)
    found = done.found
    files = {name: str(path) for name, path in done.files.items()}
    if as_json:
        print_json({**found.plain(), "bad": list(done.bad), "files": files})
    else:
        screen = console()
        for one in found.clips:
            print_blocks(screen, clip_blocks(one))
        print_blocks(screen, evidence_blocks(found))
        if found.neurons is not None:
            print_blocks(screen, neuron_blocks(found.neurons))
        for note in found.notes:
            screen.print(note, markup=False)
        screen.print(f"\nPage: {files['index.html']}", markup=False, soft_wrap=True)
    for words in done.bad:
        print_error(words)
    if done.bad:
        raise typer.Exit(1)
