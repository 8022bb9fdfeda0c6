"""Wheel and sdist hold what a user needs, install as they are, and what is said of them is true."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

import plastsearch

ROOT = Path(__file__).parents[2]
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
UV = Path(sys.executable).with_name("uv")
INDEX = re.compile(
    r"pypi\.org|files\.pythonhosted|download\.pytorch|--(?:extra-)?index-url|--find-links", re.IGNORECASE
)


def run(*words, cwd=None, environment=None):
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist of this checkout, and the wheel that is built from what the sdist holds."""
    out = tmp_path_factory.mktemp("dist")
    builder = "from hatchling.cli import hatchling; import sys; sys.exit(hatchling())"
    run(sys.executable, "-c", builder, "build", "-t", "sdist", "-d", out, cwd=ROOT)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        packed.extractall(out / "unpacked", filter="data")
    (unpacked,) = (out / "unpacked").iterdir()
    run(sys.executable, "-c", builder, "build", "-t", "wheel", "-d", out, cwd=unpacked)
    (wheel,) = out.glob("*.whl")
    return sdist, wheel


def test_the_wheel_holds_code_types_pages_schemas_and_spaces(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    mine = {
        str(path.relative_to(ROOT)) for path in (ROOT / "plastsearch").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip
    assert not mine - names, "part of the package, but not of its wheel"
    tree = "plastsearch/kubernetes/tree/search_spaces"
    for name in ("plastsearch/py.typed", f"{tree}/plastsearch.schema.json", f"{tree}/w2v_layers.yaml"):
        assert name in names
    assert {".html", ".js", ".css", ".json", ".yaml"} <= {Path(name).suffix for name in names}
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]


def test_the_sdist_holds_what_builds_tests_and_explains(built):
    with tarfile.open(built[0]) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "Makefile",
              "docs/shell.md", "search_spaces/plastsearch.schema.json", "tests/conftest.py"}  # fmt: skip
    assert wanted <= names


def test_what_the_wheel_says_of_itself(built):
    with zipfile.ZipFile(built[1]) as wheel:
        folder = f"plastsearch-{plastsearch.__version__}.dist-info"
        said = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
        entries = wheel.read(f"{folder}/entry_points.txt").decode()
    assert said["Version"] == plastsearch.__version__
    assert said["Requires-Python"] == "<3.15,>=3.11"
    classifiers = said.get_all("Classifier")
    for number in ("3.11", "3.12", "3.13", "3.14"):
        assert f"Programming Language :: Python :: {number}" in classifiers
    assert "Typing :: Typed" in classifiers
    assert "plastsearch = plastsearch.cli.main:main" in entries
    assert {"torch", "torchaudio", "ray", "typer"} <= {one.split(";")[0].split("[")[0].split(">")[0].split("<")[0]
                                                       for one in said.get_all("Requires-Dist")}  # fmt: skip


def test_it_installs_into_a_fresh_environment_and_runs(built, tmp_path):
    """Its dependencies are those of this environment, by a path: to fetch two gigabytes is a release's work."""
    environment = tmp_path / "fresh"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    place = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", environment=plain).strip()
    with zipfile.ZipFile(built[1]) as wheel:  # a wheel is its own layout; its one script is written as installers do
        wheel.extractall(place)
    script = environment / "bin" / "plastsearch"
    script.write_text(f"#!{python}\nimport sys\nfrom plastsearch.cli.main import main\nsys.exit(main())\n")
    script.chmod(0o755)
    (Path(place) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(
        python, "-c", "import plastsearch; print(plastsearch.__file__)", cwd=tmp_path, environment=plain
    ).strip()
    assert where.startswith(str(environment)), where
    assert run(script, "--version", cwd=tmp_path, environment=plain) == f"plastsearch {plastsearch.__version__}\n"
    run(python, "-m", "plastsearch", "new", "mine.yaml", "--budget", "minutes", cwd=tmp_path, environment=plain)
    assert (tmp_path / "mine.yaml").is_file()


@pytest.mark.slow
def test_installers_take_the_wheel(built, tmp_path):
    if not UV.exists():
        pytest.skip("uv is part of the build group alone")
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "fresh")
    python = tmp_path / "fresh/bin/python"
    run(UV, "pip", "install", "--quiet", "--no-deps", "--offline", "--python", python, built[1])
    assert (tmp_path / "fresh/bin/plastsearch").is_file()
    assert "py.typed" in run(UV, "pip", "show", "--files", "--python", python, "plastsearch")


