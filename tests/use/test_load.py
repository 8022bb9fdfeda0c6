"""A model comes back from a sweep, and from its exported folder, as the network that was judged there."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from plastsearch import load_model
from plastsearch.analysis.results import load_results
from plastsearch.errors import PlastsearchError
from plastsearch.growth.blocks import outermost
from plastsearch.scores.clip_scores import read_clip_scores
from plastsearch.use.folder import write_folder
from tests.found_models import SITES, settings_in

NETWORKS = list(SITES)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("trial", [0, 1, 2])
def test_a_found_model_says_of_every_dev_clip_what_its_trial_said(found_root, network, trial):
    from plastsearch.data.corpus import open_corpus

    folder = found_root / network
    model = load_model(f"{folder}:{trial}")
    record = next(row.record for row in load_results(folder).rows if row.number == trial)
    kept = read_clip_scores(Path(record.details["scores"]["search_dev"]))
    clips = open_corpus(record.trial_config.data, settings_in(found_root, found_root / "cache").clips_folder).search_dev
    scores = model.scores(clips.batch([n], model.window_samples)[0] for n in range(len(clips)))
    assert list(clips.ids) == list(kept.ids)
    np.testing.assert_allclose(scores, kept.scores, atol=2e-5)
    assert outermost(model.detector) == []  # plain modules


@pytest.mark.parametrize("network", NETWORKS)
def test_an_exported_folder_holds_the_same_network_at_its_grown_widths(found_root, tmp_path, network):
    model = load_model(f"{found_root / network}:trial 1")
    write_folder(tmp_path / "out", model.detector, model.facts)
    again = load_model(str(tmp_path / "out"))
    wave = torch.randn(2, model.window_samples, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(model.raw(wave), again.raw(wave))
    assert again.facts == model.facts
    base = load_model(f"{found_root / network}:0")
    sizes = [sum(p.numel() for p in one.detector.parameters()) for one in (base, again)]
    assert sizes[1] > sizes[0]


def test_names_lead_to_their_trials(found_root):
    folder = found_root / "grnn"
    names = {name: load_model(f"{folder}:{name}").facts.name for name in ("best", "knee", "2", "trial 2", "1/seed3")}
    results = load_results(folder)
    assert results.winner is not None
    assert results.knee is not None
    assert names == {
        "best": f"grnn:{results.winner.number}", "knee": f"grnn:{results.knee.number}", "2": "grnn:2",
        "trial 2": "grnn:2", "1/seed3": "grnn:3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere:best", "no such model here"),
        ("{root}/grnn", "a sweep holds many models; say which"),
        ("{root}/grnn:17", "no trial 17; its trials are 0 to 3"),
        ("{root}/grnn:1/seed9", "trial 1 was not run again with seed 9; its further seeds: 3"),
        ("{root}/grnn:worst", "'worst' names no trial"),
        ("{root}:best", "is no sweep"),
        ("{root}/cache", "no model in that folder"),
        ("~nobody-of-that-name/x:best", "cannot be used as a path"),
        ("a" * 5000, "cannot be used as a path"),
        ("x\0y", "cannot be used as a path"),
    ],
)
def test_a_name_that_means_nothing_is_told_in_a_sentence(found_root, name, words):
    with pytest.raises(PlastsearchError, match=words.replace("(", r"\(")):
        load_model(name.format(root=found_root))


def test_weights_that_are_gone_are_told_with_the_places_looked_at(found_root, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    text = (found_root / "grnn" / "trials.jsonl").read_text().replace(str(found_root), str(tmp_path))
    (moved / "trials.jsonl").write_text(text)
    with pytest.raises(PlastsearchError, match="were they dropped or left on another machine"):
        load_model(f"{moved}:1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plain: plain.pop("plastsearch"), "not of a model that plastsearch exported"),
        (lambda plain: plain["plastsearch"].update(rate_hz="fast"), "rate_hz"),
        (lambda plain: plain["plastsearch"]["network"].update(hidden=[10**9]), "is no width of a network"),
        (lambda plain: plain["plastsearch"]["network"].update(bidirectional=True), "saved tensors do not fit"),
        (lambda plain: plain["plastsearch"]["network"].update(model_type="evil"), "no network can be built from it"),
        (lambda plain: plain["plastsearch"]["growth"].update(dropins=[{"mode": "x"}]), "growth plan"),
        (lambda plain: plain["plastsearch"].update(extra=1), "extra"),
        (lambda plain: plain["plastsearch"].update(length_samples=8_000_000), "no window here is longer than 60 s"),
    ],
)
def test_a_manipulated_config_is_refused_by_name(found_root, tmp_path, change, words):
    model = load_model(f"{found_root / 'grnn'}:1")
    write_folder(tmp_path / "out", model.detector, model.facts)
    path = tmp_path / "out" / "config.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(PlastsearchError, match=words) as caught:
        load_model(str(tmp_path / "out"))
    assert "config.json" in str(caught.value)


def test_scoring_in_python_takes_three_lines_and_no_ray_or_mlflow(found_root, tmp_path):
    from plastsearch.audio import write_audio

    path = tmp_path / "clip.flac"
    write_audio(path, 0.1 * np.random.default_rng(0).standard_normal(20_000), 16_000)
    program = (
        "import sys\nfrom plastsearch import load_model\n"
        f"model = load_model({str(found_root / 'grnn') + ':best'!r})\nscore = model.score({str(path)!r})\n"
        "print(float(score), len(score.windows), [name for name in ('ray', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    number, windows, heavy = done.stdout.split(maxsplit=2)
    assert np.isfinite(float(number))
    assert int(windows) == 3  # no gap between windows of half a second
    assert heavy.strip() == "[]"
