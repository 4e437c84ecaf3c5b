"""What a fit has finished, kept where it is broken off: the next fit of the same takes it from there, and comes to the same.

A fit is named parts, one after another, each a function of what came before: a column's trees, a round, a release that was paid for. Where they are kept, Ctrl-C lets the
part at hand be finished and writes all of them to one file, safetensors with JSON as a model's; twice, it interrupts as ever.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import UserError
from .files import write_whole
from .tensors import parsed

FORMAT = "populace-parts-1"
TABLE = "table"
"""The part that says of which table the others are."""
T = TypeVar("T")


class BrokenOff(KeyboardInterrupt):
    """A fit was interrupted, and its finished parts are kept."""


class Parts:
    """Finished parts by name: plain values, sequences, mappings and arrays."""

    def __init__(self, finished: Mapping[str, Any], asked: Event) -> None:
        self.finished, self.asked = dict(finished), asked
        self.within: tuple[str, ...] = ()


_running: ContextVar[Parts | None] = ContextVar("parts", default=None)


def part(name: str, make: Callable[[], T]) -> T:
    """The part of that name: as it was finished before the fit was broken off, or else made now. Parts within it have names of their own, which go with it."""
    parts = _running.get()
    if parts is None:
        return make()
    held = (*parts.within, name)
    key = "/".join(held)
    if key not in parts.finished:
        stop_if_asked()
        parts.within = held
        try:
            made = make()
        finally:
            parts.within = held[:-1]
        parts.finished = {k: v for k, v in parts.finished.items() if not k.startswith(key + "/")}
        parts.finished[key] = made
        stop_if_asked()
    return parts.finished[key]


@contextmanager
def within(*names: str) -> Iterator[None]:
    """Parts named here are of this, and not of another that has parts of the same names."""
    parts = _running.get()
    if parts is None:
        yield
        return
    former, parts.within = parts.within, (*parts.within, *names)
    try:
        yield
    finally:
        parts.within = former


def half(name: str) -> Any:
    """What `break_off` kept of that name; None if there is nothing."""
    parts = _running.get()
    return None if parts is None else parts.finished.pop("/".join((*parts.within, name)), None)


def break_off(name: str, value: Any) -> None:
    """End here, as was asked, and keep where it stands. Raises KeyboardInterrupt."""
    if parts := _running.get():
        parts.finished["/".join((*parts.within, name))] = value
    raise KeyboardInterrupt


def asked_to_stop() -> bool:
    parts = _running.get()
    return parts is not None and parts.asked.is_set()


def stop_if_asked() -> None:
    """Raises KeyboardInterrupt after Ctrl-C."""
    if asked_to_stop():
        raise KeyboardInterrupt


@contextmanager
def keeping(path: str | os.PathLike[str] | None, request: Mapping[str, Any]) -> Iterator[None]:
    """Within, parts are kept. Those of `path` are taken, if it is there; broken off, they are written to it, and it goes once all is done.

    Raises UserError where the file's are of another request, and BrokenOff where they were written.
    """
    if path is None:
        yield
        return
    place = Path(path)
    with interruptible() as asked:
        token = _running.set(Parts(_read(place, request) if place.exists() else {}, asked or Event()))
        try:
            yield
            place.unlink(missing_ok=True)
        except KeyboardInterrupt:
            parts = _running.get()
            if parts is None or not parts.finished.keys() - {TABLE}:
                raise
            _write(place, request, parts.finished)
            raise BrokenOff(f"what was finished is kept in {place}") from None
        finally:
            _running.reset(token)


@contextmanager
def interruptible() -> Iterator[Event | None]:
    """Ctrl-C once sets the event, so that what is at hand is finished; twice interrupts as ever. None outside the main thread, where no signal comes."""
    if parts := _running.get():
        yield parts.asked
        return
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    asked = Event()
    former = signal.getsignal(signal.SIGINT)

    def ask(*_: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, former)

    if former is signal.default_int_handler:
        signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, former)


def _write(path: Path, request: Mapping[str, Any], finished: Mapping[str, Any]) -> None:
    from safetensors.numpy import save

    arrays: dict[str, NDArray] = {}
    plain = {k: _flat(v, arrays) for k, v in finished.items()}
    # a file without a tensor is none
    arrays = {k: np.ascontiguousarray(a) for k, a in arrays.items()} or {"none": np.zeros(1)}
    write_whole(path, save(arrays, {FORMAT: json.dumps({"request": dict(request), "parts": plain})}), "parts")


def _read(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text, arrays = parsed(path.read_bytes(), FORMAT)
        held = json.loads(text)
        if held["request"] != json.loads(json.dumps(dict(request))):
            changed = [k for k, v in held["request"].items() if json.loads(json.dumps(request.get(k))) != v]
            raise UserError(
                f"{path}: was broken off from another fit ({', '.join(changed) or 'of other settings'} differ); fit as it was, or without --resume"
            )
        return {k: _whole(v, arrays) for k, v in held["parts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: holds no finished parts, or is damaged: {error}") from None


def _flat(value: Any, arrays: dict[str, NDArray]) -> Any:
    if isinstance(value, np.ndarray):
        arrays[str(len(arrays))] = value
        return {"array": len(arrays) - 1}
    if isinstance(value, Mapping):
        return {"keys": list(value), "values": [_flat(v, arrays) for v in value.values()]}
    if isinstance(value, (list, tuple)):
        return [_flat(v, arrays) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _whole(value: Any, arrays: Mapping[str, NDArray]) -> Any:
    if isinstance(value, list):
        return [_whole(v, arrays) for v in value]
    if isinstance(value, dict) and "array" in value:
        return np.array(arrays[str(value["array"])])
    if isinstance(value, dict):
        return dict(zip(value["keys"], (_whole(v, arrays) for v in value["values"]), strict=True))
    return value
