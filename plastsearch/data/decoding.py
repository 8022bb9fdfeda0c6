"""Parallel decoding: worker processes that each write whole shards, fed over pipes.

Plain child interpreters, not multiprocessing: they never fork a process that holds torch threads, never import the
caller's `__main__`, and so also work inside Ray workers and notebooks.
"""

import contextlib
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from plastsearch.data.shards import Job, write_shard
from plastsearch.errors import DataError

ASK_S = 0.2  # between two questions whether to go on
SERVE = "from plastsearch.data.decoding import serve; serve()"


def child_environment() -> dict[str, str]:
    """So that a child interpreter finds the package, and does not start a thread per core."""
    return dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p), OMP_NUM_THREADS="1")


def decode_all(
    jobs: Sequence[Job], workers: int, advance: Callable[[int], None], go_on: Callable[[], None] = lambda: None
) -> None:
    """Write the shard of every job; `advance` hears how many more clips are done, `go_on` may raise to end it."""
    workers = min(workers, len(jobs))
    if workers <= 1:  # here: an interpreter takes longer to start than a small job lasts
        for job in jobs:
            for step in _steps(job):
                advance(step)
                go_on()
        return
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    said: queue.SimpleQueue[int | Exception | None] = queue.SimpleQueue()
    processes = [_start() for _ in range(workers)]
    threads = [threading.Thread(target=_feed, args=(process, waiting, said), daemon=True) for process in processes]
    for thread in threads:
        thread.start()
    try:
        _listen(said, workers, advance, go_on)
    finally:
        # no farewell: shards are whole or absent, and a worker has nothing else to lose
        for process in processes:
            process.kill()
        for thread, process in zip(threads, processes, strict=True):
            thread.join()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


def _listen(
    said: "queue.SimpleQueue[int | Exception | None]",
    workers: int,
    advance: Callable[[int], None],
    go_on: Callable[[], None],
) -> None:
    while workers:
        go_on()
        try:
            message = said.get(timeout=ASK_S)
        except queue.Empty:
            continue
        if isinstance(message, Exception):
            raise message
        if message is None:
            workers -= 1
        else:
            advance(message)


def _steps(job: Job) -> Iterator[int]:
    before = 0
    try:
        for done in write_shard(job):
            yield done - before
            before = done
    except OSError as error:
        raise DataError(
            f"{job.folder}: decoded clips cannot be written: {error.strerror}; "
            "free some space or name another cache folder (what is finished is kept)"
        ) from None


def _start() -> subprocess.Popen[bytes]:
    # a group of its own: Ctrl-C is for the parent, which ends its workers
    return subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=child_environment(), process_group=0,
    )  # fmt: skip


def _feed(
    process: subprocess.Popen[bytes],
    waiting: "queue.SimpleQueue[Job]",
    said: "queue.SimpleQueue[int | Exception | None]",
) -> None:
    """Hand jobs to one worker and pass on what it says; runs in a thread of the parent."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        while True:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                break
            pickle.dump(job, process.stdin)
            process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                if "error" in message:
                    raise DataError(message["error"])
                if message.get("end"):
                    break
                said.put(message["done"])
            else:
                status = process.wait()
                raise DataError(f"a decoding process ended with status {status} while writing below {job.folder}")
        said.put(None)
    except (DataError, OSError) as error:
        said.put(error if isinstance(error, DataError) else DataError(f"a decoding process is gone: {error}"))


def serve() -> None:
    """The worker's loop: a pickled job in, progress lines out, until the pipe closes."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            for step in _steps(job):
                print(json.dumps({"done": step}), file=out, flush=True)
            print(json.dumps({"end": True}), file=out, flush=True)
        except DataError as error:
            print(json.dumps({"error": str(error)}), file=out, flush=True)
        except BrokenPipeError:  # the parent is gone; what it had finished stays
            os._exit(1)
