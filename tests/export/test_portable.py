"""The one file of code scores every clip as our own Model does, for every network, pooling, front end and growth."""

import ast
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from plastsearch import load_model
from plastsearch.errors import PlastsearchError
from plastsearch.export.export import Asked, export
from plastsearch.export.join import joined
from plastsearch.export.portable.weights import read_tensors
from plastsearch.export.shape import shape_of
from plastsearch.models.build import BUILDERS
from plastsearch.models.catalog import SPEECH
from plastsearch.models.detector import Detector
from plastsearch.models.heads.table import HEADS
from tests.export.made_models import built, clips_in, encoder, grown, model_of, ringed

LIF = {"activation": "lif"}
CASES = {
    "grnn": lambda: grown(built("grnn"), {"gru.0": 5, "gru.2": 3}),
    "grnn_both_ways_attention": lambda: grown(
        built("grnn", bidirectional=True, pooling="attention", front_end="log_mel"), {"gru.1": 4}
    ),
    "grnn_clip_slopes": lambda: grown(built("grnn", normalise="clip", deltas=2), {"gru.1": 4}),
    "resnet18_none_whole": lambda: grown(built("resnet18", normalise="none", stem="whole", deltas=1, masks=2), {}),
    "resnet18_as_before": lambda: grown(built("resnet18", normalise="clip", stem="quarter"), {"layer1.0": 2}),
    "grnn_stacked": lambda: grown(built("grnn", front_end="mfcc"), {"gru.1": 4}, "stack"),
    "grnn_parallel": lambda: grown(built("grnn", bidirectional=True), {"gru.0": 6, "gru.2": 2}, "parallel"),
    "grnn_spiking": lambda: grown(built("grnn", reset="hard", **LIF), {"gru.0": 5}),
    "resnet18": lambda: grown(built("resnet18"), {"layer1.1": 3, "layer3.0": 7}),
    "resnet18_larger_kernels": lambda: ringed(built("resnet18"), {"layer1.1": 5, "layer3.0": 7}),
    "resnet18_truncated_linear": lambda: _truncated(built("resnet18", front_end="linear", pooling="mean_std"), 5),
    "resnet18_stacked": lambda: grown(built("resnet18", pooling="attention"), {"layer2.0": 4}, "stack"),
    "cnn": lambda: grown(built("cnn"), {"conv.0": 3, "conv.1": 5}),
    "cnn_truncated": lambda: _truncated(built("cnn", pooling="attention", normalise="corpus"), 2),
    "lcnn": lambda: grown(built("lcnn", bins=20, deltas=2), {"conv.0": 3, "conv.4": 5, "lstm.0": 2}),
    "lcnn_truncated": lambda: _truncated(built("lcnn", pooling="mean_std", normalise="none"), 6),
    "resnet18_spiking": lambda: grown(built("resnet18", **LIF), {"layer2.1": 3}),
    "wav2vec2_post_norm": lambda: grown(
        encoder("wav2vec2", pooling="mean_std"),
        {"encoder.0.ffn": 5, "encoder.1.attention": 12, "encoder.0.head_width": 4},
    ),
    "wav2vec2_pre_norm": lambda: grown(
        encoder("wav2vec2", do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True, normalize=False),
        {"encoder.0.attention": 6},
    ),
    "wav2vec2_stacked": lambda: grown(encoder("wav2vec2"), {"encoder.0.ffn": 5, "encoder.1.attention": 12}, "stack"),
    "hubert": lambda: grown(encoder("hubert", pooling="attention"), {"encoder.1.ffn": 9}),
    "hubert_without_norms": lambda: grown(encoder("hubert", feat_proj_layer_norm=False, conv_pos_batch_norm=True), {}),
    "wav2vec2_aasist": lambda: grown(encoder("wav2vec2", head="aasist"), {"encoder.0.ffn": 5}),
    "wav2vec2_aasist_grown": lambda: grown(
        ringed(encoder("wav2vec2", head="aasist"), {"head.block.2": 5}), {"head.block.1": 5, "head.gate": 3}
    ),
    "wav2vec2_nes2net_of_all_layers": lambda: grown(
        encoder("wav2vec2", head="nes2net_x", layers_in="weighted_sum", do_stable_layer_norm=True), {}
    ),
    "wav2vec2_pooling_of_all_layers": lambda: _truncated(
        encoder("wav2vec2", 3, layers_in="weighted_sum", pooling="mean_std"), 2
    ),
    "hubert_sls": lambda: grown(encoder("hubert", head="sls"), {"encoder.0.attention": 6}),
    "wav2vec2-bert_mhfa": lambda: grown(
        encoder("wav2vec2-bert", head="mhfa"), {"encoder.0.ffn1": 5, "encoder.1.ffn2": 3}
    ),
    "wav2vec2-bert": lambda: grown(encoder("wav2vec2-bert"), {}),
    "wavlm_mhfa": lambda: _truncated(grown(encoder("wavlm", 3, head="mhfa"), {"encoder.1.ffn": 6}), 2),
    "wavlm": lambda: grown(encoder("wavlm"), {"encoder.0.ffn": 6}),
    "wavlm_pre_norm": lambda: _truncated(
        grown(encoder("wavlm", 3, do_stable_layer_norm=True), {"encoder.1.ffn": 6}), 2
    ),
}  # fmt: skip


