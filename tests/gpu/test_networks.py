"""On a GPU networks compute, grow, are scored and fold as they do on a CPU."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plastsearch.growth.criteria import CRITERIA, score
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold, fold_
from plastsearch.growth.freeze import trainable
from plastsearch.growth.halving import Halving
from plastsearch.growth.prune import remove_neurons_
from plastsearch.models.build import build
from plastsearch.models.seeding import seeded
from tests.gpu.conftest import SITES, waves

NAMES = sorted(SITES)
BINNED = {"entropy", "entropy_shared", "gradient_entropy", "random", "newest"}  # counts and draws, not continuous


def _grown(name: str, device: torch.device, **options: Any) -> nn.Module:
    module = build(name, "tiny", seed=3).to(device)
    add_neurons_(module, {SITES[name]: 16}, also=["head"], generator=torch.Generator().manual_seed(4), **options)
    return module


@torch.no_grad()
def _logits(module: nn.Module, device: torch.device) -> Tensor:
    return module.eval()(waves()[0].to(device)).cpu()


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_a_cpu(name: str, device: torch.device) -> None:
    module = build(name, "tiny", seed=3)
    expected = _logits(module, torch.device("cpu"))
    torch.testing.assert_close(_logits(module.to(device), device), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
@pytest.mark.parametrize("name", NAMES)
def test_growth_and_fold_do_not_change_the_function(name: str, mode: Any, device: torch.device) -> None:
    before = _logits(build(name, "tiny", seed=3).to(device), device)
    module = _grown(name, device, mode=mode)
    torch.testing.assert_close(_logits(module, device), before, rtol=0, atol=5e-5)
    _steps(module, device, 2)
    trained = _logits(module, device)
    assert not torch.equal(trained, before)
    torch.testing.assert_close(_logits(fold(module, waves()[0].to(device)), device), trained, rtol=0, atol=5e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_frozen_does_not_move(name: str, device: torch.device) -> None:
    module = _grown(name, device, mode="frozen")
    learning = {id(p) for p in trainable(module)}
    fixed = {key: p.clone() for key, p in module.named_parameters() if id(p) not in learning}
    buffers = {key: b.clone() for key, b in module.named_buffers() if not _of_new_units(key)}
    _steps(module, device, 3)
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    assert all(torch.equal(own[key], tensor) for key, tensor in (fixed | buffers).items())


def _of_new_units(name: str) -> bool:
    return "branch" in name


def _steps(module: nn.Module, device: torch.device, count: int) -> None:
    optimizer = torch.optim.AdamW(trainable(module), lr=1e-2, fused=True)
    wave_BT, label_B = (part.to(device) for part in waves())
    module.train()
    for _ in range(count):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(wave_BT), label_B).backward()
        optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_newest_out_again_gives_the_old_weights(name: str, device: torch.device) -> None:
    plain = build(name, "tiny", seed=3)
    module = fold_(_grown(name, device, mode="frozen"), waves()[0].to(device))
    site = next(one for one in module.declare_sites() if one.name == SITES[name])  # type: ignore[operator]
    remove_neurons_(module, {SITES[name]: torch.arange(site.units - 16, site.units)})
    for key, tensor in plain.state_dict().items():
        assert torch.equal(module.state_dict()[key].cpu(), tensor), key


@pytest.mark.parametrize("name", NAMES)
def test_criteria_are_those_of_a_cpu(name: str, device: torch.device) -> None:
    wanted = [one for one in CRITERIA if one not in BINNED and not (one == "bn_gamma" and name != "resnet18")]

    def scores(where: torch.device) -> dict[str, dict[str, Tensor]]:
        module = build(name, "tiny", seed=3).to(where)
        batch = [tuple(part.to(where) for part in waves(8))]

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            return nn.functional.cross_entropy(logits, labels, reduction="none")

        return score(module, [SITES[name]], wanted, batch, loss, torch.Generator().manual_seed(0))  # type: ignore[arg-type]

    there, here = scores(device), scores(torch.device("cpu"))
    for one in wanted:
        expected = here[one][SITES[name]]
        torch.testing.assert_close(
            there[one][SITES[name]], expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()), msg=one
        )


@pytest.mark.parametrize("options", [{"mode": "frozen"}, {"mode": "frozen", "lateral": "both"}, {"mode": "unfrozen"}])
def test_recurrent_weights_are_packed(options: Any, gpu: torch.device) -> None:
    """cuDNN warns at each call whose weights are not one piece of memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*single contiguous chunk.*")
        module = _grown("grnn", gpu, **options)
        _steps(module, gpu, 1)
        module = fold(module, waves()[0].to(gpu))
        _steps(module, gpu, 1)
        remove_neurons_(module, {"gru.1": [0, 1]})
        _steps(module, gpu, 1)


def test_recurrent_layers_keep_their_precision_under_autocast(device: torch.device) -> None:
    module = build("grnn", "tiny", seed=3).to(device).eval()
    wave_BT = waves()[0].to(device)
    with torch.no_grad():
        exact = module(wave_BT)
        with torch.autocast(device.type, torch.bfloat16):
            found = module(wave_BT)
    torch.testing.assert_close(found, exact, rtol=0, atol=5e-6)


@pytest.mark.parametrize("name", ["resnet18", "wav2vec2"])
def test_bfloat16_moves_the_logits_little(name: str, device: torch.device) -> None:
    module = build(name, "tiny", seed=3).to(device).eval()
    wave_BT = waves()[0].to(device)
    with torch.no_grad():
        exact = module(wave_BT)
        with torch.autocast(device.type, torch.bfloat16):
            found = module(wave_BT)
    assert found.dtype == torch.float32
    assert 0 < float((found - exact).abs().max()) < 0.1 * float(exact.abs().max()) + 0.02


def test_a_seed_fixes_what_the_device_draws_and_leaves_no_trace(device: torch.device) -> None:
    torch.rand(1, device=device)  # a GPU is seeded once it is in use
    before = torch.cuda.get_rng_state() if device.type == "cuda" else torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with seeded(7):
            drawn.append(torch.rand(5, device=device))
    assert torch.equal(*drawn)
    after = torch.cuda.get_rng_state() if device.type == "cuda" else torch.get_rng_state()
    assert torch.equal(before, after)


def test_a_truncated_network_gets_the_same_head_everywhere(device: torch.device) -> None:
    heads = []
    for where in (torch.device("cpu"), device):
        module = copy.deepcopy(build("resnet18", "tiny", seed=3)).to(where)
        with seeded(8):
            module.truncate_(2)
        heads.append(module.head.weight.detach().cpu())
    assert torch.equal(*heads)


def test_work_that_does_not_fit_is_done_in_parts(gpu: torch.device) -> None:
    total = torch.cuda.get_device_properties(gpu).total_memory
    rows = torch.arange(8.0, device=gpu)
    each = 64 * 2**20  # bytes a row takes

    def squares(part: Tensor) -> Tensor:
        room = torch.zeros(len(part), each // 4, device=gpu)
        return room.sum(1) + part.square()

    torch.cuda.empty_cache()
    halving = Halving()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(gpu) + 3 * each) / total, gpu)
    try:
        found = halving.rows(squares, rows)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    assert halving.parts == 4
    assert torch.equal(found, rows.square())
