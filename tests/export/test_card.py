"""The card says what the model is, and the arena's files what its scores are."""

import hashlib
import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from plastsearch import load_model
from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.export.arena import Submission, slug, write_arena
from plastsearch.export.arena_scores import Entry
from plastsearch.export.attack_intervals import with_attack_intervals
from plastsearch.export.card import Told, card
from plastsearch.export.grown import grown_sites, pictured
from plastsearch.use.references import parse
from tests.export.made_models import built, model_of


@pytest.mark.parametrize("network", ["grnn", "resnet18", "wav2vec2"])
def test_sites_of_the_card_are_those_of_the_network(found_root, network):
    from plastsearch.growth.survey import find_sites

    for trial in (0, 1, 2):
        model = load_model(f"{found_root}/{network}:{trial}")
        now = {one.name: one.now for one in grown_sites(model.facts)}
        assert now == {name: site.width for name, site in find_sites(model.detector).items()}


def test_a_card_has_a_front_matter_that_yaml_reads_and_rates_with_intervals(found_root, tmp_path):
    name = f"{found_root}/grnn:1"
    facts = with_attack_intervals(load_model(name).facts, parse(name), replicates=50)
    text = card(facts, 43_738, tmp_path)
    _, front, body = text.split("---\n", 2)
    head = yaml.safe_load(front)
    assert head["pipeline_tag"] == "audio-classification"
    assert head["model-index"][0]["results"][0]["metrics"][0]["value"] == round(facts.found["metrics"]["dev_eer"], 3)
    assert f"{facts.found['metrics']['dev_eer']:.2f} [" in body
    assert "| gru.1 | 48 | 4 | 0 | 52 |" in body
    assert "![Where it grew](grown.png)" in body
    for attack, rate in facts.found["per_attack"].items():
        low, high = facts.found["attack_intervals"]["dev"][attack]
        assert low <= high
        assert f"| {attack} | {rate:.2f} [{low:.2f}, {high:.2f}] |" in body


def test_larger_kernels_stand_in_card_and_drawing(tmp_path):
    stages = [{"stage": "dropin", "kernels": {"layer1.1": 5, "layer3.0": 7}},
              {"stage": "prune", "kernels": {"layer1.1": 3, "layer3.0": 5}}]  # fmt: skip
    facts = model_of(built("resnet18"), found={"stages": stages}).facts
    text = card(facts, 1, tmp_path)
    assert "| layer1.1 | 5 | 3 |" in text
    assert "| layer3.0 | 7 | 5 |" in text
    names = [one.name for one in pictured(facts)]
    assert names[:2] == ["layer1.0", "layer1.1, kernel 3"]


def test_the_hubs_own_reader_takes_the_card(found_root, tmp_path):
    from huggingface_hub import ModelCard

    facts = load_model(f"{found_root}/resnet18:2").facts
    (tmp_path / "README.md").write_text(card(facts, 1, tmp_path, Told("A detector", "mit", "made speech")))
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.license, data.library_name, data.model_name) == ("mit", "pytorch", "A detector")
    assert data.datasets == ["synthetic"]
    (result,) = data.eval_results
    assert (result.metric_type, result.dataset_split) == ("eer", "search-dev (chosen by it)")


def test_scores_for_the_arena_carry_their_digest_and_an_address_that_waits_for_its_commit(tmp_path):
    wanted = Submission("My System 1", "Org/Data_Set", "me/model", "a network", eer=12.34567)
    scores, sheet = write_arena(tmp_path, wanted, ["a", "b"], np.array([0.5, -1.25]))
    assert scores.read_text() == "a 0.5\nb -1.25\n"
    told = yaml.safe_load(sheet.read_text())
    assert told["artifact"]["scores_sha256"] == hashlib.sha256(scores.read_bytes()).hexdigest()
    assert "/COMMIT/.eval_results/Org/Data_Set/scores.txt" in told["artifact"]["scores_url"]
    assert told["schema_version"] == 4
    assert told["scores"] == {"eer_percent": 12.34567, "n_trials": 2, "n_skipped": 0}
    assert sheet.name == "my-system-1.yaml"


@pytest.mark.parametrize("bad", ["nothing", "a/b/c", "../x/y", "a/../b", ""])
def test_names_that_the_hub_cannot_have_are_refused(tmp_path, bad):
    with pytest.raises(PlastsearchError, match="give organisation/name"):
        write_arena(tmp_path, Submission("x", bad, "me/model", ""), ["a"], np.zeros(1))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PlastsearchError, match="needs letters"):
        slug("¡!")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((None, "me/model", None, None, None), "say for which data set"),
        (("Org/Set", None, None, None, None), "--repository"),
        (("Org/Set", "me/model", None, None, None), "give the data set's scores"),
    ],
)
def test_half_an_entry_is_refused_before_anything_is_written(given, words):
    with pytest.raises(PlastsearchError, match=words):
        Entry.asked(*given)


def test_export_writes_everything_in_one_command_and_names_its_checksums(found_root, tmp_path):
    (tmp_path / "scores.txt").write_text("a A01 spoof -1\nb - bonafide 2\n")
    asked = ["--arena", "Org/Set", "--repository", "me/model", "--scores", str(tmp_path / "scores.txt"), "--json"]
    done = CliRunner().invoke(app, ["export", f"{found_root}/grnn:1", str(tmp_path / "out"), *asked])
    assert done.exit_code == 0, done.output
    assert {"README.md", "config.json", "detector.py", "grown.png", "model.safetensors"} <= set(
        json.loads(done.stdout)["files"]
    )
    sums = dict(reversed(line.split("  ")) for line in (tmp_path / "out" / "SHA256SUMS").read_text().splitlines())
    for name, digest in sums.items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    assert ".eval_results/Org/Set/scores.txt" in sums
