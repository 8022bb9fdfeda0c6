"""transformers opens the folder, by itself where it can, and gives our scores; pipelines run on it."""

import json

import numpy as np
import pytest
import soundfile

from plastsearch.errors import PlastsearchError
from plastsearch.export.export import Asked, export
from tests.export.made_models import WINDOW, built, clips_in, encoder, grown, model_of

CASES = {
    "wav2vec2": (lambda: grown(encoder("wav2vec2"), {"encoder.0.ffn": 5, "encoder.1.ffn": 5}), True),
    "hubert": (lambda: grown(encoder("hubert", do_stable_layer_norm=True, normalize=False), {}), True),
    "wavlm": (lambda: grown(encoder("wavlm"), {}), True),
    "uneven": (lambda: grown(encoder("wav2vec2"), {"encoder.0.ffn": 5, "encoder.1.attention": 12}), False),
    "wavlm_uneven": (lambda: grown(encoder("wavlm"), {"encoder.0.ffn": 5}), False),
    "pooled": (lambda: grown(encoder("hubert", pooling="attention"), {}), False),
    "stacked": (lambda: grown(encoder("wav2vec2"), {"encoder.0.ffn": 5}, "stack"), False),
}
QUICK = ("wav2vec2", "uneven")


@pytest.mark.parametrize("case", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in CASES])
def test_it_gives_our_scores(case, tmp_path, monkeypatch):
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    make, native = CASES[case]
    model = model_of(make(), calibrated=case in ("wav2vec2", "stacked"))
    exact = clips_in(tmp_path)[1]
    exported = export(model, tmp_path / "out", Asked())
    folder = tmp_path / "out" / "transformers"
    assert ("modeling_plastsearch.py" in {path.name for path in folder.iterdir()}) is not native
    assert any(("by itself" if native else "trust_remote_code") in note for note in exported.notes)
    trust = {} if native else {"trust_remote_code": True}
    theirs, said = AutoModelForAudioClassification.from_pretrained(folder, output_loading_info=True, **trust)
    assert not any(said[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    heard = AutoFeatureExtractor.from_pretrained(folder)
    wave, rate_hz = soundfile.read(exact, dtype="float32")
    inputs = heard(np.stack([wave, wave[::-1]]).tolist(), sampling_rate=rate_hz, return_tensors="pt")
    logits = theirs(inputs.input_values).logits.detach().numpy()
    for row, samples in zip(logits, (wave, wave[::-1].copy()), strict=True):
        assert row[1] - row[0] == pytest.approx(model.score(samples, rate_hz).score, abs=1e-5)
    assert theirs.config.id2label == {0: "spoof", 1: "bonafide"}
    asked = pipeline("audio-classification", model=str(folder), **trust)
    found = {one["label"]: one["score"] for one in asked({"array": wave, "sampling_rate": rate_hz})}
    assert found["bonafide"] == pytest.approx(model.score(exact).probability, abs=1e-5)


def test_it_is_for_encoders_alone(tmp_path):
    with pytest.raises(PlastsearchError, match="grnn is no encoder of transformers; leave the option out"):
        export(model_of(built("grnn")), tmp_path / "out", Asked(transformers=True))
    assert list(tmp_path.iterdir()) == []
    export(model_of(built("grnn")), tmp_path / "out", Asked())
    assert not (tmp_path / "out" / "transformers").exists()


def test_it_can_be_left_out(tmp_path):
    export(model_of(encoder("wav2vec2")), tmp_path / "out", Asked(transformers=False))
    assert "SHA256SUMS" in {path.name for path in (tmp_path / "out").iterdir()}
    assert not (tmp_path / "out" / "transformers").exists()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["detector"]["length_samples"] == WINDOW
