"""Tables of a report on a terminal."""

from typing import TYPE_CHECKING

from plastsearch.analysis.document import Block, Code, Heading, Points, Table, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console


def print_blocks(out: "Console", blocks: "Sequence[Block]") -> None:
    """Write blocks of a report as plain terminal text; nothing in them is read as markup."""
    for block in blocks:
        match block:
            case Heading(text):
                out.print(f"\n{text}", style="bold", markup=False)
            case Text(text):
                out.print(text, markup=False)
            case Points(items):
                for item in items:
                    out.print(f"- {item}", markup=False)
            case Code(text):
                for line in text.splitlines():
                    out.print(f"  {line}", markup=False, soft_wrap=True)
            case Table() if block.rows:  # a head alone says nothing
                print_table(out, block)


def print_table(out: "Console", table: Table) -> None:
    """Columns of words to the left, numbers to the right."""
    from rich import box
    from rich.table import Table as RandomValues
    from rich.text import Text as Cell

    drawn = RandomValues(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in table.columns:
        drawn.add_column(
            Cell(name),
            justify="left" if name in table.left else "right",
            no_wrap=name not in table.left,
            overflow="fold",
        )
    for row in table.rows:
        drawn.add_row(*(Cell(cell) for cell in row))
    out.print(drawn)
