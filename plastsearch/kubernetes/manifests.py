"""Kubernetes objects as they are checked: read or rendered, looked up by name, never trusted to be well-formed."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from plastsearch.errors import PlastsearchError, SpecError
from plastsearch.kubernetes import kubectl

Tree = dict[str, Any]  # YAML below a key: whatever its writer put there

# Kinds of which it is enough to know that the cluster has one of a name: what others refer to.
NAMEABLE = ("ConfigMap", "PersistentVolumeClaim", "PriorityClass", "Role", "Secret", "Service", "ServiceAccount")
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
OUTSIDE = "\0outside"  # the namespace of what is known by name alone
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass", "StorageClass", "PersistentVolume"}


def table(value: object) -> Tree:
    """A mapping, or an empty one where something else stands: a schema has said so already."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Tree]:
    """The mappings of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def words(value: object) -> list[str]:
    """The strings of a list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def text(value: object) -> str:
    """A string, or an empty one."""
    return value if isinstance(value, str) else ""


def dig(node: object, *path: str | int) -> Any:
    """What stands at a path; None where it leads nowhere."""
    for step in path:
        if isinstance(step, str) and isinstance(node, dict):
            node = node.get(step)
        elif isinstance(step, int) and isinstance(node, list) and step < len(node):
            node = node[step]
        else:
            return None
    return node


@dataclass(frozen=True, eq=False)
class Object:
    """One Kubernetes object."""

    tree: Tree

    @property
    def kind(self) -> str:
        """Its kind."""
        return text(self.tree.get("kind"))

    @property
    def name(self) -> str:
        """Its name."""
        return text(dig(self.tree, "metadata", "name")) or text(dig(self.tree, "metadata", "generateName"))

    @property
    def namespace(self) -> str:
        """Its namespace; empty where none is given."""
        return text(dig(self.tree, "metadata", "namespace"))

    @property
    def labels(self) -> Tree:
        """Its own labels."""
        return table(dig(self.tree, "metadata", "labels"))

    @property
    def spec(self) -> Tree:
        """Its spec."""
        return table(self.tree.get("spec"))

    def __str__(self) -> str:
        return f"{self.kind or 'object'} {self.name or '(without a name)'}"


@dataclass(frozen=True)
class Objects:
    """All objects that are applied together."""

    all: tuple[Object, ...]

    def of(self, *kinds: str) -> list[Object]:
        """Those of some kinds, in their order."""
        return [one for one in self.all if one.kind in kinds]

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """The object of that kind and name in the namespace of whoever refers to it."""
        places = (namespace, OUTSIDE)
        return next((one for one in self.of(kind) if one.name == name and one.namespace in places), None)

    def names(self, kind: str) -> list[str]:
        """The names there are of a kind."""
        return [one.name for one in self.of(kind)]


def outside(kind: str, name: str) -> Object:
    """An object of which no more is known than that the cluster has it."""
    return Object({"kind": kind, "metadata": {"name": name, "namespace": OUTSIDE}})


def read_beside(said: str) -> Objects:
    """What a cluster has already: manifests, or the name of one object such as `Secret/s3`."""
    kind, slash, name = said.partition("/")
    if slash and kind[:1].isupper() and kind.isalpha() and name and not Path(said).exists():
        if kind not in NAMEABLE:
            raise PlastsearchError(
                f"--beside {said}: no such folder, and nothing here refers to a {kind}; known: {', '.join(NAMEABLE)}"
            )
        return Objects((outside(kind, name),))
    return read_objects(Path(said))


def read_objects(where: Path) -> Objects:
    """What a kustomization renders to, or plain YAML: of a folder, of a file, or of standard input (`-`)."""
    if str(where) == "-":
        return parse(sys.stdin.read(), "standard input")
    if where.is_file():
        return parse(_text_of(where), str(where))
    if not where.is_dir():
        raise PlastsearchError(f"{where}: no such file or folder; name a folder of manifests, a file, or - for stdin")
    if any((where / name).is_file() for name in KUSTOMIZATIONS):
        return parse(kubectl.kustomize(where), f"{where} (rendered)")
    files = sorted(path for path in where.rglob("*") if path.suffix in (".yaml", ".yml") and path.is_file())
    if not files:
        raise PlastsearchError(f"{where}: holds neither a kustomization nor YAML files; name the folder that does")
    return Objects(tuple(one for file in files for one in parse(_text_of(file), str(file)).all))


def _text_of(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise PlastsearchError(f"{file}: cannot be read ({error}); give YAML in UTF-8") from None


def parse(content: str, source: str) -> Objects:
    """The objects in a stream of YAML documents; what a List holds counts as if it stood there itself."""
    try:
        documents = list(yaml.load_all(content, Loader=_Strict))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise PlastsearchError(f"{source}{line}: {getattr(error, 'problem', None) or error}; mend the YAML") from None
    found = [Object(tree) for tree in _flat(documents, source)]
    if not found:
        raise PlastsearchError(f"{source}: holds no Kubernetes object; name the folder that does")
    return Objects(tuple(found))


def _flat(documents: Iterable[object], source: str) -> Iterator[Tree]:
    mistakes = []
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            mistakes.append(f"{source}: document {number} is no Kubernetes object; give it apiVersion and kind")
        elif document["kind"].endswith("List") and isinstance(document.get("items"), list):
            yield from _flat(document["items"], source)
        else:
            yield document
    if mistakes:
        raise SpecError(mistakes)


class _Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # one or the other
    """Refuses a key given twice, of which YAML loaders and API servers silently keep one."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Tree:
    seen: set[object] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is no string", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return cast(Tree, yaml.SafeLoader.construct_mapping(loader, node, deep=True))


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
