"""Changes that break a text, a JSON document, a binary file or a command line, drawn from a seeded generator."""

import json
import random
from typing import Any

WORDS = (
    "", " ", "nan", "NaN", "inf", "-inf", "1e999", "-1", "0", "1e-320", "9" * 400, "9" * 5000, "²", "٣", "0x10",
    "1_0",
    "null", "true", "[]", "{}", "../x", "/proc/nowhere", "~nobody-of-that-name", "a" * 300, "ü" * 200,
    "\x1b[31mred", "\x07",
    "%s%n", "{0}", "$(id)", "'; --", "\u202e", "𝟙", "1,5", "1e3", "--", "-", "bonafide", "spoof", "LA_0001",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**6, 10**12, 10**19, 10**400, 1e308, -1e308, 0.1, float("nan"), float("inf"), "",
    "x", "\x1b[2J", "\ud800", "a" * 5000, [], {}, [[]], [1] * 1000, {"a": {"b": {}}}, [None], "../../../etc/passwd",
)  # fmt: skip


def text(rng: random.Random, given: str) -> bytes:
    """A text file, changed in one of many ways."""
    lines = given.split("\n")
    match rng.randrange(14):
        case 0:
            return given[: rng.randrange(len(given) + 1)].encode()
        case 1:
            at = rng.randrange(len(given) + 1)
            return (given[:at] + rng.choice(WORDS) + given[at:]).encode("utf-8", "replace")
        case 2:
            lines[rng.randrange(len(lines))] = rng.choice(WORDS)
            return "\n".join(lines).encode("utf-8", "replace")
        case 3:
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            return "\n".join(lines).encode()
        case 4:
            rng.shuffle(lines)
            return "\n".join(lines).encode()
        case 5:
            return given.encode("utf-16")
        case 6:
            return b"\xef\xbb\xbf" + given.encode()
        case 7:
            return given.replace("\n", "\r\n").encode()
        case 8:
            return b""
        case 9:
            return binary(rng, given.encode())
        case 10:
            return given.replace(" ", rng.choice(["\t", ",", "  ", ""])).encode()
        case 11:
            words = [line.split() for line in lines]
            row = rng.choice(words) or ["x"]
            row[rng.randrange(len(row))] = rng.choice(WORDS)
            return "\n".join(" ".join(row) for row in words).encode("utf-8", "replace")
        case 12:
            return given.encode().replace(b"a", b"\xff", 1)
        case _:
            del lines[rng.randrange(len(lines))]
            return "\n".join(lines).encode()


def document(rng: random.Random, given: Any) -> bytes:
    """A JSON document with one or two places changed, or no JSON any more."""
    if rng.random() < 0.15:
        return text(rng, json.dumps(given, indent=1))
    if rng.random() < 0.03:
        return b"[" * 20_000
    changed = json.loads(json.dumps(given))
    for _ in range(rng.choice((1, 1, 1, 2))):
        changed = _changed(rng, changed)
    return json.dumps(changed).encode()


def _changed(rng: random.Random, value: Any) -> Any:
    """One place below, changed; deeper places are as likely as shallow ones."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        match rng.randrange(8):
            case 0:
                return {name: item for name, item in value.items() if name != key}
            case 1:
                return {**value, rng.choice(WORDS): rng.choice(VALUES)}
            case _:
                return {**value, key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        match rng.randrange(5):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value + value[at : at + 1] * rng.choice((1, 50))
            case _:
                return [*value[:at], _changed(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
        return rng.choice((value + 1, -value, value * 1000, value // 3, "7", [value]))
    return rng.choice(VALUES)


def binary(rng: random.Random, given: bytes) -> bytes:
    """Bytes flipped, cut, zeroed, repeated or put in."""
    found = bytearray(given)
    if not found:
        return rng.randbytes(30)
    at = rng.randrange(len(found))
    match rng.randrange(7):
        case 0:
            del found[at:]
        case 1:
            for _ in range(rng.choice((1, 4, 40))):
                found[rng.randrange(len(found))] = rng.randrange(256)
        case 2:  # headers more than the rest
            found[rng.randrange(min(64, len(found)))] = rng.choice((0, 1, 127, 128, 255))
        case 3:
            found[at : at + 200] = bytes(len(found[at : at + 200]))
        case 4:
            found[at:at] = rng.randbytes(rng.choice((1, 8, 500)))
        case 5:
            found[:8] = rng.choice((b"\xff" * 8, bytes(8), (1 << 40).to_bytes(8, "little"), b"PK\x03\x04abcd"))
        case _:
            return rng.randbytes(rng.choice((0, 1, 44, 3000)))
    return bytes(found)


def arguments(rng: random.Random, given: list[str]) -> list[str]:
    """A command line with one word changed, left out, doubled or added."""
    changed = list(given)
    at = rng.randrange(1, len(changed))  # never the command's own name
    match rng.randrange(6):
        case 0:
            del changed[at]
        case 1:
            changed[at] = rng.choice(WORDS).replace("\0", "")
        case 2:
            changed.insert(at, changed[at])
        case 3:
            changed.append(
                rng.choice(("--nonsense", "--json", "-x", "--out", "--prior=7", "--device=cuda:99", "--help"))
            )
        case 4:
            changed[at] = changed[at][: rng.randrange(len(changed[at]) + 1)]
        case _:
            changed[at] += rng.choice(("x", "/", ":", ":best", "\n", "ü", "/.."))
    return changed
