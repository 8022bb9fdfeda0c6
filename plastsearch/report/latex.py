"""Tables of a report as LaTeX for a paper: booktabs, every cell escaped, nothing that needs more than pdflatex."""

import re

from plastsearch.documents import Table

HEAD = (
    "% Made by `plastsearch report`; all numbers: trials.csv beside it. In the preamble: \\usepackage{booktabs},\n"
    "% and \\usepackage{graphicx} for the \\resizebox around wide tables.\n"
)
WIDE = 7  # columns, beyond which a table is scaled to the width of the text
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "`": r"\textasciigrave{}",
    "–": "--", "—": "---", "−": "$-$", "×": r"$\times$", "÷": r"$\div$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$",
    "→": r"$\rightarrow$", "·": r"$\cdot$", "…": r"\ldots{}", "°": r"$^\circ$", "²": r"$^2$", "χ": r"$\chi$",
    "’": "'", "‘": "`", "“": "``", "”": "''", "\u00a0": "~",
}  # fmt: skip


def escaped(text: str) -> str:
    """Any text as LaTeX that prints it; a letter that pdflatex has no font for is named by its number."""
    plain = re.sub(r"(?<![\w.)])-(?=\d)", "−", " ".join(text.split()))  # a hyphen before a number is a minus
    return "".join(_sign(sign) for sign in plain)


def _sign(sign: str) -> str:
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    if sign.isascii():
        return sign if sign.isprintable() else ""
    if "\u00c0" <= sign <= "\u017f" and sign not in "×÷":  # Latin with accents: every LaTeX since 2018 reads it
        return sign
    return f"[U+{ord(sign):04X}]"


def label(text: str) -> str:
    """A name for \\ref."""
    return "tab:" + (re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "sweep")


def latex_table(table: Table, caption: str, name: str) -> str:
    """A floating table."""
    kinds = "".join("l" if column in table.left else "r" for column in table.columns)
    lines = [f"\\begin{{tabular}}{{{kinds}}}", r"\toprule", _row(table.columns), r"\midrule"]
    lines += [*(_row(row) for row in table.rows), r"\bottomrule", r"\end{tabular}"]
    if len(table.columns) > WIDE:
        lines = [r"\resizebox{\linewidth}{!}{%", *lines[:-1], lines[-1] + "}"]
    return "\n".join([
        r"\begin{table}[t]", r"\centering", f"\\caption{{{escaped(caption)}}}", f"\\label{{{label(name)}}}", *lines,
        r"\end{table}",
    ]) + "\n"  # fmt: skip


def _row(cells: tuple[str, ...]) -> str:
    # A row that opens with a bracket would be taken for the argument of the \\ before it.
    found = [f"{{}}{text}" if (text := escaped(cell)).startswith("[") else text for cell in cells]
    return " & ".join(found) + r" \\"
