"""Leaky integrate-and-fire neurons by their equations: leak, threshold, resets, surrogates, and rates beside a ReLU."""

import pytest
import torch
from torch import Tensor

from plastsearch.models.catalog import Spikes
from plastsearch.models.lif import FAST_SIGMOID_SLOPE, LIF, fire, slope

SURROGATES = ["arctan", "fast_sigmoid"]


def neuron(steps: int, **changes: object) -> LIF:
    usual = {"time_steps": steps, "leak": 0.5, "threshold": 1.0, "reset": "soft", "surrogate": "arctan"}
    return LIF(Spikes(**(usual | changes)))


def fired(lif: LIF, *currents: float) -> list[int]:
    """The spikes of one neuron of one clip, step by step."""
    return [int(spike) for spike in lif(torch.tensor(currents, dtype=torch.float64)[:, None]).flatten()]


def twin(current_TN: Tensor, lif: LIF) -> Tensor:
    """The equations once more, neuron by neuron in plain numbers."""
    found = torch.zeros_like(current_TN)
    for n in range(current_TN.shape[1]):
        v = 0.0
        for t in range(current_TN.shape[0]):
            v = lif.leak * v + float(current_TN[t, n])
            if v >= lif.threshold:
                found[t, n] = 1
                v = 0.0 if lif.hard else v - lif.threshold
    return found


def test_a_membrane_leaks_and_fires_at_its_threshold() -> None:
    assert fired(neuron(4), 0.5, 0.5, 0.5, 0.5) == [0, 0, 0, 0]  # 0.5, 0.75, 0.875, … never comes to 1
    assert fired(neuron(4), 0.75, 0.625, 0, 0) == [0, 1, 0, 0]  # 0.375 is left of 0.75: exactly 1 is enough
    assert fired(neuron(4, leak=1.0), 0.5, 0.5, 0.5, 0.5) == [0, 1, 0, 1]  # nothing is lost
    assert fired(neuron(4, leak=1.0, threshold=2.0), 0.5, 0.5, 0.5, 0.5) == [0, 0, 0, 1]
    assert fired(neuron(3), -5.0, 1.0, 1.0) == [0, 0, 0]  # a current may inhibit for later steps


def test_a_soft_reset_keeps_what_is_beyond_the_threshold_and_a_hard_one_does_not() -> None:
    assert fired(neuron(3, leak=1.0), 2.5, 0.0, 0.0) == [1, 1, 0]
    assert fired(neuron(3, leak=1.0, reset="hard"), 2.5, 0.0, 0.0) == [1, 0, 0]


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_many_neurons_equal_their_twin_and_clips_do_not_meet(reset: str) -> None:
    lif = neuron(5, reset=reset, leak=0.75, threshold=0.5)
    current_BTN = torch.randn(3, 5, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = lif(current_BTN.flatten(0, 1)).unflatten(0, (3, 5))
    for clip, currents in zip(found, current_BTN, strict=True):
        assert torch.equal(clip, twin(currents, lif))
    assert 0.1 < found.mean() < 0.9


@pytest.mark.parametrize("steps", [4, 16, 256])
def test_the_rate_converges_to_a_relu_that_is_cut_off_at_one(steps: int) -> None:
    """Without leak and with a soft reset: off by less than one spike in all steps."""
    current_N = torch.linspace(-1, 1.5, 101, dtype=torch.float64)
    spikes = neuron(steps, leak=1.0)(current_N.repeat(steps, 1))
    rate_N = spikes.mean(0)
    assert (rate_N - current_N.clamp(0, 1)).abs().max() <= 1 / steps + 1e-9


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_surrogate_is_the_slope_of_the_curve_that_it_is_named_for(surrogate: str) -> None:
    above = torch.linspace(-3, 3, 61, dtype=torch.float64, requires_grad=True)

    def curve(x: Tensor) -> Tensor:
        return (torch.pi * x).atan() / torch.pi if surrogate == "arctan" else x / (1 + FAST_SIGMOID_SLOPE * x.abs())

    (expected,) = torch.autograd.grad(curve(above).sum(), above)
    (found,) = torch.autograd.grad(fire(above, surrogate).sum(), above)
    torch.testing.assert_close(found, expected)
    assert torch.equal(fire(above, surrogate), (above.detach() >= 0).double())


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_gradient_of_all_steps_is_that_of_the_equations(surrogate: str) -> None:
    """By hand for two steps: what the first current does comes through the leak, and not through the reset."""
    lif = neuron(2, surrogate=surrogate, threshold=0.5)
    current = torch.tensor([[0.9], [0.2]], dtype=torch.float64, requires_grad=True)
    spikes = lif(current)
    assert spikes.flatten().tolist() == [1, 0]
    (found,) = torch.autograd.grad((spikes * torch.tensor([[2.0], [3.0]], dtype=torch.float64)).sum(), current)
    first = slope(torch.tensor(0.9 / 0.5 - 1, dtype=torch.float64), surrogate) / 0.5
    second = slope(torch.tensor((0.5 * (0.9 - 0.5) + 0.2) / 0.5 - 1, dtype=torch.float64), surrogate) / 0.5
    torch.testing.assert_close(found.flatten(), torch.stack([2 * first + 3 * 0.5 * second, 3 * second]))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_a_membrane_adds_up_in_float32_whatever_the_currents_are(half: torch.dtype) -> None:
    lif = neuron(64, leak=1.0, threshold=16.0)
    current = torch.full((64, 3), 0.251, dtype=torch.float32).to(half)
    found = lif(current)
    assert found.dtype == half
    assert torch.equal(found.float(), lif(current.float()))
    assert found.sum() == 3
