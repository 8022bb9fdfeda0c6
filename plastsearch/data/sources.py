"""From the name of a corpus to its manifest; a synthetic corpus is first written below the cache folder."""

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from plastsearch.data.corpora import read_corpus
from plastsearch.data.lock import hold
from plastsearch.data.manifest import SPLITS, Manifest
from plastsearch.data.request import Source
from plastsearch.errors import DataError

# synthetic layout → the corpus it is read as, and the folder inside
LAYOUTS = {
    "la": ("asvspoof2019_la", "LA"),
    "pa": ("asvspoof2019_pa", "PA"),
    "for": ("fake_or_real", ""),
    "itw": ("in_the_wild", ""),
}
SYNTHETIC_CLIPS = 240  # for training, if the configuration does not say


def read_source(
    source: Source,
    cache: Path,
    *,
    needed: Collection[str] = SPLITS,
    workers: int = 1,
    on_wait: Callable[[str], None] | None = None,
) -> Manifest:
    """The manifest of a corpus, real or generated."""
    if source.corpus != "synthetic":
        return read_corpus(
            source.corpus, source.root, variant=source.variant, manifest=source.manifest, needed=needed
        )
    layout = source.variant or "la"
    if layout not in LAYOUTS:
        raise DataError(f"synthetic: unknown `data.variant` '{layout}'; known layouts: {', '.join(LAYOUTS)}")
    corpus, inner = LAYOUTS[layout]
    folder = generate(source, layout, cache, workers, on_wait)
    manifest = read_corpus(corpus, folder / inner, needed=needed)
    manifest.corpus, manifest.variant = "synthetic", f"{layout}-{folder.name}"
    return manifest


def generate(
    source: Source, layout: str, cache: Path, workers: int, on_wait: Callable[[str], None] | None
) -> Path:
    """The folder of a generated corpus, written once however many processes ask."""
    from plastsearch.data.synthetic import VERSION, write_corpus

    train = source.clips or SYNTHETIC_CLIPS
    other = max(64, -(-train * 2 // 3))
    content = [VERSION, layout, source.seed, train, other, source.difficulty]
    name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
    folder = cache / "synthetic" / name
    if not folder.is_dir():  # it appears complete or not at all
        with hold(cache / "synthetic" / f".{name}.lock", "writing the synthetic corpus", on_wait):
            if not folder.is_dir():
                write_corpus(
                    folder, layout, source.seed,
                    train=train, dev=other, eval_=other, difficulty=source.difficulty, workers=workers,
                )  # fmt: skip
    return folder


def second_source(corpus: str, root: str | None, variant: str | None, main: Source) -> Source:
    """Another corpus beside the main one, with the main one's settings where both are generated."""
    return replace(main, corpus=corpus, root=root, variant=variant, manifest=None)
