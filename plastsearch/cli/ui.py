"""`plastsearch ui`: one MLflow server on a sweep's records, and the address of the page with the Pareto figure."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from plastsearch.tracking.mlflow_tracker import Place

HOST = "127.0.0.1"
START_S = 180.0  # a server on a machine that trains takes its time


def ui(
    folder: Annotated[Path, typer.Argument(help="A sweep's folder, also one that still runs.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to serve; 0 takes a free one.")] = 5000,
    serve: Annotated[
        bool, typer.Option(help="Start the server; without it, only say where the figure would be.")
    ] = True,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="A running MLflow server to use instead of starting one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as one JSON document.")] = False,
) -> None:
    """Show a sweep in MLflow: brings the records up to date, serves them here and prints the figure's address."""
    from plastsearch.analysis.publish import PAGE, render
    from plastsearch.cli.output import console, print_json
    from plastsearch.tracking import mlflow_pages as pages
    from plastsearch.tracking.mlflow_tracker import locate

    place = locate(folder, mlflow, render)
    base = mlflow.rstrip("/") if mlflow else f"http://{HOST}:{_free(port)}"
    found = {
        "figure": f"{base}/{pages.artifact_page(place.experiment, place.run, f'pareto/{PAGE}')}",
        "run": f"{base}/{pages.run_page(place.experiment, place.run)}",
        **{
            name: f"{base}/{pages.view_page(place.experiment, key)}"
            for name, key in zip(("front", "trials"), pages.VIEWS, strict=True)
        },
    }
    with _server(place, folder, base) if serve and mlflow is None else _nothing():
        if as_json:
            print_json(found)
        else:
            out = console()
            for name, words in (
                ("figure", "Pareto figure"),
                ("run", "Sweep"),
                ("front", "Front"),
                ("trials", "Trials"),
            ):
                out.print(f"{words + ':':15}{found[name]}", markup=False, soft_wrap=True)
        if serve and mlflow is None:
            _until_stopped(as_json)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _until_stopped(quiet: bool) -> None:
    import threading

    from plastsearch.cli.output import console

    if not quiet:
        console(stderr=True).print("Ctrl-C stops the server.", markup=False)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _free(port: int) -> int:
    """The port itself if nobody has it, else any that is free."""
    import socket

    for wanted in (port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return port


@contextmanager
def _server(place: "Place", folder: Path, base: str) -> Iterator[None]:
    """One server process with one worker; whatever happens inside, its whole process group ends with it."""
    import os
    import sys

    log = Path(folder) / "mlflow" / "server.log"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", place.uri, "--host", HOST,
               "--port", base.rpartition(":")[2], "--workers", "1"]  # fmt: skip
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**os.environ, **quiet},
            start_new_session=True,
        )  # fmt: skip
    try:
        _wait_for(process, base, log)
        yield
    finally:
        _end(process)


def _wait_for(process: "subprocess.Popen[bytes]", base: str, log: Path) -> None:
    import time
    import urllib.error
    import urllib.request

    from plastsearch.errors import PlastsearchError

    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            last = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
            raise PlastsearchError(f"the MLflow server ended at once ({last}); its log is {log}")
        try:
            with urllib.request.urlopen(f"{base}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise PlastsearchError(f"the MLflow server did not answer within {START_S:.0f} s; its log is {log}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the group to stop, then make it; a second Ctrl-C must not leave it half ended."""
    import os
    import time

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for sign, patience_s in ((signal.SIGTERM, 8.0), (signal.SIGKILL, 5.0)):
            until = time.monotonic() + patience_s
            while _group_lives(process) and time.monotonic() < until:
                os.killpg(process.pid, sign)
                time.sleep(0.1)
    finally:
        signal.signal(signal.SIGINT, before)


def _group_lives(process: "subprocess.Popen[bytes]") -> bool:
    import os

    process.poll()  # reaps the leader, which would else count as living
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
