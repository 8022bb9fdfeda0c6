"""YAML as plain data that remembers its lines. Stricter than PyYAML: no key twice; `1e-4` is a number, `no` a word."""

import difflib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import JsonValue

from plastsearch.errors import PlastsearchError, SpecError
from plastsearch.files import text_of
from plastsearch.spec.limits import MOST_BYTES, MOST_DEPTH, MOST_DIGITS, MOST_VALUES
from plastsearch.words import halved

Place = tuple[str | int, ...]  # where something stands in a document: keys, and indices of lists
_STANDARD = "tag:yaml.org,2002:"
_INDEX = re.compile(r"[0-9]{1,9}")
_INT = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True}
_WORDS |= {"false": False, "False": False, "FALSE": False}
_HALF = "holds half a character (a surrogate without its partner)"
_UNBOUNDED = re.compile(r"[-+]?\.(?:inf|nan)", re.IGNORECASE)


@dataclass
class Document:
    """What a file says, where it says it, and what was wrong with its form."""

    name: str
    data: dict[str, JsonValue] = field(default_factory=dict)
    lines: dict[Place, int] = field(default_factory=dict)
    overrides: dict[Place, str] = field(default_factory=dict)
    mistakes: list[tuple[Place, str]] = field(default_factory=list)
    _nodes: int = 0

    def where(self, place: Place) -> str:
        """`file:line` of the innermost known place, or the override that put it there."""
        for end in range(len(place), -1, -1):
            if place[:end] in self.overrides:
                return f"--set {self.overrides[place[:end]]}"
            if place[:end] in self.lines:
                return f"{self.name}:{self.lines[place[:end]]}"
        return self.name

    def say(self, place: Place, message: str) -> str:
        """One mistake as a line: where, which key, what."""
        key = ".".join(str(part) for part in place)
        return f"{self.where(place)}: {key}: {message}" if key else f"{self.where(place)}: {message}"


