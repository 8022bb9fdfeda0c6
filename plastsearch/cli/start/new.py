"""`plastsearch new`: a first search space, by five questions or by flags."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import completing, options
from plastsearch.words import shown

File = Annotated[Path, typer.Argument(metavar="FILE", help="The space to write, e.g. my_space.yaml.")]
Model = Annotated[
    str | None, typer.Option(help="wav2vec2, resnet18, grnn, cnn or lcnn.", autocompletion=completing.models)
]
Preset = Annotated[str | None, typer.Option(help="tiny, small, base or large.", autocompletion=completing.presets)]
Source = Annotated[str | None, typer.Option("--from", help="A folder or hub name with weights to start from.")]
Corpus = Annotated[
    str | None,
    typer.Option(help="synthetic (generated), asvspoof2019_la, …, or manifest.", autocompletion=completing.corpora),
]
Aim = Annotated[str | None, typer.Option(help="What counts beside the error rate: all, training, size or nothing.")]
Budget = Annotated[str | None, typer.Option(help="What may be spent: minutes, night or days.")]

DEFAULTS = {"model": "wav2vec2", "size": "tiny", "corpus": "synthetic", "aim": "all", "budget": "night"}


def new(
    file: File,
    model: Model = None,
    preset: Preset = None,
    source: Source = None,
    corpus: Corpus = None,
    root: options.CorpusRoot = None,
    manifest: options.Manifest = None,
    aim: Aim = None,
    budget: Budget = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a first search space: asks five questions on a terminal, or takes flags (and defaults for the rest).

    Example: plastsearch new my_space.yaml --model grnn --budget minutes
    """
    import shlex

    from plastsearch.cli.output import print_json
    from plastsearch.cli.sessions import new_space as made
    from plastsearch.errors import PlastsearchError
    from plastsearch.files import typed_path
    from plastsearch.spec.schema import FILE as SCHEMA

    if preset is not None and source is not None:
        raise PlastsearchError("--preset and --from: weights have a size of their own; leave one out")
    given = {"model": model, "size": source or preset, "corpus": corpus, "aim": aim, "budget": budget}
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not as_json

    def answer(name: str, question: str, known: Sequence[str], free: bool = False) -> str:
        if (word := given[name]) is not None or not asks:
            return word or DEFAULTS[name]
        return _asked(question, known, DEFAULTS[name], free)

    network = answer("model", "1/5 Which network?", made.MODELS)
    weights = answer("size", "2/5 How large, or weights from which folder or hub name?", made.PRESETS, free=True)
    clips = answer("corpus", "3/5 Which clips?", made.CORPORA)
    lies = manifest if clips == "manifest" else root
    if lies is None and clips != "synthetic" and asks:
        lies = typer.prompt(f"    Their {'table (CSV or Parquet)' if clips == 'manifest' else 'folder'}", err=True)
    counts = answer("aim", "4/5 What counts beside the error rate?", made.AIMS)
    spent = answer("budget", "5/5 What may be spent?", made.BUDGETS)
    place = typed_path(str(file))
    missing = made.write(place, made.Answers(network, weights, clips, lies, counts, spent))
    name = shlex.quote(str(place))
    todo = [f"plastsearch {words}" for words in (f"check {name}", f"sweep {name} --dry-run", f"sweep {name}")]
    if as_json:
        print_json({"file": str(place), "missing": missing, "next": todo})
        return
    typer.echo(f"{shown(place)}: written")
    for said in missing:
        typer.echo(f"Note: before it can run: {said}", err=True)
    typer.echo("next:\n" + "\n".join(f"  {shown(line)}" for line in todo))
    if not (place.parent / SCHEMA).is_file():
        beside_it = shlex.quote(str(place.parent / SCHEMA))
        typer.echo(f"for completion in an editor: plastsearch schema --out {beside_it}", err=True)


def _asked(question: str, known: Sequence[str], default: str, free: bool) -> str:
    """A word of a list, by its number or itself; `free`: or any other."""
    listed = "  ".join(f"{number} {word}" for number, word in enumerate(known, 1))

    def read(text: str) -> str:
        word = known[int(text) - 1] if text.isdigit() and 0 < int(text) <= len(known) else text.strip()
        if word not in known and not free:
            raise typer.BadParameter(f"{text} is none of them: {options.listed(*known)}")
        return word

    parse: Callable[[str], str] = read
    found: str = typer.prompt(f"{question}\n    {listed}\n   ", default=default, value_proc=parse, err=True)
    return found
