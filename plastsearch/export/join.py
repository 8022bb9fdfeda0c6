"""One Python file out of the modules in portable/: each network's own, without those of the others."""

import ast
from pathlib import Path

ROOM = "plastsearch.export.portable"
# In the order in which they stand in the file; what a network does not need is left out.
NEEDED = {
    "grnn": ("weights", "sound", "clips", "pooling", "spectrum", "spiking", "grnn", "detector"),
    "resnet18": ("weights", "sound", "clips", "pooling", "spectrum", "spiking", "resnet18", "detector"),
    "encoder": ("weights", "sound", "clips", "pooling", "encoder", "detector"),
}
REMOTE = ("pooling", "encoder", "hub")
CLASSES = {"grnn": "GRNN", "resnet18": "ResNet18", "encoder": "Encoder"}


def joined(network: str) -> str:
    """The text of `detector.py` for one kind of network."""
    others = {name for kind, name in CLASSES.items() if kind != network}
    first = "A detector of spoofed speech in one file: torch and torchaudio are all it needs. Written by plastsearch."
    return _joined(NEEDED[network], first, others)


def remote_code() -> str:
    """The text of the file that transformers runs for an encoder of irregular widths."""
    return _joined(
        REMOTE, "A detector of spoofed speech for transformers, of any widths. Written by plastsearch.", set()
    )


def _joined(names: tuple[str, ...], first: str, others: set[str]) -> str:
    imports: dict[str, list[str]] = {"import": [], "from": []}
    bodies: list[str] = []
    for name in names:
        text = (Path(__file__).parent / "portable" / f"{name}.py").read_text(encoding="utf-8")
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
    head = "\n".join([*sorted(set(imports["import"])), *_merged(imports["from"])])
    return f'"""{first}"""\n\n{head}\n\n\n' + "\n\n\n".join(bodies) + "\n"


def _of_others(line: str, others: set[str]) -> bool:
    """A line of the table of networks that names another one."""
    return any(line.strip().endswith(f'": {name},') for name in others)


def _collect(node: ast.Import | ast.ImportFrom, imports: dict[str, list[str]]) -> None:
    if isinstance(node, ast.Import):
        imports["import"].append(ast.unparse(node))
    elif not (node.module or "").startswith(ROOM):
        imports["from"].append(ast.unparse(node))


def _merged(lines: list[str]) -> list[str]:
    """`from a import b` and `from a import c` as one line."""
    names: dict[str, set[str]] = {}
    for line in lines:
        module, _, what = line.removeprefix("from ").partition(" import ")
        names.setdefault(module, set()).update(what.split(", "))
    return [f"from {module} import {', '.join(sorted(names[module], key=str.lower))}" for module in sorted(names)]
