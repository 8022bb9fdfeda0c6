"""What is fuzzed: each command over each kind of file it reads, with its flags, and with the words of a person."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.fuzz import flags
from tests.fuzz.boxes import Recipe
from tests.fuzz.breaking import Change, as_bytes, as_it_was, as_json, as_lines, as_text
from tests.fuzz.journals import as_crowded, as_damaged, as_lost, as_shuffled, as_swapped
from tests.fuzz.settings import as_manifests, as_space, as_table, override

Breaks = Sequence[tuple[str, Change]]
AS_IS: Breaks = [("in", as_it_was)]
SPACE: Breaks = [("in/space.yaml", as_space)]
FROM: Breaks = [
    ("in/from.yaml", as_space),
    ("in/weights/config.json", as_json),
    ("in/weights/model.safetensors", as_bytes),
]
SCORES: Breaks = [("in/scores.txt", as_text), ("in/key.txt", as_text)]
WITH_KEY: Breaks = [("in/with_key.txt", as_text)]
THEIRS: Breaks = [("in/theirs.txt", as_text), ("in/many.txt", as_text)]
VERIFIER: Breaks = [("in/asv.txt", as_text), *SCORES]
WEIGHTS: Breaks = [("in/weights/config.json", as_json), ("in/weights/model.safetensors", as_bytes)]
SPEECH: Breaks = [("in/w2v/config.json", as_json)]
ITW_CLIPS: Breaks = [("in/itw/a0.wav", as_bytes), ("in/itw/a1.flac", as_bytes)]
META: Breaks = [("in/itw/meta.csv", as_text), ("in/itw/meta.csv", as_table)]
LA: Breaks = [("in/LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt", as_text)]
CSV: Breaks = [("in/clips.csv", as_table), ("in/clips.csv", as_text)]
PARQUET: Breaks = [("in/clips.parquet", as_table), ("in/clips.parquet", as_bytes)]
MODEL: Breaks = [
    ("in/model/config.json", as_json), ("in/model/config.json", as_json), ("in/model/model.safetensors", as_bytes),
    ("in/model/calibration.json", as_json),
]  # fmt: skip
CLIPS: Breaks = [("in/clips/a.wav", as_bytes), ("in/clips/b.flac", as_bytes)]
PROTOCOL: Breaks = [("in/protocol.txt", as_text)]
LINES = "in/sweep/trials.jsonl"
JOURNAL: Breaks = [(LINES, as_lines)] * 4 + [(LINES, as_shuffled)] * 2 + [(LINES, as_swapped)] * 2
MADE: Breaks = [("in/made/trials.jsonl", change) for _, change in JOURNAL]
FOLDER: Breaks = [("in/sweep", as_crowded), ("in/sweep", as_damaged), ("in/sweep", as_lost)]
STORE: Breaks = [("in/store", as_crowded), ("in/store", as_damaged), ("in/store", as_damaged), ("in/store", as_lost)]
CACHES: Breaks = [("in/cache", as_damaged), ("in/cache", as_damaged), ("in/cache", as_lost), ("in/cache", as_crowded)]
MANIFESTS: Breaks = [("in/manifests.yaml", as_manifests), ("in/manifests.yaml", as_text)]
OVERLAY: Breaks = [("in/overlay.yaml", as_space)]

CACHE = ["--cache", "out/cache"]
ITW = ["--root", "in/itw", *CACHE]
KEY = ["-p", "in/key.txt", "--replicates", "20"]
ONE = ["--steps", "1", "--batch", "2", "--length-s", "0.1"]
HEARD = ["--protocol", "in/protocol.txt", "--audio", "in/clips"]
# Twice, and inline: a changed word must not start a sweep, nor Ray.
DRY = ["--dry-run", "--dry-run", "--executor", "inline", "--out", "out/s"]
RESUME = ["sweep", "in/sweep.yaml", "--out", "in", "--name", "sweep", "--resume", "--no-finalists", "--trials", "2",
          "--executor", "inline", "--executor", "inline", "--quiet", "--mlflow", "none"]  # fmt: skip
REPORT = ["in/sweep/report"]
DRIVEN = ["in/sweep", "in/store", "in/cache"]
WAITS = 8.0  # seconds until Ctrl-C for what may have been asked for more work than that


@dataclass(frozen=True)
class WithFlags(Recipe):
    """With one to three flags of the command's own."""

    def words_for(self, rng: random.Random) -> list[str]:
        more = [flags.one_more(rng, self.command) for _ in range(rng.choice((1, 1, 2, 3)))]
        return [*self.words, *(word for pair in more for word in pair)]


