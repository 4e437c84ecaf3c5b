"""Frames to a folder of files, or to tables of an embedded database: where a model's samples go."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..address import redact
from ..errors import UserError, unknown
from ..tables import Table
from .folder import WRITERS
from .stage import Stage, publish_folder

NAME = "sample"


def write_tables(
    frames: Mapping[str, Table], target: str, manifest: Callable[[str], Mapping[str, Any]], format: str = "parquet"
) -> str:
    """Write `<name>/part-00000.<format>` for each frame and the manifest in a new folder, or tables in a new DuckDB or SQLite file; returns the place.

    Raises UserError if the target exists or cannot be written, or for an unknown format or scheme.
    """
    if format not in WRITERS:
        raise unknown("format", format, WRITERS, "--format")
    scheme = re.match(r"([a-z][a-z0-9+.-]+)://", target)
    if scheme and scheme[1] not in ("duckdb", "sqlite"):
        raise unknown("target scheme", scheme[1], ("duckdb", "sqlite"), f"target '{redact(target)}'")
    match = re.match(r"([a-z]+):///(.+)", target)
    path = Path(match[2]) if match else Path(target)
    stage = Stage(path)
    stage.check()
    form = "parquet" if match else format
    with stage.opened(NAME, form, resume=False):
        parts = {
            name: stage.put_part(name, 0, form, lambda p, f=frame: WRITERS[form](f, p))
            for name, frame in frames.items()
        }
        if not match:
            text = json.dumps(manifest(form), indent=2, ensure_ascii=False)
            stage.put(stage.path / "parts" / "manifest.json", text.encode())
            publish_folder(stage.path / "parts", path)
            return str(path)
        from .embedded import load_frame

        draft = stage.path / "whole.db"
        for name, part in parts.items():
            load_frame(match[1], draft, name, part, json.dumps(manifest(form), ensure_ascii=False))
        if path.exists():
            raise UserError(f"target {path} came to exist meanwhile; nothing was overwritten")
        draft.replace(path)
    return target
