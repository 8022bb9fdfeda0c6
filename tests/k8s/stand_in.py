"""A stand-in for the images' base, made by debootstrap, and a checkout without heavy packages: what builds offline."""

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ("buildah", "debootstrap", "chroot")
# What `plastsearch --version` and `ray --version` import, and a torchaudio, to be trimmed; not the gigabytes beside it.
LIGHT = {
    "annotated-doc", "attrs", "certifi", "charset-normalizer", "click", "filelock", "idna", "jsonschema",
    "jsonschema-specifications", "markdown-it-py", "mdurl", "msgpack", "packaging", "protobuf", "pygments", "pyyaml",
    "ray", "referencing", "requests", "rich", "rpds-py", "setuptools", "shellingham", "torchaudio", "typer",
    "typing-extensions", "urllib3",
}  # fmt: skip
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
INDEX = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
# Debian's Python made into one like python:3.11's: in /usr/local, with a pip that may be used and removed.
LIKE_PYTHON = r"""
set -eu
ln -s /usr/bin/python3 /usr/local/bin/python
rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
python -m zipfile -e /usr/share/python-wheels/pip-*.whl /usr/local/lib/python3.11/dist-packages
"""


def blocks(lock: str) -> list[tuple[str, str]]:
    """Names and lines of a lock's requirements."""
    found = re.split(r"^(?=[a-z])", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return [(block.partition("==")[0], block) for block in found if "==" in block]


def light_checkout(folder: Path) -> Path:
    """What the Dockerfiles copy, with locks without heavy packages; for torch without CUDA stands a small package."""
    for name in ("pyproject.toml", "README.md", "LICENSE", ".dockerignore"):
        shutil.copy(ROOT / name, folder)
    for name in ("plastsearch", "search_spaces", "k8s/images"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "requirements-build.lock", folder)
    for lock in ("requirements.lock", "requirements-server.lock"):
        (folder / lock).write_text("".join(block for name, block in blocks(lock) if name in LIGHT))
    instead = dict(blocks("requirements-server.lock"))["six"]
    (folder / "requirements-torch-cpu.lock").write_text(instead)
    (folder / "secret.env").write_text("a file of the checkout that no image may hold")
    return folder


class Buildah:
    """Builds and runs images in a store of its own, without a daemon or a network beyond that of the host."""

    def __init__(self, folder: Path) -> None:
        self._store = ["--root", str(folder / "store"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]

    def __call__(self, *words: str, timeout: float = 900.0) -> str:
        done = subprocess.run(
            ["buildah", *self._store, *words], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"buildah {' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def build(self, context: Path, dockerfile: str, tag: str, *arguments: str) -> str:
        """The output of a build of the context's Dockerfile."""
        words = [word for argument in arguments for word in ("--build-arg", argument)]
        return self(
            *("bud", "--isolation", "chroot", "--format", "docker", "--pull-never", *words),
            *("-f", str(context / dockerfile), "-t", tag, str(context)),
        )

    def run(self, image: str, command: Sequence[str]) -> str:
        """What a command prints in a new container of the image."""
        container = self("from", "--pull-never", image).strip()
        try:
            return self("run", "--isolation", "chroot", container, "--", *command)
        finally:
            self("rm", container)


def make_base(buildah: Buildah, folder: Path, name: str) -> None:
    """A Debian with Python 3.11 under the name of the real base."""
    root = folder / "root"
    packages = "python3,python3-venv,ca-certificates"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout[-3000:]
    subprocess.run(["chroot", str(root), "/bin/sh", "-c", LIKE_PYTHON], check=True, timeout=60)
    with tarfile.open(folder / "root.tar", "w") as archive:
        archive.add(root, arcname="/", filter=lambda one: None if one.ischr() or one.isblk() else one)
    shutil.rmtree(root)
    # It trusts whom this machine trusts, and asks the same package index.
    shutil.copy(AUTHORITIES, folder / "authorities.crt")
    settings = {"PIP_CERT": str(AUTHORITIES), "SSL_CERT_FILE": str(AUTHORITIES)}
    settings |= {name: os.environ[name] for name in INDEX if name in os.environ}
    words = " ".join(f'{name}="{value}"' for name, value in settings.items())
    (folder / "Dockerfile").write_text(
        f"FROM scratch\nADD root.tar /\nCOPY authorities.crt {AUTHORITIES}\nENV {words}\n"
    )
    buildah.build(folder, "Dockerfile", name)
