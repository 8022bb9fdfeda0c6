"""On a pretended GPU, whose tensors have shapes, types and a device but no values: what a machine without one can show.

A tensor left on the CPU, or a number read from the device inside a step, is an error there. Backward passes need a
real device; so do recurrent kernels, for which a stand-in notes what it is given.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor

from plastsearch.growth.dropin import add_neurons_
from plastsearch.models.build import build
from plastsearch.training.losses import build_loss

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")  # by nn.GRU, to pack

SITES = {"grnn": "gru.1", "resnet18": "layer3.0", "wav2vec2": "encoder.1.ffn"}
FORMS: dict[str, dict[str, Any]] = {
    "plain": {}, "frozen": {"mode": "frozen"}, "both": {"mode": "frozen", "lateral": "both"},
    "unfrozen": {"mode": "unfrozen"}, "parallel": {"operator": "parallel"}, "stack": {"operator": "stack"},
}  # fmt: skip
GPU = "cuda:0"


@pytest.fixture
def mode(monkeypatch: pytest.MonkeyPatch) -> fake_tensor.FakeTensorMode:
    """Within, tensors have no values; those on the GPU behave as if there were one."""
    monkeypatch.setattr(fake_tensor, "init_gpu_context", lambda device: None)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    return fake_tensor.FakeTensorMode()


@pytest.fixture
def recurrent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, torch.dtype]]:
    """What each recurrent run was given: whether autocast was on, and the type of its input."""
    given: list[tuple[bool, torch.dtype]] = []

    def gru(x: Tensor, hx: Tensor, weights: list[Tensor], *_: Any) -> tuple[Tensor, Tensor]:
        given.append((torch.is_autocast_enabled("cuda"), x.dtype))
        assert {weight.dtype for weight in weights} == {hx.dtype} == {x.dtype}
        gates = x @ weights[0].T  # fails where a device or a type differs
        units = hx.shape[-1] * hx.shape[0]
        return gates[..., :1].expand(*gates.shape[:-1], units), hx

    monkeypatch.setattr(torch._VF, "gru", gru, raising=False)
    return given


def _moved(module: nn.Module, mode: fake_tensor.FakeTensorMode) -> nn.Module:
    """The module on the pretended GPU."""

    def there(tensor: Tensor) -> Tensor:
        pretended = mode.from_tensor(tensor.data)
        with mode:
            return pretended.to(GPU)

    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                setattr(part, name, nn.Parameter(there(parameter), requires_grad=parameter.requires_grad))
        for name, buffer in list(part._buffers.items()):
            if buffer is not None:
                part._buffers[name] = there(buffer)
    return module


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("name", sorted(SITES))
def test_a_step_stays_on_its_device(name: str, form: str, bf16: bool, mode: Any, recurrent: Any) -> None:
    module = build(name, "tiny", pooling="attention")
    if FORMS[form]:
        generator = torch.Generator().manual_seed(0)
        add_neurons_(module, {SITES[name]: 16}, also=["head"], generator=generator, **FORMS[form])
    _moved(module.train(), mode)
    loss = _moved(build_loss("am_softmax", (1, 3)), mode)
    with mode:
        wave_BT, label_B = torch.randn(2, 8000, device=GPU), torch.arange(2, device=GPU) % 2
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            hidden = module.prefix(wave_BT, module.cuts()[1])
            logits_BC = module(wave_BT, torch.tensor([4000.0, 8000.0], device=GPU))
        value = loss(logits_BC, label_B)
    half = torch.bfloat16 if bf16 and name != "grnn" else torch.float32
    assert (hidden.dtype, logits_BC.dtype, value.dtype) == (half, torch.float32, torch.float32)
    assert {hidden.device, logits_BC.device, value.device} == {torch.device(GPU)}
    assert set(recurrent) == ({(False, torch.float32)} if name == "grnn" else set())
