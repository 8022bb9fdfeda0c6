"""The model card: what a model is, where it grew, how good it is, how it was found; for people and for the hub."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from plastsearch.documents import Block, Code, Heading, Points, Table, Text, as_markdown
from plastsearch.export.attack_intervals import INTERVALS
from plastsearch.export.grown import GrownSite, grown_kernels, grown_sites
from plastsearch.export.place import checksum, files_in
from plastsearch.export.transformers_folder import CODE, TRANSFORMERS
from plastsearch.use.facts import Facts
from plastsearch.version import __version__

PICTURE = "grown.png"
SPLITS = {"dev": "search-dev (chosen by it)", "eval": "evaluation (opened once)"}
ATTACKS = {"dev": "per_attack", "eval": "eval_per_attack"}
TO_FILL = "to be filled in by whoever publishes it"


@dataclass(frozen=True)
class Told:
    """What only a person knows of it."""

    title: str | None = None
    licence: str = "other"
    data: str | None = None  # in words: on what it was trained, and under which terms


def card(facts: Facts, parameters: int, folder: Path, told: Told = Told()) -> str:
    """The README.md of an exported folder."""
    title = told.title or f"Speech-deepfake detector {facts.name}"
    head = yaml.safe_dump(_front_matter(facts, title, told), sort_keys=False, allow_unicode=True)
    blocks: list[Block] = [
        Heading(title, 1),
        Text(_what(facts, parameters)),
        *_grew(facts),
        *_rates(facts),
        *_found(facts),
        *_data(facts, told),
        *_use(facts, folder),
        Heading("Limits"),
        Points(_limits(facts)),
        Heading("Files"),
        _files(folder),
        Text(f"Written by plastsearch {__version__}."),
    ]
    text = as_markdown(blocks)
    marker = "## How good it is"
    return f"---\n{head}---\n\n" + text.replace(marker, f"![Where it grew]({PICTURE})\n\n{marker}", 1)


def _front_matter(facts: Facts, title: str, told: Told) -> dict[str, object]:
    config = _config(facts)
    corpus = str(config.get("data", {}).get("corpus", "unknown"))
    metrics = _metrics(facts)
    results = [
        {
            "task": {"type": "audio-classification", "name": "Speech deepfake detection"},
            "dataset": {"type": corpus, "name": corpus, "split": words},
            "metrics": [{"type": "eer", "name": "Equal error rate (%)", "value": round(metrics[f"{split}_eer"], 3)}],
        }
        for split, words in SPLITS.items() if f"{split}_eer" in metrics
    ]  # fmt: skip
    return {
        "license": told.licence,
        "library_name": "pytorch",
        "pipeline_tag": "audio-classification",
        "datasets": [corpus],
        "tags": ["anti-spoofing", "audio-deepfake-detection", "plastsearch", str(facts.network["model_type"])],
        "metrics": ["eer"],
        "model-index": [{"name": title, "results": results}],
    }


def _what(facts: Facts, parameters: int) -> str:
    config = _config(facts)
    how = f"method `{config['method']}`" if "method" in config else "an unknown method"
    kind = "scores are calibrated log-likelihood ratios" if facts.calibration else "scores are not calibrated"
    return (
        f"Tells bona fide speech from synthesised, converted or replayed speech. A `{facts.network['model_type']}` of "
        f"{parameters:,} parameters for audio at {facts.rate_hz:,} Hz, found by plastsearch with {how}; it hears "
        f"{facts.length_samples / facts.rate_hz:.2f} s at a time, higher scores mean bona fide speech, {kind}."
    )


def _grew(facts: Facts) -> list[Block]:
    grown = [one for one in grown_sites(facts) if one.added or one.removed_old]
    kernels = grown_kernels(facts)
    if kernels:
        taps = tuple((site, str(grew), str(left)) for site, (grew, left) in kernels.items())
        return [Heading("Where it grew"), Table(("site", "kernel grown to", "now"), taps, frozenset({"site"}))]
    if not grown:
        return [Heading("Where it grew"), Text("Nowhere: it has the shape of the network it began as.")]
    columns = ("site", "before", "added", "taken away again", "now")
    rows = tuple(_row(one) for one in grown)
    found: list[Block] = [Heading("Where it grew"), Table(columns, rows, frozenset({"site"}))]
    config = _config(facts)
    if config.get("method") == "stack" or config.get("operator") == "stack":
        found.append(Text("What was added stands in layers of its own, each on top of the site's layer."))
    if config.get("operator") == "parallel":
        found.append(Text("What was added to a recurrent layer is a smaller one beside it."))
    return found


def _row(one: GrownSite) -> tuple[str, ...]:
    gone = one.removed_new + one.removed_old
    told = f"{gone} ({one.removed_new} new, {one.removed_old} old)" if gone else "0"
    return one.name, str(one.before), str(one.added), told, str(one.now)


def _rates(facts: Facts) -> list[Block]:
    metrics, baseline = _metrics(facts), cast("Mapping[str, float]", facts.found.get("baseline") or {})
    rows = []
    for split, words in SPLITS.items():
        if f"{split}_eer" in metrics:
            own = _interval(baseline, split) if f"{split}_eer" in baseline else ""
            rows.append((words, _interval(metrics, split), own or _over_seeds(facts, "baseline_finalists")))
    if over := _over_seeds(facts, "finalists"):
        rows.append(("evaluation, trained again with fresh seeds", over, _over_seeds(facts, "baseline_finalists")))
    found: list[Block] = [
        Heading("How good it is"),
        Table(("clips", "EER %, 95 % interval", "equal-budget baseline"), tuple(rows), frozenset({"clips"})),
        Text(
            "The baseline is the original network trained for as many steps. Error rates on search-dev took part in "
            "the choice and are too good by that; the evaluation clips took no part in any."
        ),
    ]
    attacks: dict[str, list[str]] = {}
    for at, (split, name) in enumerate(ATTACKS.items()):
        for attack, rate in cast("Mapping[str, float]", facts.found.get(name) or {}).items():
            attacks.setdefault(attack, [""] * len(ATTACKS))[at] = f"{rate:.2f}{_of_attack(facts, split, attack)}"
    if attacks:
        found.append(Text("Each attack against all bona fide clips, with the same kind of interval:"))
        table = [("attack", "EER % on search-dev", "EER % on evaluation")]
        table += [(attack, rates[0], rates[1]) for attack, rates in sorted(attacks.items())]
        told = [column for column in zip(*table, strict=True) if any(column[1:])]  # not a split that nobody opened
        head, *lines = zip(*told, strict=True)
        found.append(Table(tuple(head), tuple(lines), frozenset({"attack"})))
    return found


def _of_attack(facts: Facts, split: str, attack: str) -> str:
    known = cast("Mapping[str, Mapping[str, Sequence[float]]]", facts.found.get(INTERVALS) or {})
    bounds = known.get(split, {}).get(attack)
    return "" if bounds is None else f" [{bounds[0]:.2f}, {bounds[1]:.2f}]"


def _over_seeds(facts: Facts, name: str) -> str:
    """Mean and range of what runs with fresh seeds reached on the evaluation split; nothing if there are none."""
    runs = cast("Sequence[Mapping[str, float]]", facts.found.get(name) or ())
    rates = [one["eval_eer"] for one in runs]
    if not rates:
        return ""
    return f"{sum(rates) / len(rates):.2f} (mean of {len(rates)} seeds, {min(rates):.2f} to {max(rates):.2f})"


def _interval(metrics: Mapping[str, float], split: str) -> str:
    low, high = metrics.get(f"{split}_eer_low"), metrics.get(f"{split}_eer_high")
    bounds = f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else ""
    return f"{metrics[f'{split}_eer']:.2f}{bounds}"


def _found(facts: Facts) -> list[Block]:
    found = facts.found
    if not found:
        return []
    lines = [
        f"sweep `{found.get('sweep')}` of {found.get('trials')} trials, trial {found.get('trial')}"
        + (f", run again as a finalist with seed {found.get('seed')}" if found.get("role") == "finalist" else ""),
        f"trial id `{found.get('trial_id')}`, weights `{found.get('model_key')}`, space `{found.get('spec_hash')}`",
    ]
    if found.get("question"):
        lines.insert(0, f"asked: {found['question']}")
    return [Heading("How it was found"), Points(tuple(lines))]


def _data(facts: Facts, told: Told) -> list[Block]:
    data = _config(facts).get("data", {})
    variant = f", variant `{data['variant']}`" if data.get("variant") else ""
    known = f"Corpus `{data.get('corpus', 'unknown')}`{variant}"
    return [
        Heading("Data and licence"),
        Points((f"{known}.", f"Training data and its terms: {told.data or TO_FILL}.", f"Licence: {told.licence}.")),
    ]


def _use(facts: Facts, folder: Path) -> list[Block]:
    found: list[Block] = [
        Heading("Use"),
        Text("With PyTorch and torchaudio alone, in the folder of this file:"),
        Code(
            'from detector import load\n\nmodel = load(".")\nprint(model.score("clip.wav"))  # higher: bona fide',
            "python",
        ),
        Text("On a command line: `python detector.py clip.wav --timeline`. Formats other than WAV need soundfile."),
    ]
    if (folder / TRANSFORMERS).is_dir():
        trust = ", trust_remote_code=True" if (folder / TRANSFORMERS / CODE).is_file() else ""
        found += [
            Text(
                "With transformers, for clips of about the length that it was trained on, since they are heard whole:"
            ),
            Code(
                "from transformers import pipeline\n\n"
                f'hear = pipeline("audio-classification", model="transformers"{trust})\nprint(hear("clip.wav"))',
                "python",
            ),
        ]
    threshold = "" if facts.threshold is None else (
        f" Without calibration, {facts.threshold:.4g} is where both errors were equal on search-dev."
    )  # fmt: skip
    return [*found, Text(f"With plastsearch: `plastsearch score FOLDER clips/`.{threshold}")]


def _limits(facts: Facts) -> tuple[str, ...]:
    shown = sorted(cast("Mapping[str, float]", facts.found.get("per_attack") or {}))
    heard = f" ({', '.join(shown)})" if shown else ""
    return (
        f"It was judged by the attacks and channels of its corpus{heard}; others may be missed altogether.",
        "A score is no proof: decide with a threshold that was set on clips like those at hand, and by people.",
        "Music, noise and other languages than the corpus holds were not tested unless the tables say so.",
    )


def _files(folder: Path) -> Table:
    rows = tuple((name, f"{(folder / name).stat().st_size:,}", checksum(folder / name)) for name in files_in(folder))
    return Table(("file", "bytes", "SHA-256"), rows, frozenset({"file", "SHA-256"}))


def _config(facts: Facts) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", facts.found.get("config") or {})


def _metrics(facts: Facts) -> Mapping[str, float]:
    return cast("Mapping[str, float]", facts.found.get("metrics") or {})
