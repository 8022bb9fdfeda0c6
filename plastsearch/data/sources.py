"""From the name of a corpus to its manifest; a synthetic corpus is first written below the cache folder."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from plastsearch.data.cache import Decoder
from plastsearch.data.corpora import read_corpus
from plastsearch.data.decoding import child_environment, usable_cores
from plastsearch.data.lock import hold
from plastsearch.data.manifest import SPLITS, Manifest
from plastsearch.data.request import SearchDevRequest, Source
from plastsearch.errors import DataError

# synthetic layout → the corpus it is read as, and the folder inside
LAYOUTS = {
    "la": ("asvspoof2019_la", "LA"),
    "pa": ("asvspoof2019_pa", "PA"),
    "for": ("fake_or_real", ""),
    "itw": ("in_the_wild", ""),
}
FEWEST_TO_SCORE = 64  # in dev and in evaluation: an EER needs some of both classes
SYNTHETIC_CLIPS = 240  # for training, if the configuration does not say
WRITING = "writing the synthetic corpus"
WORTH_A_CHILD = 100  # clips from which on starting more interpreters pays
GENERATE = (
    "import json, sys; from pathlib import Path; from plastsearch.data.synthetic import write_corpus; "
    "ask = json.load(sys.stdin); write_corpus(Path(ask.pop('folder')), **ask)"
)


def read_source(source: Source, decoder: Decoder, *, needed: Collection[str] = SPLITS) -> Manifest:
    """The manifest of a corpus, real or generated."""
    if source.corpus != "synthetic":
        return read_corpus(source.corpus, source.root, variant=source.variant, manifest=source.manifest, needed=needed)
    layout = source.variant or "la"
    if layout not in LAYOUTS:
        raise DataError(f"synthetic: unknown `data.variant` '{layout}'; known layouts: {', '.join(LAYOUTS)}")
    corpus, inner = LAYOUTS[layout]
    folder = generate(source, layout, decoder)
    manifest = read_corpus(corpus, folder / inner, needed=needed)
    manifest.corpus, manifest.variant = "synthetic", f"{layout}-{folder.name}"
    return manifest


def generate(source: Source, layout: str, decoder: Decoder) -> Path:
    """The folder of a generated corpus, written once however many processes ask."""
    from plastsearch.data.synthetic import VERSION

    train = source.clips or SYNTHETIC_CLIPS
    other = max(FEWEST_TO_SCORE, -(-train * 2 // 3))
    content = [VERSION, layout, source.seed, train, other, source.difficulty]
    name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
    folder = decoder.cache / "synthetic" / name
    if not folder.is_dir():  # it appears complete or not at all
        with hold(decoder.cache / "synthetic" / f".{name}.lock", "writing the synthetic corpus", decoder.on_wait):
            if not folder.is_dir():
                sizes = {"train": train, "dev": other, "eval_": other}
                ask = {"layout": layout, "seed": source.seed, "difficulty": source.difficulty, **sizes}
                clips = train + 2 * other
                decoder.say(WRITING, 0, clips)
                _write(folder, ask, decoder.workers or usable_cores(), clips)
                decoder.say(WRITING, clips, clips)
    return folder


def _write(folder: Path, ask: dict[str, Any], workers: int, clips: int) -> None:
    if workers == 1 or clips < WORTH_A_CHILD:
        from plastsearch.data.synthetic import write_corpus

        write_corpus(folder, **ask)
        return
    # a child of its own: a pool of processes would import the caller's __main__, which may be a script without a guard
    child = subprocess.run(
        [sys.executable, "-c", GENERATE],
        input=json.dumps({"folder": str(folder), "workers": workers, **ask}),
        capture_output=True, text=True, env=child_environment(), check=False,
    )  # fmt: skip
    if child.returncode:
        raise DataError(f"writing the synthetic corpus failed: {child.stderr.strip()[-2000:]}")


def second_source(corpus: str, other: SearchDevRequest, main: Source) -> Source:
    """Another corpus beside the main one, with the main one's settings where both are generated."""
    return replace(main, corpus=corpus, root=other.root, variant=other.variant, manifest=other.manifest)
