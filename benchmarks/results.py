"""What benchmarks found: one JSON each in results/, and RESULTS.md and gpu.md, which are made from them.

    python benchmarks/results.py            # writes RESULTS.md and gpu.md anew; also `make results`

A benchmark's JSON says on which machine, when, with which versions and by which command its tables were made. The prose
between the tables stands in RESULTS.template.md: who measures again reads it again. Needs the standard library alone.
"""

import json
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "results"
TEMPLATE, PAGE, GPU_PAGE = HERE / "RESULTS.template.md", HERE / "RESULTS.md", HERE / "gpu.md"
PLACE = re.compile(r"^\{\{(\w+)/(\w+)\}\}$", re.MULTILINE)  # a line that a table takes: {{benchmark/table}}
VERSIONS = ("plastsearch", "torch", "ray", "optuna", "mlflow")

Cell = float | str | None  # None: empty


@dataclass(frozen=True)
class Table:
    """Columns, each a head and how Python's format() writes its numbers (text stays as it is), and cells by row."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Cell]]

    def markdown(self) -> str:
        """The table as RESULTS.md shows it."""
        lines = [[name for name, _ in self.columns], ["---"] * len(self.columns)]
        lines += [[_text(cell, form) for cell, (_, form) in zip(row, self.columns, strict=True)] for row in self.rows]
        head, rule, *body = (" | ".join(line) for line in lines)
        return "\n".join([f"| {head} |", f"|{rule.replace(' ', '')}|", *(f"| {line} |" for line in body)])


def _text(cell: Cell, form: str) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else format(cell, form)


def cpu_model() -> str:
    """The processor, as Linux names it."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text("utf-8").splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Python, and what of ours and of the large libraries is installed."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write(name: str, tables: Mapping[str, Table], *, device: str = "cpu") -> Path:
    """Keep a benchmark's tables; those of the same file that this run did not make stay."""
    path = FOLDER / f"{name}.json"
    kept = json.loads(path.read_text("utf-8"))["tables"] if path.exists() else {}
    return _keep(
        path,
        {
            "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "device": device, "load": os.getloadavg()[0]},
            "date": time.strftime("%Y-%m-%d"),
            "versions": versions(),
            "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *map(_portable, sys.argv[1:])]),
            "tables": kept | {title: asdict(table) for title, table in tables.items()},
        },
    )


def _portable(word: str) -> str:
    """A word of the command line as anybody would type it in the repository: no path of this machine."""
    path = Path(word)
    if not path.is_absolute():
        return word
    return str(path.relative_to(HERE.parent)) if path.is_relative_to(HERE.parent) else path.name


def _keep(path: Path, document: Mapping[str, object]) -> Path:
    """JSON with a line for each row, so that a changed figure is one line of a diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+((?:[^][{}\"]|\"(?:[^\"\\]|\\.)*\")*?)\s+\]", _on_one_line, text)
    path.write_text(text + "\n", "utf-8")
    return path


def _on_one_line(found: re.Match[str]) -> str:
    return f"[{', '.join(part.strip().rstrip(',') for part in found[1].splitlines())}]"


def read(path: Path) -> dict[str, Table]:
    """The tables of a benchmark by name."""
    tables = json.loads(path.read_text("utf-8"))["tables"]
    return {name: Table(table["columns"], table["rows"]) for name, table in tables.items()}


def page(template: str) -> str:
    """RESULTS.md: the template, each place taken by its table."""
    found = {path.stem: read(path) for path in sorted(FOLDER.glob("*.json")) if path.stem != "gpu"}

    def table(place: re.Match[str]) -> str:
        benchmark, name = place.groups()
        if name not in found.get(benchmark, {}):
            raise SystemExit(f"RESULTS.template.md asks for {place[0]}, but results/{benchmark}.json has no such table")
        return found[benchmark][name].markdown()

    return PLACE.sub(table, template)


def gpu_page(found: Mapping[str, object]) -> str:
    """gpu.md: what `make gpu` wrote into gpu.json, as one table."""
    of, tests = found["machine"], found["tests"]
    assert isinstance(of, dict)
    assert isinstance(tests, dict)
    lines = ["# On a GPU", "", "`make gpu`: " + ", ".join(f"{key} {value}" for key, value in of.items()) + "."]
    lines += ["Ratios of times: below 1 is faster. Every figure is of one run.", ""]
    lines += ["| part | what | figure | note |", "|---|---|---|---|"]
    if tests:
        note = f"{tests['skipped']} skipped, {tests['failures'] + tests['errors']} failed"
        lines.append(f"| tests | passed | {tests['passed']} of {tests['tests']} | {note} |")
    rows, left_out, failed = found["rows"], found["left_out"], found["failed"]
    assert isinstance(rows, list)
    assert isinstance(left_out, list)
    assert isinstance(failed, list)
    lines += [
        f"| {row['part']} | {row['what']} | {row['value']:.4g} {row['unit']} | {row.get('note', '')} |" for row in rows
    ]
    lines += [f"| left out | {text} | | |" for text in left_out]
    lines += [f"| failed | {text.replace('|', '/')} | | |" for text in failed]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make both pages anew."""
    PAGE.write_text(page(TEMPLATE.read_text("utf-8")), "utf-8")
    GPU_PAGE.write_text(gpu_page(json.loads((FOLDER / "gpu.json").read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    main()
