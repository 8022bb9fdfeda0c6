"""Reads a .safetensors file: the length of its header, a header of JSON, raw numbers. Nothing in it can be run."""

import json
import math
from pathlib import Path

import torch
from torch import Tensor

KINDS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of the file by its name."""
    data = bytearray(path.read_bytes())
    first = 8 + int.from_bytes(data[:8], "little")
    if not 8 < first <= len(data):
        raise ValueError(f"{path}: no safetensors file")
    tensors: dict[str, Tensor] = {}
    for name, entry in json.loads(data[8:first]).items():
        if name == "__metadata__":
            continue
        kind, shape, (start, end) = KINDS[entry["dtype"]], entry["shape"], entry["data_offsets"]
        count = math.prod(shape)
        if not 0 <= start <= end <= len(data) - first or end - start != count * kind.itemsize:
            raise ValueError(f"{path}: {name} does not lie where its header says")
        # A copy, else every tensor would hold on to the whole file.
        flat = torch.frombuffer(data, dtype=kind, count=count, offset=first + start) if count else torch.empty(0)
        tensors[name] = flat.reshape(shape).clone()
    return tensors
