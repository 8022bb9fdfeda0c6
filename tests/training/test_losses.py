"""Laws of the losses: references, weights, indifference at zero, additivity over micro-batches."""

import pytest
import torch
from torch import Tensor

from plastsearch.errors import PlastsearchError
from plastsearch.training.losses import LOSSES, build_loss


@pytest.fixture
def logits() -> Tensor:
    return 3 * torch.randn(24, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels() -> Tensor:
    return torch.arange(24) % 3 // 2  # 16 spoof, 8 bona fide


def test_cross_entropy_is_that_of_torch(logits: Tensor, labels: Tensor) -> None:
    weight = torch.tensor([24 / 32, 24 / 16])
    expected = torch.nn.functional.cross_entropy(logits, labels, weight=weight, reduction="none")
    torch.testing.assert_close(build_loss("cross_entropy", [16, 8], reduction="none")(logits, labels), expected)
    plain = build_loss("cross_entropy", [16, 8], "sampler")(logits, labels)
    torch.testing.assert_close(plain, torch.nn.functional.cross_entropy(logits, labels))


@pytest.mark.parametrize("name", LOSSES)
def test_weights_give_both_classes_half(name: str) -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    each = build_loss(name, [90, 10], reduction="none")(torch.zeros(100, 2), labels)
    torch.testing.assert_close(each[labels == 0].sum(), each[labels == 1].sum())


@pytest.mark.parametrize("name", LOSSES)
def test_a_score_of_zero_is_indifferent_and_the_loss_falls_towards_the_label(name: str) -> None:
    scores = torch.linspace(-6, 6, 49)
    logits = torch.stack([torch.zeros(49), scores], 1)
    bona = build_loss(name, [1, 1], reduction="none")(logits, torch.ones(49, dtype=torch.long))
    spoof = build_loss(name, [1, 1], reduction="none")(logits, torch.zeros(49, dtype=torch.long))
    assert (bona.diff() < 0).all()
    assert (spoof.diff() > 0).all()
    torch.testing.assert_close(bona[24], spoof[24])


@pytest.mark.parametrize("name", LOSSES)
def test_only_the_difference_of_logits_matters(name: str, logits: Tensor, labels: Tensor) -> None:
    loss = build_loss(name, [16, 8])
    torch.testing.assert_close(loss(logits + 5, labels), loss(logits, labels))


@pytest.mark.parametrize("name", LOSSES)
def test_micro_batches_add_up(name: str, logits: Tensor, labels: Tensor) -> None:
    loss = build_loss(name, [16, 8])
    parts = sum(loss(logits[i : i + 6], labels[i : i + 6]) * 6 / 24 for i in range(0, 24, 6))
    torch.testing.assert_close(torch.as_tensor(parts), loss(logits, labels))
    torch.testing.assert_close(build_loss(name, [16, 8], reduction="none")(logits, labels).mean(), loss(logits, labels))


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_have_finite_slopes(name: str) -> None:
    logits = torch.tensor([[-1e4, 1e4], [1e4, -1e4]], requires_grad=True)
    value = build_loss(name, [1, 1])(logits, torch.tensor([0, 1]))
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_linear_head_learns_to_separate(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(200) % 2
    points = torch.randn(200, 4, generator=generator) + 3.0 * labels[:, None]
    head = torch.nn.Linear(4, 2)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer, loss = torch.optim.Adam(head.parameters(), lr=0.05), build_loss(name, [100, 100])
    for _ in range(80):
        optimizer.zero_grad()
        loss(head(points), labels).backward()
        optimizer.step()
    score = head(points).diff(dim=1).squeeze(1)
    assert ((score > 0) == (labels == 1)).float().mean() > 0.95


def test_oc_softmax_is_the_published_formula_of_the_shifted_cosine() -> None:
    score = torch.tensor([0.4, -1.3])
    cosine = torch.cos(torch.atan2(torch.ones(2), score + 0.55 / (1 - 0.55**2) ** 0.5))
    expected = torch.log1p(torch.exp(20 * torch.stack([0.9 - cosine[0], cosine[1] - 0.2]))) / 20
    logits = torch.stack([torch.zeros(2), score], 1)
    actual = build_loss("oc_softmax", [1, 1], reduction="none")(logits, torch.tensor([1, 0]))
    torch.testing.assert_close(actual, expected)


def test_mistakes_are_named() -> None:
    with pytest.raises(PlastsearchError, match="unknown loss 'hinge'; known: cross_entropy"):
        build_loss("hinge", [1, 1])
    with pytest.raises(PlastsearchError, match="both classes, got 7 spoof and 0 bona fide"):
        build_loss("oc_softmax", [7, 0])
    with pytest.raises(PlastsearchError, match="unknown balance 'half'"):
        build_loss("oc_softmax", [7, 1], "half")
