"""The files of a trial's run in MLflow: its configuration, its plan, its dev scores, what it printed if it failed.

All are made from the journal and the sweep's folder, so that a replay writes the same ones under the same names.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from plastsearch.tracking.records import TrialRecord

CONFIG, PLAN, SCORES, TRACEBACK = "trial/config.json", "trial/plan.json", "trial/dev_scores.tsv", "log/traceback.txt"
LOG = "log"  # of a sweep's folder, with what failed attempts printed; and of the run
DRIVER_LOG = "driver.log"
_KEPT = ".search_dev.tsv"  # scores/clip_scores.py
_MOST = 1_000_000  # bytes of a log: its end says why


def texts_of(record: TrialRecord) -> dict[str, str]:
    """Path in the run → text, of what the journal itself says."""
    found = {CONFIG: _json(record.config)}
    plan = {
        "layers": record.config.get("layers"), "neurons": record.config.get("neurons"),
        "insertions": record.details.get("growth_plan"), "stages": record.details.get("stages"),
    }  # fmt: skip
    if plan["layers"] or plan["insertions"]:
        found[PLAN] = _json({key: value for key, value in plan.items() if value})
    said = record.details.get("traceback")
    if said:
        found[TRACEBACK] = str(said)
    return found


def files_of(record: TrialRecord, folder: Path) -> dict[str, Path]:
    """Path in the run → file, of what lies in the sweep's folder or its store; it may be gone."""
    scores = record.details.get("scores") or {}
    # By its ending, too: what a stranger's journal names must not take other files of this machine to a server.
    kept = Path(scores.get("search_dev", ""))
    found = {SCORES: kept} if kept.name.endswith(_KEPT) else {}
    if record.state == "failed" or record.failures:
        for path in sorted((folder / LOG).glob(f"trial-{record.number}-attempt-*.txt")):
            found[f"{LOG}/{path.name}"] = path
    return found


def lost_of(record: TrialRecord, folder: Path) -> list[Path]:
    """Files that the journal names and that are not there any more."""
    return [path for path in files_of(record, folder).values() if not path.is_file()]


@contextmanager
def gathered(record: TrialRecord, folder: Path) -> Iterator[Path]:
    """A folder with all of them, as they are to lie in the run."""
    with TemporaryDirectory(prefix="plastsearch-") as place:
        whole = Path(place)
        for name, text in texts_of(record).items():
            _made(whole / name).write_text(text, encoding="utf-8")
        for name, path in files_of(record, folder).items():
            if path.is_file():
                copy(path, _made(whole / name))
        yield whole


def copy(path: Path, into: Path) -> None:
    """A file, or the end of one that is long."""
    with path.open("rb") as source, into.open("wb") as target:
        if into.suffix in {".txt", ".log"}:
            source.seek(max(0, path.stat().st_size - _MOST))
        shutil.copyfileobj(source, target)


def names_of(records: Sequence[TrialRecord]) -> str:
    """Trials in a few words."""
    numbers = [str(one.number) for one in records]
    return ", ".join(numbers[:8]) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _json(content: object) -> str:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