@dataclass(frozen=True)
class WithSet(Recipe):
    """With an override."""

    def words_for(self, rng: random.Random) -> list[str]:
        return [*self.words, "--set", override(rng)]


def with_flags(recipe: Recipe) -> WithFlags:
    """The same command over unbroken inputs."""
    told = {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}
    return WithFlags(**{**told, "breakable": AS_IS})


def with_set(recipe: Recipe) -> WithSet:
    told = {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}
    return WithSet(**{**told, "breakable": AS_IS})


CHECK = Recipe(["check", "in/space.yaml"], SPACE, share=8)
DRY_RUN = Recipe(["sweep", "in/space.yaml", *DRY], SPACE, share=1, limit_s=30)
TRIAL = Recipe(
    ["trial", "in/trial.yaml", "--out", "out/t"],
    [("in/trial.yaml", as_space), *WEIGHTS, *META, *ITW_CLIPS], share=3, interrupt_s=WAITS,
)  # fmt: skip
NOISE = Recipe(["noise", "in/bad.yaml", "--out", "out/n", "--executor", "inline", "--executor", "inline"],
               [("in/bad.yaml", as_space)], share=2, whole=2, interrupt_s=WAITS)  # fmt: skip
OF_SWEEP = Recipe(["noise", "in/made"], MADE)
RESUMED = Recipe(RESUME, [*JOURNAL, *FOLDER, *STORE, *CACHES], writes=DRIVEN, grows=[LINES], share=2,
                 interrupt_s=WAITS)  # fmt: skip
