"""Laws of the heads of speech encoders: published sizes, every cut, lengths, growth below them, and that they learn."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from plastsearch.errors import PlastsearchError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold_
from plastsearch.growth.kernels.grow import grow_kernels_
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build, from_config, save_pretrained
from plastsearch.models.detector import Detector
from plastsearch.models.heads.sls import ROWS, resampling
from plastsearch.models.heads.table import HEADS
from plastsearch.models.sites import site_table
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.model import EVERY_LAYER, ModelConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.methods import check
from plastsearch.trial.run import run_trial
from tests.exactness import adding_nothing, close, same
from tests.models.test_detectors import waves

# Published sizes of the back ends, classifier included, by their papers' or repositories' own configuration.
PUBLISHED = {
    "aasist": (1024, 25, 447_242),  # "447k", Nes2Net's table of back ends (2504.05657)
    "sls": (1024, 25, 23_399_429),  # "23,399k", the same table
    "nes2net_x": (1024, 25, 512_039),  # "511k" there; with one logit, as its first release had, 511,014
    "mhfa": (768, 13, 1_250_364),  # 32 heads, 128 compressed, 256 embedded (2210.01273, as WeDefense sets it)
}
JUDGED = [(head, "last") for head in HEADS] + [("linear", "weighted_sum"), ("aasist", "weighted_sum")]
# Clips of a batch, frames of the cue, steps, learning rate. SLS has a weight for each time, so its cue is long.
LESSONS = {
    "linear": (32, 4, 80, 1e-2), "mhfa": (24, 4, 40, 2e-3), "sls": (24, 12, 60, 2e-3),
    "aasist": (12, 4, 40, 3e-3), "nes2net_x": (16, 4, 40, 3e-3),
}  # fmt: skip
LONG = ("aasist", "nes2net_x", "sls")
both = pytest.mark.parametrize(
    ("head", "layers_in"),
    [pytest.param(*one, marks=pytest.mark.slow if one[0] in ("aasist", "sls") else ()) for one in JUDGED],
)


def made(head: str, layers_in: str = "last", **more: object) -> Detector:
    choices: dict[str, object] = {"seed": 3, **more}
    return build("wav2vec2", head=head, layers_in=layers_in, **choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", list(HEADS))
def test_a_head_has_the_published_number_of_parameters(head: str) -> None:
    features, states, published = PUBLISHED[head]
    with torch.device("meta"):
        net = HEADS[head](features, states)
        classifier = nn.Linear(int(net.outputs), 2)  # type: ignore[arg-type]
    assert sum(one.numel() for part in (net, classifier) for one in part.parameters()) == published


@both
def test_logits_do_not_depend_on_the_cut_nor_on_padding(head: str, layers_in: str) -> None:
    network = made(head, layers_in).eval()
    logits = network(waves())
    for cut in network.cuts():
        close(network.suffix(network.prefix(waves(), cut), cut), logits)
    hidden = network.prefix(waves(), "head")
    assert hidden.dim() == (4 if head in EVERY_LAYER or layers_in == "weighted_sum" else 3)
    spoilt = hidden.clone()
    spoilt[..., 16:, :] += 100
    share = torch.tensor([16.0, 8.0, 16.0]) / hidden.shape[-2]
    close(network.suffix(spoilt, "head", share), network.suffix(hidden, "head", share))
    torch.testing.assert_close(
        network.suffix(hidden[:1, ..., :16, :], "head"), network.suffix(hidden, "head", share)[:1]
    )


@both
def test_clips_of_any_length_have_finite_logits_and_silence_too(head: str, layers_in: str) -> None:
    network = made(head, layers_in).eval()
    for samples in (400, 1_000, 5_000, 20_000):
        assert network(waves(2, samples)).isfinite().all()
    assert network(torch.zeros(2, 8000)).isfinite().all()


@both
def test_every_weight_gets_a_gradient(head: str, layers_in: str) -> None:
    network = made(head, layers_in).train()
    (network(waves()) * torch.tensor([[1.0, -1.0], [-2.0, 1.0], [0.5, 3.0]])).sum().backward()
    lacking = [name for name, one in network.named_parameters() if one.grad is None]
    # Nothing hears a key's bias, and a gate that all layers share is deaf to none of them.
    assert lacking == []
    still = [name for name, one in network.named_parameters() if not one.grad.any()]  # type: ignore[union-attr]
    assert still == []


@both
def test_growth_below_a_head_keeps_every_law_of_the_core(head: str, layers_in: str) -> None:
    """Nothing is added at insertion, the base stays bit for bit, folding keeps the function, pruning gives it back."""
    network = made(head, layers_in).double().eval()
    original = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    wave = waves().double()
    logits = network(wave)
    # Both sites of a layer that a head reads in the middle, and one at the top.
    dropin = add_neurons_(
        network, {"encoder.1.ffn": 7, "encoder.4.attention": 12}, mode="frozen", also=network.head_modules(),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    with adding_nothing(network):
        close(network(wave), logits)
    network.train()
    optimizer = torch.optim.AdamW([one for one in network.parameters() if one.requires_grad], lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(wave), torch.tensor([0, 1, 1])).backward()
        optimizer.step()
    network.eval()
    plain = {name.replace(".base", ""): tensor for name, tensor in network.state_dict().items()}
    body = {name: tensor for name, tensor in original.items() if name.startswith("backbone")}
    same({name: plain[name] for name in body}, body)
    assert any(not torch.equal(plain[name], original[name]) for name in original if name.startswith("pool"))
    trained = network(wave)
    fold_(network, wave)
    torch.testing.assert_close(network(wave), trained, rtol=1e-9, atol=1e-9)
    remove_neurons_(network, {name: torch.tensor(list(dropin.new_units(name))) for name in dropin.units})
    same({name: network.state_dict()[name] for name in body}, body)
    assert {name: site.width for name, site in find_sites(network).items()} == {
        row.name: row.neurons for row in site_table(ModelConfig.model_validate({"head": head}))
    }


@both
def test_a_folder_and_a_config_give_the_network_back(head: str, layers_in: str, tmp_path) -> None:
    network = made(head, layers_in)
    network.train()(waves())
    network.eval()
    save_pretrained(network, tmp_path)
    loaded = made(head, layers_in, source=str(tmp_path), seed=9).eval()
    same(loaded.state_dict(), network.state_dict())
    other = made("linear", source=str(tmp_path), seed=9).eval()
    assert other(waves()).isfinite().all()  # another head: the encoder is loaded, the head is new
    same(other.backbone.state_dict(), network.backbone.state_dict())
    again = from_config(network.plain_config())
    again.load_state_dict(network.state_dict(), strict=True)


@both
def test_a_truncated_encoder_keeps_its_head_with_the_layers_that_are_left(head: str, layers_in: str) -> None:
    network = made(head, layers_in).eval()
    for name, weight in network.named_parameters():
        if name.endswith("weights") and weight.dim() == 1:  # of layers
            nn.init.normal_(weight, generator=torch.Generator().manual_seed(5))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.truncate_(2)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name][: len(tensor)] if tensor.dim() else before[name]), name
    assert network(waves()).isfinite().all()
    again = from_config(network.plain_config()).eval()
    again.load_state_dict(network.state_dict(), strict=True)
    close(again(waves()), network(waves()))


@pytest.mark.parametrize(
    ("head", "layers_in"),
    [pytest.param(head, "last", marks=pytest.mark.slow if head in LONG else ()) for head in HEADS]
    + [("linear", "weighted_sum")],
)
def test_a_head_learns_a_cue_that_lies_in_some_frames_of_one_layer(head: str, layers_in: str) -> None:
    """A short burst along one direction, at another time in each clip; tested on clips that it never saw."""
    torch.manual_seed(0)
    network = made(head, layers_in)
    states = len(network.blocks()) + 1
    count, lasting, steps, rate = LESSONS[head]
    draws = torch.Generator().manual_seed(1)
    cue = torch.randn(48, generator=draws)

    def clips(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        every = torch.randn(count, states, 16, 48, generator=draws)
        labels = torch.arange(count) % 2
        for clip in range(0, count, 2):
            at = int(torch.randint(0, 16 - lasting, (1,), generator=draws))
            every[clip, -1, at : at + lasting] += 2 * cue
        return (every if network.judged.every_layer else every[:, -1]), labels

    learning = [one for part in (network.pool, network.head) for one in part.parameters()]
    optimizer = torch.optim.AdamW(learning, lr=rate)
    network.train()
    for _ in range(steps):
        inputs, labels = clips(count)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network.classify(inputs), labels).backward()
        optimizer.step()
    network.eval()
    inputs, labels = clips(100)
    with torch.no_grad():
        right = (network.classify(inputs).argmax(1) == labels).float().mean()
    assert right >= 0.9


def test_all_layers_count_alike_at_first_and_hidden_states_are_those_of_transformers() -> None:
    network = made("linear", "weighted_sum").eval()
    states = network.prefix(waves(), "head")
    normal = network.normalized(waves())
    expected = network.backbone(normal, output_hidden_states=True).hidden_states
    torch.testing.assert_close(states[:, :-1], torch.stack(expected[:-1], 1), atol=1e-5, rtol=1e-5)
    # The last one as `layers_in: last` reads it, which in a pre-norm encoder has passed the last norm.
    torch.testing.assert_close(states[:, -1], network.backbone(normal).last_hidden_state, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.pool(states), states.mean((1, 2)))


def test_rows_of_sensitive_layer_selection_are_the_published_ones_at_their_length() -> None:
    assert torch.equal(resampling(ROWS, ROWS), torch.eye(ROWS))
    for frames in (1, 16, 66, 68, 500):
        rows = resampling(frames, ROWS)
        torch.testing.assert_close(rows.sum(1), torch.ones(ROWS))
        assert (rows.sum(0) > 0).all()  # every frame is heard


def test_recomputing_layers_gives_the_same_numbers_for_less_memory() -> None:
    for head, layers_in in (("linear", "last"), ("mhfa", "last")):
        plain, again = made(head, layers_in, dropout=0.1), made(head, layers_in, dropout=0.1)
        again.checkpoint_layers = True
        kept = []
        for network in (plain, again):
            network.train()
            seen: dict[int, int] = {}
            weights = {one.untyped_storage().data_ptr() for one in network.parameters()}

            def pack(tensor: torch.Tensor, seen: dict[int, int] = seen) -> torch.Tensor:
                seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                return tensor

            torch.manual_seed(7)
            hidden = network.prefix(waves(), "encoder.0")
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                loss = network.suffix(hidden, "encoder.0").square().sum()
            loss.backward()
            kept.append(sum(size for pointer, size in seen.items() if pointer not in weights))
        for one, other in zip(plain.parameters(), again.parameters(), strict=True):
            assert one.grad is not None
            assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]
        assert kept[1] < 0.3 * kept[0]


def test_what_a_network_has_no_use_for_is_refused_in_a_sentence() -> None:
    with pytest.raises(
        PlastsearchError, match=r"model.head: 'aasist' judges the layers of a speech encoder, and resnet"
    ):
        build("resnet18", head="aasist")
    with pytest.raises(PlastsearchError, match=r"model.layers_in: 'weighted_sum' mixes .* and grnn is none"):
        site_table(ModelConfig(name="grnn", layers_in="weighted_sum"))
    odd = {**made("linear").plain_config(), "hidden_size": 36, "head": "nes2net_x"}
    with pytest.raises(PlastsearchError, match=r"nes2net_x splits the features of a frame into 8 parts, .* has 36"):
        from_config(odd)  # type: ignore[arg-type]


def test_ids_tell_heads_apart_and_leave_out_what_a_head_does_not_read() -> None:
    def named(**model: str) -> str:
        return TrialConfig(model=ModelConfig(**model)).trial_id()  # type: ignore[arg-type]

    assert named() == named(head="linear", layers_in="last")
    ids = {named(head=head) for head in ("linear", *HEADS)} | {named(layers_in="weighted_sum")}
    assert len(ids) == len(HEADS) + 2
    assert named(head="mhfa", layers_in="weighted_sum") == named(head="mhfa")
    assert named(head="aasist", pooling="attention") == named(head="aasist")
    assert named(head="aasist", layers_in="weighted_sum") != named(head="aasist")


AASIST_SITES = {f"head.block.{k}": width for k, width in enumerate((32, 32, 64, 64, 64, 64))} | {"head.gate": 128}
INSIDE = {"head.block.0": 3, "head.block.2": 5, "head.gate": 4, "encoder.5.ffn": 6}


def test_the_table_has_the_sites_of_a_head_and_what_they_cost() -> None:
    rows = [row for row in site_table(ModelConfig(name="wav2vec2", head="aasist")) if row.name.startswith("head.")]
    assert {row.name: row.neurons for row in rows} == AASIST_SITES
    network = made("aasist")
    found = {name: site.width for name, site in find_sites(network).items() if name.startswith("head.")}
    assert found == AASIST_SITES
    before = sum(one.numel() for one in network.parameters())
    for row in rows:
        grown = copy.deepcopy(network)
        add_neurons_(grown, {row.name: 1}, mode="unfrozen", generator=torch.Generator().manual_seed(0))
        assert sum(one.numel() for one in grown.parameters()) - before == row.parameters_per_neuron
    assert not [row for row in site_table(ModelConfig(name="wav2vec2")) if row.name.startswith("head.")]


@pytest.mark.parametrize("training", [False, True])
def test_growth_inside_a_head_keeps_every_law_of_the_core(training: bool) -> None:
    network = made("aasist").double().eval()
    original = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    wave = waves().double()
    logits = network(wave)
    dropin = add_neurons_(network, INSIDE, mode="frozen", also="head", generator=torch.Generator().manual_seed(0))
    with adding_nothing(network):
        close(network(wave), logits)
    assert network.cut_below(["head.gate"]) == network.cut_below([]) == "head"
    assert network.cut_below(list(INSIDE)) == "encoder.5"
    network.train(training)
    optimizer = torch.optim.AdamW([one for one in network.parameters() if one.requires_grad], lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(wave), torch.tensor([0, 1, 1])).backward()
        optimizer.step()
    network.eval()
    kept = {name: tensor for name, tensor in original.items() if not name.startswith("head.")}
    plain = {name.replace(".base", ""): tensor for name, tensor in network.state_dict().items()}
    same({name: plain[name] for name in kept}, kept)
    trained = network(wave)
    assert float((trained - logits).detach().abs().max()) > 1e-3
    fold_(network, wave)
    close(network(wave), trained)
    remove_neurons_(network, {name: torch.tensor(list(dropin.new_units(name))) for name in dropin.units})
    same({name: network.state_dict()[name] for name in kept}, kept)


def test_kernels_of_a_head_grow_along_frames_and_are_cut_back() -> None:
    network = made("aasist").double().eval()
    original = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    logits = network(waves().double())
    rings = grow_kernels_(network, {"head.block.1": 5}, mode="frozen")
    assert set(rings.after.values()) == {(2, 5)}
    close(network(waves().double()), logits)
    rings.undo_(network)
    same(network.state_dict(), original)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": ["head.block.6"]}, "no site 'head.block.6' in wav2vec2; its sites: .*head.block.5, head.gate"),
        ({"operator": "stack"}, "no layer goes on top of a part of a head"),
        ({"operator": "ring", "kernel": 5, "layers": ["head.gate"]}, "no kernel that a ring could grow"),
    ],
)
def test_what_a_head_cannot_grow_is_said(changes: dict[str, object], words: str) -> None:
    plain = {"model": {"head": "aasist"}, "method": "dropin", "layers": ["head.block.1"], "neurons": 4}
    with pytest.raises(PlastsearchError, match=words):
        check(TrialConfig.model_validate({**plain, **changes}))


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["frozen", "unfrozen"])
def test_a_trial_grows_a_head_prunes_it_and_ends_at_its_first_size(tmp_path: Path, regime: str) -> None:
    config = TrialConfig.model_validate({
        "model": {"head": "aasist"}, "data": {"clips": 40, "length_samples": 6000},
        "train": {"steps": 8, "batch_size": 8}, "method": "plasticity", "regime": regime,
        "layers": ["head.block.1", "head.gate"], "neurons": 8, "calibration_clips": 8, "timing_steps": 3,
        "timing_batch": 2,
    })  # fmt: skip
    *_, final = run_trial(config, RunSettings(store=tmp_path / "store", cache=tmp_path / "cache"))
    assert final.metrics["params_final"] == final.metrics["params_baseline"]
    assert final.metrics["params_total"] == final.metrics["params_baseline"] + 8 * (6 * 32 + 3 + 6 * 32) + 8 * 131
