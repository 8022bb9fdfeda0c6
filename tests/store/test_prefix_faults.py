"""Kept activations among processes that fill, read, drop and die at once, on disks that end."""

import errno
import fcntl
import gc
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from plastsearch.errors import StorageError
from plastsearch.models.build import build
from plastsearch.store import activations, prefix
from plastsearch.store.activations import PrefixOf
from plastsearch.store.prefix import PrefixCache
from plastsearch.trial import cached_prefix as keeping
from plastsearch.trial.run import run_trial
from tests.trial.conftest import make_config, steady

OF = PrefixOf("w", "gru.1", "clips", 8000, 1, "float32", "float32")
ITEM = 60_000  # bytes of a clip, so that a buffer does not hide what is written
SIZE = 10 * ITEM
CONTEXT = multiprocessing.get_context("fork")


def named(name: str) -> PrefixOf:
    return replace(OF, weights=name)


def parts(value: float = 0.0) -> Iterator[torch.Tensor]:
    for first in (0, 5):
        yield torch.full((5, 50, 300), value) + torch.arange(first, first + 5)[:, None, None]


def make(cache: PrefixCache, name: str, seconds: float = 1.0, passes: float = 2.0, **more: Any) -> Any:
    """Ten clips, made and used as by a trial that reads them so many times."""
    kept = cache.make(named(name), 10, ITEM, lambda: parts(), lambda: None, seconds=seconds, passes=passes, **more)
    if kept is not None:
        cache.note_use(named(name), kept)
    return kept


def there(cache: PrefixCache, *names: str) -> list[str]:
    return [name for name in names if (cache.root / named(name).key).exists()]


def size_of(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("values.bin"))


def _makes_slowly(root: Path, name: str, budget: float, half: Any, go: Any, ends: Any) -> None:
    def slow() -> Iterator[torch.Tensor]:
        first, second = parts()
        yield first
        half.set()
        go.wait(60)
        yield second

    cache = PrefixCache(root, budget)
    try:
        kept = cache.make(named(name), 10, ITEM, slow, lambda: None, seconds=1.0, passes=2.0)
        ends.put((None if kept is None else kept.read(np.arange(10))[:, 0, 0].tolist(), cache.refused))
    except BaseException as error:
        ends.put(repr(error))
        raise


class Maker:
    """Another process, half-way through computing activations."""

    def __init__(self, root: Path, name: str, budget: float) -> None:
        self.half, self.go, self.ends = CONTEXT.Event(), CONTEXT.Event(), CONTEXT.SimpleQueue()
        arguments = (root, name, budget, self.half, self.go, self.ends)
        self.process = CONTEXT.Process(target=_makes_slowly, args=arguments, daemon=True)
        self.process.start()
        assert self.half.wait(60)

    def end(self) -> Any:
        self.go.set()
        said = self.ends.get()
        self.process.join(60)
        return said


def test_a_draft_in_progress_is_never_dropped_for_another(tmp_path) -> None:
    maker = Maker(tmp_path, "a", 2 * SIZE)
    cache = PrefixCache(tmp_path, 2 * SIZE)
    assert make(cache, "b") is not None
    gc.collect()
    assert make(cache, "c") is not None  # in the room of b, for a's is taken
    assert maker.end() == ([float(n) for n in range(10)], [])
    assert there(cache, "a", "b", "c") == ["a", "c"]


def test_two_makers_see_each_other_s_reservation(tmp_path) -> None:
    maker = Maker(tmp_path, "a", 1.5 * SIZE)
    cache = PrefixCache(tmp_path, 1.5 * SIZE)
    assert make(cache, "b") is None
    assert cache.refused == ["activations at gru.1 are not kept (600 kB): what is kept, or being computed, is in use"]
    assert maker.end()[0] is not None
    assert size_of(tmp_path) <= 1.5 * SIZE


