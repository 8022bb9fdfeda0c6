"""Python and the packages, from what is written of them: nothing is imported, so a broken one does no harm."""

import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from plastsearch.doctor.finding import Finding, fault, note, ok

PAIR = ("torch", "torchaudio")
ONNX = ("onnx", "onnxscript", "onnxruntime")
_OWN = "plastsearch"
_RELEASE = re.compile(r"(\d+)\.(\d+)")


def installed(name: str) -> str | None:
    """The release of a package, None without it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def wanted(extra: str = "") -> list[tuple[str, str]]:
    """Name and releases of each package that this one asks for, by its own metadata; of one extra alone, if given."""
    from packaging.requirements import Requirement

    asked = [Requirement(text) for text in metadata.requires(_OWN) or []]
    found: list[tuple[str, str]] = []
    for one in asked:
        base = one.marker is None or one.marker.evaluate({"extra": ""})
        if (one.marker is not None and one.marker.evaluate({"extra": extra}) and not base) if extra else base:
            found.append((one.name, str(one.specifier)))
    return found


def fits(release: str, specifier: str) -> bool:
    """Whether a release is one of those asked for."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(release, prereleases=True)


def python(version: Sequence[int] = sys.version_info[:3]) -> Finding:
    """Whether this Python is one that the package takes."""
    name, here = "Python", ".".join(str(part) for part in version)
    span = str(metadata.metadata(_OWN)["Requires-Python"] or "")
    if not fits(here, span):
        return fault(name, f"{here}, and plastsearch takes {span}", f"make the environment anew with a Python {span}")
    return ok(name, f"{here} in {sys.prefix}")


def pair() -> Finding:
    """torch and torchaudio are built for each other, release by release."""
    name = ", ".join(PAIR)
    asked = dict(wanted())
    install = "pip install " + " ".join(f"'{one}{asked.get(one, '')}'" for one in PAIR)
    found = {one: installed(one) for one in PAIR}
    missing = [one for one, release in found.items() if release is None]
    if missing:
        return fault(name, f"{' and '.join(missing)} missing", install)
    said = " with ".join(f"{one} {release}" for one, release in found.items())
    releases = {match.groups() for release in found.values() if release and (match := _RELEASE.match(release))}
    if len(releases) > 1:
        return fault(name, f"{said}: they are no pair", f"install the same release of both: {install}")
    for one, release in found.items():
        if release is not None and not fits(release, asked.get(one, "")):
            return fault(name, f"{said}; plastsearch takes {one} {asked[one]}", install)
    return ok(name, said)


def others() -> Finding:
    """All other packages that are always needed."""
    name = "packages"
    asked = [(one, span) for one, span in wanted() if one not in (*PAIR, "ray")]
    wrong = [(one, span, installed(one)) for one, span in asked]
    wrong = [(one, span, release) for one, span, release in wrong if release is None or not fits(release, span)]
    if wrong:
        said = ", ".join(f"{one} {release or 'missing'} (wanted: {span})" for one, span, release in wrong)
        return fault(name, said, "pip install " + " ".join(f"'{one}{span}'" for one, span, _ in wrong))
    return ok(name, f"{len(asked)} as they should be")


def onnx(asked: bool) -> Finding:
    """What `export --onnx` needs, if that is wanted."""
    name = "ONNX"
    found = [(one, span, installed(one)) for one, span in wanted("onnx")]
    wrong = [(one, span, release) for one, span, release in found if release is None or not fits(release, span)]
    if not wrong:
        return ok(name, ", ".join(f"{one} {release}" for one, _, release in found))
    if len(wrong) == len(found) and all(release is None for *_, release in wrong) and not asked:
        return ok(name, "not installed, and only `export --onnx` needs it: pip install 'plastsearch[onnx]'")
    said = ", ".join(f"{one} {release or 'missing'} (wanted: {span})" for one, span, release in wrong)
    finding = fault if asked else note
    return finding(name, said, "pip install 'plastsearch[onnx]', or leave out `export --onnx`")


def torch_cuda() -> str | None:
    """The CUDA that the installed torch was built for, as `13.0`; None for a build without."""
    try:
        text = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text()
    except (metadata.PackageNotFoundError, OSError):
        return None
    match = re.search(r"^cuda[^=]*=\s*'([\d.]+)'", text, re.MULTILINE)
    return match[1] if match else None
