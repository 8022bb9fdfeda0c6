"""An ONNX file gives a network's scores for clips of any number and length, or it is not kept."""

import dataclasses
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from plastsearch import load_model
from plastsearch.audio import write_audio
from plastsearch.errors import PlastsearchError
from plastsearch.export import onnx_file
from plastsearch.export.onnx_check import TOLERANCE, check_clips, opened, parity, scored
from plastsearch.export.onnx_file import write_onnx
from plastsearch.models.build import build, from_config
from plastsearch.models.catalog import preset_widths
from plastsearch.use.facts import Calibration, Facts
from plastsearch.use.model import Model

CALIBRATION = Calibration(slope=7.5, offset=-0.3, learnt_on="dev", bona_fide=3, spoofed=4)


def model_of(detector, length=8000):
    """A model of a network that no sweep has found, with statistics of norms unlike those of a fresh one."""
    generator = torch.Generator().manual_seed(1)
    for module in detector.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    facts = Facts(name="made", network={"model_type": "made"}, growth={}, rate_hz=16_000, length_samples=length)
    return Model(detector, facts, torch.device("cpu"))


def encoder(kind, **more):
    widths = {"model_type": kind, **preset_widths("wav2vec2", "tiny"), "pooling": "mean", "dropout": 0.0, **more}
    torch.manual_seed(0)
    return from_config({**widths, "normalize": True})


@pytest.fixture(scope="module")
def grown(found_root, tmp_path_factory):
    """A GRNN that grew, calibrated, and its file."""
    model = load_model(f"{found_root / 'grnn'}:1", "cpu")
    model.facts = model.facts.model_copy(update={"calibration": CALIBRATION})
    return model, write_onnx(model, tmp_path_factory.mktemp("onnx") / "model.onnx")


def test_a_grown_gru_scores_clips_of_other_numbers_and_lengths_as_the_network_does(grown):
    model, written = grown
    assert written.parity.worst <= TOLERANCE
    assert len(set(written.parity.lengths) - {model.window_samples}) == 5
    session = opened(written.path)
    clips = check_clips(model.window_samples, seed=8)
    for wave in clips:
        np.testing.assert_allclose(scored(session, wave), model.scores(wave), atol=TOLERANCE * CALIBRATION.slope)
    assert np.ptp(scored(session, clips[2])) > 0  # clips are told apart


def test_digital_silence_is_no_logarithm_of_zero(grown):
    model, written = grown
    wave = check_clips(model.window_samples, seed=3)[1]
    wave[0] = 0
    wave[1, 1000:] = 0
    found = scored(opened(written.path), wave)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, model.scores(wave), atol=TOLERANCE * CALIBRATION.slope)


def test_the_file_says_what_its_user_must_know_and_nothing_of_this_machine(grown):
    model, written = grown
    kept = onnx.load(written.path)
    said = {one.key: one.value for one in kept.metadata_props}
    assert said["plastsearch.rate_hz"] == "16000"
    assert said["plastsearch.window_samples"] == str(model.window_samples)
    assert said["plastsearch.calibrated"] == "true"
    assert float(said["plastsearch.threshold"]) == model.threshold()
    whole = written.path.read_bytes()
    assert b".py" not in whole
    assert str(Path.home()).encode() not in whole
    axes = [
        [axis.dim_param for axis in one.type.tensor_type.shape.dim] for one in (*kept.graph.input, *kept.graph.output)
    ]
    assert axes == [["clips", "samples"], ["clips"]]


def test_a_gru_of_the_other_equation_is_found_out(grown, tmp_path, monkeypatch):
    model, written = grown
    kept = onnx.load(written.path)
    for node in kept.graph.node:
        for attribute in node.attribute:
            if attribute.name == "linear_before_reset":
                attribute.i = 0
    onnx.save(kept, tmp_path / "wrong.onnx")
    assert parity(model, tmp_path / "wrong.onnx", check_clips(model.window_samples, seed=0)).worst > 10 * TOLERANCE
    with pytest.raises(PlastsearchError, match=r"other scores than the network, by up to .* so it was not kept"):
        onnx_file._checked(model, tmp_path / "wrong.onnx")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"onnxscript": "0.6.2"}, "needs onnxscript 0.7.2 or later, and 0.6.2 is installed; it writes a GRU"),
        ({"onnxruntime": "1.9.1"}, r"needs onnxruntime 1.32 or later.*pip install 'plastsearch\[onnx\]'"),
        ({"onnx": None}, r"needs onnx, which is not installed here: pip install 'plastsearch\[onnx\]'"),
    ],
)
def test_packages_that_lack_or_write_wrong_files_are_refused_in_a_sentence(found, said, monkeypatch):
    known = metadata.version

    def version(name):
        if found.get(name, "") is None:
            raise metadata.PackageNotFoundError(name)
        return found.get(name) or known(name)

    onnx_file.check_installed()
    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(PlastsearchError, match=said):
        onnx_file.check_installed()


