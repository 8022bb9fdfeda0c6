"""What crosses the border to a worker arrives as it was sent, numbers that JSON does not know included."""

import math

import pytest

from plastsearch.execute.messages import Busy, Done, Failed, Progress, Task, message_as_text, message_from, task_from
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings

ODD = {"nan": math.nan, "inf": math.inf, "less": -math.inf, "one": 1.0}


@pytest.mark.parametrize(
    "message",
    [
        Progress(stage="train", step=1, steps_total=2, metrics=ODD, node="here:1", boundary=True),
        Done(metrics=ODD, details={"deep": [ODD, {"none": None}]}, seconds=1.5, node="here:1"),
        Failed(reason="why", again=True, details={"traceback": "…"}, gpu_lost=True),
        Busy(reason="stage ab is busy"),
    ],
    ids=lambda message: message.kind,
)
def test_a_message_arrives_as_it_was_sent(message):
    assert repr(message_from(message_as_text(message))) == repr(message)  # by its words: a NaN equals nothing


def test_a_task_arrives_as_it_was_sent():
    settings = RunSettings(store="s", cache="c", checkpoint_s=math.inf, cache_max_gb=math.inf, waits="w")
    config = TrialConfig.model_validate({"model": {"from": "/weights"}, "layers": ["gru.1"], "neurons": {"gru.1": 4}})
    task = Task(function="package.module:function", config=config, settings=settings)
    assert task_from(task.as_text()) == task
