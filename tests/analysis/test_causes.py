"""Texts that differ in numbers alone are one line, and none is lost."""

import pytest

from plastsearch.analysis.causes import causes


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["timings vary by 17 %"], [("timings vary by 17 %", 1)]),
        (["timings vary by 17 %", "timings vary by 9 %"], [("timings vary by 9…17 %", 2)]),
        (["NaN at step 41 of retrain", "NaN at step 7 of retrain", "out of memory"],
         [("NaN at step 7…41 of retrain", 2), ("out of memory", 1)]),
        (["stage 0e1f2a3b4c5d is gone", "stage 99887766aabb is gone"], [("stage … is gone", 2)]),
        (["same", "same", "same"], [("same", 3)]),
        (["lr 1e-3", "lr 2.5e-4"], [("lr 2.5e-4…1e-3", 2)]),
    ],
)  # fmt: skip
def test_equal_ones_are_joined_with_the_range_of_their_numbers(texts, expected):
    found = causes((text, at) for at, text in enumerate(texts))
    assert [(one.words, one.count) for one in found] == expected
    assert sorted(trial for one in found for trial in one.trials) == list(range(len(texts)))


def test_the_first_trials_are_named_and_the_others_counted():
    (one,) = causes(("lost", trial) for trial in range(20))
    assert one.which == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more"
