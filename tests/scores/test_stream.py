"""Numbers that are only counted come out of raw words as `Generator.integers` would have drawn them."""

import numpy as np
import pytest

from plastsearch.scores.stream import Stream, numbers_of, word_of


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_the_same_numbers_call_for_call(seed):
    plain, rng = np.random.default_rng(seed), np.random.default_rng(seed)
    stream = Stream(rng)
    assert stream._raw  # else this compares a thing with itself
    for size in (2, 3, 7, 1000, 899_999, 900_000, 1 << 20, (1 << 30) + 1, 2_000_000_011, 5):
        for count in (1, 2, 33, 40_001):
            drawn = np.concatenate([numbers_of(part, size) for part in stream.parts(size, count)])
            wanted = [
                plain.integers(size, size=min(1 << 15, count - first), dtype=np.uint32)
                for first in range(0, count, 1 << 15)
            ]
            assert (drawn == np.concatenate(wanted)).all(), (size, count)


def test_another_generator_is_asked_for_its_numbers():
    plain, stream = (np.random.Generator(np.random.MT19937(3)) for _ in range(2))
    (part,) = Stream(stream).parts(900, 50)
    assert (numbers_of(part, 900) == plain.integers(900, size=50, dtype=np.uint32)).all()


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 999_983])
def test_the_first_word_of_a_number_is_the_first(size):
    for number in {0, 1, size // 2, size - 1} & set(range(size)):
        first = word_of(number, size)
        assert numbers_of(np.array([first], dtype=np.uint32), size)[0] == number
        if first:
            assert numbers_of(np.array([first - 1], dtype=np.uint32), size)[0] == number - 1
    assert word_of(size, size) == 1 << 32
