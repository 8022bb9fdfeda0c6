"""docs/reference/*.md out of the code: python docs/make_reference.py. A test compares, so none can be forgotten."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import typer.main
from typer.core import TyperCommand, TyperGroup, TyperOption

from plastsearch import growth as growing
from plastsearch import load_model
from plastsearch.analysis.columns import FIXED, MORE_METRICS, mean_words, metric_column, metric_words, params_words
from plastsearch.spec.constraints import METRICS
from plastsearch.spec.schema import schema
from plastsearch.tracking.events import KINDS, Event

FOLDER = Path(__file__).resolve().parent / "reference"
MADE = "<!-- Made by docs/make_reference.py from the code: change that, not this. -->\n"


def cell(text: object) -> str:
    """Text that a cell of a table can hold."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").strip()


def table(head: list[str], rows: list[list[object]]) -> str:
    """A table of Markdown."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cell(one) for one in row)} |" for row in rows)]) + "\n"


def commands() -> str:
    """Every command with its arguments and options, as --help has them."""
    from plastsearch.cli.main import app

    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    parts = [f"{MADE}# Commands\n\nEach is typed as `plastsearch NAME`; `plastsearch NAME --help` says the same.\n"]
    for name, command in _leaves(root, ""):
        parts.append(_command(name, command))
    return "\n".join(parts)


def _leaves(group: TyperGroup, before: str) -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _command(name: str, command: TyperCommand) -> str:
    example, *words = (re.sub(r"\s+", " ", part.strip()) for part in (command.help or "").split("\n\n"))
    said = [f"## plastsearch {name}\n", "\n\n".join(_plain(word) for word in words) + "\n"]
    said.append(f"```sh\n{example.removeprefix('Example: ')}\n```\n")
    rows: list[list[object]] = []
    for one in command.params:
        record: Any = one
        if not isinstance(one, TyperOption):
            rows.append([f"`{(one.name or '').upper()}`", "", _plain(record.help or "")])
        elif "--help" not in one.opts and not one.hidden:
            names = ", ".join(f"`{word}`" for word in [*one.opts, *one.secondary_opts])
            plain = one.default is None or callable(one.default) or one.default in ((), [], False) or one.is_flag
            default = "" if plain else f"`{one.default}`"
            rows.append([names, default, _plain(one.help or "")])
    if rows:
        said.append(table(["", "default", "what"], rows))
    return "\n".join(said)


def _plain(text: str) -> str:
    """Text of --help as Markdown: what looks like a tag or an emphasis is neither."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(one if at % 2 else re.sub(r"([<>*_\[\]])", r"\\\1", one) for at, one in enumerate(parts))


def spaces() -> str:
    """Every setting of a search space, by the schema that editors read."""
    made: dict[str, Any] = schema("space")
    definitions = made["$defs"]
    intro = (
        "What a YAML file of a search may say. [In an editor](../shell.md) the schema completes and explains the same; "
        "`plastsearch check` names every mistake. The tables come from the schema.\n"
    )
    parts = [f"{MADE}# Search spaces\n\n{intro}", "## A file\n", _settings(made)]
    titles = {
        "TrialConfig": "base: what all trials share",
        "ModelConfig": "base.model",
        "DataConfig": "base.data",
        "SearchDev": "base.data.search_dev",
        "TrainConfig": "base.train",
        "StageValues": "Values for each stage",
        "Resources": "base.resources",
        "Choice": "A domain of `space`: kind choice",
        "IntRange": "A domain of `space`: kind int",
        "FloatRange": "A domain of `space`: kind float",
        "Subset": "A domain of `space`: kind subset",
        "Objective": "objectives",
        "Search": "search",
        "Halt": "halt",
        "Finalists": "finalists",
        "Aim": "Published figures",
    }
    missing = set(definitions) ^ set(titles)
    assert not missing, f"give a title here to {missing}"
    for name, title in titles.items():
        words = definitions[name].get("description", "")
        parts.append(f"## {title}\n\n{words}\n\n{_settings(definitions[name])}")
    return "\n".join(parts)


def _settings(section: dict[str, Any]) -> str:
    rows: list[list[object]] = []
    for name, one in section["properties"].items():
        default = "" if "default" not in one else f"`{_yaml(one['default'])}`"
        rows.append([f"`{name}`", _kind(one), default, one.get("description", "")])
    return table(["setting", "values", "default", "what"], rows)


def _yaml(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _kind(one: dict[str, Any]) -> str:
    """What values a setting takes, in few words."""
    if "$ref" in one:
        return f"section {one['$ref'].rsplit('/', 1)[1]}"
    if "enum" in one:
        return ", ".join(f"`{_yaml(word)}`" for word in one["enum"])
    if "const" in one:
        return f"`{_yaml(one['const'])}`"
    for key in ("anyOf", "oneOf"):
        if key in one:
            return " or ".join(dict.fromkeys(_kind(part) for part in one[key]))
    kind = one.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(one['items'])}" if one.get("items") else "list"
    bounds = [
        f"{sign} {one[key]}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in one
    ]
    return " ".join([{"object": "mapping", "string": "text", "boolean": "true or false"}.get(kind, kind), *bounds])


