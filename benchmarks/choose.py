"""The page to choose on of a large sweep: seconds to make it, its size, milliseconds of a brush in Chromium.

    python benchmarks/choose.py [--trials 5000]

A made-up journal with learning curves of 60 reports and thirteen attacks a trial, all random numbers, so that nothing
packs better than real ones would. A brush is dragged in 32 steps over the front, then along an axis of the parallel
coordinates.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.results import Table, write  # noqa: E402
from plastsearch.analysis.figure import axis_pairs, bands  # noqa: E402
from plastsearch.analysis.results import load_results  # noqa: E402
from tests.browser import Browser  # noqa: E402
from tests.choose.brushing import brushes, filled  # noqa: E402
from tests.choose.conftest import page_of  # noqa: E402
from tests.made_sweep import make_sweep  # noqa: E402

PAGE = [("trials", ",.0f"), ("bands, s", ".1f"), ("page, s", ".1f"), ("MB", ".2f"), ("first drawing, ms", ",.0f")]
BRUSH = [
    ("brush on", ""), ("steps", ".0f"), ("median, ms", ".0f"), ("90 %, ms", ".0f"), ("drawn, median, ms", ".0f"),
    ("processor, mean, ms", ".0f"),
]  # fmt: skip


def main() -> None:
    """Make the page, brush on it, keep both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as place:
        folder = make_sweep(Path(place) / "large", search=trials, repeats=3)
        results = filled(load_results(folder))
        began = time.perf_counter()
        for pair in axis_pairs(results):  # the figure draws them, too
            bands(results, pair)
        bands_s = time.perf_counter() - began
        began = time.perf_counter()
        text = page_of(results)
        page_s = time.perf_counter() - began
        path = folder / "choose.html"
        path.write_text(text, encoding="utf-8")
        with Browser(Path(place) / "browser", 1440, 1000) as browser:
            browser.resize(1440, 1000)
            browser.open(path.as_uri())
            browser.until("document.documentElement.dataset.ready")
            first_ms = float(browser.run("document.documentElement.dataset.drawn"))
            found = brushes(browser)
        size = path.stat().st_size / 1e6
    page: list[float | str | None] = [float(len(results.plotted)), bands_s, page_s, size, first_ms]
    lines: list[list[float | str | None]] = [
        [one.view, float(len(one.seen)), one.within(0.5)[0], one.within(0.9)[0], one.within(0.5)[1], one.busy]
        for one in found
    ]
    print(page, *lines, sep="\n")
    write("choose", {"page": Table(PAGE, [page]), "brush": Table(BRUSH, lines)})


if __name__ == "__main__":
    main()
