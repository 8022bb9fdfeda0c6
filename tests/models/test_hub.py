"""Hub names: the download that lies on this machine is what is loaded, and what a stage's name holds."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from plastsearch.errors import PlastsearchError
from plastsearch.models.build import build, save_pretrained
from plastsearch.models.sites import site_table
from plastsearch.models.wav2vec2 import fetch
from plastsearch.models.widths import local_folder
from plastsearch.spec.model import ModelConfig
from plastsearch.trial.keys import weights_id

NAME = "someone/tiny-encoder"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with two revisions of one encoder, `b` on the main branch."""
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    download = tmp_path / "hub" / "models--someone--tiny-encoder"
    for seed, commit in enumerate(("a" * 40, "b" * 40)):
        save_pretrained(build("wav2vec2", "tiny", seed=seed), download / "snapshots" / commit)
    said = download / "snapshots" / ("b" * 40) / "preprocessor_config.json"
    said.write_text(json.dumps(json.loads(said.read_text()) | {"do_normalize": False}))
    (download / "refs").mkdir()
    (download / "refs" / "main").write_text("b" * 40)
    return download


def test_the_download_of_a_hub_name_is_loaded_without_a_network(hub: Path) -> None:
    detector = build("wav2vec2", source=NAME)
    own = build("wav2vec2", source=str(hub / "snapshots" / ("b" * 40)))
    assert all(torch.equal(value, own.state_dict()[key]) for key, value in detector.state_dict().items())
    assert detector.normalize is False  # as its preprocessor says
    assert len(site_table(ModelConfig.model_validate({"from": NAME}))) == 18


def test_revisions_are_different_starts_and_the_same_files_are_the_same(hub: Path, tmp_path: Path) -> None:
    older = f"{NAME}@{'a' * 40}"
    assert local_folder(older) == hub / "snapshots" / ("a" * 40)
    assert weights_id(older) != weights_id(NAME)
    shutil.copytree(hub / "snapshots" / ("b" * 40), tmp_path / "own")
    assert weights_id(str(tmp_path / "own")) == weights_id(NAME)
    (hub / "refs" / "main").write_text("a" * 40)
    assert weights_id(NAME) == weights_id(older)


def test_a_name_that_is_nowhere_is_refused(hub: Path) -> None:
    with pytest.raises(PlastsearchError, match=r"model\.from: 'someone/else' gives no weights: .*a hub name that can"):
        build("wav2vec2", source="someone/else")
    for path in (hub / "snapshots" / ("b" * 40)).glob("*.safetensors"):  # cut short: not taken for a download
        path.unlink()
    assert local_folder(NAME) is None


@pytest.mark.parametrize("source", ["./tiny-encoder", "/nowhere/tiny-encoder", "../a/b", "a/b/c", "~/tiny-encoder"])
def test_no_hub_is_asked_for_what_looks_like_a_path(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a node that does not see the folder the trial says so; a stage is never named for a hub name instead."""

    def asked(*args: object, **kwargs: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.snapshot_download", asked)
    for look in (fetch, weights_id, lambda name: site_table(ModelConfig.model_validate({"from": name}))):
        with pytest.raises(
            PlastsearchError, match=r"model\.from: .* does not exist on .*; name a folder .*, a hub name"
        ):
            look(source)
    with pytest.raises(PlastsearchError, match="does not exist on"):
        build("wav2vec2", source=source)
