"""Laws of numbers on devices: recurrent layers keep their precision, and a seed fixes what any device draws."""

import copy
from typing import Any

import pytest
import torch

from plastsearch.growth.dropin import add_neurons_
from plastsearch.models.build import build
from plastsearch.models.seeding import seeded

FORMS: dict[str, dict[str, Any]] = {
    "plain": {}, "frozen": {"mode": "frozen"}, "both": {"mode": "frozen", "lateral": "both"},
    "parallel": {"operator": "parallel"}, "stack": {"operator": "stack"},
}  # fmt: skip


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("form", list(FORMS))
def test_recurrent_layers_run_with_autocast_off(form: str, bidirectional: bool) -> None:
    """On GPUs it would make them float16; a CPU's autocast shows the same, as bfloat16."""
    module = build("grnn", "tiny", bidirectional=bidirectional)
    if FORMS[form]:
        generator = torch.Generator().manual_seed(0)
        add_neurons_(module, {"gru.1": 8}, generator=generator, **FORMS[form])
    wave_BT = torch.randn(2, 8000, generator=torch.Generator().manual_seed(1))
    exact_BC = module(wave_BT)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = module.prefix(wave_BT, "gru.2")
        found_BC = module(wave_BT)
    assert hidden.dtype == torch.float32
    # Rounding to bfloat16 moved these logits by 1e-4.
    torch.testing.assert_close(found_BC, exact_BC, rtol=0, atol=2e-6)
    found_BC.sum().backward()


def test_half_precision_activations_are_taken_up_by_a_recurrent_layer() -> None:
    module = build("grnn", "tiny")
    hidden = torch.randn(2, 50, module.gru[0].input_size).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert module.run_block(module.gru[0], hidden).dtype == torch.float32


class Gpu:
    """A GPU's generator: a number that drawing moves."""

    state = torch.tensor([5])

    def seed(self, seed: int) -> None:
        self.state = torch.tensor([seed])

    def put(self, state: torch.Tensor, *_: Any) -> None:
        self.state = state


def test_a_seed_reaches_the_gpu_and_leaves_no_trace_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda *_: gpu.state)
    monkeypatch.setattr(torch.cuda, "set_rng_state", gpu.put)
    monkeypatch.setattr(torch.cuda, "manual_seed", gpu.seed)
    with seeded(11):
        assert gpu.state == 11
        gpu.seed(99)  # something is drawn
    assert gpu.state == 5


def test_a_new_head_is_drawn_on_the_cpu_wherever_the_network_is() -> None:
    """So that it is the same on all devices; the meta device stands for a GPU, whose own draws would differ."""
    module = build("grnn", "tiny", pooling="attention")
    drawn = []
    for where in ("cpu", "meta"):
        with seeded(3):
            copy.deepcopy(module).to(where)._new_head_(8)
            drawn.append(torch.rand(4))  # how far the CPU's generator has come
    assert torch.equal(*drawn)
