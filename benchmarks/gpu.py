"""`make gpu`: the GPU tests and the GPU part of the benchmarks, with the Python and torch that are there.

    make gpu PYTHON=python3                             # Ray, MLflow and Optuna are not needed; below ten minutes
    python benchmarks/gpu.py --device cpu --quick       # the same code where there is no GPU; its figures mean nothing

Writes gpu.json, and gpu.md, which is made from it. Exit status: 0 done, 1 a test or a part failed, 3 there is no GPU
here, or torch or a library of the networks is missing. Whole trials need a few packages more; without them they are
left out and named.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpu_parts import Row, Where

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("torch", "torchaudio", "transformers", "peft", "safetensors", "numpy", "pytest")
FOR_TRIALS = ("pydantic", "pyarrow", "soundfile", "cryptography", "scipy")
QUICK_TESTS = "newest or lost_loss or seed_fixes or stopped"
NO_GPU = 3


@dataclass
class Results:
    """All that a run found."""

    machine: dict[str, Any]
    rows: list["Row"] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    tests: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def main() -> int:
    """Looks what is there, runs what can be run, writes after every part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="next to nothing of everything: only that it runs")
    parser.add_argument("--out", type=Path, help="folder of gpu.md and gpu.json; else this one, and results/")
    parser.add_argument("--minutes", type=float, default=7.5, help="begin nothing after so many")
    chosen = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - it may be any Python
        print("plastsearch needs Python >= 3.11; name one with: make gpu PYTHON=python3.12")
        return NO_GPU
    if lacking := missing(NEEDED):
        print(f"make gpu: {sys.executable} has no {', '.join(lacking)}; name a Python that has: make gpu PYTHON=…")
        return NO_GPU
    import torch

    if chosen.device == "cuda" and not torch.cuda.is_available():
        print(f"make gpu: no GPU: torch {torch.__version__} can use none here; nothing was run (see also nvidia-smi)")
        return NO_GPU
    begin = time.monotonic()
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the package need not be installed
    torch.set_num_threads(1)
    from gpu_parts import OF_TRIALS, PARTS, Where

    device = torch.device(chosen.device, 0) if chosen.device == "cuda" else torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        where = Where(device, chosen.quick, Path(folder))
        found = Results(machine(where))
        lacking = missing(FOR_TRIALS)
        if lacking:
            found.left_out.append(
                f"whole trials: {sys.executable} has no {', '.join(lacking)} (elsewhere: python3 -m pip install "
                f"--target DIR {' '.join(lacking)}; here: PYTHONPATH=DIR make gpu)"
            )
            print(f"left out: {found.left_out[-1]}", flush=True)
        tests(found, where, ends_at=begin + 60 * chosen.minutes)
        for name in [name for name in PARTS if not (lacking and name in OF_TRIALS)]:
            if time.monotonic() > begin + 60 * chosen.minutes:
                found.left_out.append(f"{name}: no time was left")
                continue
            measure(found, name, partial(PARTS[name], where))
            found.seconds = round(time.monotonic() - begin, 1)
            write(found, chosen.out)
    data, page = write(found, chosen.out)
    print(f"{len(found.rows)} figures in {found.seconds:.0f} s: {page}, {data}")
    for text in found.failed:
        print(f"failed: {text}")
    return 1 if found.failed else 0


def missing(names: tuple[str, ...]) -> list[str]:
    """Those that this Python cannot import."""

    def there(name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            return False

    return [name for name in names if not there(name)]


def machine(where: "Where") -> dict[str, Any]:
    """What figures mean nothing without."""
    import results
    import torch

    facts: dict[str, Any] = {
        "device": "CPU", "cpu": results.cpu_model(), "python": platform.python_version(),
        "torch": torch.__version__, "cores": os.cpu_count(), "quick": where.quick,
    }  # fmt: skip
    if where.device.type == "cuda":
        of = torch.cuda.get_device_properties(where.device)
        facts |= {
            "device": of.name, "capability": f"{of.major}.{of.minor}", "memory_gb": round(of.total_memory / 1e9, 1),
            "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
        }  # fmt: skip
    return facts


def measure(found: Results, name: str, part: Any) -> None:
    """One part; its failure is a result, too, and the others go on."""
    began = time.monotonic()
    try:
        for row in part():
            found.rows.append(row)
            print(f"{row.part:12} {row.what:48} {row.value:12.4g} {row.unit:12} {row.note}", flush=True)
    except Exception as error:  # noqa: BLE001 - whatever a GPU has to say belongs into the report
        found.failed.append(f"{name}: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
        print(f"{name} failed: {error}", flush=True)
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def tests(found: Results, where: "Where", ends_at: float) -> None:
    """The tests of tests/gpu in a process of their own: one that loses its GPU takes nothing else along."""
    environment = dict(os.environ, PLASTSEARCH_TEST_DEVICE=where.device.type)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        words = [sys.executable, "-m", "pytest", "-q", "-c", "tests/gpu/pytest.ini", "--rootdir", ".", "--confcutdir"]
        words += ["tests/gpu", f"--junitxml={report}", "tests/gpu", *(["-k", QUICK_TESTS] if where.quick else [])]
        limit_s = max(1.0, (ends_at - time.monotonic()) / 2)
        try:
            subprocess.run(words, cwd=ROOT, env=environment, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            found.failed.append(f"tests: not all of them ended within {limit_s:.0f} s")
        if not report.exists():
            found.failed.append("tests: pytest ended without a report")
            return
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    found.tests = {**counts, "passed": counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]}
    broken = [case.get("name", "") for case in suite.iter("testcase") if {"failure", "error"} & {e.tag for e in case}]
    found.failed += [f"test {name}" for name in broken]
    if not found.tests["passed"]:
        found.failed.append("tests: none passed")


def write(found: Results, out: "Path | None") -> "tuple[Path, Path]":
    """The figures as data, and the page that is made from them."""
    import results

    data, page = (out / "gpu.json", out / "gpu.md") if out else (results.FOLDER / "gpu.json", results.GPU_PAGE)
    plain = asdict(found)
    about = {"machine": plain.pop("machine"), "date": time.strftime("%Y-%m-%d"), "versions": results.versions(),
             "command": "make gpu"}  # fmt: skip
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_text(json.dumps(about | plain, indent=1, ensure_ascii=False) + "\n", "utf-8")
    page.write_text(results.gpu_page(plain | about), "utf-8")
    return data, page


if __name__ == "__main__":
    sys.exit(main())