def metrics() -> str:
    """Every number that a trial reports."""
    aims = [[f"`{name}`", one.goal, "yes" if one.exact else "", one.meaning] for name, one in METRICS.items()]
    more = [[f"`{name}`", words] for name, words in MORE_METRICS.items()]
    return (
        f"{MADE}# Metrics\n\nThe first table can be objectives and constraints. *Exact*: the same on every "
        "machine for the same seed; times are not. A constraint reads `params_total <= 1.5 * baseline` or "
        "`dev_eer <= 10`. Finalists have the `dev_` metrics of quality as `eval_`, too. "
        "[What they hide](../concepts/metrics.md).\n\n"
        f"## To search by\n\n{table(['metric', 'better', 'exact', 'what'], [list(row) for row in aims])}\n"
        f"## Reported beside them\n\n{table(['metric', 'what'], [list(row) for row in more])}"
    )


def events() -> str:
    """Every kind of line of trials.jsonl."""
    parts = [
        f"{MADE}# Events of the journal\n\n`trials.jsonl` has one JSON object a line. Each has `event`, its kind, and "
        "`at`, seconds since 1970. Readers leave out what they do not know and take a default for what is missing. "
        "`plastsearch sweep --json-lines` prints the same lines as they happen.\n"
    ]
    for kind, model in KINDS.items():
        rows = [
            [f"`{name}`", f"`{_type(field.annotation)}`", "required" if field.is_required() else f"`{field.default!r}`",
             _remark(model, name)]
            for name, field in model.model_fields.items() if name != "at"
        ]  # fmt: skip
        parts.append(f"## {kind}\n\n{_first(model)}\n\n{table(['field', 'type', 'default', 'what'], rows)}")
    return "\n".join(parts)


def _type(annotation: object) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    if "[" in str(annotation):
        text = str(annotation)
    text = re.sub(r"Annotated\[(\w+), [^\[\]]*(?:\[[^\]]*\])?[^\[\]]*\]", r"\1", text)
    return re.sub(r"(?:[a-z_]+\.)+(?=[A-Za-z])", "", text)


def _remark(model: type[Event], name: str) -> str:
    """The comment behind a field, in the class that declares it."""
    for owner in model.__mro__:
        if name in inspect.get_annotations(owner):
            found = re.search(rf"^    {name}: [^\n#]*#\s*([^\n]*)", inspect.getsource(owner), re.MULTILINE)
            return found[1] if found else ""
    return ""


def columns() -> str:
    """Every column of the table of all runs."""
    rows: list[list[object]] = [[f"`{name}`", one.kind, one.words] for name, one in FIXED.items()]
    rows.append(["`params.NAME`", "as sampled", params_words("NAME")])
    rows.append(["`mean.METRIC`", "float", mean_words("METRIC")])
    rows += [[f"`{metric_column(name)}`", "float", metric_words(name)] for name in [*METRICS, *MORE_METRICS]]
    return (
        f"{MADE}# Parquet columns\n\n`SWEEP/report/trials.parquet`, and `trials.csv` with the same: a line for each "
        "run. [report.md](../report.md#columns-of-trialscsv-and-trialsparquet) says how they join over sweeps.\n\n"
        f"{table(['column', 'type', 'what'], rows)}"
    )


def python() -> str:
    """What Python code may import."""
    from plastsearch.use.model import ClipScore, Model, Verdict, Window

    parts = [
        f"{MADE}# Python\n\nTwo doors: a found model at work (`from plastsearch import load_model`), and growth on any "
        "PyTorch network (`from plastsearch.growth import …`). Other modules may change with each version.\n",
        "## A model\n",
        _function(load_model),
        *(_class(one) for one in (Model, ClipScore, Window, Verdict)),
        "## Growth\n\n[An example](../../examples/grow_your_own.py) uses most of them.\n",
    ]
    for name in growing.__all__:
        thing = getattr(growing, name)
        parts.append(_class(thing) if inspect.isclass(thing) else _function(thing))
    return "\n".join(parts)


def _first(thing: object) -> str:
    return inspect.getdoc(thing) or ""


def _signature(thing: Callable[..., object]) -> str:
    text = re.sub(r"(?<=[:>] )'([^']*)'", r"\1", str(inspect.signature(thing)))
    text = re.sub(r"<object object at 0x[0-9a-f]+>|<factory>", "…", text)
    text = re.sub(r"numpy\.ndarray\[tuple\[Any, \.\.\.\], numpy\.dtype\[numpy\.(\w+)\]\]", r"NDArray[\1]", text)
    return re.sub(r"(?:[a-z_0-9]+\.)+(?=[A-Z])", "", text)


def _function(thing: Callable[..., object], level: Literal["###", "####"] = "###") -> str:
    return f"{level} {thing.__name__}\n\n```python\n{thing.__name__}{_signature(thing)}\n```\n\n{_first(thing)}\n"


def _class(thing: type) -> str:
    parts = [f"### {thing.__name__}\n\n```python\n{thing.__name__}{_signature(thing)}\n```\n\n{_first(thing)}\n"]
    rows: list[list[object]] = []
    for name, one in vars(thing).items():
        if name.startswith("_"):
            continue
        if isinstance(one, property):
            rows.append([f"`.{name}`", _first(one)])
        elif inspect.isfunction(one):
            rows.append([f"`.{name}{_signature(one)}`", _first(one)])
    return "\n".join([*parts, table(["", "what"], rows)]) if rows else parts[0]


PAGES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "spaces": spaces,
    "metrics": metrics,
    "events": events,
    "columns": columns,
    "python": python,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for page, make in PAGES.items():
        (FOLDER / f"{page}.md").write_text(make(), "utf-8")
