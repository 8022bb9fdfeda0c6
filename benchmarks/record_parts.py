"""Other corpora out of the recorded trials: their EERs over some of the clips, for every part of attacks and speakers.

    python benchmarks/record_parts.py --folder recording        # recorded_parts.parquet, from the scores kept there

Every part holds three of the six attacks and the bona fide clips, of all search-dev speakers or of every other one
(`_odd`, `_even`, in the order of their names). Two parts without a common attack and speaker are two corpora as a user
has them: the same networks, judged by clips that have nothing in common. Nothing is trained. See docs/recorded.md.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from record_table import asked, settings
from recorded import KEY, PARTS, Row, key_of, load, part_name

from plastsearch.scores.clip_scores import ClipScores, read_clip_scores
from plastsearch.scores.metrics import eer
from plastsearch.trial.run import start

ATTACKS = ("A01", "A02", "A03", "A04", "A05", "A06")
OF = 3  # attacks in a part


def parts(clips: ClipScores) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Every part's name, and which clips are in it."""
    odd = np.isin(clips.speakers, sorted(set(clips.speakers.tolist()))[::2])
    for attacks in itertools.combinations(ATTACKS, OF):
        inside = clips.is_bona | np.isin(clips.attacks, attacks)
        for speakers, heard in (("", np.ones_like(odd)), ("odd", odd), ("even", ~odd)):
            yield part_name(attacks, speakers), inside & heard


def judged(clips: ClipScores) -> dict[str, float]:
    """The EER of every part."""
    return {
        name: eer(clips.scores[inside & clips.is_bona], clips.scores[inside & ~clips.is_bona])[0]
        for name, inside in parts(clips)
    }


def rows(folder: Path) -> Iterator[Row]:
    """One for each recorded trial; its scores lie under the key of its last stage."""
    table = load()
    for seed in table.seeds:
        where = settings(folder / f"seed-{seed}").model_copy(update={"cache": folder / "cache"})
        for config in asked(seed):
            key = start(config, where, lambda: False).keys[-1].key
            clips = read_clip_scores(where.store / "scores" / f"{key}.search_dev.tsv")
            whole = eer(clips.scores[clips.is_bona], clips.scores[~clips.is_bona])[0]
            known = table.metrics(key_of(config), seed)["dev_eer"]
            if abs(whole - known) > 1e-9:
                raise SystemExit(f"{key_of(config)}, seed {seed}: scores give {whole}, the table has {known}")
            yield dict(zip(KEY, (*key_of(config), seed), strict=True)) | judged(clips)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("recording"))
    parser.add_argument("--out", type=Path, default=PARTS)
    options = parser.parse_args()
    found = pa.Table.from_pylist(list(rows(options.folder)))
    notes = {"command": "python benchmarks/record_parts.py --folder FOLDER"}
    pq.write_table(found.replace_schema_metadata(notes), options.out, compression="zstd")
    print(f"{found.num_rows} rows, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