def read_document(path: Path) -> Document:
    """Read and parse a file; SpecError if there is nothing to read values from."""
    text = _text(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        what = error.problem or str(error)
        raise SpecError([f"{path}{line}: not YAML: {what}; check indentation, brackets and quotes"]) from None
    except (yaml.YAMLError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError([f"{path}: not YAML: {reason}; a search space is plain text"]) from None
    if node is None:
        raise SpecError([f"{path}: the file is empty; a search space needs at least `space:`"])
    document = Document(str(path))
    data = _convert(node, (), document, frozenset())
    if not isinstance(data, dict):
        raise SpecError([f"{path}:{node.start_mark.line + 1}: not a search space: it should be `key: value` lines"])
    document.data = data
    return document


def override(document: Document, text: str, known: list[str]) -> None:
    """Apply one `path=value`; `known` are dotted keys that count as one step below `space`."""
    path_text, sign, value_text = text.partition("=")
    if not sign or not path_text.strip():
        document.mistakes.append(((), f"--set {text}: write it as path=value, e.g. --set search.trials=12"))
        return
    try:
        node = yaml.compose(value_text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        document.mistakes.append(((), f"--set {text}: the value is not YAML"))
        return
    scratch = Document(document.name)
    value = _convert(node, (), scratch, frozenset()) if node is not None else None
    if scratch.mistakes:
        document.mistakes.append(((), f"--set {text}: {scratch.mistakes[0][1]}"))
        return
    place = _descend(document, path_text.strip().split("."), text, known)
    if place is not None:
        _place(document.data, place, value)
        document.overrides = {kept: by for kept, by in document.overrides.items() if kept[: len(place)] != place}
        document.overrides[place] = text


def _text(path: Path) -> str:
    if path.is_dir():
        found = sorted(one.name for one in path.iterdir() if one.suffix in {".yaml", ".yml"})
        hint = f"give one of its files: {', '.join(found[:8])}" if found else "it holds no .yaml file"
        raise SpecError([f"{path}: is a folder; {hint}"])
    try:
        text = text_of(path, MOST_BYTES, "a search space is a YAML file in UTF-8")
    except FileNotFoundError:
        raise SpecError([f"{path}: no such file{_near(path)}"]) from None
    except PlastsearchError as error:
        raise SpecError([str(error)]) from None
    if not text.strip():
        raise SpecError([f"{path}: the file is empty; a search space needs at least `space:`"])
    return text


def _near(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"; there is no folder {folder} either"
    names = sorted(one.name for one in folder.iterdir() if one.suffix in {".yaml", ".yml"})
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean {folder / close[0]}?" if close else ""


def _convert(node: yaml.Node, place: Place, document: Document, above: frozenset[int]) -> JsonValue:
    """Plain data of a node; what cannot be converted is left out and noted."""
    document.lines.setdefault(place, node.start_mark.line + 1)
    document._nodes += 1
    if document._nodes > MOST_VALUES:
        raise SpecError(
            [f"{document.name}: more than {MOST_VALUES:,} values, aliases unfolded; is that the right file?"]
        )
    if len(place) > MOST_DEPTH:
        raise SpecError([f"{document.where(place)}: values stand {MOST_DEPTH} deep in each other; write it flatter"])
    if id(node) in above:
        document.mistakes.append((place, "an alias that contains itself"))
        return None
    if not node.tag.startswith(_STANDARD) or "python/" in node.tag:
        tag = node.tag.replace(_STANDARD, "!!")
        document.mistakes.append((place, f"the tag {tag} is not read; write a plain value"))
        return None
    above = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, place, document, above)
    if isinstance(node, yaml.SequenceNode):
        return [_convert(item, (*place, index), document, above) for index, item in enumerate(node.value)]
    return _scalar(node, place, document)


def _mapping(node: yaml.MappingNode, place: Place, document: Document, above: frozenset[int]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        line = key_node.start_mark.line + 1
        if key is None or key == "<<":
            problem = "merge keys (<<) are not read; write the values out" if key else "a key should be a word"
            document.mistakes.append((place, f"line {line}: {problem}"))
        elif halved(key):
            document.mistakes.append((place, f"line {line}: a key {_HALF}"))
        elif key in found:
            first = document.lines[(*place, key)]
            document.mistakes.append(((*place, key), f"given twice, on lines {first} and {line}; keep one"))
        else:
            document.lines[(*place, key)] = line
            found[key] = _convert(value_node, (*place, key), document, above)
    return found


def _scalar(node: yaml.Node, place: Place, document: Document) -> JsonValue:
    text = str(node.value)
    if halved(text):
        document.mistakes.append((place, _HALF))
        return None
    if isinstance(node, yaml.ScalarNode) and node.style in {"'", '"', "|", ">"}:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text.replace("_", "").lstrip("+-0")) > MOST_DIGITS:
            document.mistakes.append((place, f"a whole number of {len(text)} digits; at most {MOST_DIGITS}"))
            return None
        return int(text.replace("_", ""))
    if _UNBOUNDED.fullmatch(text):
        document.mistakes.append((place, f"{text} is no usable number"))
        return None
    if _FLOAT.fullmatch(text):
        return _number(text.replace("_", ""), place, document)
    return text


def _number(text: str, place: Place, document: Document) -> float | int | None:
    value = float(text)
    if not math.isfinite(value):
        document.mistakes.append((place, f"{text} is too large for a number"))
        return None
    # `2e3` steps are two thousand steps; `2000.0` stays what it was written as.
    whole = "." not in text and value.is_integer() and abs(value) < 10**MOST_DIGITS
    return int(value) if whole else value


def _descend(document: Document, parts: list[str], text: str, known: list[str]) -> Place | None:
    """The path that dotted text means: existing keys first (they may hold dots), then known ones."""
    place: Place = ()
    node: JsonValue = document.data
    while parts:
        step: str | int
        if isinstance(node, list):
            used = 1
            step = int(parts[0]) if _INDEX.fullmatch(parts[0]) else parts[0]
            if not isinstance(step, int) or step >= len(node):
                message = (
                    f"--set {text}: '{'.'.join(map(str, place))}' is a list of {len(node)}; count its items from 0"
                )
                document.mistakes.append(((), message))
                return None
        else:
            step, used = _key_step(node, parts, known if place == ("space",) else [])
        place, parts = (*place, step), parts[used:]
        if parts and isinstance(node, dict | list):
            node = node[int(step)] if isinstance(node, list) else node.get(str(step))
            if node is not None and not isinstance(node, dict | list):
                dotted = ".".join(map(str, place))
                document.mistakes.append(((), f"--set {text}: '{dotted}' is a value, nothing stands below it"))
                return None
    return place


def _key_step(node: JsonValue, parts: list[str], known: list[str]) -> tuple[str, int]:
    """How many parts make up the next key."""
    for end in range(len(parts), 0, -1):
        key = ".".join(parts[:end])
        if (isinstance(node, dict) and key in node) or key in known:
            return key, end
    return parts[0], 1


def _place(data: dict[str, JsonValue], place: Place, value: JsonValue) -> None:
    """Put a value at a place that `_descend` found; sections that are missing on the way are made."""
    node: JsonValue = data
    for step in place[:-1]:
        if isinstance(node, dict) and node.get(str(step)) is None:
            node[str(step)] = {}
        node = _child(node, step)
    if isinstance(node, list):
        node[int(place[-1])] = value
    elif isinstance(node, dict):
        node[str(place[-1])] = value


def _child(node: JsonValue, step: str | int) -> JsonValue:
    if isinstance(node, list):
        return node[int(step)]
    return node.get(str(step)) if isinstance(node, dict) else None
