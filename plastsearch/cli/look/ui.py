"""`plastsearch ui`: one MLflow server on a sweep's records, and the address of the page with the Pareto figure."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from plastsearch.addresses import address_of, link
from plastsearch.cli import options
from plastsearch.cli.output import console, print_json
from plastsearch.errors import PlastsearchError
from plastsearch.tracking import mlflow_server
from plastsearch.tracking.mlflow_server import HOST

START_S = 180.0  # a server on a machine that trains takes its time
WORDS = {
    "choose": "Choose", "figure": "Pareto figure", "run": "Sweep", "front": "Front", "trials": "Trials",
    "finalists": "Finalists",
}  # fmt: skip
VIEWS = ("front", "trials", "finalists")


def ui(
    folder: options.SweepFolder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to serve; 0 takes a free one.")] = 5000,
    serve: Annotated[
        bool, typer.Option(help="Start the server; without it, only say where the figure would be.")
    ] = True,
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="A running MLflow server to use instead of starting one; env:NAME if it has a password."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as one JSON document.")] = False,
) -> None:
    """Show a sweep in MLflow: brings the records up to date, serves them here and prints the figure's address.

    Example: plastsearch ui plastsearch-runs/w2v_layers

    The address holds the key of this session: nobody else on this machine, and no other, can use the server.
    """
    from plastsearch.report.publish import render
    from plastsearch.tracking.mlflow_sync import locate

    place = locate(folder, mlflow, render)
    own = mlflow is None
    with _bound(port) as listener:
        number = listener.getsockname()[1]
        key = mlflow_server.new_key()
        base = f"http://{HOST}:{number}/" if mlflow is None else f"{link(address_of(mlflow))}/"
        found = _addresses(f"{base}?key={key}" if own and serve else base, place.experiment, place.run)
        with _server(place.uri, folder, listener, key) if own and serve else _nothing():
            if as_json:
                print_json(found)
            else:
                out = console()
                for name, words in WORDS.items():
                    out.print(f"{words + ':':15}{found[name]}", markup=False, soft_wrap=True)
            if own and serve:
                _until_stopped(as_json)


def _addresses(base: str, experiment: str, run: str) -> dict[str, str]:
    from plastsearch.choose.page import FILE as CHOOSE
    from plastsearch.report.publish import PAGE
    from plastsearch.tracking import mlflow_pages as pages

    views = {name: pages.view_page(experiment, key) for name, key in zip(VIEWS, pages.VIEWS, strict=True)}
    routes = {"choose": pages.artifact_page(experiment, run, f"report/{CHOOSE}")}
    routes |= {"figure": pages.artifact_page(experiment, run, f"pareto/{PAGE}"), "run": pages.run_page(experiment, run)}
    return {name: base + route for name, route in (routes | views).items()}


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _until_stopped(quiet: bool) -> None:
    if not quiet:
        console(stderr=True).print("Ctrl-C stops the server.", markup=False)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _bound(port: int) -> socket.socket:
    """The port itself if nobody has it, else any that is free; taken here, so that nobody can come first."""
    for wanted in (port, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, wanted))
            return listener
        except OSError:
            listener.close()
            if not wanted:
                raise
    return listener


@contextmanager
def _server(uri: str, folder: Path, listener: socket.socket, key: str) -> Iterator[None]:
    """One server process; whatever happens inside, its whole process group ends with it."""
    from plastsearch.tracking.mlflow_store import database_of

    log = Path(folder) / "mlflow" / "server.log"
    port = listener.getsockname()[1]
    with log.open("w") as output:
        process = mlflow_server.start(listener, uri, database_of(folder).with_name("artifacts"), key, output)
    listener.close()  # the process has its own; a second one would let visitors of a dead server wait
    try:
        _wait_for(process, port, key, log)
        yield
    finally:
        _end(process)


def _wait_for(process: "subprocess.Popen[bytes]", port: int, key: str, log: Path) -> None:
    import urllib.error
    import urllib.request

    until = time.monotonic() + START_S
    here = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of the user's must not see the key
    asked = urllib.request.Request(f"http://{HOST}:{port}/health", headers={"Authorization": f"Bearer {key}"})
    while time.monotonic() < until:
        if process.poll() is not None:
            last = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
            raise PlastsearchError(f"the MLflow server ended at once ({last}); its log is {log}")
        try:
            with here.open(asked, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise PlastsearchError(f"the MLflow server did not answer within {START_S:.0f} s; its log is {log}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the group to stop, then make it; a second Ctrl-C must not leave it half ended."""
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
    process.poll()  # reaps the leader, which would else count as living
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
