"""Files of arrays and one JSON text, in the safetensors format: nothing in them executes."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray


def parsed(content: bytes, form: str = "populace-model-1") -> tuple[str, dict[str, NDArray]]:
    """The JSON text and the arrays of a model file, or of one of another form. Raises ValueError if it is none."""
    from safetensors import SafetensorError, deserialize

    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > len(content) - 8:
        raise ValueError("its header is cut off")
    header = json.loads(content[8 : 8 + size])
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if form not in metadata:
        raise ValueError(f"its header has no '{form}'")
    try:
        found = deserialize(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    kinds = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "I64": np.dtype("<i8"), "I32": np.dtype("<i4")}
    kinds |= {"U64": np.dtype("<u8"), "U8": np.dtype("u1"), "BOOL": np.dtype("?")}
    return metadata[form], {name: np.frombuffer(t["data"], kinds[t["dtype"]]).reshape(t["shape"]) for name, t in found}
