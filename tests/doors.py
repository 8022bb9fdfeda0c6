"""What a process and its descendants let in, read from /proc, and a caller that knocks there without Ray's help."""

import ipaddress
import re
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LISTENS = {"tcp": "0A", "udp": "07"}  # the state of a socket that takes what comes


@dataclass(frozen=True)
class Door:
    """A socket that takes what comes."""

    pid: int
    kind: str
    address: str
    port: int

    @property
    def inside(self) -> bool:
        """Whether only this machine reaches it."""
        found = ipaddress.ip_address(self.address)
        mapped = getattr(found, "ipv4_mapped", None)
        return (mapped or found).is_loopback


def tree(root: int) -> list[int]:
    """A process and its descendants, whatever session or group they have moved to."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # it has ended meanwhile
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def command_lines(pids: Iterable[int]) -> dict[int, str]:
    """What everybody on the machine can read of processes."""
    found = {}
    for pid in pids:
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return found


def doors(pids: Iterable[int]) -> list[Door]:
    """Their listening TCP and open UDP sockets, of both families."""
    known = {inode: (kind, address, port) for kind in LISTENS for inode, address, port in _table(kind)}
    return [Door(pid, *known[inode]) for pid in pids for inode in sockets_of(pid) if inode in known]


def sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    try:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            match = re.fullmatch(r"socket:\[(\d+)\]", str(file.readlink()))
            found |= {match[1]} if match else set()
    except OSError:
        pass  # it has ended meanwhile
    return found


def abstract_names(pids: Iterable[int]) -> set[str]:
    """Unix sockets without a file, which no folder protects."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    named = {row[6]: row[7] for row in rows if len(row) > 7 and row[7].startswith("@")}
    return {named[inode] for pid in pids for inode in sockets_of(pid) if inode in named}


def _table(kind: str) -> list[tuple[str, str, int]]:
    rows = []
    for name in (kind, f"{kind}6"):
        table = Path(f"/proc/net/{name}")
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            words = line.split()
            if words[3] == LISTENS[kind]:
                digits, port = words[1].split(":")
                rows.append((words[9], _address(digits), int(port, 16)))
    return rows


def _address(digits: str) -> str:
    """Words of four bytes, each in the machine's order."""
    packed = b"".join(struct.pack("=I", int(digits[at : at + 8], 16)) for at in range(0, len(digits), 8))
    return str(ipaddress.ip_address(packed))


def _received(stream: socket.socket) -> bytes:
    """What comes next; nothing from one that hangs up, as servers of other protocols do in the middle of a request."""
    try:
        return stream.recv(65536)
    except ConnectionResetError:
        return b""


def call(port: int, method: str, token: str | None = None) -> bytes:
    """The headers of the answer to an empty gRPC request: one HTTP/2 stream, written by hand."""
    head = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "localhost",
            "content-type": "application/grpc", "te": "trailers"}  # fmt: skip
    head |= {"authorization": f"Bearer {token}"} if token else {}
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in head.items())
    answer, headers = b"", b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stream:
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0) + _frame(1, 4, 1, block))
        stream.sendall(_frame(0, 1, 1, b"\0\0\0\0\0"))
        while some := _received(stream):
            answer += some
            while len(answer) >= 9 and len(answer) >= 9 + (size := int.from_bytes(answer[:3], "big")):
                kind, flags, payload, answer = answer[3], answer[4], answer[9 : 9 + size], answer[9 + size :]
                if kind == 1:
                    headers += payload
                    if flags & 1:
                        return headers
                if kind == 4 and not flags & 1:
                    stream.sendall(_frame(4, 1, 0))
    return headers


def _text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