SEARCH = [
    CHECK,
    Recipe(["check", "in/space.yaml", "--json", "--no-data"], SPACE),
    Recipe(["check", "in/from.yaml"], FROM),
    Recipe(["check", "in/corpus.yaml"], [*META, ("in/corpus.yaml", as_space), ("in/itw/a0.wav", as_bytes)]),
    Recipe(["check", "in/warm.yaml"], [("in/warm.yaml", as_space), *MADE]),
    replace(with_set(CHECK), share=10),
    with_flags(CHECK),
    Recipe(["sites", "grnn", "--from", "in/weights"], WEIGHTS),
    Recipe(["sites", "wav2vec2", "--from", "in/w2v", "--json"], SPEECH),
    with_flags(Recipe(["sites", "grnn"])),
    DRY_RUN,
    Recipe(["sweep", "in/from.yaml", *DRY], FROM, share=1, limit_s=30),
    Recipe(["sweep", "in/warm.yaml", *DRY], MADE, share=1, limit_s=30),
    with_set(DRY_RUN),
    with_flags(DRY_RUN),
    RESUMED,
    replace(with_flags(RESUMED), grows=(), share=1),
    NOISE,
    with_flags(NOISE),
    OF_SWEEP,
    with_flags(OF_SWEEP),
    TRIAL,
    with_set(TRIAL),
    replace(with_flags(TRIAL), share=1),
]
DOCTOR = Recipe(
    ["doctor", "--out", "out", "--mlflow", "none"], share=1, whole=1
)  # Ray may not do here, or a file limit
NEW = Recipe(["new", "out/new.yaml", "--model", "grnn", "--budget", "minutes"], share=2)
NEW_FROM = Recipe(
    ["new", "out/new.yaml", "--model", "grnn", "--from", "in/weights", "--corpus", "manifest", "--manifest",
     "in/clips.csv"],
    [*WEIGHTS, *CSV], share=2,
)  # fmt: skip
SCHEMA = Recipe(["schema", "trial", "--out", "out/schema.json"], share=1)
COMPLETION = Recipe(["completion", "bash"], share=1)
START = [DOCTOR, with_flags(DOCTOR), NEW, with_flags(NEW), NEW_FROM, SCHEMA, with_flags(SCHEMA), COMPLETION]
LISTED = Recipe(["ls", "in"], [*JOURNAL, *FOLDER, *MADE], share=5)
SHOWN = Recipe(["show", "in/sweep"], [*JOURNAL, *FOLDER])
MERGED = Recipe(["merge", "in/sweep", "in/made", "--out", "out/m"], [*JOURNAL, *MADE], share=2, whole=2)
SYNCED = Recipe(["sync", "in/sweep", "--no-figures"], [*JOURNAL, *FOLDER], writes=["in/sweep"], share=1)
SHOW = Recipe(["report", "in/sweep"], [*JOURNAL, *FOLDER], writes=REPORT)
MIRROR = Recipe(["ui", "in/sweep", "--no-serve", "--no-serve"], [*JOURNAL, *FOLDER], writes=["in/sweep"], share=1)
FORECAST = Recipe(["ablate", "in/sweep", "1", "--dry-run", "--dry-run", "--executor", "inline"], [*JOURNAL, *FOLDER])
JUDGED = Recipe(["evaluate", "in/scores.txt", *KEY], SCORES, share=6)
LOOK = [
    LISTED,
    Recipe(["ls", "in", "--whole", "--json"], [*JOURNAL, *FOLDER, *MADE], share=3),
    with_flags(LISTED),
    SHOWN,
    Recipe(["show", "in/made", "best", "--json"], MADE),
    Recipe(["show", "in/sweep", "1"], JOURNAL),
    with_flags(SHOWN),
    MERGED,
    with_flags(MERGED),
    SYNCED,
    with_flags(SYNCED),
    SHOW,
    Recipe(["report", "in/sweep", "--json", "--under", "params_total=1e6"], JOURNAL, writes=REPORT),
    Recipe(["report", "in/sweep", "--skip-bad-lines", "--out", "out/r"], JOURNAL),
    replace(with_flags(SHOW), share=2),
    Recipe(["report", "in/made"], MADE, writes=["in/made/report"]),
    Recipe(["ablate", "in/made", "--dry-run", "--dry-run", "--executor", "inline", "--json"], MADE),
    FORECAST,
    with_flags(FORECAST),
    MIRROR,
    JUDGED,
    Recipe(["evaluate", "in/with_key.txt", "--replicates", "20", "--seed", "3"], WITH_KEY),
    Recipe(["evaluate", "in/scores.txt", *KEY, "--asv-scores", "in/asv.txt", "--replicates", "0"], VERIFIER),
    with_flags(JUDGED),
]
SCORED = Recipe(["score", "in/model", "in/clips", "--csv", "--out", "out/s.csv"], [*MODEL, *CLIPS])
LEARNT = Recipe(
    ["calibrate", "in/model", "--on", "in/many.txt", "--dry-run", "--scale", "plain"],
    [*MODEL, *THEIRS],
    writes=["in/model"],
)  # fmt: skip - where it keeps what it learnt without --dry-run
COMPARED = Recipe(["compare", "in/model", "in/theirs.txt", *HEARD, "--replicates", "20", "--out", "out/c"],
                  [*MODEL, *CLIPS, *PROTOCOL, *THEIRS], share=2)  # fmt: skip
DRIFTED = Recipe(["drift", "in/model", "--reference", "in/clips", "--new", "in/clips", "--out", "out/d"],
                 [*MODEL, *CLIPS], share=2)  # fmt: skip
