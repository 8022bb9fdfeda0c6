"""Addresses are shown without their secrets, however they are written, and can be given without being typed."""

import os
import subprocess
import sys

import pytest

from plastsearch.addresses import address_of, link, shown, typed, without_secrets
from plastsearch.errors import PlastsearchError

SECRET = "hunter2"
ADDRESSES = {
    f"http://me:{SECRET}@host:5000": "http://…@host:5000",
    f"http://{SECRET}@host:5000/path": "http://…@host:5000/path",
    f"https://me:p@ss:{SECRET}/x@host/a": "https://…@host/a",
    f"mysql+pymysql://me:my {SECRET}@host/db": "mysql+pymysql://…@host/db",
    f"postgresql://host/db?user=me&password={SECRET}&x=1": "postgresql://host/db?user=me&password=…&x=1",
    f"https://host/mlflow?api_token={SECRET}": "https://host/mlflow?api_token=…",
}
PLAIN = ["http://host:5000", "sqlite:////tmp/a/mlflow.db", "/some/folder", "databricks", "none", "http://[::1]:5000/a"]


@pytest.mark.parametrize(("address", "expected"), ADDRESSES.items())
def test_an_address_is_shown_without_login_and_secret_fields(address: str, expected: str) -> None:
    assert shown(address) == expected
    assert typed(address) == "env:MLFLOW_TRACKING_URI"


@pytest.mark.parametrize("address", PLAIN)
def test_an_address_without_secrets_is_shown_and_typed_as_it_is(address: str) -> None:
    assert shown(address) == address
    assert typed(address) == address
    assert without_secrets(f"could not reach {address}", address) == f"could not reach {address}"


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_message_about_an_address_holds_nothing_of_its_login(address: str) -> None:
    text = f"API request to {address}/api/2.0 failed: '{address}' refused (by admin@host.org)"
    found = without_secrets(text, address)
    assert SECRET not in found
    assert found.endswith("refused (by admin@host.org)")
    if " " not in address:
        assert SECRET not in without_secrets(text)  # also if nobody knows the address


def test_a_browser_gets_an_address_that_it_can_open() -> None:
    assert link("http://me:pw@host:5000/") == "http://host:5000"
    assert link("https://host/mlflow") == "https://host/mlflow"


def test_an_address_may_stand_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM", f"http://me:{SECRET}@host")
    assert address_of("env:TEAM") == f"http://me:{SECRET}@host"
    assert address_of("http://host") == "http://host"
    assert typed("env:TEAM") == "env:TEAM"
    monkeypatch.delenv("TEAM")
    with pytest.raises(PlastsearchError, match=r"--mlflow env:TEAM: the environment variable TEAM is not set; put"):
        address_of("env:TEAM")


@pytest.mark.parametrize("words", [["--mlflow", f"http://me:{SECRET}@host"], [f"--mlflow=http://me:{SECRET}@host"]])
def test_a_typed_password_leaves_the_process_list_before_anything_runs(words: list[str]) -> None:
    """The command starts again in the same process, with the address in its environment."""
    code = """
import os, sys
from pathlib import Path
import plastsearch.cli.main as main
def app():
    print(os.getpid(), Path("/proc/self/cmdline").read_text().split("\\0")[3:-1], os.environ["MLFLOW_TRACKING_URI"])
main.app = app
main.main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, "sweep", "x.yaml", *words, "--resume"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "MLFLOW_TRACKING_URI": "http://another"},
    )  # fmt: skip
    out, _ = process.communicate(timeout=60)
    seen = ["--mlflow", "env:MLFLOW_TRACKING_URI"] if len(words) == 2 else ["--mlflow=env:MLFLOW_TRACKING_URI"]
    assert out == f"{process.pid} {['sweep', 'x.yaml', *seen, '--resume']} http://me:{SECRET}@host\n"
