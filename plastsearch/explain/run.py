"""The whole of `explain`: which networks, which clips, what is put to the test, and the files that are left."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from plastsearch.errors import DataError, PlastsearchError
from plastsearch.explain.clips import Labelled, Progress, of_protocol, of_sweep, pairs
from plastsearch.explain.document import Explanation
from plastsearch.explain.evidence import Deletion, Splice, Tick, deletion, splice
from plastsearch.explain.hearing import Explained, Stage, hear
from plastsearch.explain.inputs import Inputs
from plastsearch.explain.neurons import Answers, added_units, answers
from plastsearch.explain.page import explanation_html
from plastsearch.explain.picture import clip_png, evidence_png, neurons_png
from plastsearch.explain.relevance import MethodName, Settings, check_method, explain, methods_for
from plastsearch.files import plain, told, whole_file
from plastsearch.spec.methods import facts
from plastsearch.use.load import load
from plastsearch.use.model import Model
from plastsearch.use.references import InFolder, InSweep, parse
from plastsearch.use.stages import TrialStages, stages_from_sweep

MOST_CLIPS = 50  # drawn in one call
OURS = ("evidence", "neurons", "index")  # names of other files of the folder


@dataclass(frozen=True)
class Request:
    """What a person asked for."""

    model: str
    audio: tuple[Path, ...] = ()
    methods: tuple[MethodName, ...] = ()  # none: those that fit the network
    settings: Settings = field(default_factory=Settings)
    at_s: float | None = None
    neurons: bool = False
    evidence: bool = True
    protocol: Path | None = None
    folder: Path | None = None  # of the protocol's clips
    subset: str | None = None
    cache: Path | None = None
    most: int = 100
    seed: int = 0
    out: Path | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Done:
    """What was found, where it lies, and which clips could not be read."""

    found: Explanation
    files: dict[str, Path]
    bad: tuple[str, ...]


def run(asked: Request, progress: Progress) -> Done:
    """Find out, draw, write."""
    if (asked.protocol is None) != (asked.folder is None):
        raise PlastsearchError("--protocol says what clips are, --audio where they lie: give both or neither")
    if len(asked.audio) > MOST_CLIPS:
        raise PlastsearchError(f"{len(asked.audio):,} clips are too many to look at; give {MOST_CLIPS} or fewer")
    reference = parse(asked.model)
    trial = stages_from_sweep(reference) if isinstance(reference, InSweep) else None
    if asked.neurons:
        if trial is None:
            raise PlastsearchError("--neurons needs a trial of a sweep (SWEEP:17): others keep no earlier stages")
        added_units(trial)  # refuses, before anything slow, a trial that grew nothing
    model = load(asked.model, asked.device)
    inputs = Inputs(model.detector)
    methods = asked.methods or methods_for(inputs)
    for method in methods:
        check_method(inputs, method, asked.settings)
    out = asked.out or _place(reference, trial, model)
    tested = asked.neurons or asked.evidence
    with _labelled(asked, model, trial, progress) if tested else _nothing() as clips:
        if clips is None and not asked.audio:
            raise PlastsearchError(
                "nothing to explain: name audio files, or clips with classes (--protocol KEY --audio FOLDER)"
            )
        stages, notes = _stages(inputs, trial, model)
        heard, bad = _heard(asked, model, stages, methods, progress)
        if bad and not heard and clips is None:
            raise DataError("\n".join(bad))
        deletions, splices = _tested(asked, model, inputs, methods, clips, progress)
        found = Explanation(
            model.facts.name, tuple(stage.name for stage in stages), heard,
            None if clips is None or not deletions else clips.described(), deletions, splices,
            _neurons(asked, trial, clips, model, progress), notes, _names(heard),
        )  # fmt: skip
    return Done(found, write(found, out, model.window_samples / model.rate_hz), bad)


def write(found: Explanation, out: Path, window_s: float) -> dict[str, Path]:
    """Pictures, a page with all of them inside, and JSON; each whole or not at all."""
    files: dict[str, Path] = {}
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
        for one in found.clips:
            name = found.pictures[one.name]
            with whole_file(out / name) as draft:
                clip_png(one, draft)
            files[name] = out / name
        if found.deletions:
            with whole_file(out / "evidence.png") as draft:
                evidence_png(found.deletions, found.splices, window_s, draft)
            files["evidence.png"] = out / "evidence.png"
        if found.neurons is not None:
            with whole_file(out / "neurons.png") as draft:
                neurons_png(found.neurons, draft)
            files["neurons.png"] = out / "neurons.png"
        texts = {
            "index.html": explanation_html(found, files),
            "explain.json": json.dumps(plain(found.plain()), indent=1, allow_nan=False) + "\n",
        }
        for name, text in texts.items():
            with whole_file(out / name) as draft:
                draft.write_text(text, encoding="utf-8")
            files[name] = out / name
    return files


def _place(reference: object, trial: TrialStages | None, model: Model) -> Path:
    if trial is not None:
        return trial.folder / "explain" / str(trial.record.number)
    if isinstance(reference, InFolder):  # beside it: an exported folder is handed on as it is
        folder = reference.folder.absolute()
        return folder.parent / "explain" / folder.name
    return Path("explain") / re.sub(r"[^\w.-]+", "_", model.facts.name)


@contextmanager
def _nothing() -> Iterator[Labelled | None]:
    yield None


@contextmanager
def _labelled(asked: Request, model: Model, trial: TrialStages | None, progress: Progress) -> Iterator[Labelled | None]:
    """The clips on which things are put to the test; None where nobody named any."""
    if asked.protocol is not None and asked.folder is not None:
        yield of_protocol(model, asked.protocol, asked.folder, asked.subset).some(asked.most, asked.seed)
    elif trial is None:
        yield None
    else:
        with ExitStack() as stack:
            try:
                clips = stack.enter_context(of_sweep(model, trial, asked.cache, progress))
            except DataError as error:
                raise DataError(
                    f"{error}\nthe sweep's own clips cannot be heard; name others (--protocol KEY --audio FOLDER), or "
                    "go without evidence (--no-evidence)"
                ) from None
            yield clips.some(asked.most, asked.seed)


def _stages(inputs: Inputs, trial: TrialStages | None, model: Model) -> tuple[list[Stage], tuple[str, ...]]:
    """The networks that stand side by side; the last is the model itself."""
    if trial is None:
        return [Stage("model", inputs)], ()
    method = facts(trial.config.method)
    named = [("baseline", "train"), *([("grown", "retrain")] if method.prunes else [])]
    notes = []
    stages = []
    for name, stage in named:
        record = trial.last(stage)
        if record is not None:
            stages.append(Stage(name, Inputs(trial.network(record).to(model.device))))
        elif trial.config.start != "cold" or stage != "train":
            notes.append(f"The {name} network is not shown: its stage is no longer in {trial.store.root}.")
    last = "pruned" if method.prunes else "grown" if method.grows else "trained on"
    return [*stages, Stage(last, inputs)], tuple(notes)


def _heard(
    asked: Request, model: Model, stages: Sequence[Stage], methods: Sequence[MethodName], progress: Progress
) -> tuple[tuple[Explained, ...], tuple[str, ...]]:
    heard: list[Explained] = []
    bad: list[str] = []
    for number, path in enumerate(asked.audio, 1):
        name = path.name if all(one.name != path.name for one in heard) else str(path)
        try:
            _check_file(path)
            heard.append(hear(model, str(path), name, stages, methods, asked.settings, asked.at_s))
        except DataError as error:
            bad.append(str(error))
        progress("explaining clips", number, len(asked.audio))
    return tuple(heard), tuple(bad)


def _check_file(path: Path) -> None:
    """Refuse what is no file of its own: a pipe would be waited for, and cannot be read twice."""
    if path.is_dir():
        raise DataError(f"{path}: a folder; name the clips in it, at most {MOST_CLIPS}")
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: no regular file; save the clip first")


def _names(heard: Sequence[Explained]) -> dict[str, str]:
    """A picture's file for every clip, whatever the clip is called."""
    found: dict[str, str] = {}
    for one in heard:
        stem = re.sub(r"[^\w.-]+", "_", Path(one.name).stem)[:80].strip(".") or "clip"
        taken = {*found.values(), *(f"{name}.png" for name in OURS)}
        choices = (f"{stem}{'' if n == 1 else f'-{n}'}.png" for n in range(1, MOST_CLIPS + len(OURS) + 2))
        found[one.name] = next(name for name in choices if name not in taken)
    return found