EXPORTED = Recipe(["export", "in/model", "out/e"], MODEL, share=3)
DRAWN = Recipe(
    ["explain", "in/model", "in/clips/a.wav", "--no-evidence", "--out", "out/x"],
    [*MODEL, *CLIPS],
    writes=["in/explain"],
    share=1,
)  # fmt: skip - where it writes without --out
DEMO = Recipe(["demo", "in/model", "--port", "0", "--no-browser", "--no-browser"], MODEL, share=1, interrupt_s=1.0)
USE = [
    SCORED,
    Recipe(["score", "in/model", "in/clips", "--protocol", "in/protocol.txt", "--timeline"],
           [*MODEL, *CLIPS, *PROTOCOL, *PROTOCOL]),
    Recipe(["score", "in/model", "-", "--json-lines", "--prior", "0.2", "--hop", "0.3"], [*MODEL, *CLIPS],
           b"in/clips/a.wav\nin/clips/nobody.wav\n\x1b[31m\n\xff\n", whole=1),  # some names there are of nothing
    Recipe(["score", "in/sweep:1", "in/clips/a.wav", "--asvspoof"], [*JOURNAL, *FOLDER, *STORE, *CLIPS]),
    with_flags(SCORED),
    LEARNT,
    Recipe(["calibrate", "in/sweep:1", "--on", "dev", "--dry-run"], [*JOURNAL, *FOLDER],
           writes=["in/sweep/calibration"], share=2),
    with_flags(LEARNT),
    COMPARED,
    Recipe(["compare", "in/with_key.txt", "in/with_key.txt", "--replicates", "20"], WITH_KEY),
    Recipe(["compare", "in/sweep:1", "in/sweep:0", "--replicates", "20"], [*JOURNAL, *FOLDER]),
    with_flags(COMPARED),
    DRIFTED,
    with_flags(DRIFTED),
    EXPORTED,
    Recipe(["export", "in/sweep:1", "out/e", "--arena", "Org/Set", "--repository", "me/x", "--scores",
            "in/theirs.txt"], [*JOURNAL, *STORE, *THEIRS], share=2),
    with_flags(EXPORTED),
    DRAWN,
    with_flags(DRAWN),
    DEMO,
]  # fmt: skip
INSPECT = Recipe(["data", "inspect", "manifest", "--manifest", "in/clips.csv", *CACHE], CSV)
PREPARE = Recipe(["data", "prepare", "in_the_wild", *ITW, "--workers", "1", "--on-bad", "skip"],
                 [*META, *ITW_CLIPS, *ITW_CLIPS])  # fmt: skip
PRETRAIN = Recipe(["pretrain", "out/p", "--model", "grnn", "--corpus", "in_the_wild", *ITW, *ONE], [*META, *ITW_CLIPS],
                  share=3, interrupt_s=WAITS)  # fmt: skip
LIST = Recipe(["store", "ls", "--store", "in/store"], STORE)
COLLECT = Recipe(["store", "gc", "--store", "in/store", "--max-gb", "0.00001"], STORE, writes=["in/store"])
PULL = Recipe(["store", "pull", "s3://b/p", "out/x", "--endpoint", "http://127.0.0.1:1"], share=1, whole=2)
REPAIR = Recipe(["journal", "repair", "in/sweep"], JOURNAL, writes=["in/sweep"], share=6)
PUSH = Recipe(["store", "push", "in/sweep", "s3://b/p", "--endpoint", "http://127.0.0.1:1"], JOURNAL, share=1, whole=2)
DATA = [
    Recipe(["data", "inspect", "in_the_wild", *ITW], [*META, *ITW_CLIPS]),
    INSPECT,
    Recipe(["data", "inspect", "manifest", "--manifest", "in/clips.parquet", "--json", *CACHE], PARQUET),
    Recipe(["data", "inspect", "asvspoof2019_la", "--root", "in/LA", *CACHE], LA),
    with_flags(INSPECT),
    PREPARE,
    Recipe(["data", "prepare", "manifest", "--manifest", "in/clips.csv", *CACHE, "--workers", "1"], [*CSV, *ITW_CLIPS]),
    replace(with_flags(PREPARE), share=2),
    PRETRAIN,
    replace(with_flags(PRETRAIN), share=2),
    LIST,
    Recipe(["store", "ls", "--store", "in/store", "--json"], STORE),
    COLLECT,
    with_flags(LIST),
    with_flags(COLLECT),
    PUSH,
    with_flags(PUSH),
    with_flags(PULL),
    REPAIR,
    with_flags(REPAIR),
]
RENDER = Recipe(["k8s", "render", "in/overlay.yaml", "--overlay", "dev", "--name", "mine", "--out", "out/k"], OVERLAY,
                share=2)  # fmt: skip
MANIFEST = Recipe(["k8s", "check", "in/manifests.yaml"], MANIFESTS, whole=2)
WATCH = Recipe(["k8s", "watch", "mine", "--once", "--once"], share=1, whole=2)
FETCH = Recipe(["k8s", "fetch", "mine", "out/f"], share=1, whole=2)
CLUSTER = [
    WATCH,
    FETCH,
    with_flags(FETCH),
    RENDER,
    with_flags(RENDER),
    replace(with_set(RENDER), share=2),
    MANIFEST,
    with_flags(MANIFEST),
]
RECIPES: list[Recipe] = [*START, *SEARCH, *LOOK, *USE, *DATA, *CLUSTER]