def test_the_disk_that_a_draft_will_still_take_is_not_free(tmp_path, monkeypatch) -> None:
    maker = Maker(tmp_path, "a", 1e9)
    big = 400_000_000
    with (tmp_path / f".draft-{named('a').key}" / "values.bin").open("r+b") as file:
        os.ftruncate(file.fileno(), big)  # reserved, and little of it written yet
        written = 512 * os.fstat(file.fileno()).st_blocks
    cache = PrefixCache(tmp_path, 1e9)
    monkeypatch.setattr(prefix.shutil, "disk_usage", lambda _: SimpleNamespace(free=big - written, total=2 * SIZE))
    assert make(cache, "b") is None
    monkeypatch.setattr(prefix.shutil, "disk_usage", lambda _: SimpleNamespace(free=big + 2 * SIZE, total=2 * SIZE))
    assert make(cache, "b") is not None
    monkeypatch.undo()
    maker.process.kill()
    maker.process.join()


def test_a_killed_maker_s_draft_is_room_again(tmp_path) -> None:
    maker = Maker(tmp_path, "a", 1.5 * SIZE)
    maker.process.kill()
    maker.process.join(60)
    assert maker.process.exitcode == -signal.SIGKILL
    cache = PrefixCache(tmp_path, 1.5 * SIZE)
    assert make(cache, "a") is not None
    gc.collect()
    other = Maker(tmp_path, "b", 1.5 * SIZE)
    other.process.kill()
    other.process.join(60)
    assert make(cache, "c") is not None
    assert size_of(tmp_path) == SIZE


def test_what_somebody_reads_is_neither_dropped_nor_counted_as_freed(tmp_path) -> None:
    cache = PrefixCache(tmp_path, 1.5 * SIZE)
    reading = make(cache, "a")
    assert make(cache, "b", seconds=100.0) is None
    assert there(cache, "a", "b") == ["a"]
    assert reading.read(np.array([3]))[0, 0, 0] == 3
    del reading
    assert make(cache, "b", seconds=100.0) is not None
    assert there(cache, "a", "b") == ["b"]


def _reads(root: Path, ready: Any, go: Any) -> None:
    kept = PrefixCache(root).find(named("a"))
    ready.set()
    go.wait(60)
    assert kept is not None
    assert kept.read(np.array([9]))[0, 0, 0] == 9


def test_another_process_that_reads_holds_its_entry_until_it_ends(tmp_path) -> None:
    cache = PrefixCache(tmp_path, 1.5 * SIZE)
    make(cache, "a")
    gc.collect()
    ready, go = CONTEXT.Event(), CONTEXT.Event()
    reader = CONTEXT.Process(target=_reads, args=(tmp_path, ready, go), daemon=True)
    reader.start()
    assert ready.wait(60)
    assert make(cache, "b", seconds=100.0) is None
    go.set()
    reader.join(60)
    assert reader.exitcode == 0
    assert make(cache, "b", seconds=100.0) is not None


def test_asking_what_is_allowed_touches_nothing(tmp_path) -> None:
    """A dry run looks without the lock: what it cannot place, like a draft that begins at this moment, it leaves."""
    cache = PrefixCache(tmp_path)
    make(cache, "a")
    maker = Maker(tmp_path, "b", 1e9)
    begun = tmp_path / ".draft-begun"
    begun.mkdir()
    dead = tmp_path / ".draft-dead"
    dead.mkdir()
    (dead / "values.bin").write_bytes(b"1")
    before = sorted(tmp_path.rglob("*"))
    assert cache.allowed() > 0
    assert sorted(tmp_path.rglob("*")) == before
    assert maker.end()[0] is not None
    assert make(cache, "c") is not None
    assert not begun.exists()
    assert not dead.exists()


