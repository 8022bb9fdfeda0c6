"""What to type for a trial: to run it again, to score with it, to hand it on. The page does the same in commands.js."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.choose.details import changes, flattened
from plastsearch.spec.config import TrialConfig

AGAIN, SCORE, EXPORT = "Run it again", "Score clips with it", "Export it"
_WORD = re.compile(r"[A-Za-z][\w./-]*")
_NO_WORD = re.compile(r"true|false|null|yes|no|on|off|nan|inf|y|n", re.IGNORECASE)


def setting(path: str, value: JsonValue) -> str:
    """One `--set`: JSON is YAML, which it reads; a word stays a word."""
    plain = isinstance(value, str) and _WORD.fullmatch(value) and not _NO_WORD.fullmatch(value)
    text = value if plain else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"--set {shlex.quote(f'{path}={text}')}"


def base_of(results: Results) -> Mapping[str, JsonValue]:
    """Dotted path → value of what all trials of a sweep share."""
    base = results.spec.get("base")
    return flattened(base if isinstance(base, dict) else {})


def commands(results: Results, row: TrialRow, space: Path) -> list[tuple[str, str]]:
    """What each command does, and the command; `space` is the published space, which may not be there yet."""
    if space.is_file():
        start, base = f"plastsearch trial {shlex.quote(str(space))}", base_of(results)
    else:
        start, base = "plastsearch trial", flattened(TrialConfig().model_dump(mode="json", by_alias=True))
    sets = [setting(path, value) for path, value in changes(row.record.config, base).items()]
    found = [(AGAIN, " ".join([start, *sets]))]
    if row.record.state in ("done", "reused"):
        of = row.record.of if row.record.role in ("replicate", "finalist") else None
        which = f"{row.number}" if of is None else f"{of}/seed{row.record.seed}"
        name = shlex.quote(f"{results.folder}:{which}")
        found.append((SCORE, f"plastsearch score {name} clips/*.flac"))
        found.append((EXPORT, f"plastsearch export {name} trial-{row.number}"))
    return found