def _tested(
    asked: Request, model: Model, inputs: Inputs, methods: Sequence[MethodName], clips: Labelled | None,
    progress: Progress,
) -> tuple[tuple[Deletion, ...], tuple[Splice, ...]]:  # fmt: skip
    if clips is None or not asked.evidence:
        return (), ()
    joined = pairs(clips, asked.most // 2, asked.seed)
    deletions, splices = [], []
    for method in methods:
        of = partial(explain, inputs, method, settings=asked.settings)
        window_s = model.window_samples / model.rate_hz
        deletions.append(
            deletion(inputs, of, method, clips, _raw_threshold(model), window_s, asked.seed, model.device,
                     _ticking(progress, f"deletion, {method}", len(clips)))
        )  # fmt: skip
        splices.append(
            splice(inputs, of, method, clips, joined, model.rate_hz, model.window_samples, asked.seed, model.device,
                   _ticking(progress, f"splice, {method}", len(joined)))
        )  # fmt: skip
    return tuple(deletions), tuple(splices)


def _ticking(progress: Progress, what: str, total: int) -> Tick:
    return lambda done: progress(what, done, total)


def _raw_threshold(model: Model) -> float:
    """The threshold before calibration: evidence counts in logits."""
    calibration = model.facts.calibration
    if calibration is None:
        return model.threshold()
    return (model.threshold() - calibration.offset) / calibration.slope if calibration.slope else 0.0


def _neurons(
    asked: Request, trial: TrialStages | None, clips: Labelled | None, model: Model, progress: Progress
) -> Answers | None:
    if not asked.neurons or trial is None or clips is None:
        return None
    return answers(trial, clips, model.device, asked.seed, _ticking(progress, "new neurons", len(clips)))