def test_who_wants_the_same_waits_and_computes_nothing(tmp_path) -> None:
    maker = Maker(tmp_path, "a", 1e9)
    polls = []

    def poll() -> None:
        polls.append(1)
        maker.go.set()
        time.sleep(0.02)

    def never() -> Iterator[torch.Tensor]:
        raise AssertionError("computed twice")

    kept = PrefixCache(tmp_path, 1e9).make(named("a"), 10, ITEM, never, poll)
    assert kept is not None
    assert polls
    assert kept.read(np.arange(10))[:, 0, 0].tolist() == maker.end()[0]


def test_a_wait_for_another_maker_can_be_ended(tmp_path) -> None:
    maker = Maker(tmp_path, "a", 1e9)

    class Enough(Exception):
        pass

    def poll() -> None:
        raise Enough

    with pytest.raises(Enough):
        PrefixCache(tmp_path, 1e9).make(named("a"), 10, ITEM, parts, poll)
    maker.end()


def _short(root: Path, when: str, ends: Any) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))

    def halfway() -> Iterator[torch.Tensor]:
        first, second = parts()
        yield first
        limit()
        yield second

    if when == "from the start":
        limit()
    cache = PrefixCache(root, 1e9)
    ends.put((cache.make(named("a"), 10, ITEM, halfway, lambda: None), cache.refused))


@pytest.mark.parametrize("when", ["from the start", "half-way"])
def test_a_disk_that_ends_costs_the_cache_and_not_the_trial(when, tmp_path) -> None:
    """For everybody, by a limit on the size of files; a disk that is really full is below."""
    ends = CONTEXT.SimpleQueue()
    process = CONTEXT.Process(target=_short, args=(tmp_path, when, ends))
    process.start()
    kept, refused = ends.get()
    process.join(60)
    assert process.exitcode == 0
    assert kept is None
    assert len(refused) == 1
    assert "File too large" in refused[0]
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert make(PrefixCache(tmp_path, 1e9), "a") is not None


FULL = """
import numpy, sys, torch
from dataclasses import replace
from pathlib import Path
from plastsearch.store.activations import PrefixOf
from plastsearch.store.prefix import PrefixCache
root = Path(sys.argv[1])
of = PrefixOf("w", "gru.1", "clips", 8000, 1, "float32", "float32")
cache = PrefixCache(root / "prefix", 1e9)

def parts(fill):
    for at in range(10):
        if at == 5 and fill:
            with (root / "others").open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
        yield torch.full((1, 25_000), float(at))

make = lambda name, fill: cache.make(replace(of, weights=name), 10, 100_000, lambda: parts(fill), lambda: None)
a = make("a", False)                          # one of two megabytes, and in use
assert make("b", True) is None                # somebody else fills the disk meanwhile
assert "No space left on device" in cache.refused[0], cache.refused
assert make("c", False) is None               # little is left from the start
assert len(cache.refused) == 2, cache.refused
(root / "others").unlink()
assert a.read(numpy.array([3]))[0, 0] == 3
assert make("d", False) is not None
left = sorted(path.name for path in (root / "prefix").iterdir() if not path.name.startswith("."))
assert len(left) <= 2, left
"""


def test_a_disk_that_is_really_full_costs_the_cache_and_not_the_trial(tmp_path) -> None:
    if os.getuid():
        pytest.skip("mounting a small disk needs root (the test before this one runs for everybody)")
    mounted = 'mount -t tmpfs -o size=2300k small "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-m", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, FULL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