def test_the_extra_asks_for_what_the_export_does():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    asked = {one.partition(">=")[0]: one.partition(">=")[2] for one in project["optional-dependencies"]["onnx"]}
    assert {name: text.partition(",")[0] for name, text in asked.items()} == {
        name: ".".join(map(str, oldest)) for name, oldest in onnx_file.OLDEST.items()
    }


@pytest.mark.slow
def test_a_wrong_file_is_not_kept_and_an_earlier_one_stays(grown, tmp_path, monkeypatch):
    model, _ = grown
    write = torch.onnx.ops.symbolic

    def other_equation(name, inputs, attributes, **more):
        return write(name, inputs, {**attributes, "linear_before_reset": 0}, **more)

    monkeypatch.setattr(torch.onnx.ops, "symbolic", other_equation)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"earlier")
    with pytest.raises(PlastsearchError, match="other scores"):
        write_onnx(model, path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.parametrize("trial", [1, 2])
@pytest.mark.parametrize("network", ["resnet18", "wav2vec2"])
def test_grown_and_pruned_networks_keep_their_scores(found_root, tmp_path, network, trial):
    written = write_onnx(load_model(f"{found_root / network}:{trial}", "cpu"), tmp_path / "model.onnx")
    assert written.parity.worst <= TOLERANCE


MADE = {
    "bidirectional GRNN, attention": lambda: build("grnn", bidirectional=True, pooling="attention", front_end="mfcc"),
    "GRNN, mean and deviation": lambda: build("grnn", pooling="mean_std", front_end="log_mel"),
    "GRNN by clip, slopes": lambda: build("grnn", normalise="clip", deltas=2),
    "ResNet18, nothing set off, whole picture": lambda: build("resnet18", normalise="none", stem="whole", masks=1),
    "spiking GRNN": lambda: build("grnn", activation="lif"),
    "CNN, mean and deviation": lambda: build("cnn", pooling="mean_std", normalise="none"),
    "LCNN, slopes": lambda: build("lcnn", bins=20, deltas=2),
    "ResNet18, attention": lambda: build("resnet18", pooling="attention", front_end="linear"),
    "ResNet18, mean and deviation": lambda: build("resnet18", pooling="mean_std", front_end="lfcc"),
    "wav2vec2, attention": lambda: build("wav2vec2", pooling="attention"),
    "wav2vec2, mean and deviation": lambda: build("wav2vec2", pooling="mean_std"),
    "wav2vec2, post-norm": lambda: encoder("wav2vec2", do_stable_layer_norm=False),
    "wav2vec2, norms in the feature encoder": lambda: encoder("wav2vec2", feat_extract_norm="layer", conv_bias=True),
    "HuBERT": lambda: encoder("hubert", do_stable_layer_norm=False),
    "WavLM": lambda: encoder("wavlm", do_stable_layer_norm=False),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MADE)
def test_every_family_pooling_and_front_end_keeps_its_scores(tmp_path, kind):
    written = write_onnx(model_of(MADE[kind]()), tmp_path / "model.onnx")
    assert dataclasses.asdict(written.parity)["worst"] <= TOLERANCE


class OfTwo(torch.nn.Module):
    """Says how many clips there are in a way that only holds for one number of them."""

    def forward(self, wave_BT):
        return torch.stack([torch.stack([row.sum(), row.mean()]) for row in wave_BT])


class Choosing(torch.nn.Module):
    def forward(self, wave_BT):
        return wave_BT[:, :2] if wave_BT.sum() > 0 else wave_BT[:, 2:4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "said"),
    [
        (OfTwo, r"made: torch's ONNX exporter froze the number or the length of clips: \[2,samples\]"),
        (Choosing, "made: torch's ONNX exporter cannot take this network"),
    ],
)
def test_what_the_exporter_cannot_take_is_told_in_a_sentence(tmp_path, capfd, network, said):
    with pytest.raises(PlastsearchError, match=said):
        write_onnx(model_of(network()), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")  # the exporter's own talk


def test_the_lines_of_the_documentation_score_a_clip_as_the_model_does(grown, tmp_path, monkeypatch, capsys):
    model, written = grown
    text = (Path(__file__).parents[2] / "docs/onnx.md").read_text().split("```python\n")[1].split("```")[0]
    wave = np.random.default_rng(4).uniform(-0.3, 0.3, 3 * model.window_samples + 501).astype(np.float32)
    write_audio(tmp_path / "clip.flac", wave, 16_000)
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector/model.onnx").write_bytes(written.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "onnx.md", "exec"), {})  # noqa: S102
    score, decision = capsys.readouterr().out.split(maxsplit=1)
    expected = model.score(tmp_path / "clip.flac")
    assert float(score) == pytest.approx(expected.score, abs=TOLERANCE * CALIBRATION.slope)
    assert decision.strip() == ("bona fide" if expected.bona_fide else "spoof")
