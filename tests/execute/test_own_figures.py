"""A worker's own figures: of the process at work, and nothing where there is nothing to tell."""

import time

from plastsearch.execute.own_figures import OwnFigures


def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_process_at_work_differs_from_one_that_sleeps():
    figures = OwnFigures()
    busy(0.2)
    began = figures.now()
    time.sleep(0.2)
    rest = figures.now()
    assert rest["cpu_utilization_percentage"] < 50
    assert began["cpu_utilization_percentage"] > rest["cpu_utilization_percentage"]
    kept = bytearray(64_000_000)
    kept[::4096] = b"x" * len(kept[::4096])  # touched, or the system gives it none
    more = figures.now()["system_memory_usage_megabytes"] - rest["system_memory_usage_megabytes"]
    assert 40 < more < 120
    assert len(kept) == 64_000_000


def test_without_a_gpu_in_use_nothing_is_said_of_one():
    assert not any(name.startswith("gpu") for name in OwnFigures().now())
