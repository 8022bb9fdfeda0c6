"""Patterns over site names, as written in search spaces: `encoder.*.ffn`, `encoder.{0..5}.attention`, `gru.{0,2}`."""

import difflib
import re
from collections.abc import Iterable, Sequence

from plastsearch.errors import PlastsearchError
from plastsearch.spec.limits import MOST_ALTERNATIVES

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
_MOST_BRACES = 8

# What a name or a pattern may look like, for editors, which cannot ask a network: parts that hold `*` or braces are
# taken as they are, others are those of a family of sites. JSON Schema's regular expressions; a test tries all sites.
_ANY = r"(?:[^.{}]|\{[^{}]*\})*"
_WILD = rf"(?=[^.]*[*{{]){_ANY}"
SITE_PATTERN = (
    rf"^(?:encoder\.(?:[0-9]+|{_WILD})\.(?:attention|head_width|ffn|{_WILD})|layer[0-9]+\.(?:[0-9]+|{_WILD})"
    rf"|head\.(?:gate|block\.(?:[0-9]+|{_WILD}))|(?:gru|conv|lstm)\.(?:[0-9]+|{_WILD})|{_WILD}(?:\.{_ANY}){{0,2}})$"
)


def match_sites(patterns: str | Iterable[str], names: Sequence[str]) -> list[str]:
    """The names that match any of the patterns, each once, in the order of `names`."""
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    found: set[str] = set()
    for pattern in patterns:
        expression = _expression(pattern)
        hits = [name for name in names if expression.fullmatch(name)]
        if not hits:
            raise PlastsearchError(_nothing(pattern, names))
        found.update(hits)
    return [name for name in names if name in found]


def _expression(pattern: str) -> re.Pattern[str]:
    """A regular expression in which `*` stays inside one dotted part and braces list numbers or words."""
    if len(pattern) > MOST_ALTERNATIVES:
        raise PlastsearchError(f"site pattern '{pattern[:40]}…': longer than {MOST_ALTERNATIVES:,} characters")
    parts: list[str] = []
    end = 0
    braces = list(_BRACES.finditer(pattern))
    if len(braces) > _MOST_BRACES:
        raise PlastsearchError(f"site pattern '{pattern[:40]}…': {len(braces)} braces; at most {_MOST_BRACES}")
    for brace in braces:
        parts += [_literal(pattern[end : brace.start()], pattern), _choices(brace.group(1), pattern)]
        end = brace.end()
    return re.compile("".join([*parts, _literal(pattern[end:], pattern)]))


def _literal(text: str, pattern: str) -> str:
    if "{" in text or "}" in text:
        raise PlastsearchError(f"site pattern '{pattern}': a brace without its partner; write '{{0..5}}' or '{{0,3}}'")
    # One star for a row of them: each would try every way to share out the letters.
    return "[^.]*".join(re.escape(piece) for piece in re.sub(r"\*+", "*", text).split("*"))


def _choices(inside: str, pattern: str) -> str:
    """`0..5` and `0,3,7..9` as alternatives."""
    words: list[str] = []
    for item in (piece.strip() for piece in inside.split(",")):
        span = _RANGE.fullmatch(item)
        if span:
            low, high = int(span.group(1)), int(span.group(2))
            if low > high:
                raise PlastsearchError(f"site pattern '{pattern}': the range {item} is empty; write {high}..{low}")
            if high - low >= MOST_ALTERNATIVES:
                raise PlastsearchError(
                    f"site pattern '{pattern}': {item} are {high - low + 1:,} numbers, more than any network has "
                    "layers; write `*` for all of them"
                )
            words += [str(number) for number in range(low, high + 1)]
        elif item and ".." not in item:
            words.append(re.escape(item))
        else:
            raise PlastsearchError(f"site pattern '{pattern}': '{{{inside}}}' is no list; write {{0..5}} or {{0,3}}")
    return f"(?:{'|'.join(dict.fromkeys(words))})"


def _nothing(pattern: str, names: Sequence[str]) -> str:
    if not names:
        return f"no site matches '{pattern}': the network has no sites"
    close = difflib.get_close_matches(pattern, [*names, *_families(names)], n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(repr(name) for name in close)}" if close else ""
    shown = ", ".join(names[:6]) + (f", … ({len(names)} in all)" if len(names) > 6 else "")
    return f"no site matches '{pattern}'{hint}; sites: {shown}"


def _families(names: Sequence[str]) -> list[str]:
    """The names with each number replaced by `*`: what a person most likely meant to write."""
    return sorted({re.sub(r"\.\d+(?=\.|$)", ".*", name) for name in names})
