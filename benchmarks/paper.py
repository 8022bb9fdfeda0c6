"""The paper's comparison and its figure, on the generated corpus or any other, over several seeds.

Arms: the baseline as `train` leaves it, longer training, dropin frozen and unfrozen, plasticity, LoRA at the size of
the dropin on its sites and everywhere, the last layers alone, a layer more, and the upper layers less; every arm but
the first takes the same number of optimiser steps. Dev and evaluation EER (the latter through the finalists step),
their differences to longer training paired by seed, backward time against full fine-tuning, trainable and final
parameters; then EER by dropin site. Networks of earlier calls with the same --out stay in its table and figure.

    python benchmarks/paper.py --out paper                                  # the generated corpus, a quarter of an hour
    python benchmarks/paper.py --networks wav2vec2 --set model.from=start   # a start made by `plastsearch pretrain`
    python benchmarks/paper.py --set data.corpus=asvspoof2019_la --set data.root=/data/LA --preset base --seeds 5
    python benchmarks/paper.py --start-on A01 A02 --corpus LA --seeds 5     # recorded speech (real_speech.py), a start
                                                                            # that learnt other attacks with labels
"""

import argparse
import json
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from paper_start import pretrained, share_out
from results import Cell, Table, write

from plastsearch.analysis.paired import holm, over_seeds
from plastsearch.analysis.site_panels import SitePanel
from plastsearch.models.sites import site_table
from plastsearch.report.picture import sites_png
from plastsearch.report.sites_page import sites_html
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.data import DataConfig
from plastsearch.spec.document import Document, override
from plastsearch.spec.load import parse_trial
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.finalist import run_finalist
from plastsearch.trial.pretrain import Pretraining
from plastsearch.trial.run import run_trial

# Where the paper grows: stages 2 and 3 of the ResNet, the second recurrent layer, a middle encoder layer; and a network
# that the paper has not.
LENGTH = 16_000
MODEL: dict[str, dict[str, Any]] = {
    "cnn": {"pooling": "mean_std", "masks": 1},
    "resnet18": {"stem": "quarter", "pooling": "mean_std"},
    "grnn": {"front_end": "log_mel", "pooling": "mean_std"},  # from cepstra it stays near chance on dev
    "wav2vec2": {"pooling": "mean_std"},
}  # of starts made here
SITES = {
    "resnet18": ("layer2.0", "layer3.0"),
    "grnn": ("gru.1",),
    "wav2vec2": ("encoder.2.ffn",),
    "cnn": ("conv.1", "conv.2"),
}
FIGURE = {"resnet18": "layer", "grnn": "gru.", "wav2vec2": "ffn", "cnn": "conv."}  # the sites along the figure's axis
BASELINE, LONGER, UNFROZEN = "baseline", "longer training", "dropin, unfrozen"
ARMS: dict[str, dict[str, Any]] = {
    LONGER: {"method": "baseline"},
    "dropin, frozen": {"method": "dropin", "regime": "frozen"},
    UNFROZEN: {"method": "dropin", "regime": "unfrozen"},
    "plasticity": {"method": "plasticity", "regime": "unfrozen"},
    "LoRA, same sites": {"method": "lora"},
    "LoRA, all sites": {"method": "lora", "lora_on": "all"},
    "last layers": {"method": "last_k", "last_k": 2},
    "stack": {"method": "stack", "regime": "unfrozen"},
    "truncate": {"method": "truncate"},
}
KEPT = {"resnet18": 6, "grnn": 2, "wav2vec2": 4, "cnn": 3}  # layers that truncation leaves
COLUMNS = ("dev_eer", "eval_eer", "train_loss", "backward_ratio", "params_trainable", "params_final")
INTERVALS = ("dev_eer_low", "dev_eer_high", "eval_eer_low", "eval_eer_high")  # bootstrap, per seed
Found = dict[str, Any]  # one network: its settings; arm → metric → one value per seed; site → dev EER of each seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(SITES)[:3], choices=list(SITES))
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure-seeds", type=int, help="seeds of the figure; default: as many as the table's")
    parser.add_argument("--share", type=float, default=0.5, help="neurons to add, as a share of a site's width")
    parser.add_argument("--set", action="append", default=[], dest="sets", help="path=value of every trial")
    parser.add_argument("--corpus", type=Path, help="with --start-on: a folder that real_speech.py made")
    parser.add_argument("--start-on", nargs="+", metavar="ATTACK", help="attacks that the start learns, and no arm")
    parser.add_argument("--start-steps", type=int, default=400, help="optimiser steps of the start")
    parser.add_argument("--start-lr", type=float, default=3e-3, help="highest learning rate of the start")
    parser.add_argument("--as", dest="name", default="paper", help="the name of the results")
    parser.add_argument("--out", type=Path, default=Path("paper"))
    options = parser.parse_args()
    if bool(options.start_on) != bool(options.corpus):
        parser.error("--start-on and --corpus: give both or neither")
    options.out.mkdir(parents=True, exist_ok=True)
    settings = RunSettings(store=options.out / "store", cache=options.out / "cache")
    kept = options.out / "paper.json"
    found: dict[str, Found] = json.loads(kept.read_text()) if kept.exists() else {}
    options.starts = starts(options, settings) if options.start_on else {}
    for network in options.networks:
        arms = compare(network, options, settings)
        found[network] = {"settings": described(options), "arms": arms, "sites": by_site(network, options, settings)}
        kept.write_text(json.dumps(found, indent=1))
    text = render(found)
    (options.out / "paper.md").write_text(text)
    panels = [panel(network, found[network]) for network in SITES if network in found]
    sites_png(panels, options.out / "eer_by_layer.png")
    (options.out / "eer_by_layer.html").write_text(sites_html(panels, "EER by dropin layer"))
    print(text)
    write(options.name, tables_of(found))


