"""`plastsearch pretrain`: a small pretrained encoder of one's own, for `model.from`."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from plastsearch.cli import completing, options
from plastsearch.cli.output import console, print_json
from plastsearch.errors import SpecError
from plastsearch.spec.limits import MOST_AMOUNT, MOST_AT_ONCE, MOST_COUNT, MOST_SEED
from plastsearch.spec.vocabulary import Model as ModelName

Folder = Annotated[Path, typer.Argument(help="Where to write; a new folder, usable as model.from.")]
Model = Annotated[str, typer.Option(help=options.listed(*get_args(ModelName)), autocompletion=completing.models)]
Objective = Annotated[str, typer.Option(help="supervised, or contrastive (no labels; wav2vec2).")]
Corpus = Annotated[
    str,
    typer.Option(
        help="A corpus of the data section, e.g. synthetic, asvspoof2019_la.", autocompletion=completing.corpora
    ),
]
Most = Annotated[int | None, typer.Option(min=1, help="Training clips at most; synthetic: so many.")]
DataSeed = Annotated[
    int, typer.Option(help="Of the synthetic corpus; trials have 0, and should not meet clips seen here.")
]
Steps = Annotated[int, typer.Option(min=1, max=MOST_COUNT, help="Optimiser steps.")]
Batch = Annotated[int, typer.Option(min=1, max=MOST_AT_ONCE, help="Clips per step.")]
Length = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds cut from each clip.")]
LearningRate = Annotated[float, typer.Option(min=0, max=MOST_AMOUNT, help="Highest learning rate.")]
Seed = Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of weights, order and masks.")]
Threads = Annotated[int, typer.Option(min=1, max=MOST_AT_ONCE, help="CPU threads.")]


def pretrain(
    folder: Folder,
    model: Model = "wav2vec2",
    preset: options.Preset = "tiny",
    objective: Objective = "supervised",
    corpus: Corpus = "synthetic",
    root: options.CorpusRoot = None,
    variant: options.CorpusVariant = None,
    manifest: options.Manifest = None,
    most: Most = None,
    data_seed: DataSeed = 1,
    steps: Steps = 1500,
    batch: Batch = 16,
    length_s: Length = 1.0,
    lr: LearningRate = 2e-3,
    seed: Seed = 0,
    cache: options.ClipCache = Path("plastsearch-runs/cache"),
    device: options.Device = "auto",
    threads: Threads = 1,
    quiet: options.Quiet = False,
    as_json: options.JsonAtEnd = False,
) -> None:
    """Pretrain MODEL on a corpus's training clips, for a warm start without downloads.

    Example: plastsearch pretrain encoder/ --most 2000 --length-s 0.5 --steps 1000

    Labels help most: `--most 2000 --length-s 0.5 --steps 1000` takes a minute of one core. The contrastive objective
    needs none, but in short trials on the generated corpus it gained no more than seeds differ by
    (benchmarks/RESULTS.md), and with clips below a second it stays at chance for hundreds of steps. A start from labels
    was tuned with a lower learning rate (1e-3) than random weights need (3e-3).
    """
    from pydantic import ValidationError

    from plastsearch.files import new_folder
    from plastsearch.models.catalog import known_model, preset_widths
    from plastsearch.spec.data import DataConfig
    from plastsearch.spec.model import ModelConfig

    preset_widths(known_model(model), preset)  # for its messages, which name what is known
    given = {"corpus": corpus, "root": root, "variant": variant, "manifest": manifest, "clips": most}
    try:
        network = ModelConfig.model_validate({"name": model, "preset": preset})
        data = DataConfig.model_validate({**given, "seed": data_seed})
    except ValidationError as error:
        raise SpecError([f"--{item['loc'][0]}: {item['msg']}" for item in error.errors()]) from error

    new_folder(folder)  # whether it can be written shows now, and not after the training

    import torch  # takes seconds: what was typed wrong is told before

    from plastsearch.data.corpus import open_corpus
    from plastsearch.trial.device import pick_device
    from plastsearch.trial.pretrain import Pretraining, known_objective, pretrain

    torch.set_num_threads(threads)
    plan = Pretraining(known_objective(objective), steps, batch, round(length_s * data.rate_hz), lr, seed=seed)
    where = pick_device(device)  # before a corpus is read or made
    train = open_corpus(data, cache).train
    screen = console(stderr=True)
    last: dict[str, float] = {}
    for last in pretrain(network, train, plan, folder, where):
        if not quiet:
            figures = ", ".join(f"{key} {value:.3f}" for key, value in last.items() if key != "step")
            screen.print(f"step {last['step']:.0f}/{steps}: {figures}")
    if as_json:
        plain = network.model_dump(by_alias=True)
        print_json({"folder": str(folder), "model": plain, "clips": len(train), **last})
    elif not quiet:
        console().print(f"Wrote {folder}; use it with `model: {{name: {model}, from: {folder}}}`.")
