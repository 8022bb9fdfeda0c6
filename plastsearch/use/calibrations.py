"""Where the calibration of a model is kept: beside the weights of an exported one, in the sweep's folder otherwise."""

import json
from pathlib import Path

from plastsearch.errors import PlastsearchError
from plastsearch.files import text_of, told, whole_file
from plastsearch.use.facts import MOST_BYTES, Calibration

FOLDER = "calibration"
FILE = "calibration.json"


def of_sweep(sweep: Path, model_key: str) -> Path:
    """The file for a network of a sweep."""
    return sweep / FOLDER / f"{model_key}.json"


def kept_calibration(path: Path) -> Calibration | None:
    """What a file says, if there is one."""
    if not path.is_file():
        return None
    try:
        return Calibration.model_validate_json(text_of(path, MOST_BYTES), strict=True)
    except ValueError as error:
        why = str(error).splitlines()[0]
        raise PlastsearchError(f"{path}: no calibration ({why}); run `plastsearch calibrate` again") from None


def keep_calibration(path: Path, calibration: Calibration) -> None:
    """Write it in one rename."""
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft:
            draft.write_text(json.dumps(calibration.model_dump(mode="json"), indent=2) + "\n")
