"""How long brushes take on the page to choose on, and sweeps as full as real ones."""

from dataclasses import dataclass

import numpy as np

from plastsearch.analysis.results import Results
from tests.browser import Browser
from tests.choose.conftest import AXES_LEFT

STEPS = 32
ATTACKS = [f"A{n:02d}" for n in range(1, 14)]
# From each movement of a pressed mouse to the screen, and the page's own work in between.
WATCH = """(() => { window.times = []; window.works = [];
    const seen = event => { const began = performance.now();
        if (event.buttons) requestAnimationFrame(() => { const channel = new MessageChannel();
            channel.port1.onmessage = () => { times.push(performance.now() - began);
                works.push(Number(document.documentElement.dataset.drawn)); };
            channel.port2.postMessage(0); }); };
    if (!window.seen) addEventListener("pointermove", window.seen = seen, true); })()"""


@dataclass(frozen=True)
class Brush:
    """Milliseconds of one brush's steps, sorted: until they are seen, and until all views are drawn."""

    view: str
    seen: list[float]
    work: list[float]
    busy: float  # the mean of what a step costs the processor, drawing and layout included

    def within(self, share: float) -> tuple[float, float]:
        """What that share of the steps stays below."""
        return self.seen[int(share * len(self.seen))], self.work[int(share * len(self.work))]


def brushes(browser: Browser) -> list[Brush]:
    """Drags a rectangle over the front, then a range along an axis."""
    left, top, _, _ = browser.place("#scatter canvas")
    front = _timed(browser, "front", [(left + 70 + 12 * n, top + 40 + 9 * n) for n in range(STEPS)])
    browser.key("Escape", 27)
    left, top, _, _ = browser.place("#parallel canvas")
    x = left + browser.run(AXES_LEFT)[4]
    axis = _timed(browser, "axis", [(x, top + 56 + 7 * n) for n in range(STEPS)])
    browser.key("Escape", 27)
    return [front, axis]


def _timed(browser: Browser, view: str, path: list[tuple[float, float]]) -> Brush:
    browser.run(WATCH)
    before = browser.busy_s()
    browser.drag(path)
    browser.run("new Promise(done => setTimeout(done, 300))")
    seen, work = sorted(browser.run("window.times")), sorted(browser.run("window.works"))
    return Brush(view, seen, work, 1000 * (browser.busy_s() - before) / len(seen))


def filled(results: Results, reports: int = 60, seed: int = 0) -> Results:
    """Gives each trial a learning curve of so many reports and thirteen attacks, all of random numbers."""
    rng = np.random.default_rng(seed)
    for row in results.rows:
        known = row.record.history
        if not known:
            continue
        eers, losses = 8 + 20 * rng.random(reports), rng.random(reports)
        row.record.history = [
            known[n * len(known) // reports].model_copy(update={
                "step": 10 * (n + 1), "attempt": row.record.attempts,
                "metrics": {"dev_eer": float(eers[n]), "train_loss": float(losses[n])},
            })
            for n in range(reports)
        ]  # fmt: skip
        row.record.details["per_attack"] = dict(zip(ATTACKS, (40 * rng.random(13)).tolist(), strict=True))
    return results
