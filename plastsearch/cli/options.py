"""Options as the types of arguments: those that several commands share, and all of `sweep`, which has the most.

A command's own few options stand in its file. No default is set here: it may differ from command to command.
"""

from pathlib import Path
from typing import Annotated, get_args

import typer

from plastsearch.cli import completing
from plastsearch.files import folder_name, recordable
from plastsearch.spec.limits import MOST_SEED
from plastsearch.spec.vocabulary import Preset as PresetName


def listed(*words: str) -> str:
    """Words for a person: `tiny, small, base or large.`"""
    return f"{', '.join(words[:-1])} or {words[-1]}."


# Shared by commands.

Space = Annotated[
    Path, typer.Argument(help="A search space, e.g. search_spaces/w2v_layers.yaml.", autocompletion=completing.spaces)
]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="SWEEP:best, SWEEP:17, SWEEP:17/seed3, an exported folder or a model of MLflow.",
        autocompletion=completing.models_found,
    ),
]  # fmt: skip
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        autocompletion=completing.settings,
        help="Change a setting, e.g. --set base.train.steps=100; for a trial `base.` may be left out.",
    ),
]
SweepFolder = Annotated[
    Path, typer.Argument(help="A sweep's folder, also one that still runs.", autocompletion=completing.sweeps)
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
Preset = Annotated[str, typer.Option(help=listed(*get_args(PresetName)), autocompletion=completing.presets)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", autocompletion=completing.devices)]
CorpusRoot = Annotated[str | None, typer.Option(help="The folder that holds the corpus.")]
CorpusVariant = Annotated[
    str | None,
    typer.Option(
        help="fake_or_real: for-original, for-norm, for-2sec or for-rerec; synthetic: la, pa, for or itw.",
        autocompletion=completing.variants,
    ),
]
Manifest = Annotated[str | None, typer.Option(help="Of corpus manifest: a CSV or Parquet table of clips.")]
ClipCache = Annotated[
    Path, typer.Option(callback=recordable, help="Where decoded clips and generated corpora are kept.")
]

# Of `sweep`.

_DRIVER = "Where and how it runs"
_OUTPUT = "Output"

Trials = Annotated[int | None, typer.Option(min=1, help="How many, short for --set search.trials=N.")]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=MOST_SEED, help="Of search and trials, short for --set search.seed=N --set base.seed=N."),
]
Name = Annotated[
    str | None,
    typer.Option(callback=folder_name, help="The sweep's folder below --out; else the space's name."),
]
Out = Annotated[
    Path, typer.Option(callback=recordable, help="Root of all sweeps, of their shared stages and of decoded clips.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the sweep in that folder, if there is one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count, sample and predict; run nothing.")]
Price = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT=MONEY/h",
        help="With --dry-run: what an hour costs, e.g. --price gpu=2.5/h --price cpu=0.04/h.",
    ),
]
Final = Annotated[
    bool, typer.Option("--finalists/--no-finalists", help="Run the front again with fresh seeds at the end.")
]
Parallel = Annotated[
    int | None, typer.Option(min=1, help="Trials at a time; else as many as fit.", rich_help_panel=_DRIVER)
]
Executor = Annotated[
    str,
    typer.Option(
        help="tune (Ray) or inline (this process).", autocompletion=completing.executors, rich_help_panel=_DRIVER
    ),
]
Address = Annotated[str | None, typer.Option(help="A running Ray cluster; else a local one.", rich_help_panel=_DRIVER)]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic", help="Equal runs on one GPU agree to the last bit; slower.", rich_help_panel=_DRIVER
    ),
]
Store = Annotated[
    Path | None,
    typer.Option(
        callback=recordable,
        help="Finished stages; else OUT/store.",
        envvar="PLASTSEARCH_STORE",
        rich_help_panel=_DRIVER,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        callback=recordable,
        help="Decoded clips and kept activations; else OUT/cache.",
        envvar="PLASTSEARCH_CACHE",
        rich_help_panel=_DRIVER,
    ),
]
Clips = Annotated[
    Path | None,
    typer.Option(
        callback=recordable,
        help="Decoded clips, apart from --cache: a folder that all nodes of a cluster share. They are decoded once, by "
        "a worker without a GPU, before trials ask for one.",
        envvar="PLASTSEARCH_CLIPS",
        rich_help_panel=_DRIVER,
    ),
]
CacheMaxGb = Annotated[
    float | None,
    typer.Option(
        metavar="GB",
        min=0.001,
        help="Kept activations of a node; else half of what is free beside them.",
        envvar="PLASTSEARCH_CACHE_MAX_GB",
        rich_help_panel=_DRIVER,
    ),
]
StoreMaxGb = Annotated[
    float | None,
    typer.Option(
        metavar="GB",
        min=0.001,
        help="Finished stages: beyond it the least useful go, never what a running trial rests on; else no limit.",
        envvar="PLASTSEARCH_STORE_MAX_GB",
        rich_help_panel=_DRIVER,
    ),
]
CheckpointS = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="Least time between checkpoints inside a stage; else 60. Longer where writing takes over 2 % of the time.",
        rich_help_panel=_DRIVER,
    ),
]
Mlflow = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="MLflow store or server; else one in the sweep's folder. 'none' for none; env:NAME reads an address with "
        "a password from that variable.",
        envvar="MLFLOW_TRACKING_URI",
        rich_help_panel=_DRIVER,
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Show the sweep's numbers to Prometheus at that port, 0 for any free one; on a cluster Ray shows them.",
        rich_help_panel=_DRIVER,
    ),
]
MetricsHost = Annotated[
    str, typer.Option(help="Where --metrics-port listens; else this machine alone.", rich_help_panel=_DRIVER)
]
Notify = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TARGET",
        help="Who hears of the beginning, the end, failures and new members of the front: a webhook (https://…), a "
        "command, or env:NAME for an address that is a secret; may be given several times.",
        rich_help_panel=_OUTPUT,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but the result.", rich_help_panel=_OUTPUT)]
JsonAtEnd = Annotated[bool, typer.Option("--json", help="One JSON document at the end.", rich_help_panel=_OUTPUT)]
JsonLines = Annotated[
    bool, typer.Option("--json-lines", help="Every event as a line of JSON, as it happens.", rich_help_panel=_OUTPUT)
]
