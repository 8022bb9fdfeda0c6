"""`plastsearch evaluate` prints the whole table for anybody's score file, and says where one is broken."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.errors import DataError
from plastsearch.scores.files import write_scores
from plastsearch.scores.metrics import eer


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    bona = rng.random(300) < 0.3
    scores = rng.normal(2.5 * bona, 1)
    ids = [f"LA_E_{n:07d}" for n in range(300)]
    attacks = ["-" if one else f"A{7 + n % 3:02d}" for n, one in enumerate(bona)]
    write_scores(tmp_path / "scores.txt", ids, scores)
    (tmp_path / "protocol.txt").write_text(
        "".join(f"LA_{n % 10:04d} {name} - {attacks[n]} {'bonafide' if bona[n] else 'spoof'}\n"
                for n, name in enumerate(ids))
    )  # fmt: skip
    asv = "".join(f"A07 {kind} {mean + value!r}\n" for kind, mean in (("target", 4), ("nontarget", -4), ("spoof", 0))
                  for value in rng.normal(0, 2, 50).tolist())  # fmt: skip
    (tmp_path / "asv.txt").write_text(asv)
    return tmp_path, eer(scores[bona], scores[~bona])[0]


def test_the_whole_table(files):
    folder, value = files
    arguments = ["evaluate", str(folder / "scores.txt"), "-p", str(folder / "protocol.txt"), "--replicates", "50"]
    result = CliRunner().invoke(app, [*arguments, "--asv-scores", str(folder / "asv.txt")])
    assert result.exit_code == 0, result.output
    for part in (
        f"{value:.4f}",
        "over speakers",
        "minDCF",
        "actDCF",
        "Cllr",
        "t-DCF (2019)",
        "t-DCF (2021)",
        "A07",
        "A09",
    ):
        assert part in result.output


def test_one_json_document(files):
    folder, value = files
    arguments = [
        "evaluate",
        str(folder / "scores.txt"),
        "-p",
        str(folder / "protocol.txt"),
        "--replicates",
        "20",
        "--json",
    ]
    found = json.loads(CliRunner().invoke(app, arguments).output)
    assert found["eer"] == value
    assert set(found["per_attack"]) == {"A07", "A08", "A09"}
    assert found["eer_low"] <= value <= found["eer_high"]


def test_a_missing_score_names_the_protocols_line(files):
    folder, _ = files
    lines = (folder / "scores.txt").read_text().splitlines()
    (folder / "scores.txt").write_text("\n".join(lines[:6] + lines[7:]) + "\n")
    result = CliRunner().invoke(app, ["evaluate", str(folder / "scores.txt"), "-p", str(folder / "protocol.txt")])
    assert isinstance(result.exception, DataError)
    assert "protocol.txt:7: LA_E_0000006 has no score in" in str(result.exception)


def test_a_mistake_ends_with_status_2_and_without_traceback(files):
    folder, _ = files
    command = [sys.executable, "-m", "plastsearch.cli.main", "evaluate", str(folder / "none.txt")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == f"error: {folder}/none.txt: no such file; check its name and folder\n"


def test_judging_imports_no_torch(files):
    folder, _ = files
    code = (
        "import sys; from plastsearch.cli.look.evaluate import evaluate; from pathlib import Path;"
        f"evaluate(Path({str(folder / 'scores.txt')!r}), Path({str(folder / 'protocol.txt')!r}), replicates=5);"
        "assert 'torch' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
