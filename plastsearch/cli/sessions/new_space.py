"""A first search space out of five answers: the text, with comments, and what `check` says of it before it is kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from plastsearch.data.corpora import EVALUATION_ONLY
from plastsearch.errors import PlastsearchError, SpecError
from plastsearch.files import told, whole_file
from plastsearch.models.catalog import suggestion
from plastsearch.models.sites import SiteRow
from plastsearch.preflight.checks import examine, sites_of
from plastsearch.spec.load import read_sweep
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.schema import FILE as SCHEMA
from plastsearch.spec.vocabulary import Corpus, Model, Preset

MODELS = get_args(Model)
PRESETS = get_args(Preset)
CORPORA = tuple(name for name in get_args(Corpus) if name not in EVALUATION_ONLY)
Aim = Literal["all", "training", "size", "nothing"]
AIMS = get_args(Aim)
Budget = Literal["minutes", "night", "days"]
BUDGETS = get_args(Budget)


@dataclass(frozen=True)
class Answers:
    """What a person wants."""

    model: str
    size: str  # a preset, or a folder or hub name with weights
    corpus: str
    place: str | None  # of the corpus: a folder, or the table of a manifest
    aim: str
    budget: str


@dataclass(frozen=True)
class Pace:
    """How much is spent: trials, passes over clips (steps where the clips are generated), repeats, finalists."""

    trials: int
    steps: int
    epochs: int
    top: int
    seeds: int
    patient: bool  # halts what is hopeless, repeats what is uncertain


PACES: dict[str, Pace] = {
    "minutes": Pace(6, 60, 1, 1, 1, False),
    "night": Pace(24, 240, 5, 3, 3, False),
    "days": Pace(96, 600, 10, 5, 3, True),
}
_SITES = {
    "wav2vec2": ('"encoder.*.ffn"', "feed-forward layers; encoder.*.attention for whole heads"),
    "resnet18": ('"layer{1..4}.*"', "inner channels of its blocks"),
    "grnn": ('"gru.*"', "hidden units of its layers"),
    "cnn": ('"conv.*"', "channels between its convolutions"),
    "lcnn": ('["conv.*", "lstm.*"]', "channels between its convolutions, hidden units of the lower LSTM layer"),
}
_OBJECTIVES: dict[str, Sequence[str]] = {
    "all": ("backward_ratio", "params_total"), "training": ("backward_ratio",), "size": ("params_total",),
    "nothing": (),
}  # fmt: skip
_MEANT = {
    "dev_eer": "error rate on the search-dev clips, in percent",
    "backward_ratio": "time of a backward pass against full fine-tuning",
    "params_total": "parameters of the largest model of the trial",
}


def checked(answers: Answers) -> Answers:
    """The same answers, if they can be meant."""
    _known("--model", answers.model, MODELS)
    if answers.corpus in EVALUATION_ONLY:
        raise PlastsearchError(
            f"--corpus {answers.corpus}: it has evaluation clips alone; search on asvspoof2019_la, then judge what was "
            "found there: plastsearch score MODEL --protocol …"
        )
    _known("--corpus", answers.corpus, CORPORA)
    _known("--aim", answers.aim, AIMS)
    _known("--budget", answers.budget, BUDGETS)
    if answers.corpus == "synthetic" and answers.place is not None:
        raise PlastsearchError("--root: the synthetic corpus is generated and lies nowhere; leave it out")
    if answers.corpus != "synthetic" and not answers.place:
        what = "the table of clips with --manifest" if answers.corpus == "manifest" else "its folder with --root"
        raise PlastsearchError(f"--corpus {answers.corpus}: name {what}")
    return answers


def _known(option: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise PlastsearchError(f"{option} {word}: unknown{suggestion(word, known)}; known: {', '.join(known)}")


def write(path: Path, answers: Answers) -> list[str]:
    """Write the space, unless something is there already; what `check` will still miss on this machine."""
    if path.exists():
        raise PlastsearchError(f"{path}: is there already and stays as it is; name another file")
    if path.suffix not in (".yaml", ".yml"):
        raise PlastsearchError(f"{path}: a search space's name ends in .yaml; {path.with_suffix('.yaml')}?")
    if not path.parent.is_dir():
        raise PlastsearchError(f"{path}: there is no folder {path.parent}; make it first")
    text = space_text(checked(answers), schema=(path.parent / SCHEMA).is_file())
    with told(path), whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
        reading = read_sweep(draft)
        found = None if reading.spec is None else examine(reading.spec, data=False)
        if reading.mistakes or found is None or found.mistakes:
            raise SpecError([*reading.mistakes, *(message for _, message in (found.mistakes if found else ()))])
    spec = read_sweep(path).spec
    return [] if spec is None else [message for _, message in examine(spec, evaluation=False, earlier=False).mistakes]


def space_text(answers: Answers, *, schema: bool = False) -> str:
    """The space as a file, every section with a comment."""
    pace = PACES[answers.budget]
    question = _question(answers)
    lines = [
        f"# Question: {question}",
        "# Change what you like: `plastsearch check` names every mistake, `plastsearch sites MODEL` lists the sites.",
        *([f"# yaml-language-server: $schema={SCHEMA}"] if schema else []),
        f"question: {json.dumps(question, ensure_ascii=False)}",
        "base:                       # what all trials share",
        *_model(answers),
        *_data(answers),
        *_training(answers, pace),
        "  method: plasticity        # grow, retrain, prune again; dropin only grows (docs/arms.md)",
        *(["  calibration_clips: 64     # clips by which neurons are scored"] if _small(answers) else []),
        *_searched(answers),
        "objectives:                 # all at once; the first one decides where one has to",
        *(f"  - {{metric: {name}}}{'':{max(1, 17 - len(name))}}# {_MEANT[name]}" for name in
          ("dev_eer", *_OBJECTIVES[answers.aim])),
        'constraints: ["params_total <= 1.5 * baseline"]   # members of the front keep within',
        "controls: [baseline, lora, random]   # what growth has to beat: none, LoRA there, growth elsewhere",
        *_effort(pace),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _question(answers: Answers) -> str:
    parts = {
        "wav2vec2": "encoder layers of Wav2Vec 2.0",
        "resnet18": "stages of a ResNet18",
        "grnn": "layers of a GRNN",
        "cnn": "convolutions of a small network",
        "lcnn": "layers of an LCNN",
    }
    where = "generated speech" if answers.corpus == "synthetic" else answers.corpus
    return f"On {where}, which {parts[answers.model]} should grow, by how many neurons, and what should be pruned?"


def _small(answers: Answers) -> bool:
    return answers.corpus == "synthetic"


def _model(answers: Answers) -> list[str]:
    if answers.size in PRESETS:
        return [
            f"  model: {{name: {answers.model}, preset: {answers.size}}}   # tiny | small | base | large, or `from:`"
        ]
    return [
        f"  model: {{name: {answers.model}, preset: base, from: {json.dumps(answers.size)}}}   # weights to start from"
    ]


def _data(answers: Answers) -> list[str]:
    corpus, place = answers.corpus, json.dumps(answers.place)
    if corpus == "synthetic":
        return [
            "  data:",
            "    corpus: synthetic       # generated here; others: asvspoof2019_la, …, or a manifest of your own",
            f"    clips: {120 if answers.budget == 'minutes' else 360}",
            "    length_samples: 16000   # one second",
        ]
    lines = ["  data:", f"    corpus: {corpus}"]
    lines.append(f"    {'manifest' if corpus == 'manifest' else 'root'}: {place}   # or --set base.data.…=/where/it/is")
    if corpus == "fake_or_real":
        lines += [
            "    variant: for-2sec       # for-original | for-norm | for-2sec | for-rerec",
            "    length_samples: 32000",
        ]
    if corpus == "asvspoof2019_la":  # its dev split has the attacks of train, and the EER there soon is 0
        lines.append("    search_dev: {policy: held_out_attacks, attacks: [A05, A06]}   # unseen attacks tell more")
    if answers.budget == "minutes":
        lines.append("    clips: 2000             # a part, for a first look; leave it out for all of them")
    return lines


def _training(answers: Answers, pace: Pace) -> list[str]:
    pretrained = answers.size not in PRESETS
    rate = "1e-4" if pretrained else "3e-3" if _small(answers) and answers.model == "wav2vec2" else "1e-3"
    long = f"steps: {pace.steps}" if _small(answers) else f"epochs: {pace.epochs}"
    return [f"  train: {{{long}, batch_size: 16, lr: {rate}}}   # the same total for every method"]


def _searched(answers: Answers) -> list[str]:
    sites, what = _SITES[answers.model]
    rows = _rows(answers)
    low, high, step = _widths(rows)
    most = min(len(rows), 3 if len(rows) < 10 else 6)
    lines = [
        "space:                      # what the search varies: any setting of a trial",
        f"  layers:    {{kind: subset, of: {sites}, min: 1, max: {most}}}   # {what}",
        f"  neurons:   {{kind: int, low: {low}, high: {high}, step: {step}}}   # for each chosen site",
        "  criterion: {kind: choice, of: [taylor, entropy, magnitude, random]}   # random is a control",
    ]
    if answers.budget != "minutes":
        lines.append(
            "  regime:    {kind: choice, of: [frozen, unfrozen]}   # what learns after growth: new neurons, or all"
        )
    return lines


def _rows(answers: Answers) -> list[SiteRow]:
    size: Mapping[str, str] = (
        {"preset": answers.size} if answers.size in PRESETS else {"preset": "base", "from": answers.size}
    )
    rows, _ = sites_of(ModelConfig.model_validate({"name": answers.model, **size}))
    return [row for row in rows if row.kind in ("ffn", "channels", "hidden")]


def _widths(rows: Sequence[SiteRow]) -> tuple[int, int, int]:
    """From an eighth of the narrowest site to all of it."""
    width = min(row.neurons for row in rows)
    step = max(1, width // 8)
    return step, 8 * step if width >= 8 else width, step


def _effort(pace: Pace) -> list[str]:
    more = ", replicate: auto" if pace.patient else ""
    lines = [f"search: {{trials: {pace.trials}, seed: 0{more}}}   # `sweep --trials N` for another number"]
    if pace.patient:
        lines.append("halt: {kind: moasha, rungs: [0.25, 0.5]}   # trials that are not worth finishing")
    lines.append(
        f"finalists: {{top: {pace.top}, seeds: {pace.seeds}}}   # the only step that opens the evaluation split"
    )
    return lines