def starts(options: argparse.Namespace, settings: RunSettings) -> dict[str, dict[str, Any]]:
    """For each network what its trials have in common: a start that learnt other attacks, and clips without these."""
    corpus = options.corpus.absolute()
    shared = share_out(corpus, options.start_on, options.out)
    tables = {"corpus": "manifest", "root": str(corpus)}
    found = {}
    for network in options.networks:
        data = DataConfig.model_validate({**tables, "manifest": str(shared.start.absolute())})
        model = {"name": network, "preset": options.preset, **MODEL.get(network, {})}
        plan = Pretraining("supervised", options.start_steps, length_samples=LENGTH, lr=options.start_lr)
        folder = options.out / f"start_{network}"
        pretrained(ModelConfig.model_validate(model), data, plan, folder, settings.cache)
        found[network] = {
            "model": {**model, "from": str(folder.absolute())},
            "data": {**tables, "manifest": str(shared.arms.absolute()), "length_samples": LENGTH, "score": "windows"},
        }
    return found


def configure(network: str, options: argparse.Namespace, seed: int, sites: tuple[str, ...], **arm: Any) -> TrialConfig:
    """One trial of the comparison; `--set` has the last word."""
    common = options.starts.get(network) or {
        "model": {"name": network, "preset": options.preset}, "data": {"clips": 480, "length_samples": LENGTH},
    }  # fmt: skip
    rows = {row.name: row for row in site_table(ModelConfig.model_validate(common["model"]))}
    neurons = {}
    for site in sites:
        row = rows[site]
        neurons[site] = max(row.step, round(row.neurons * options.share / row.step) * row.step)
    values = {
        **common, "layers": list(sites), "neurons": neurons, "seed": seed, "train": {"steps": 300, "lr": 3e-3}, **arm,
    }  # fmt: skip
    if arm["method"] == "truncate":
        values["truncate_to"] = KEPT[network]
    document = Document("paper.py", values)
    for text in options.sets:
        override(document, text, [])
    return parse_trial(document.data, "paper.py")


