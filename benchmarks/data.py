"""How fast clips come from the shared cache, what a worker process costs in memory, and how fast a corpus is prepared.

`python benchmarks/data.py [clips]` writes a corpus of FLAC files into a temporary folder and measures there.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from results import Table, cpu_model, write

from plastsearch.data.clips import ClipSet
from plastsearch.data.corpus import open_corpus
from plastsearch.data.dataset import batches, order
from plastsearch.spec.data import DataConfig

RATE_HZ = 16_000
LENGTH = 64_600
BATCH = 32
ROUNDS = 5

WORKER = """
import sys
from pathlib import Path
from plastsearch.data.corpus import open_corpus
from plastsearch.data.dataset import batches
from plastsearch.spec.data import DataConfig

def private_mb():
    # written pages anywhere, and pages of the shards that no other process shares; code of libraries does not count
    total, shard = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            shard = line.endswith(".arrow")
        elif line.startswith("Private_Dirty") or (shard and line.startswith("Private_Clean")):
            total += int(line.split()[1])
    return total / 1000

train = open_corpus(DataConfig(corpus="manifest", manifest=sys.argv[1]), Path(sys.argv[2])).train
for epoch in range(2):
    for batch in batches(train, 32, 0, epoch, length_samples=64_600, crops=None):
        pass
del batch
print("read", flush=True)
sys.stdin.readline()
print(private_mb(), flush=True)
sys.stdin.readline()
"""


def write_corpus(folder: Path, clips: int, shortest_s: float = 2.0, longest_s: float = 6.0) -> Path:
    """FLAC files whose spectrum falls as speech does, so that they compress and decode alike."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["path,label,split"]
    for i in range(clips):
        n = int(rng.uniform(shortest_s, longest_s) * RATE_HZ)
        spectrum = np.fft.rfft(rng.standard_normal(n)) / np.maximum(np.fft.rfftfreq(n, 1 / RATE_HZ), 100)
        wave = np.fft.irfft(spectrum, n) * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * np.arange(n) / RATE_HZ))
        soundfile.write(folder / f"{i:05d}.flac", 0.4 * wave / np.abs(wave).max(), RATE_HZ)
        lines.append(f"{i:05d}.flac,{'real' if i % 4 == 0 else 'fake'},{'dev' if i % 50 < 2 else 'train'}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    return folder / "clips.csv"


def alternately(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median CPU seconds of both, and the median of first / second.

    Taking turns, and CPU time instead of the clock, keep out what else the machine does; files are in the page cache.
    """
    times = []
    for _ in range(rounds):
        marks = [time.process_time()]
        for work in (first, second):
            work()
            marks.append(time.process_time())
        times.append((marks[1] - marks[0], marks[2] - marks[1]))
    ratio = statistics.median(a / b for a, b in times)
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times), ratio


def from_cache(train: ClipSet) -> None:
    """One epoch from the cache, in this thread."""
    for _ in batches(train, BATCH, 0, 1, length_samples=LENGTH, crops=None):
        pass


def from_flac(train: ClipSet, folder: Path) -> None:
    """One epoch that decodes every file, as a loader without a cache does."""
    for rows in np.array_split(order(train, 0, 1), max(1, len(train) // BATCH)):
        batch = np.empty((len(rows), LENGTH), np.float32)
        for target, i in zip(batch, rows, strict=True):
            wave, _ = soundfile.read(folder / train.ids[i], dtype="float32")
            target[:] = np.resize(wave[:LENGTH], LENGTH)


def decode_plainly(paths: list[Path]) -> None:
    """Every file once, in the cheapest way: 16-bit samples whose memory the next file uses again."""
    for path in paths:
        soundfile.read(path, dtype="int16")


def private_mb(manifest: Path, cache: Path, workers: int = 3) -> float:
    """Private memory of a worker that has read its whole corpus, while others hold it too."""
    command = [sys.executable, "-c", WORKER, str(manifest), str(cache)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [subprocess.Popen(command, text=True, **pipes) for _ in range(workers)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "read\n"
    found = []
    for process in running:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        found.append(float(process.stdout.readline()))
    for process in running:
        process.communicate("\n")
    return statistics.median(found)


def main(clips: int) -> None:
    """Measure everything in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        manifest = write_corpus(place / "audio", clips)
        tiny = write_corpus(place / "tiny", clips, 0.02, 0.03)
        paths = sorted((place / "audio").glob("*.flac"))
        data = DataConfig(corpus="manifest", manifest=str(manifest))
        caches = iter(range(ROUNDS))
        _, prepared, throughput = alternately(
            lambda: decode_plainly(paths),
            lambda: open_corpus(data, place / f"cache{next(caches)}", workers=1),
            ROUNDS,
        )
        start = time.perf_counter()
        view = open_corpus(data, place / "cache0")
        size = sum(path.stat().st_size for path in (place / "cache0").rglob("*.arrow")) / 1e6
        opened = time.perf_counter() - start
        open_corpus(DataConfig(corpus="manifest", manifest=str(tiny)), place / "cache0", workers=1)
        train, n_batches = view.train, -(-len(view.train) // BATCH)
        decoding, cached, ratio = alternately(
            lambda: from_flac(train, place / "audio"), lambda: from_cache(train), ROUNDS
        )
        own, empty = private_mb(manifest, place / "cache0"), private_mb(tiny, place / "cache0")
    extra = f"{own:.1f} MB - {empty:.1f} MB = {100 * (own - empty) / size:.1f} %"
    rows = [
        ["batches of 32 × 64,600 samples from the cache", f"{n_batches / cached:.0f}/s", None],
        ["the same, decoding FLAC with soundfile every epoch", f"{n_batches / decoding:.1f}/s", None],
        ["ratio", f"{ratio:.0f} ×", "≥ 20 ×"],
        ["private memory of a worker, less that of one whose clips have almost no samples", extra, "< 5 %"],
        ["prepare on one core, against plain soundfile decoding",
         f"{throughput:.2f} × ({clips / prepared:.0f} clips/s)", "≥ 0.8 ×"],
        ["opening a prepared corpus", f"{1000 * opened:.0f} ms", "at once"],
    ]  # fmt: skip
    table = Table([("measure", ""), ("figure", ""), ("goal", "")], rows)
    print(f"{clips:,} FLAC clips of 2-6 s, {size:.0f} MB decoded (int16), {cpu_model()}, one thread, CPU time\n")
    print(table.markdown())
    write("data", {"cache": table})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
