"""Numbers in words, durations and sizes, and names that a terminal can be shown."""


def duration(seconds: float, units_from: float = 1.0) -> str:
    """A duration in two units; minutes and hours are used from so many of them on."""
    whole = round(seconds)
    if whole < 60 * units_from:
        return f"{whole} s"
    if whole < 3600 * units_from:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def sized(size: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= power:
            return f"{size / power:,.0f} {unit}" if size >= 100 * power else f"{size / power:.3g} {unit}"
    return f"{size:.0f} B"


def shown(text: object) -> str:
    """Text for a terminal: what is no printable character (controls, lone surrogates) as its escape, `\\x1b`."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode() for one in str(text)
    )