def compare(network: str, options: argparse.Namespace, settings: RunSettings) -> dict[str, dict[str, list[float]]]:
    """Every arm with every seed: arm → metric → one value per seed."""
    found: dict[str, dict[str, list[float]]] = {BASELINE: {}}
    for name, arm in ARMS.items():
        if network == "cnn" and name == "stack":
            continue  # its blocks halve the picture: nothing goes on top
        found[name] = {}
        for seed in range(options.seeds):
            config = configure(network, options, seed, SITES[network], **arm)
            reports = list(run_finalist(config, settings, baseline=name == LONGER))
            metrics = dict(reports[-1].metrics)
            note(found[name], {column: metrics[column] for column in (*COLUMNS, *INTERVALS)})
            if name == LONGER:
                trained = next(one for one in reports if one.stage == "train" and one.details.get("boundary"))
                note(found[BASELINE], baseline_of(metrics) | {"train_loss": trained.metrics["train_loss"]})
            errors = f"dev {metrics['dev_eer']:.2f} %, eval {metrics['eval_eer']:.2f} %"
            print(f"{network:9} {name:17} seed {seed}: {errors}, backward {metrics['backward_ratio']:.3f}", flush=True)
    return found


def baseline_of(metrics: dict[str, float]) -> dict[str, float]:
    """The network that all arms start from, after `train` alone."""
    size = metrics["params_baseline"]
    ends = ("", "_low", "_high")
    errors = {f"{split}_eer{end}": metrics[f"{split}_eer_baseline{end}"] for split in ("dev", "eval") for end in ends}
    return errors | {"backward_ratio": 1.0, "params_trainable": size, "params_final": size}


def by_site(network: str, options: argparse.Namespace, settings: RunSettings) -> dict[str, list[float]]:
    """Dev EER of frozen dropin at each single site, from the bottom to the top; no evaluation split needed."""
    rows = site_table(ModelConfig.model_validate({"name": network, "preset": options.preset}))
    found: dict[str, list[float]] = {}
    for site in (row.name for row in rows if FIGURE[network] in row.name):
        for seed in range(options.figure_seeds or options.seeds):
            config = configure(network, options, seed, (site,), method="dropin", regime="frozen", timing_steps=3)
            found.setdefault(site, []).append(last(run_trial(config, settings))["dev_eer"])
        print(f"{network:9} {site:17} dev {statistics.fmean(found[site]):.2f} %", flush=True)
    return found


def last(reports: Iterator[Any]) -> dict[str, float]:
    *_, final = reports
    return dict(final.metrics)


