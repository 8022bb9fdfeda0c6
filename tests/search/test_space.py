"""Flat parameters and TrialConfigs say the same; equal trials are one; the size is exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plastsearch.errors import SpecError
from plastsearch.models.sites import site_table
from plastsearch.search.anchors import anchors, designs_for
from plastsearch.search.parameters import Parameter
from plastsearch.search.space import open_space, snapped
from plastsearch.search.subsets import Blocks, encoding
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.sweep import SweepSpec

LAYERS = {"kind": "subset", "of": "encoder.*.ffn", "min": 1, "max": 3}
NEURONS = {"kind": "int", "low": 16, "high": 64, "step": 16}


def spec(space, base=None, **more):
    return SweepSpec.model_validate({"base": {"method": "plasticity", **(base or {})}, "space": space, **more})


def distinct(space):
    rng = np.random.default_rng(0)
    return [space.config(space.flat(point, rng)).trial_id() for point in space.points()]


SPACES = {
    "plain": {"layers": LAYERS, "neurons": NEURONS},
    "conditional": {
        "layers": {**LAYERS, "max": 2},
        "neurons": {"kind": "choice", "of": [16, 32]},
        "method": {"kind": "choice", "of": ["plasticity", "dropin"]},
        "criterion": {"kind": "choice", "of": ["taylor", "entropy", "random"]},
        "pool": {"kind": "choice", "of": ["all", "added"], "when": {"criterion": ["taylor", "entropy"]}},
        "compensate": {"kind": "choice", "of": ["none", "mean"], "when": {"pool": "added"}},
    },
    "per_layer": {"layers": {**LAYERS, "max": 2}, "neurons": {**NEURONS, "high": 32, "per_layer": True}},
    "methods": {"layers": LAYERS, "neurons": NEURONS, "method": {"kind": "choice", "of": ["dropin", "baseline"]}},
    "steps": {"layers": LAYERS, "neurons": NEURONS, "keep": {"kind": "float", "low": 0, "high": 1, "step": 0.25}},
    "lists": {"layers": {"kind": "choice", "of": [["encoder.{0..1}.ffn"], ["encoder.5.ffn"]]}, "neurons": NEURONS,
              "data.augment": {"kind": "choice", "of": [[], ["rawboost5"]]}},
}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("encode", ["onoff", "blocks", "window"])
def test_the_size_is_the_number_of_distinct_trials(name, encode):
    space = open_space(spec(SPACES[name], search={"encoding": encode, "blocks": 4}))
    ids = distinct(space)
    assert space.size == len(ids) == len(set(ids))


def test_a_range_without_steps_has_no_size():
    space = open_space(spec({**SPACES["plain"], "train.lr": {"kind": "float", "low": 1e-4, "high": 1e-2, "log": True}}))
    assert space.size is None
    with pytest.raises(SpecError, match="needs steps"):
        list(space.points())


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("encode", ["onoff", "blocks", "window"])
def test_draws_and_neighbours_stay_inside(name, encode):
    space = open_space(spec(SPACES[name], search={"encoding": encode, "blocks": 4}))
    inside = set(distinct(space))
    rng = np.random.default_rng(1)
    for _ in range(60):
        params = space.draw(rng)
        assert space.config(params).trial_id() in inside
        params = space.neighbour(params, rng)
        assert space.config(params).trial_id() in inside
        assert set(params) <= set(space.parameters)


@pytest.mark.parametrize("encode", ["onoff", "blocks", "window"])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 24), least=st.integers(0, 4), more=st.integers(0, 24))
def test_repair_gives_an_allowed_size_and_leaves_what_fits(encode, seed, count, least, more):
    least = min(least, count)
    names = [f"encoder.{at}.ffn" for at in range(count)]
    subset = encoding(encode, names, least, max(1, least + more), 8)
    if not any(True for _ in subset.subsets()):
        return
    rng = np.random.default_rng(seed)
    raw = {one.name: one.at(rng.random()) for one in subset.parameters}
    mended = subset.repair(raw, rng)
    assert subset.least <= len(subset.decode(mended)) <= subset.most
    assert subset.repair(mended, rng) == mended
    assert subset.encode(subset.decode(mended)) == mended
    assert subset.least <= len(subset.decode(subset.draw(rng))) <= subset.most


def test_anchors_are_distinct_allowed_and_reach_the_corners():
    names = [f"encoder.{at}.ffn" for at in range(24)]
    subset = encoding("onoff", names, 1, 24, 8)
    designs = [subset.decode(one) for one in designs_for(subset, 8)]
    assert len(designs) == len(set(designs)) == 8
    assert {len(one) for one in designs} >= {1, 3, 24}
    assert ("encoder.23.ffn",) in designs
    space = open_space(spec(SPACES["plain"]))
    for params in anchors(space, 8, np.random.default_rng(0)):
        assert 1 <= len(space.config(params).layers) <= 3


def test_settings_that_nothing_reads_make_no_second_trial():
    space = open_space(spec(SPACES["conditional"]))
    rng = np.random.default_rng(0)
    one = {"layers": ["encoder.1.ffn", "encoder.0.ffn"], "neurons": 16, "method": "dropin"}
    first = space.config(space.flat(one, rng))
    second = space.config(space.flat({**one, "layers": ["encoder.{0..1}.ffn"], "criterion": "random"}, rng))
    assert first == second
    assert first.layers == ("encoder.0.ffn", "encoder.1.ffn")
    assert first.criterion == "taylor"


def test_no_neurons_means_no_growth():
    space = open_space(
        spec({"layers": LAYERS, "neurons": {"kind": "int", "low": 0, "high": 16, "step": 16, "per_layer": True}})
    )
    rng = np.random.default_rng(0)
    point = {"layers": ["encoder.0.ffn", "encoder.3.ffn"], "neurons": {"encoder.0.ffn": 0, "encoder.3.ffn": 16}}
    assert space.config(space.flat(point, rng)).growth() == {"encoder.3.ffn": 16}
    assert space.config(space.flat({**point, "neurons": 0}, rng)).method == "baseline"


def test_widths_snap_to_what_a_site_can_have():
    rows = {row.name: row for row in site_table(ModelConfig())}
    step = rows["encoder.0.attention"].step
    space = open_space(spec({
        "layers": {"kind": "subset", "of": ["encoder.0.attention", "encoder.0.ffn"], "min": 2},
        "neurons": {"kind": "int", "low": 16, "high": 16, "fit": "snap"},
    }))  # fmt: skip
    growth = space.config(space.draw(np.random.default_rng(0))).growth()
    assert growth == {"encoder.0.attention": snapped(16, step), "encoder.0.ffn": 16}
    assert [snapped(count, 12) for count in (0, 1, 12, 17, 18, 30)] == [0, 12, 12, 12, 24, 36]


def test_a_point_that_the_encoding_cannot_say_is_refused():
    space = open_space(spec(SPACES["plain"], search={"encoding": "window"}))
    with pytest.raises(SpecError, match="encoding onoff"):
        space.flat({"layers": ["encoder.0.ffn", "encoder.2.ffn"]}, np.random.default_rng(0))
    with pytest.raises(SpecError, match="may not be chosen"):
        space.flat({"layers": ["encoder.0.attention"]}, np.random.default_rng(0))


@pytest.mark.parametrize(
    "one",
    [
        Parameter("x", "x", ("a", "b", "c")),
        Parameter("x", "x", low=1, high=9, step=2, whole=True),
        Parameter("x", "x", low=1, high=100, log=True, whole=True),
        Parameter("x", "x", low=1e-4, high=1e-1, log=True),
        Parameter("x", "x", low=0, high=1, step=0.25),
    ],
)
def test_the_unit_interval_covers_a_parameter_and_no_more(one):
    values = [one.at(unit) for unit in np.linspace(0, 1, 2001)]
    if one.labels:
        assert set(values) == set(one.labels)
    else:
        assert min(values) == pytest.approx(one.low)
        assert max(values) == pytest.approx(one.high, rel=1e-2)
        assert values == sorted(values)


def test_blocks_are_drawn_and_mended_without_listing_all_unions(monkeypatch):
    """Of 40 blocks there are 2^40 unions; each of an allowed size is as likely as the others of that size."""
    monkeypatch.setattr(Blocks, "subsets", lambda _: pytest.fail("unions were listed"))
    names = [f"encoder.{at}.ffn" for at in range(100)]
    subset, rng = encoding("blocks", names, 3, 7, 40), np.random.default_rng(0)
    sizes = {len(subset.decode(subset.draw(rng))) for _ in range(200)}
    assert sizes == {3, 4, 5, 6, 7} == set(subset.counts())
    assert len(subset.decode(subset.repair(dict.fromkeys(subset.draw(rng), True), rng))) == 7
    assert len(subset.decode(subset.repair(dict.fromkeys(subset.draw(rng), False), rng))) == 3


def test_blocks_are_counted_and_drawn_as_the_list_of_their_unions_says():
    subset = encoding("blocks", [f"s{at}" for at in range(13)], 2, 6, 5)  # of unlike sizes
    listed = list(subset.subsets())
    sizes = [len(chosen) for chosen in listed]
    assert subset.counts() == {size: sizes.count(size) for size in sorted(set(sizes))}
    rng = np.random.default_rng(0)
    drawn = [subset.decode(subset.draw(rng)) for _ in range(4000)]
    assert set(drawn) == set(listed)
    for chosen in listed:
        expected = 4000 / len(set(sizes)) / sizes.count(len(chosen))
        assert abs(drawn.count(chosen) - expected) < 5 * expected**0.5
