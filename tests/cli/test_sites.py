"""`plastsearch sites` names every site, its width and cost, and says why one is missing."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["sites", *arguments], catch_exceptions=False)


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("wav2vec2", ["encoder.0.attention", "attention", "48", "12", "195"]),
        ("resnet18", ["layer4.1", "channels", "64", "1", "1,154"]),
        ("grnn", ["gru.2", "hidden", "48", "1", "443"]),
    ],
)
def test_the_table_has_a_row_per_site(model: str, row: list[str]) -> None:
    lines = [line.split() for line in run(model).stdout.splitlines()]
    assert any(line[:5] == row for line in lines), lines


def test_the_unit_of_neurons_is_said() -> None:
    text = run("wav2vec2").stdout
    assert "a multiple of the head width" in text
    assert "a multiple of the number of heads" in text
    assert "\x1b" not in text


def test_json_is_one_document() -> None:
    document = json.loads(run("grnn", "--preset", "base", "--bidirectional", "--json").stdout)
    assert [site["name"] for site in document["sites"]] == ["gru.0", "gru.1", "gru.2"]
    assert document["model"]["bidirectional"] is True


def test_wavlm_says_why_its_attention_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "wavlm", "num_hidden_layers": 2}')
    text = run("wav2vec2", "--from", str(tmp_path)).stdout
    assert "encoder.1.ffn" in text
    assert "encoder.1.attention" not in text
    assert "wavlm: attention and head_width are missing, because" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wav2vec"], r"unknown model 'wav2vec' \(did you mean 'wav2vec2'\?\); known: wav2vec2, resnet18, grnn"),
        (["grnn", "--preset", "tny"], r"unknown preset 'tny' of grnn \(did you mean 'tiny'\?\)"),
        (["wav2vec2", "--from", "someone/encoder"], "only known once its weights are here"),
    ],
)
def test_unknown_names_come_with_suggestions(arguments: list[str], message: str) -> None:
    with pytest.raises(PlastsearchError, match=message):
        run(*arguments)