def test_files_that_cannot_be_locked_cost_the_cache_and_not_the_trial(tmp_path, monkeypatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    cache = PrefixCache(tmp_path, 1e9)
    assert make(cache, "a") is None
    assert "No locks available" in cache.refused[0]


def test_activations_that_cannot_be_read_now_are_not_dropped(tmp_path, monkeypatch) -> None:
    cache = PrefixCache(tmp_path, 1e9)
    make(cache, "a")

    def troubled(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(activations.mmap, "mmap", troubled)
        with pytest.raises(StorageError, match="try --no-activations"):
            cache.find(named("a"))
    assert cache.find(named("a")) is not None


# what is worth keeping


def test_what_saves_most_per_gb_stays(tmp_path) -> None:
    cache = PrefixCache(tmp_path, 2 * SIZE)
    for name, seconds in (("slow", 100.0), ("quick", 1.0), ("middle", 10.0)):
        make(cache, name, seconds)
        gc.collect()
    assert there(cache, "slow", "quick", "middle") == ["slow", "middle"]


def test_who_would_save_less_is_turned_away_and_drops_nothing(tmp_path) -> None:
    cache = PrefixCache(tmp_path, 2 * SIZE)
    make(cache, "a", 100.0), make(cache, "b", 90.0)
    gc.collect()
    assert make(cache, "c", 1.0) is None
    assert there(cache, "a", "b", "c") == ["a", "b"]
    assert "what is kept saves more seconds per GB" in cache.refused[0]


def test_what_nobody_uses_ages_with_every_newcomer_until_it_goes(tmp_path) -> None:
    """Yesterday's entries, though dear, make room after a few requests; what is used again and again stays."""
    cache = PrefixCache(tmp_path, 2 * SIZE)
    make(cache, "old", 100.0)
    used = make(cache, "used", 40.0)
    asked = 0
    while make(cache, "new", 30.0) is None:
        cache.note_use(named("used"), used)
        asked += 1
        assert asked < 15
    assert asked > 1
    assert there(cache, "old", "used", "new") == ["used", "new"]


def test_a_crash_between_level_and_worth_is_no_harm(tmp_path) -> None:
    cache = PrefixCache(tmp_path, SIZE)
    make(cache, "a", 5.0)
    gc.collect()
    (tmp_path / named("a").key / "worth").write_text("")
    (tmp_path / ".level").write_text("nonsense")
    assert make(cache, "b", 1.0) is not None


def test_without_a_budget_half_of_what_is_free_is_taken_and_some_is_always_spared(tmp_path, monkeypatch) -> None:
    free = [3.9 * SIZE]
    monkeypatch.setattr(prefix.shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0], total=4 * SIZE))
    cache = PrefixCache(tmp_path)
    make(cache, "a", 1.0)
    gc.collect()
    free[0] -= SIZE
    used = make(cache, "b", 1.0)
    assert used is not None
    assert there(cache, "a", "b") == ["b"]  # of 3.7 that it may take or has, 1.85
    free[0] = 1.1 * SIZE
    assert make(PrefixCache(tmp_path, 10 * SIZE), "c", 1.0) is None  # 0.2 are spared
    free[0] = 1.3 * SIZE
    assert make(PrefixCache(tmp_path, 10 * SIZE), "c", 1.0) is not None


def test_more_than_the_budget_is_refused_before_anything_is_dropped(tmp_path) -> None:
    cache = PrefixCache(tmp_path, 1.5 * SIZE)
    make(cache, "a")
    assert cache.make(named("b"), 100, ITEM, parts, lambda: None) is None
    assert "the budget is 900 kB (--cache-max-gb)" in cache.refused[0]
    assert there(cache, "a") == ["a"]


# half precision


@pytest.fixture
def own_cache(cache: Path, tmp_path: Path) -> Path:
    """A cache folder with the decoded clips of all tests, and kept activations of its own."""
    own = tmp_path / "cache"
    own.mkdir()
    for name in ("clips", "synthetic"):
        (cache / name).mkdir(exist_ok=True)
        (own / name).symlink_to(cache / name)
    return own


def test_a_number_too_large_for_a_half_is_kept_whole(settings, own_cache, monkeypatch) -> None:
    whole = keeping._computed

    def large(*args: Any) -> Iterator[torch.Tensor]:
        for part in whole(*args):
            yield part * 1e6

    monkeypatch.setattr(keeping, "_computed", large)
    *_, final = run_trial(
        make_config(method="dropin", train={"steps": 24}), settings(cache=own_cache, cache_half=True, cache_prefix=True)
    )
    kinds = [path.parent for path in (own_cache / "prefix").rglob("shape.json")]
    assert [("float32" in (folder / "shape.json").read_text()) for folder in kinds] == [True] * len(kinds)
    assert len(kinds) >= 2
    assert final.details["stages"][-1]["prefix"]