def test_the_changelog_keeps_the_form():
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert lines[0] == "# Changelog"
    assert "Keep a Changelog" in lines[2]
    releases = [line for line in lines if line.startswith("## ")]
    assert releases[0] == "## [Unreleased]"
    assert all(re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", line) for line in releases[1:])
    for section in "\n".join(lines).split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert set(kinds) <= KINDS
        assert len(kinds) == len(set(kinds)), "a kind is there twice"
        body = [line for line in section.splitlines()[1:] if line and not line.startswith("### ")]
        assert all(line.startswith(("- ", "  ")) for line in body), (
            "entries are list items, without blank lines in them"
        )


def test_release_notes_are_a_section_of_the_changelog():
    notes = run("make", "--no-print-directory", "notes", cwd=ROOT)
    text = (ROOT / "CHANGELOG.md").read_text()
    section = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]
    assert notes.split() == section.split()
    missing = subprocess.run(["make", "notes", "RELEASE=99.0.0"], cwd=ROOT, capture_output=True, text=True)
    assert missing.returncode != 0
    assert "no section [99.0.0]" in missing.stderr


CITED = {
    "software": {"type", "title", "authors", "abstract", "version", "license", "keywords", "references", "message",
                 "cff-version"},
    "conference-paper": {"type", "title", "authors", "year", "conference", "doi", "identifiers", "notes"},
}  # fmt: skip


def test_the_citation_names_tool_and_paper():
    """What CFF 1.2.0 asks of these fields; all of its own schema was applied when the file was written."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["cff-version"], cited["version"]) == ("1.2.0", plastsearch.__version__)
    assert cited["license"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    (paper,) = cited["references"]
    assert "2603.24343" in paper["doi"]
    for one in (cited, paper):
        assert set(one) <= CITED[one["type"]]
        assert one["title"]
        for author in one["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
            assert all(isinstance(part, str) and part for part in author.values())
    assert re.fullmatch(r"10\.\d{4,9}(\.\d+)?/[\w:/;.()\[\]\\-]+", paper["doi"])
    assert re.search(r"arXiv[ :]2603\.24343", (ROOT / "README.md").read_text())


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_images_are_labelled_with_this_release(kind):
    text = (ROOT / f"k8s/images/{kind}.Dockerfile").read_text()
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', text))
    assert {"title", "description", "version", "revision", "licenses", "authors"} <= set(labels)
    assert labels["version"] == "${VERSION}"
    assert f"ARG VERSION={plastsearch.__version__}" in text


def test_no_address_of_a_package_index_is_kept():
    tracked = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    found = []
    for name in tracked:
        path = ROOT / name
        if not name or not path.is_file() or path.suffix in {".png", ".gz", ".parquet", ".flac", ".wav"}:
            continue
        if name == str(Path(__file__).relative_to(ROOT)):
            continue
        text = path.read_text(errors="replace")
        found += [f"{name}: {match[0]}" for match in INDEX.finditer(text)]
    assert not found


def interpreters():
    """Every Python here that the package takes, oldest first: on the path, and what pyenv keeps."""
    span = (3, 11), (3, 14)
    places = [Path(folder) / f"python3.{minor}" for folder in os.get_exec_path() for minor in range(11, 15)]
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    places += [*kept.glob("3.*/bin/python")] if kept.is_dir() else []
    found = {}
    for place in [Path(sys.executable), *places]:
        if place.is_file():
            asked = [str(place), "-c", "import sys; print(*sys.version_info[:3])"]
            done = subprocess.run(asked, capture_output=True, text=True, timeout=30)
            version = tuple(int(part) for part in done.stdout.split())
            if done.returncode == 0 and span[0] <= version[:2] <= span[1]:
                found.setdefault(version[:2], place)
    return [found[version] for version in sorted(found)]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_oldest_and_the_newest_python_here_install_it_whole_and_search(built, tmp_path):
    """With all that it depends on, as a user would: needs a package index, or uv's cache of one."""
    known = interpreters()
    for python in dict.fromkeys([known[0], known[-1]]):
        place = tmp_path / f"fresh-{known.index(python)}"
        run(UV, "venv", "--quiet", "--python", python, place / "env")
        words = [UV, "pip", "install", "--quiet", "--python", place / "env/bin/python", built[1]]
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stderr
        command = place / "env/bin/plastsearch"
        run(command, "new", "mine.yaml", "--model", "grnn", "--budget", "minutes", cwd=place)
        run(place / "env/bin/python", "-m", "plastsearch", "doctor", cwd=place)
        words = ["sweep", "mine.yaml", "--executor", "inline", "--trials", "1", "--no-finalists", "--mlflow", "none",
                 "--quiet", "--set", "controls=[]", "--set", "base.train.steps=6"]  # fmt: skip
        done = subprocess.run([str(command), *words], cwd=place, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        assert "trial 0" in done.stdout
