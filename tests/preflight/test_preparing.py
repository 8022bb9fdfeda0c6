"""A sweep's clips are decoded before its first trial, in a child, aloud; what is wrong with them ends it there."""

import pytest

from plastsearch.errors import DataError
from plastsearch.preflight.preparing import prepare_here
from tests.noise_corpus import noise_corpus


@pytest.fixture
def data(tmp_path):
    return noise_corpus(tmp_path)


def prepare(data, cache, **more):
    said = []
    prepare_here([data], cache, **more).wait(said.append)
    return said


def test_it_says_how_far_it_is_and_nothing_the_second_time(data, tmp_path):
    said = prepare(data, tmp_path / "cache", evaluation=True)
    assert [line.split(",")[0] for line in said if ": 10 of 10" in line] == [
        f"decoding manifest {split}: 10 of 10 clips" for split in ("train", "dev", "eval")
    ]
    assert prepare(data, tmp_path / "cache", evaluation=True) == []


def test_a_bad_evaluation_clip_is_found_before_the_search_if_finalists_follow(data, tmp_path):
    bad = tmp_path / "eval3.wav"
    bad.write_bytes(bad.read_bytes()[:100])
    assert prepare(data, tmp_path / "cache")
    with pytest.raises(DataError, match=r"clips.csv:25: eval3.wav: truncated or damaged(.|\n)*data\.on_bad: skip"):
        prepare(data, tmp_path / "cache", evaluation=True)
    said = prepare(data.model_copy(update={"on_bad": "skip"}), tmp_path / "cache", evaluation=True)
    assert said == ["manifest: 1 clips cannot be used and are left out (data.on_bad: skip)"]