def _truncated(detector: Any, blocks: int) -> Any:
    detector.truncate_(blocks)
    return grown(detector, {})


def imported(path: Path) -> ModuleType:
    """A file as a module, apart from any package."""
    spec = importlib.util.spec_from_file_location(f"exported_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


QUICK = ("cnn", "grnn_parallel", "lcnn", "resnet18", "wav2vec2_post_norm")


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_it_scores_as_our_model_does(case, tmp_path, monkeypatch):
    model = model_of(CASES[case](), calibrated="stacked" in case)
    clips = clips_in(tmp_path)
    export(model, tmp_path / case, Asked(transformers=False))
    text = (tmp_path / case / "detector.py").read_text()
    assert "import plastsearch" not in text
    assert "from plastsearch" not in text
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    module = imported(tmp_path / case / "detector.py")
    theirs = module.load(tmp_path / case)
    seen = set()
    for clip in clips:
        for aggregation in ("mean", "median", "min", "max", "first") if clip.stem == "long" else ("mean",):
            ours = model.score(clip, aggregation=aggregation, prior=0.3)
            found = theirs.score(clip, aggregation=aggregation, prior=0.3)
            assert found.score == pytest.approx(ours.score, rel=1e-6, abs=1e-5)
            assert found.probability == pytest.approx(ours.probability, abs=1e-5)
            assert found.bona_fide == ours.bona_fide
            assert [(w.start_s, w.end_s) for w in found.windows] == [(w.start_s, w.end_s) for w in ours.windows]
            seen.add(round(ours.score, 3))
    assert len(seen) > 3  # a network that says the same of every clip would prove nothing


@pytest.mark.parametrize("network", ["encoder", "conformer"])
@pytest.mark.parametrize("head", ["linear", *HEADS])
def test_no_name_of_the_one_file_is_given_twice(head, network):
    """Files that know nothing of each other become one: the later name would be taken for the earlier."""
    tree = ast.parse(joined({"network": network, "head": {"kind": head}}))
    given = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    given += [
        target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
        if isinstance(target, ast.Name)
    ]  # fmt: skip
    assert sorted(set(given)) == sorted(given)
    others = {net.__name__ for name, net in HEADS.items() if name != head}
    assert not others & set(given)


def test_every_head_there_is_can_be_exported():
    assert all(any(head.split("_")[0] in case for case in CASES) for head in HEADS)


def test_every_network_there_is_can_be_exported():
    tried = {case.partition("_")[0] for case in CASES}
    assert {*BUILDERS, *SPEECH} <= tried


def test_a_network_without_a_twin_is_refused_in_a_sentence():
    class Other(Detector):
        """A network that nobody wrote a second time."""

    Other.__abstractmethods__ = frozenset()
    with pytest.raises(PlastsearchError, match="Other cannot be exported: no file for others is written for it"):
        shape_of(Other(4, "mean", 0.0))


def test_further_parts_are_in_the_folder_before_it_has_its_name(tmp_path):
    model = model_of(grown(built("grnn"), {}))

    def part(made, draft):
        assert made is model
        assert not (tmp_path / "out").exists()
        (draft / "more.bin").write_bytes(b"more")
        return [f"{draft / 'more.bin'}: 4 bytes"]

    def broken(made, draft):
        raise PlastsearchError("the exporter wrote other numbers")

    with pytest.raises(PlastsearchError, match="other numbers"):
        export(model, tmp_path / "out", Asked(), [part, broken])
    assert list(tmp_path.iterdir()) == []
    exported = export(model, tmp_path / "out", Asked(), [part])
    assert exported.notes == [f"{tmp_path / 'out' / 'more.bin'}: 4 bytes"]
    assert "more.bin" in (tmp_path / "out" / "SHA256SUMS").read_text()
    assert "| more.bin | 4 |" in (tmp_path / "out" / "README.md").read_text()


def test_an_exported_folder_is_a_model_itself(tmp_path):
    model = model_of(grown(encoder("wav2vec2"), {"encoder.0.ffn": 5}), calibrated=True)
    clip = clips_in(tmp_path)[2]
    export(model, tmp_path / "out", Asked())
    again = load_model(str(tmp_path / "out"))
    assert again.score(clip).score == pytest.approx(model.score(clip).score, abs=1e-6)
    export(again, tmp_path / "twice", Asked())
    for name in ("model.safetensors", "detector.py", "config.json"):
        assert (tmp_path / "twice" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_places_on_the_finders_disk_stay_there(tmp_path):
    config = {"data": {"root": "/home/somebody/LA", "corpus": "asvspoof2019_la"}, "model": {"from": "facebook/base"}}
    model = model_of(built("grnn"), found={"config": config})
    export(model, tmp_path / "out", Asked())
    for path in (tmp_path / "out").iterdir():
        assert b"somebody" not in path.read_bytes()


def test_weights_that_do_not_lie_where_they_say_are_refused(tmp_path):
    header = b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}'
    (tmp_path / "short").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    (tmp_path / "no").write_bytes(b"PK\x03\x04" * 9)
    with pytest.raises(ValueError, match="a does not lie where its header says"):
        read_tensors(tmp_path / "short")
    with pytest.raises(ValueError, match="no safetensors file"):
        read_tensors(tmp_path / "no")
