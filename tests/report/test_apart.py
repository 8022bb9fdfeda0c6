"""Drawing in a process apart: the same files and words, and none of their libraries in the driver."""

import subprocess
import sys

import pytest

from plastsearch.errors import PlastsearchError
from plastsearch.report import apart
from plastsearch.report.publish import render


@pytest.mark.slow
def test_it_draws_what_is_drawn_here(folder):
    assert apart.render(folder) == render(folder)


def test_the_driver_imports_no_drawing_library(folder):
    code = (
        "import sys; from pathlib import Path; from plastsearch.report.apart import render\n"
        "render(Path(sys.argv[1])); sys.exit(bool({'matplotlib', 'plotly', 'optuna', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == 0


@pytest.mark.slow
def test_what_goes_wrong_there_is_said_here(tmp_path):
    with pytest.raises(PlastsearchError, match=r"could not be drawn .*no sweep here"):
        apart.render(tmp_path)
