"""Amounts as Kubernetes writes them: 500m, 2, 16Gi, 1e3."""

import re

_FORM = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?")
_FACTORS = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    **{f"{unit}i": 2.0 ** (10 * power) for power, unit in enumerate("KMGTPE", 1)},
}  # fmt: skip


def amount(value: object) -> float | None:
    """The number that a quantity stands for; None if it cannot be read."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = _FORM.fullmatch(str(value))
    if found is None:
        return None
    number, unit = float(found[1]), found[2] or ""
    return number * (float(f"1{unit}") if unit[:1] in "eE" and unit not in ("E", "Ei", "") else _FACTORS[unit])
