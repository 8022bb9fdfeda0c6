"""Constraints read as they are written, and measure how far a trial is beyond them."""

import pytest

from plastsearch.spec.constraints import parse_constraint


@pytest.mark.parametrize(
    ("text", "metrics", "violation"),
    [
        ("backward_ratio <= 0.5", {"backward_ratio": 0.75}, 0.5),
        ("backward_ratio <= 0.5", {"backward_ratio": 0.25}, -0.5),
        ("turnover >= 0.5", {"turnover": 0.25}, 0.5),
        ("params_total <= 1.05 * baseline", {"params_total": 210, "params_baseline": 100}, 1.0),
        ("params_total<=baseline", {"params_total": 100, "params_baseline": 100}, 0.0),
        ("dev_eer <= baseline", {"dev_eer": 6.0}, 0.5),
        ("dev_eer <= 1e1", {}, None),
        ("backward_ms <= 2*baseline", {"backward_ms": 1.0}, None),
    ],
)
def test_violation(text, metrics, violation):
    found = parse_constraint(text).violation(metrics, {"dev_eer": 4.0})
    assert found == violation if violation is None else found == pytest.approx(violation)


@pytest.mark.parametrize("text", ["params_total", "params_total < 3", "params_total <= ", "<= 3", "dev_eer <= x"])
def test_nonsense_is_refused(text):
    with pytest.raises(ValueError, match="<metric> <= <number>"):
        parse_constraint(text)
