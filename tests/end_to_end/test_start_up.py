"""Start-up stays light: help and checks import neither torch nor Ray nor MLflow."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "mlflow", "transformers", "optuna", "pandas", "pyarrow", "plotly", "matplotlib", "sklearn")


@pytest.mark.parametrize(
    "command", [[], ["sweep"], ["trial"], ["check"], ["sites"], ["report"], ["ablate"], ["ui"], ["data"]]
)
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    code = f"""
import sys
from plastsearch.cli.main import app
try:
    app({[*command, "--help"]!r})
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
