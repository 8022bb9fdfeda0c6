"""The stratified cap: the wanted number, every stratum present, proportions kept, fixed by the seed."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from plastsearch.data.choice import stratified


def table(sizes: list[int]) -> pa.Table:
    attacks = [f"A{k:02d}" for k, n in enumerate(sizes) for _ in range(n)]
    return pa.table({"attack": pa.array(attacks), "row": pa.array(np.arange(len(attacks)))})


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(8, 200), st.integers(0, 5))
def test_the_cap_is_met_with_every_stratum_in_proportion(sizes, clips, seed):
    chosen = stratified(table(sizes), clips, seed)
    total = sum(sizes)
    assert len(chosen) == min(clips, total)
    rows = chosen["row"].to_numpy()
    assert len(np.unique(rows)) == len(rows)
    assert (np.diff(rows) > 0).all()
    counts = dict.fromkeys(table(sizes)["attack"].to_pylist(), 0)
    for name in chosen["attack"].to_pylist():
        counts[name] += 1
    for (name, n), size in zip(counts.items(), sizes, strict=True):
        exact = size * min(clips, total) / total
        assert n >= 1, name
        assert n <= size
        assert n - exact < 1.001
    assert stratified(table(sizes), clips, seed).equals(chosen)


def test_another_attack_does_not_change_the_clips_of_the_others():
    few = stratified(table([40, 40]), 20, 0)
    more = stratified(table([40, 40, 40]), 30, 0)
    assert set(few["row"].to_pylist()) <= set(more["row"].to_pylist())
