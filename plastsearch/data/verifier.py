"""Where a corpus keeps its speaker verifier's scores of the evaluation split, for t-DCF; as locked as the split."""

from pathlib import Path

from plastsearch.data.cache import Decoder
from plastsearch.data.choice import source_of
from plastsearch.data.evaluation import EvaluationKey, require
from plastsearch.data.request import DataRequest
from plastsearch.data.sources import read_source

IN_2019 = "ASVspoof2019_*_asv_scores/ASVspoof2019.*.asv.eval.gi.trl.scores.txt"


def verifier_scores(data: DataRequest, cache: Path, key: EvaluationKey) -> Path | None:
    """The file of the corpus that is evaluated, or None if it comes with none."""
    require("eval", key)
    if data.corpus != "synthetic" and not data.corpus.startswith("asvspoof2019"):
        return None
    manifest = read_source(source_of(data), Decoder(Path(cache)), needed=("eval",))
    return next(iter(sorted(manifest.root.glob(IN_2019))), None)
