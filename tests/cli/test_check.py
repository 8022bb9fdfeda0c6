"""`plastsearch check` names every mistake of every shipped or broken space, and never imports torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app

ROOT = Path(__file__).parents[2]
SPACES = sorted((ROOT / "search_spaces").rglob("*.yaml"))
HEAD = "base: {method: plasticity}\nspace:\n  neurons: {kind: int, low: 16, high: 32, step: 16}\n"
LAYERS = '  layers: {kind: subset, of: "encoder.*.ffn", max: 3}\n'


def check(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_shipped_space_opens_with_its_question_and_passes(path):
    assert path.read_text().startswith("# Question: ")
    result = check(path, "--no-data", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["ok"]) == (0, True)
    assert document["question"].endswith("?")
    assert document["sites"]
    assert document["size"] > 1
    assert len(document["objectives"]) == 3


def test_the_four_embedded_spaces_need_no_corpus():
    for name in ("w2v_layers", "resnet_stages", "grnn_layers", "arms", "smoke"):
        assert check(ROOT / "search_spaces" / f"{name}.yaml").exit_code == 0
    result = check(ROOT / "search_spaces" / "paper" / "asvspoof2019_la.yaml")
    assert result.exit_code == 2
    place = Path("data/ASVspoof2019/LA").absolute()
    assert f"asvspoof2019_la.yaml:9: base.data.root: {place} is no folder here" in result.output


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (HEAD + LAYERS.replace("ffn", "fnn"), (), "space.yaml:4: space.layers.of: no site matches 'encoder.*.fnn';"),
        (HEAD + LAYERS.replace("3", "9"), (), "space.yaml:4: space.layers.max: 9, but the patterns match 6 sites"),
        (HEAD + LAYERS.replace("ffn", "attention"), (), "space.yaml:3: space.neurons: 16 does not fit 'encoder.5.att"),
        (HEAD + LAYERS, ("base.model.preset=huge",), "--set base.model.preset=huge: base.model.preset: unknown"),
        (HEAD + LAYERS, ("base.model.front_end=lfcc",), "wav2vec2 cannot read 'lfcc'"),
        (HEAD + LAYERS, ("base.data.corpus=in_the_wild",), "base.data.root: missing; give the corpus's folder"),
        (HEAD + LAYERS + "try_first: [{layers: [encoder.0.attention]}]\n", (), "space.yaml:5: try_first.0: layers: e"),
        (HEAD + LAYERS, ("search.sampler=grid", "space.keep={kind: float, low: 0, high: 1}"), "grid needs"),
        ("base: {method: dropin, layers: [encoder.9.ffn], neurons: 16}\nspace:\n  seed: {kind: choice, of: [0, 1]}\n",
         (), "space.yaml:1: base.layers.0: no site matches 'encoder.9.ffn'"),
        ("base:\n  model: {name: grnn}\n  train: {compile: true}\n  layers: [gru.0]\n  neurons: 4\nspace:\n"
         "  seed: {kind: choice, of: [0, 1]}\n", (), "space.yaml:3: base.train.compile: grnn has nothing to compile"),
        (HEAD + LAYERS + "resources: {gpu: 0.2}\nobjectives: [{metric: dev_eer}, {metric: backward_ms}]\n", (),
         "space.yaml:6: objectives.1.metric: backward_ms is timed while other trials compute on the same GPU"),
    ],
)  # fmt: skip
def test_what_does_not_exist(tmp_path, text, options, words):
    (tmp_path / "space.yaml").write_text(text)
    result = check(tmp_path / "space.yaml", *(part for one in options for part in ("--set", one)))
    assert result.exit_code == 2
    assert words in result.output


def test_the_corpus_is_looked_at_before_anything_starts(tmp_path):
    lines = [f"{i}.wav,{'real' if i % 2 else 'fake'},{'train' if i < 8 else 'dev'}" for i in range(12)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,split", *lines, ""]))
    for i in range(11):
        (tmp_path / f"{i}.wav").write_bytes(b"not looked into")
    space = tmp_path / "space.yaml"
    data = f"data: {{corpus: manifest, manifest: {tmp_path / 'clips.csv'}}}"
    space.write_text(HEAD.replace("plasticity}", f"plasticity, {data}}}") + LAYERS)
    for command in (["check"], ["sweep", "--out", str(tmp_path / "runs")]):
        result = CliRunner().invoke(app, [command[0], str(space), *command[1:]])
        said = result.output + str(result.exception)
        assert "11.wav: missing file" in said
        assert "data.on_bad: skip" in said
    assert not (tmp_path / "runs").exists()
    (tmp_path / "11.wav").write_bytes(b"not looked into")
    result = check(space)
    assert (result.exit_code, "finalists need the evaluation split" in result.output) == (2, True)
    assert check(space, "--set", "finalists.top=0").exit_code == 0
    assert check(space, "--no-data").exit_code == 0
    assert "codek" in check(space, "--set", "finalists.top=0", "--set", "base.data.augment=[codek]").output


def test_attacks_to_hold_out_exist():
    held_out = ["--set", "base.data.search_dev={policy: held_out_attacks, attacks: [A07]}"]
    result = check(ROOT / "search_spaces" / "smoke.yaml", *held_out)
    assert "no dev clip of synthetic has attack A07; known: A01, A02" in result.output


def test_mistakes_of_form_and_of_fact_come_together(tmp_path):
    (tmp_path / "space.yaml").write_text(HEAD + LAYERS.replace("ffn", "fnn") + "serach: {}\n")
    lines = check(tmp_path / "space.yaml").output.splitlines()
    assert len(lines) == 2
    assert "serach: unknown key" in lines[0]
    assert "space.layers.of: no site matches" in lines[1]
    document = json.loads(check(tmp_path / "space.yaml", "--json").stdout)
    assert (document["ok"], len(document["mistakes"])) == (False, 2)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00junk", b"[]", b"space: {layers: {kind: subset, of: []}}"])
def test_no_traceback_and_no_torch(tmp_path, content):
    path = tmp_path / "space.yaml"
    if content is not None:
        path.write_bytes(content)
    code = (
        "import sys\nfrom plastsearch.cli.main import main\n"
        f"sys.argv = ['plastsearch', 'check', {str(path)!r}]\n"
        "try:\n    main()\nexcept SystemExit as ended:\n"
        "    heavy = [m for m in ('torch', 'ray', 'mlflow', 'optuna') if m in sys.modules]\n"
        "    sys.exit(ended.code if not heavy else f'imports {heavy}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "space.yaml" in done.stderr


def test_the_text_says_size_sites_and_budget(tmp_path):
    (tmp_path / "space.yaml").write_text(HEAD + LAYERS + "search: {trials: 100}\n")
    output = check(tmp_path / "space.yaml").output
    for part in ("82 configurations", "encoder.0.ffn, encoder.1.ffn", "100 by sampler auto", "baseline, lora, random"):
        assert part in output
    assert "has 82 points" in output
