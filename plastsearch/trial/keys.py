"""What each stage reads, and so its name in the store: a hash over that and over the stage before it.

Two trials that agree on the key of a stage have, by construction, the same result there. What a stage does not read
must not be in its key (nothing would be shared), and what it reads must be (a wrong result would be shared).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from plastsearch.models.widths import local_folder
from plastsearch.spec.config import LATER, TrialConfig, content_id, usual
from plastsearch.spec.methods import CHANGES, NEWBORN, PLACES
from plastsearch.trial.methods import Stage

VERSION = 2  # raise it when a change of the code changes results

GROWTH = "growth"  # sites and neurons as they come to: TrialConfig.growth()

TRAINING = (
    "train.batch_size", "train.accumulate", "train.weight_decay", "train.warmup", "train.clip_norm", "train.loss",
    "train.compile", "train.evaluations", "train.early_stop", "train.encoder_lr_ratio", "train.layer_decay",
    "train.average_best", "train.checkpoint_layers", "data.crops", "data.balance", "data.augment",
    "data.score",
)  # fmt: skip

LATER_TRAINING = (*(path for path in LATER if path.startswith(("train.", "data."))), *NEWBORN)


@dataclass(frozen=True)
class Environment:
    """What is not in the configuration but changes results: clips by content, the libraries, the kind of device."""

    data: str  # fingerprint over the training and search-dev clips
    weights: str  # content of the folder or hub revision that `model.from` names, or nothing
    device: str  # cpu | cuda
    precision: str  # float32 | bf16
    torch: str
    recordings: str = ""  # names, sizes and times of the files that `noise:` and `reverb:` folders hold
    owner: str = ""  # the trial's id where stages are not to be shared


def foreseen(config: TrialConfig) -> Environment:
    """The environment as a configuration alone tells it, for those who have neither clips nor weights at hand."""
    data = content_id(config.data.identity())
    return Environment(data, config.model.from_ or "", device="", precision="", torch="")


@dataclass(frozen=True)
class StageKey:
    """A stage's key, what it read, and the key of the stage before it."""

    key: str
    reads: Mapping[str, object]  # plain values by dotted path
    parent: str | None


def stage_keys(config: TrialConfig, stages: Iterable[Stage], environment: Environment) -> list[StageKey]:
    """One key per stage, each over all that came before."""
    keys: list[StageKey] = []
    parent = start_key(config, environment)
    before: str | None = None
    for stage in stages:
        reads = _reads(config, stage)
        if stage.steps and environment.recordings:
            reads |= {"recordings": environment.recordings}
        # Without what is as it was before there was the setting: so stages of older stores keep their names.
        hashed = {path: value for path, value in reads.items() if path not in LATER_TRAINING or value != usual(path)}
        key = content_id({"stage": stage.name, "reads": hashed, "after": parent}, 24)
        if not keys:
            reads = reads | {"start": start_reads(config, environment)}
        keys.append(StageKey(key, reads, before))
        parent = before = key
    return keys


def start_key(config: TrialConfig, environment: Environment) -> str:
    """The name of the network before its first stage."""
    return content_id({"version": VERSION, "start": start_reads(config, environment)}, 24)


def base_key(config: TrialConfig, stages: Sequence[Stage], keys: Sequence[StageKey], environment: Environment) -> str:
    """The stage after which nothing below the lowest changed place moves any more, in the frozen regime."""
    return keys[0].key if stages[0].name == "train" else start_key(config, environment)


def start_reads(config: TrialConfig, environment: Environment) -> dict[str, object]:
    """What every stage rests on: the network, the clips, the seed and the environment."""
    model = {name: value for name, value in config.model.identity().items() if name != "from"}
    return {
        "model": model | {"weights": environment.weights},
        "data": {"clips": environment.data, "rate_hz": config.data.rate_hz, "length": config.data.length_samples},
        "seed": config.seed,
        "device": environment.device, "precision": environment.precision, "torch": environment.torch,
        "owner": environment.owner,
    }  # fmt: skip


def fields_read(config: TrialConfig, stage: Stage) -> tuple[str, ...]:
    """The settings that decide a stage's result beside those of `start_reads`, as dotted paths."""
    change = CHANGES[stage.change]
    found = tuple(name for name in change.read_by(config) if name not in PLACES)
    if change.adds != "nothing":
        found += (GROWTH,)
    if change.adds == "adapters" and not config.growth() and config.lora_on != "all":
        found += ("layers",)  # with a rank they need no neurons
    if stage.steps:
        found += TRAINING
        found += ("train.train_stem",) if stage.learns == "all" else ("train.train_head",)
        found += ("last_k",) if stage.learns == "top" else ()
        found += stage.newborn
        # Moments come from these clips; the loss on them is in TRAINING.
        inherits = "newborn_state" in stage.newborn and config.newborn_state == "inherited"
        found += ("calibration_clips",) if inherits else ()
    return found


def _reads(config: TrialConfig, stage: Stage) -> dict[str, object]:
    plain = config.model_dump(mode="json")
    reads: dict[str, object] = {"change": stage.change}
    if stage.steps:
        reads |= {"first": stage.first, "steps": stage.steps, "lr": stage.lr, "learns": stage.learns}
    if stage.part:
        reads["part"] = vars(stage.part)
    for path in fields_read(config, stage):
        section, _, name = path.rpartition(".")
        values = plain[section] if section else plain
        reads[path] = config.growth() if path == GROWTH else values[name]
    return reads


def derive_seed(seed: int, *names: object) -> int:
    """The same on every machine; below 2^31, so that it fits every generator."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


KINDS = (".json", ".safetensors", ".bin")


def weights_id(source: str | None) -> str:
    """A hash over the files of a folder, or of a hub name's download; the name itself until it is on this machine.

    A download is known by its files rather than by its commit: another revision is another start, and the same files in
    a folder of one's own are the same one.
    """
    if source is None:
        return ""
    folder = local_folder(source)
    if folder is None:
        return f"hub:{source}"
    files = sorted(path for path in folder.iterdir() if path.suffix in KINDS)
    return _folder_id(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=32)
def _folder_id(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, _, _ in files:
        path = Path(name)
        with path.open("rb") as file:
            digest.update(json.dumps(path.name).encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]
