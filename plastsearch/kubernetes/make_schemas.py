"""Makes schemas/kuberay.json.gz, what KubeRay's own definitions say of each field, from the files it publishes.

    python -m plastsearch.kubernetes.make_schemas 1.7=FOLDER 1.6=FOLDER

Each FOLDER holds `ray.io_rayjobs.yaml` and `ray.io_rayclusters.yaml` of that release. Kept are names, types, what must
be there and which words are allowed; of an older release, only in what it differs from the first one.
"""

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from plastsearch.errors import PlastsearchError
from plastsearch.files import whole_file

Node = dict[str, Any]  # one field of a definition

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C reads 2 MB in a fifth of a second

DATA = Path(__file__).with_name("schemas") / "kuberay.json.gz"
FILES = {"RayJob": "ray.io_rayjobs.yaml", "RayCluster": "ray.io_rayclusters.yaml"}
_KEPT = ("type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems")
_WORTH_SHARING = 120  # characters; a shorter node costs no more than a reference to it


def compact(node: Mapping[str, Any]) -> Node:
    """One field's definition without prose; a field that has a default need not be there."""
    kept: Node = {key: node[key] for key in _KEPT if key in node}
    if node.get("x-kubernetes-int-or-string"):
        kept.pop("type", None)
        kept["intOrString"] = True
    if node.get("x-kubernetes-preserve-unknown-fields"):
        kept["open"] = True
    if node.get("nullable"):
        kept["nullable"] = True
    fields: Mapping[str, Any] = node.get("properties") or {}
    if fields:
        kept["properties"] = {name: compact(field) for name, field in fields.items()}
    required = [name for name in node.get("required") or () if "default" not in fields.get(name, {})]
    if required:
        kept["required"] = required
    if isinstance(node.get("items"), dict):
        kept["items"] = compact(node["items"])
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        kept["values"] = compact(values)
    elif values:
        kept["open"] = True
    return kept


def differences(new: Mapping[str, Any], old: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, str]]:
    """What an older release lacks (`absent`, path) and asks for besides (`required`, path)."""
    for name in set(old.get("required", ())) - set(new.get("required", ())):
        yield "required", f"{at}.{name}".lstrip(".")
    before = old.get("properties", {})
    for name, field in new.get("properties", {}).items():
        here = f"{at}.{name}".lstrip(".")
        if name in before:
            yield from differences(field, before[name], here)
        else:
            yield "absent", here
    if "items" in new and "items" in old:
        yield from differences(new["items"], old["items"], f"{at}[]")


def read_definitions(folder: Path) -> dict[str, Node]:
    """Kind → the compact definition of its `spec`."""
    specs: dict[str, Node] = {}
    for kind, name in FILES.items():
        if not (folder / name).is_file():
            raise PlastsearchError(f"{folder / name}: no such file; KubeRay keeps it in ray-operator/config/crd/bases")
        document = yaml.load((folder / name).read_text(), Loader=Loader)  # noqa: S506 - a safe one
        (version,) = [one for one in document["spec"]["versions"] if one["name"] == "v1"]
        specs[kind] = compact(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    return specs


def packed(releases: Mapping[str, Mapping[str, Node]]) -> Node:
    """The first release whole, each node that occurs again written once; of the others, the differences."""
    (newest, specs), *older = releases.items()
    counts: Counter[str] = Counter()
    _count(specs, counts)
    shared: list[Node] = []
    numbers: dict[str, int] = {}
    document: Node = {"release": newest, "kinds": _share(dict(specs), counts, numbers, shared), "shared": shared}
    document["older"] = {
        release: {
            kind: sorted([how, path] for how, path in differences(specs[kind], old[kind])) for kind in sorted(specs)
        }
        for release, old in older
    }
    return document


def _count(node: Any, counts: Counter[str]) -> None:
    if isinstance(node, dict):
        counts[_text(node)] += 1
        for value in node.values():
            _count(value, counts)


def _share(node: Any, counts: Counter[str], numbers: dict[str, int], shared: list[Node]) -> Any:
    if not isinstance(node, dict):
        return node
    text = _text(node)
    if counts[text] < 2 or len(text) < _WORTH_SHARING:
        return {key: _share(value, counts, numbers, shared) for key, value in node.items()}
    if text not in numbers:
        numbers[text] = len(shared)
        shared.append({})
        shared[numbers[text]] = {key: _share(value, counts, numbers, shared) for key, value in node.items()}
    return {"ref": numbers[text]}


def _text(node: Node) -> str:
    return json.dumps(node, sort_keys=True, separators=(",", ":"))


def main(words: list[str]) -> None:
    """Write the data file."""
    pairs = [word.partition("=") for word in words]
    if not pairs or any(not folder for _, _, folder in pairs):
        raise PlastsearchError(f"name each release and its folder, newest first, such as 1.7=crds; got {words}")
    document = packed({release: read_definitions(Path(folder)) for release, _, folder in pairs})
    with whole_file(DATA) as draft:  # without a date inside, so that equal input gives equal bytes
        draft.write_bytes(gzip.compress(_text(document).encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main(sys.argv[1:])