@pytest.mark.parametrize(
    ("model", "layer", "precision", "kind"),
    [
        ("resnet18", "layer4.1", "float32", "float32"),
        ("resnet18", "layer4.1", "bf16", "float16"),
        ("grnn", "gru.2", "bf16", "float32"),  # recurrent layers compute in float32 whatever is asked
    ],
)
def test_halves_are_kept_where_they_were_computed_more_coarsely(
    model, layer, precision, kind, settings, own_cache
) -> None:
    train = {"steps": 24, "precision": precision}
    config = make_config(model={"name": model}, layers=(layer,), method="dropin", train=train)
    list(run_trial(config, settings(cache=own_cache, cache_prefix=True)))
    kept = [path.read_text() for path in (own_cache / "prefix").rglob("shape.json")]
    # Features of clips are computed before any network, in float32 whatever is asked of that.
    shapes = [shape for shape in kept if '"cut": "features"' not in shape]
    assert len(shapes) >= 2
    assert all(f'"type": "{kind}"' in shape for shape in shapes)


@pytest.mark.parametrize(("name", "cut"), [("wav2vec2", "encoder.3"), ("resnet18", "layer3.0")])
def test_a_half_loses_less_than_bf16_has_lost_before(name, cut) -> None:
    """Rounding to float16 is a quarter, at most, of what computing in bf16 differs from float32."""
    module = build(name, "tiny", seed=0).eval()
    wave_BT = torch.randn(8, 8000, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.inference_mode():
        exact = module.prefix(wave_BT, cut)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = module.prefix(wave_BT, cut).float()
    assert (coarse.half().float() - coarse).norm() < (coarse - exact).norm() / 4


# whole trials


@pytest.mark.slow
def test_a_trial_without_room_ends_as_one_with_it_and_says_so(settings, own_cache, tmp_path) -> None:
    config = make_config(method="dropin", train={"steps": 24})
    *_, without = run_trial(
        config, settings(store=tmp_path / "a", cache=own_cache, cache_prefix=True, cache_max_gb=1e-6)
    )
    *_, plain = run_trial(config, settings(store=tmp_path / "b", cache_prefix=False))
    assert [stage.get("prefix") for stage in without.details["stages"]][-1] is False
    assert any("not kept" in text and "--cache-max-gb" in text for text in without.details["warnings"])
    assert steady(without) == pytest.approx(steady(plain), rel=1e-6)


@pytest.mark.slow
def test_nothing_is_computed_in_vain_where_only_some_of_it_would_fit(
    settings, own_cache, tmp_path, monkeypatch
) -> None:
    config = make_config(method="dropin", data={"crops": 4}, train={"steps": 24})
    list(run_trial(config, settings(store=tmp_path / "a", cache=own_cache, cache_prefix=True)))
    sizes = sorted(path.stat().st_size for path in (own_cache / "prefix").rglob("values.bin"))
    assert len(sizes) >= 3  # some turns of the training clips, and search-dev
    (own_cache / "prefix").rename(tmp_path / "elsewhere")
    computed: list[Any] = []
    whole = keeping._computed
    monkeypatch.setattr(keeping, "_computed", lambda *args: computed.append(args) or whole(*args))
    tight = settings(store=tmp_path / "b", cache=own_cache, cache_prefix=True, cache_max_gb=1.2 * sizes[-1] / 1e9)
    *_, final = run_trial(config, tight)
    assert computed == []
    assert any("not kept" in text and "--cache-max-gb" in text for text in final.details["warnings"])
