"""An executor with a simulated clock: trials last as long as recorded ones did, and take no time.

What the driver itself takes is measured and added to the clock: a worker that waits for its answer stands idle, as on
Ray, where a worker goes on only once its report was heard.
"""

import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.driver_arms import metrics
from plastsearch.execute.executor import Attempt, Driver, Meters
from plastsearch.execute.messages import Done, Message, Progress

# A plasticity trial whose first stage is in the store: what it reports, and the share of its time that is over then.
REPORTS = (
    ("train", True, 0.02), ("dropin", True, 0.06), ("retrain", False, 0.25), ("retrain", False, 0.45),
    ("retrain", True, 0.62), ("prune", True, 0.68), ("consolidate", False, 0.85), ("consolidate", True, 0.98),
)  # fmt: skip
STEPS = 240
LONG_AGO = -1.0


@dataclass
class Working:
    """A trial at work in a slot."""

    attempt: Attempt
    length_s: float
    final: dict[str, float]
    told: int = 0  # messages so far
    since_s: float = 0.0  # when it went on after the last one
    until_s: float = 0.0  # when it has the next one

    def message(self) -> Message:
        """What it says next: a report, and in the end the result."""
        if self.told == len(REPORTS):
            return Done(metrics=self.final, details={"fake": True}, seconds=self.length_s, node="node")
        stage, boundary, share = REPORTS[self.told]
        worse = {"dev_eer": self.final["dev_eer"] + 10 * (1 - share)}
        step = round(STEPS * (0.4 + 0.6 * share)) if stage not in {"train", "dropin"} else round(STEPS * 0.4)
        return Progress(stage=stage, step=step, steps_total=STEPS, metrics=worse, node="node", boundary=boundary)

    def next_s(self) -> float:
        """How long it works until its next message."""
        ends = [0.0, *(share for _, _, share in REPORTS), 1.0]
        return (ends[self.told + 1] - ends[self.told]) * self.length_s


@dataclass
class Costs:
    """Seconds that the driver took for each event: by the clock, and of the processor."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


class FastForward:
    """`slots` workers, and the next thing that happens on a heap; `fixed_s`: let each event take so long instead.

    `cpu_clock`: count the driver's time on the processor alone, where others keep it waiting for its turn.
    """

    def __init__(
        self, slots: int, lengths_s: Sequence[float], fixed_s: float | None = None, *, cpu_clock: bool = False
    ) -> None:
        self.slots, self.cpus, self.gpus, self.device = slots, 1.0, 0.0, "cpu"
        self.trouble: str | None = None
        self.meters: Meters | None = None
        self.proposals, self.messages = Costs(), Costs()
        self.now_s = 0.0
        self.utilisation = 0.0  # until the driver had nothing to hand out for the first time
        self.full_until_s = 0.0
        self._lengths_s = lengths_s
        self._fixed_s, self._cpu_clock = fixed_s, cpu_clock
        self._worked_s = 0.0
        self._heap: list[tuple[float, int, Working]] = []
        self._free = deque(range(slots))
        self._count = 0

    def surroundings(self) -> list[str]:
        """Nothing but this process."""
        return []

    def run(self, driver: Driver, abandon: Callable[[str], None] | None = None) -> None:  # noqa: ARG002
        """One thing after another, until the driver is over."""
        starved = False  # asked in vain since the last event
        while not driver.over and not driver.stopping:
            # In turn, as Tune does it: a slot is filled, a message is heard.
            if self._free and not starved:
                starved = not self._timed(self.proposals, driver, lambda: self._start(driver))
                if starved and not self.utilisation:
                    self._full_until_now()
            if self._heap and (starved or not self._free or self._heap[0][0] <= self.now_s):
                due_s, _, working = heapq.heappop(self._heap)
                self.now_s = max(self.now_s, due_s)
                self._worked_s += working.until_s - working.since_s
                goes_on = self._timed(self.messages, driver, lambda one=working: self._hear(driver, one))
                if goes_on:
                    self._work(working)
                else:
                    self._free.append(0)
                starved = False
            elif starved and not driver.over:
                raise RuntimeError("the driver is not over, hands out nothing, and nothing runs")

    def close(self) -> None:
        """Nothing was opened."""

    def _timed(self, costs: Costs, driver: Driver, call: Callable[[], bool]) -> bool:
        """One event and what Tune's loop asks around it, which moves the clock on."""
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        answer = call()
        driver.tick()
        driver.overdue()
        costs.wall_s.append(time.perf_counter() - wall_s)
        costs.cpu_s.append(time.thread_time() - cpu_s)
        took_s = (costs.cpu_s if self._cpu_clock else costs.wall_s)[-1]
        self.now_s += took_s if self._fixed_s is None else self._fixed_s
        return answer

    def _start(self, driver: Driver) -> bool:
        attempt = driver.next()
        if attempt is None:
            return False
        self._free.popleft()
        attempt.task.as_text()  # what a worker is sent
        driver.started(attempt, "node")
        config = attempt.task.config
        length_s = random.Random(attempt.trial).choice(self._lengths_s)
        final = metrics(len(config.layers), max(config.growth().values(), default=0), config.trial_id())
        self._work(Working(attempt, length_s, final))
        return True

    def _hear(self, driver: Driver, working: Working) -> bool:
        message = working.message()
        working.told += 1
        return driver.heard(working.attempt, message)

    def _work(self, working: Working) -> None:
        working.since_s = self.now_s
        working.until_s = self.now_s + working.next_s()
        self._count += 1
        heapq.heappush(self._heap, (working.until_s, self._count, working))

    def _full_until_now(self) -> None:
        """The last wave begins: there is nothing left to propose."""
        running = sum(min(self.now_s, one.until_s) - one.since_s for _, _, one in self._heap)
        self.full_until_s = self.now_s
        self.utilisation = (self._worked_s + running) / (self.slots * self.now_s)
