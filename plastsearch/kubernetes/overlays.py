"""Where the manifests are that ship with this program, and what each overlay is for."""

from pathlib import Path

import plastsearch
from plastsearch.errors import PlastsearchError

OVERLAYS = {
    "dev": "one node without a GPU, platform included: hello world on kind",
    "gpu": "GPU workers that the autoscaler brings and sends away",
    "spot": "the same on capacity that may be taken back",
    "kueue": "a fixed size that waits its turn in a queue",
    "s3": "platform and GPU workers, MLflow's artifacts in a bucket",
}
# Secrets that people make, since nobody can make them up: kubectl create secret generic NAME --from-literal=KEY=…
BY_HAND = {"s3": {"s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}}


def tree() -> Path:
    """The folder of `platform`, `sweep` and `overlays`: inside an installed package, else beside it in a checkout."""
    package = Path(plastsearch.__file__).parent
    for folder in (package / "kubernetes" / "tree" / "k8s", package.parent / "k8s"):
        if (folder / "overlays").is_dir():
            return folder
    raise PlastsearchError(f"{package}: the manifests are missing from this installation; install plastsearch again")


def overlay(name: str) -> Path:
    """The folder of an overlay."""
    if name not in OVERLAYS:
        listed = "; ".join(f"{one}: {what}" for one, what in OVERLAYS.items())
        raise PlastsearchError(f"--overlay {name}: unknown; known: {listed}")
    return tree() / "overlays" / name
