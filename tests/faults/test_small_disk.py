"""A full disk, at three moments of a sweep: a sentence, the table of what is there, and a resume that needs nothing."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.faults.small_disk import MOMENTS

WORDS = ("unshare", "--mount", "--propagation", "private")


def _possible() -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run([*WORDS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_disk_that_is_full(moment, tmp_path):
    if not _possible():
        pytest.skip("needs the right to mount a small file system")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [*WORDS, sys.executable, "-m", "tests.faults.small_disk", str(tmp_path), moment]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=380, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    first, second = found["first"], found["second"]
    said = first["err"]
    assert "Traceback" not in said + second["err"], said
    assert first["left"] == ""
    assert "No space left on device" in said, said
    if moment == "at the very end":
        # The last line may have fitted in: then the sweep is done, and only its report could not be written.
        assert first["status"] in (0, 2, 130), said
        assert "there is room" in said or "make room" in said or "go on with --resume" in said, said
        assert "magnitude" in first["out"], first["out"]  # the table, all the same
    else:
        assert first["status"] in (2, 130), said
        assert "make room" in said, said
    assert second["status"] == 0, second["err"]
    ends = [event for event in found["events"] if event["event"] == "end"]
    assert [event["state"] for event in ends] == ["done"]
    assert found["events"][-1]["status"] == "done"
