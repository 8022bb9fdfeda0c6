"""Domains hold what they say, and a value belongs to one exactly where the domain could have named it."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from plastsearch.spec.coherence import contains, domain_words
from plastsearch.spec.domains import KINDS, Choice, Domain, FloatRange, IntRange, Subset

DOMAIN = TypeAdapter(Domain)


@given(st.integers(-50, 50), st.integers(1, 9), st.integers(0, 9), st.integers(-200, 200))
def test_a_range_of_whole_numbers_contains_what_it_counts(low, step, count, value):
    domain = IntRange(kind="int", low=low, high=low + step * count, step=step)
    assert len(domain.values) == count + 1
    assert contains(domain, value) == (value in list(domain.values))
    assert not contains(domain, True), "YAML's true is no number"


@given(st.integers(-1000, 1000), st.integers(1, 900), st.integers(0, 20), st.integers(0, 20))
def test_every_step_of_a_range_of_numbers_belongs_to_it(low, step, count, at):
    """In thousandths, as a person writes them: added up, they are not what they look like."""
    assume(at <= count)
    domain = FloatRange(kind="float", low=low / 1000, high=(low + step * count) / 1000, step=step / 1000)
    assert domain.count == count + 1
    summed = domain.low + domain.step * at
    assert domain.nearest(summed) == (low + step * at) / 1000
    assert contains(domain, domain.nearest(summed))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "int", "low": 5, "high": 2}, "low: 5 is above high: 2; swap them"),
        ({"kind": "int", "low": 1, "high": 10, "step": 4}, "steps of 4 from 1 miss high: 10; write high: 9"),
        ({"kind": "int", "low": 0, "high": 8, "log": True}, "low: 0 has no logarithm"),
        ({"kind": "int", "low": 1, "high": 9, "log": True, "step": 2}, "log and step exclude each other"),
        ({"kind": "float", "low": 0, "high": 1, "step": 0.3}, "steps of 0.3 from 0 miss high: 1"),
        ({"kind": "choice", "of": [1, 1]}, "a value is listed twice"),
        ({"kind": "subset", "of": "a.*", "min": 3, "max": 2}, "max: 2 is below min: 3"),
        ({"kind": "subset", "of": ""}, "an empty list leaves nothing to choose from"),
    ],
)
def test_a_domain_that_cannot_be_meant_says_what_could(values, words):
    with pytest.raises(ValidationError) as caught:
        DOMAIN.validate_python(values)
    assert words in str(caught.value)


def test_one_is_not_true_and_lists_are_compared_by_content():
    domain = Choice(kind="choice", of=(1, ["a", "b"]))
    assert contains(domain, 1)
    assert not contains(domain, True)
    assert contains(domain, ["a", "b"])
    assert not contains(domain, ["b", "a"])


@pytest.mark.parametrize(
    ("value", "inside"),
    [(["a", "b"], True), (["a"], True), ([], False), (["a", "a"], False), (["a", "b", "c"], False), ("a", False)],
)
def test_a_subset_knows_its_sizes(value, inside):
    assert contains(Subset(kind="subset", of="*", min=1, max=2), value) == inside


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "choice", "of": ["taylor", 3]}, "one of taylor, 3"),
        ({"kind": "int", "low": 16, "high": 128, "step": 16}, "16 to 128 in steps of 16"),
        ({"kind": "float", "low": 1e-4, "high": 0.01, "log": True}, "0.0001 to 0.01, logarithmic"),
        ({"kind": "subset", "of": ["a.*", "b"], "min": 0}, "0 to all of a.*, b"),
    ],
)
def test_a_domain_in_words(values, words):
    domain = DOMAIN.validate_python(values)
    assert isinstance(domain, KINDS[values["kind"]])
    assert domain_words(domain) == words
