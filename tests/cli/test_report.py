"""`plastsearch report` prints the front and what it is worth, and leaves its files in the sweep's folder."""

import io
import json

from rich.console import Console
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.cli.output import print_blocks
from plastsearch.documents import Table
from plastsearch.errors import PlastsearchError
from tests.made_sweep import make_sweep


def test_front_verdict_and_files(tmp_path):
    folder = make_sweep(tmp_path / "w2v_layers")
    result = CliRunner().invoke(app, ["report", str(folder)])
    assert result.exit_code == 0, result.output
    for part in (
        "dev EER %",
        "backward ratio",
        "encoder.",
        "Did growth pay?",
        "Finalists",
        "NaN",
        "plastsearch ui",
        "What mattered?",
        "20 trials are few",
        "PED-ANOVA",
    ):
        assert part in result.output
    assert "\x1b" not in result.output  # no colours into a pipe
    assert (folder / "report" / "pareto.html").stat().st_size > 1_000_000
    assert (folder / "report" / "report.md").exists()


def test_one_json_document(tmp_path):
    folder = make_sweep(tmp_path / "w2v_layers", search=9)
    found = json.loads(CliRunner().invoke(app, ["report", str(folder), "--json"]).output)
    assert found["front"]
    assert found["verdict"][0].startswith("No difference shown between trial")
    assert found["files"]["report.md"].endswith("report/report.md")


def test_no_sweep_there(tmp_path):
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(result.exception, PlastsearchError)
    assert "no sweep here" in str(result.exception)


def test_a_table_without_rows_is_not_printed():
    out = Console(width=80, file=io.StringIO())
    print_blocks(out, [Table(("trial", "dev EER %"), ())])
    assert out.file.getvalue() == ""
    print_blocks(out, [Table(("trial", "dev EER %"), (("trial 1", "12.00"),))])
    assert "12.00" in out.file.getvalue()
