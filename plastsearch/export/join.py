"""One Python file out of the modules in portable/ and of heads: each network's own, without those of the others."""

import ast
from pathlib import Path
from typing import Any

from plastsearch.models.heads.table import HEADS

OURS = "plastsearch."
PORTABLE = Path(__file__).parent / "portable"
MODELS_ROOM = Path(__file__).parents[1] / "models"
HEADS_ROOM = MODELS_ROOM / "heads"
# In the order in which they stand in the file; what a network does not need is left out.
NEEDED = {
    "cnn": ("weights", "sound", "clips", "pooling", "spectrum", "cnn", "detector"),
    "lcnn": ("weights", "sound", "clips", "pooling", "spectrum", "lcnn", "detector"),
    "grnn": ("weights", "sound", "clips", "pooling", "spectrum", "spiking", "grnn", "detector"),
    "resnet18": ("weights", "sound", "clips", "pooling", "spectrum", "spiking", "resnet18", "detector"),
    "conformer": ("weights", "sound", "clips", "pooling", "*head", "*bank", "conformer", "detector"),
    "encoder": ("weights", "sound", "clips", "pooling", "*head", "encoder", "detector"),
}
REMOTE = ("pooling", "*head", "encoder", "hub")
CLASSES = {
    "cnn": "CNN", "conformer": "Conformer", "grnn": "GRNN", "lcnn": "LCNN", "resnet18": "ResNet18",
    "encoder": "Encoder",
}  # fmt: skip


def joined(shape: dict[str, Any]) -> str:
    """The text of `detector.py` for a network of this shape."""
    network = str(shape["network"])
    others = {name for kind, name in CLASSES.items() if kind != network}
    first = "A detector of spoofed speech in one file: torch and torchaudio are all it needs. Written by plastsearch."
    return _joined(NEEDED[network], shape, first, others)


def remote_code(shape: dict[str, Any]) -> str:
    """The text of the file that transformers runs for an encoder of irregular widths."""
    return _joined(
        REMOTE, shape, "A detector of spoofed speech for transformers, of any widths. Written by plastsearch.", set()
    )


def _files(names: tuple[str, ...], kind: str) -> list[Path]:
    """The files in their order; `*head` is the head's own and what puts it in place, `*bank` W2V-BERT's front end."""
    found: list[Path] = []
    for name in names:
        if name == "*head":
            own = [HEADS_ROOM / f"{HEADS[kind].__module__.rpartition('.')[2]}.py"] if kind in HEADS else []
            found += [HEADS_ROOM / "back_end.py", *own, HEADS_ROOM / "table.py", PORTABLE / "heads.py"]
        elif name == "*bank":
            found += [MODELS_ROOM / "precision.py", MODELS_ROOM / "kaldi.py"]
        else:
            found.append(PORTABLE / f"{name}.py")
    return found


def _joined(names: tuple[str, ...], shape: dict[str, Any], first: str, others: set[str]) -> str:
    imports: dict[str, list[str]] = {"import": [], "from": []}
    bodies: list[str] = []
    head = str(shape["head"].get("kind", "linear"))
    others = others | {net.__name__ for name, net in HEADS.items() if name != head}
    for path in _files(names, head):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        tree = ast.parse(text)
        note = ast.get_docstring(tree) or ""
        last = 0
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                last = node.end_lineno or 0
                _collect(node, imports)
        body = "\n".join(line for line in lines[last:] if not _of_others(line, others)).strip("\n")
        comment = "\n".join(f"# {line}".rstrip() for line in note.splitlines())
        bodies.append(f"{comment}\n\n{body}")
    top = "\n".join([*sorted(set(imports["import"])), *_merged(imports["from"])])
    return f'"""{first}"""\n\n{top}\n\n\n' + "\n\n\n".join(bodies) + "\n"


def _of_others(line: str, others: set[str]) -> bool:
    """A line of a table of networks or heads that names another one."""
    return any(line.strip().endswith(f'": {name},') for name in others)


def _collect(node: ast.Import | ast.ImportFrom, imports: dict[str, list[str]]) -> None:
    if isinstance(node, ast.Import):
        imports["import"].append(ast.unparse(node))
    elif not (node.module or "").startswith(OURS):
        imports["from"].append(ast.unparse(node))


def _merged(lines: list[str]) -> list[str]:
    """`from a import b` and `from a import c` as one line."""
    names: dict[str, set[str]] = {}
    for line in lines:
        module, _, what = line.removeprefix("from ").partition(" import ")
        names.setdefault(module, set()).update(what.split(", "))
    return [f"from {module} import {', '.join(sorted(names[module], key=str.lower))}" for module in sorted(names)]
