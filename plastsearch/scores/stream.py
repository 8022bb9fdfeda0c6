"""The numbers of `Generator.integers`, call for call, as the raw words they are made of: 10^9 of them in two seconds.

NumPy makes a number below `size` of a word of 32 bits by Lemire's method: the upper half of word × size, unless the
lower half is so small that the number would be likelier than others; then the next word is taken. Which words lead to
numbers in a range is a comparison, so that numbers which are only counted need not be made.
"""

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_PART = 1 << 15  # words looked at together: they fit a cache
_SPARE = 256  # words beyond what is asked for, as some are passed over
_ALL = 1 << 32


class Stream:
    """What a generator will give; whoever else asks it meanwhile gets other numbers."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._left: Words = np.empty(0, dtype=np.uint32)
        self._raw = _as_expected(rng)

    def parts(self, size: int, count: int) -> Iterator[Words]:
        """Words of so many numbers below `size`, as `integers(size, size=…)` would draw them, some at a time."""
        for first in range(0, count, _PART):
            wanted = min(_PART, count - first)
            yield self._words(size, wanted) if self._raw and size > 1 else self._of_numbers(size, wanted)

    def _of_numbers(self, size: int, count: int) -> Words:
        kind = np.uint32 if size < 1 << 31 else np.int64
        numbers = self._rng.integers(size, size=count, dtype=kind).astype(np.uint64)
        return ((numbers * _ALL + (size - 1)) // size).astype(np.uint32)  # the first word of each number

    def _words(self, size: int, count: int) -> Words:
        least = _ALL % size  # lower halves below that are passed over
        words = self._at_least(count + _SPARE)
        over = np.flatnonzero(words * np.uint32(size) < np.uint32(least))
        end = count
        while (more := count + int(np.searchsorted(over, end))) != end:  # each word passed over asks for one more
            end = more
            if end > words.size:
                words = self._at_least(end + _SPARE)
                over = np.flatnonzero(words * np.uint32(size) < np.uint32(least))
        taken, self._left = words[:end], words[end:]
        return np.delete(taken, over[: end - count]) if end > count else taken

    def _at_least(self, count: int) -> Words:
        if self._left.size < count:
            raw = self._rng.bit_generator.random_raw((count - self._left.size + 1) // 2)
            self._left = np.concatenate([self._left, np.asarray(raw, dtype=np.uint64).view(np.uint32)])
        return self._left


def word_of(number: int, size: int) -> int:
    """The first word of a number below `size`, or one beyond all words."""
    return -(-number * _ALL // size)


def numbers_of(words: Words, size: int) -> NDArray[np.int64]:
    """The numbers themselves."""
    return ((words.astype(np.uint64) * size) >> 32).astype(np.int64)


def _as_expected(rng: np.random.Generator) -> bool:
    """Whether this NumPy makes numbers of words in that way, the lower half of each 64 bits first; tried on a copy."""
    if sys.byteorder != "little" or type(rng.bit_generator) is not np.random.PCG64:
        return False
    state = rng.bit_generator.state
    if state["has_uint32"]:
        return False  # half a word is still to be given out
    copies = [np.random.PCG64(0), np.random.PCG64(0)]
    for copy in copies:
        copy.state = state
    size = 3_000_000_019 % (1 << 31) + (1 << 30)  # of a size at which many words are passed over
    own = Stream.__new__(Stream)
    own._rng, own._left, own._raw = np.random.Generator(copies[0]), np.empty(0, dtype=np.uint32), True
    found = np.concatenate([numbers_of(own._words(size, n), size) for n in (5, 64)])
    theirs = np.random.Generator(copies[1])
    return bool((found == np.concatenate([theirs.integers(size, size=n, dtype=np.uint32) for n in (5, 64)])).all())