def note(into: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        into.setdefault(name, []).append(value)


def described(options: argparse.Namespace) -> str:
    start = f"start of {options.start_steps} steps at {options.start_lr:g}, " if options.start_on else ""
    plan = f"{options.seeds} seeds, preset {options.preset}, {start}{options.share:g} of a site's width,"
    return " ".join((plan, *(options.sets or ["default budget"])))


def render(found: dict[str, Found]) -> str:
    """The tables in Markdown."""
    lines = ["EERs: mean of the seeds (lowest – highest) [95 % bootstrap interval of each seed: means of the lower "
             "and of the upper ends]. Backward ratio: median of the seeds.", ""]  # fmt: skip
    lines += [f"- {network}: {one['settings']}" for network, one in found.items()]
    return (
        "\n".join(
            [
                *lines,
                "",
                arms_table(found).markdown(),
                "",
                paired_table(found).markdown(),
                "",
                sites_table(found).markdown(),
            ]
        )
        + "\n"
    )


def tables_of(found: dict[str, Found]) -> dict[str, Table]:
    """All of them: what RESULTS.md can show."""
    return {
        "settings": settings_table(found), "arms": arms_table(found), "paired": paired_table(found),
        "sites": sites_table(found),
    }  # fmt: skip


def settings_table(found: dict[str, Found]) -> Table:
    """With what each network was run: the command in the file is that of the last one."""
    return Table(
        [("network", ""), ("settings", "")], [[network, f"`{one['settings']}`"] for network, one in found.items()]
    )


def arms_table(found: dict[str, Found]) -> Table:
    """Every arm of every network."""
    rows: list[list[Cell]] = [
        [network, name, error(values, "dev_eer"), error(values, "eval_eer"),
         statistics.median(values["backward_ratio"]), values["params_trainable"][0], values["params_final"][0]]
        for network, one in found.items()
        for name, values in one["arms"].items()
    ]  # fmt: skip
    columns = [("network", ""), ("arm", ""), ("dev EER %", ""), ("eval EER %", ""), ("backward ratio", ".3f"),
               ("trainable", ",.0f"), ("final parameters", ",.0f")]  # fmt: skip
    return Table(columns, rows)


def paired_table(found: dict[str, Found]) -> Table:
    """Each arm against longer training, seed by seed: Student's t over the seeds, Holm over the arms of a network."""
    rows: list[list[Cell]] = []
    for network, one in found.items():
        longer = one["arms"][LONGER]
        arms = [name for name in one["arms"] if name != LONGER]
        cells = {}
        for column in ("dev_eer", "eval_eer"):
            apart = [[a - b for a, b in zip(one["arms"][name][column], longer[column], strict=True)] for name in arms]
            told = [over_seeds(values) for values in apart]
            p = iter(holm([one[2] for one in told if one is not None]))
            for name, values, interval in zip(arms, apart, told, strict=True):
                cells[name, column] = (
                    [f"{statistics.fmean(values):+.2f}", None] if interval is None else
                    [f"{statistics.fmean(values):+.2f} [{interval[0]:+.2f}, {interval[1]:+.2f}]", next(p)]
                )  # fmt: skip
        rows += [
            [network, name, *cells[name, "dev_eer"], *cells[name, "eval_eer"],
             mean_of(one["arms"][name], "train_loss"), fall(one, name)]
            for name in arms
        ]  # fmt: skip
    columns = [("network", ""), ("arm less longer training", ""), ("dev, points", ""), ("p", ".3f"),
               ("evaluation, points", ""), ("p ", ".3f"), ("training loss", ".3f"),
               ("of unfrozen's fall", ".0%")]  # fmt: skip
    return Table(columns, rows)


def sites_table(found: dict[str, Found]) -> Table:
    """Frozen dropin at each single site."""
    rows = [[network, site, spread(v)] for network, one in found.items() for site, v in one["sites"].items()]
    return Table([("network", ""), ("frozen dropin at", ""), ("dev EER %", "")], rows)


def fall(one: Found, name: str) -> float | None:
    """How far an arm's training loss falls from the baseline's, over the fall with unfrozen dropin: did it learn?"""
    before, after, most = (mean_of(one["arms"][arm], "train_loss") for arm in (BASELINE, name, UNFROZEN))
    if before is None or after is None or most is None or name == BASELINE or most >= before:
        return None  # nothing to compare with: an older run of no such figure, or unfrozen growth that did not fall
    return (before - after) / (before - most)


def mean_of(values: dict[str, list[float]], name: str) -> float | None:
    """None where the arm has no such figure."""
    return statistics.fmean(values[name]) if name in values else None


def error(values: dict[str, list[float]], name: str) -> str:
    """An EER over the seeds, with its bootstrap interval."""
    low, high = (statistics.fmean(values[f"{name}_{end}"]) for end in ("low", "high"))
    return f"{spread(values[name])} [{low:.1f} – {high:.1f}]"


def spread(values: Iterable[float]) -> str:
    """Mean (lowest – highest)."""
    every = list(values)
    return f"{statistics.fmean(every):.2f} ({min(every):.2f} – {max(every):.2f})"


def panel(network: str, one: Found) -> SitePanel:
    """A network's part of the figure; the lines are those seeds of the table that the figure has."""
    seeds = min(len(values) for values in one["sites"].values())
    lines = {"baseline, before growth": BASELINE, "longer training, same steps": LONGER}
    arms = {name: one["arms"][arm]["dev_eer"][:seeds] for name, arm in lines.items()}
    return SitePanel(network, "frozen dropin at this layer alone, same steps", one["sites"], arms)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
