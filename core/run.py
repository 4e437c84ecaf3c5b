"""A run: plan, cast, build every block, check, write, publish. Workers are a map over blocks; what one has finished bears a receipt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from .build import build
from .cast import Ahead, Cast, candidates, settle
from .dataset import refuse
from .errors import Interrupted
from .heap import keep_freed_memory
from .manifest import make_manifest, receipt, total
from .plan import Plan
from .progress import Progress
from .sinks import Sink


@dataclass(frozen=True)
class Outcome:
    """What a run wrote: where, and the manifest that describes it."""

    written: list[str]
    manifest: dict[str, Any]
    resumed: int
    """Blocks that an interrupted run had finished before."""


def run(
    plan: Plan,
    sinks: Sequence[Sink],
    *,
    workers: int = 1,
    resume: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Generate a plan into its sinks.

    Raises UserError before any work if a target cannot be written, InvalidData if a row breaks a constraint undeclared. Either way, and
    on a full disk, no target is left half written. A run that is killed or interrupted leaves its stage, which `resume` takes up.
    """
    standing = [(s, s.published() if resume else None) for s in sinks]
    there = [(s, m) for s, m in standing if m and _made(s, plan).items() <= m["populace"].items()]
    for sink, _ in there:
        sink.stage.discard()  # the earlier run may have died between publishing and tidying up
    sinks = [s for s in sinks if all(s is not t for t, _ in there)]
    if not sinks:
        return Outcome([s.place for s, _ in there], dict(there[0][1]), plan.blocks)
    sinks = [sink.ready(plan) for sink in sinks]
    with ExitStack() as held:
        for sink in sinks:
            held.enter_context(sink.stage.opened(plan.fingerprint, sink.work, resume))
        receipts, resumed = _build_all(plan, sinks, workers, quiet)
        manifests = [make_manifest(plan, total(receipts), s.form) for s in sinks]
        written = []
        with Progress("publishing", len(sinks), quiet, unit="target") as progress:
            for sink, manifest in zip(sinks, manifests, strict=True):
                written += sink.publish(manifest)
                progress.step()
    return Outcome(written, manifests[0], resumed)


def _build_all(plan: Plan, sinks: Sequence[Sink], workers: int, quiet: bool) -> tuple[list[dict[str, Any]], int]:
    receipts = {i: r for i in range(plan.blocks) if (r := _signed(sinks, i)) is not None}
    resumed = len(receipts)
    todo = [i for i in range(plan.blocks) if i not in receipts]
    if todo:
        with _mapping((plan, sinks, Ahead()), max(1, min(workers, len(todo)))) as over:
            cast = Cast()
            if plan.uses:
                with Progress("casting", plan.blocks, quiet) as progress:
                    found = over(_find, range(plan.blocks), cast, progress)
                    cast = settle(plan, (part for _, part in sorted(found, key=lambda f: f[0])))
            with Progress(f"generating {plan.domain.name}", plan.blocks, quiet, resumed) as progress:
                receipts.update(over(_make, todo, cast, progress))
    return [receipts[i] for i in range(plan.blocks)], resumed


def _signed(sinks: Sequence[Sink], index: int) -> dict[str, Any] | None:
    receipts = [sink.stage.receipt(index) for sink in sinks]
    return receipts[0] if all(r is not None for r in receipts) else None


Setting = tuple[Plan, Sequence[Sink], Ahead]
Task = Callable[[Setting, Cast, int], Any]
Over = Callable[[Task, Sequence[int], Cast, Progress], Iterator[tuple[int, Any]]]
_setting: Setting | None = None  # a worker process's own copy, set once when it starts
_cast: tuple[bytes, Cast] = (b"", Cast())  # the cast it was last sent


@contextmanager
def _mapping(setting: Setting, workers: int) -> Iterator[Over]:
    """A map of a task over blocks, which gives results as they come. One pool of workers serves all of a run's maps: starting one costs
    more than many a block."""
    if workers == 1:

        def here(task: Task, indices: Sequence[int], cast: Cast, progress: Progress) -> Iterator[tuple[int, Any]]:
            for index in indices:
                yield index, task(setting, cast, index)
                progress.step()

        yield here
        return
    import multiprocessing

    import cloudpickle  # a domain's steps may be closures, which the standard pickle cannot send

    def there(task: Task, indices: Sequence[int], cast: Cast, progress: Progress) -> Iterator[tuple[int, Any]]:
        sent = cloudpickle.dumps(cast)
        futures = {pool.submit(_work, task, sent, i): i for i in indices}
        for future in as_completed(futures):
            yield futures[future], future.result()
            progress.step()

    threads = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _enter, (cloudpickle.dumps(setting),))
    try:
        yield there
    except BrokenProcessPool:
        raise Interrupted(
            "a worker process was killed (out of memory?). Use fewer --workers; --resume goes on from here."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if threads is None:
            del os.environ["POLARS_MAX_THREADS"]
        else:
            os.environ["POLARS_MAX_THREADS"] = threads


def _enter(setting: bytes) -> None:
    from threading import Thread

    import cloudpickle

    Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    global _setting
    _setting = cloudpickle.loads(setting)


def _end_with_parent() -> None:
    """A worker waits for work on a pipe that it holds open itself: it would outlive a parent that was killed."""
    from multiprocessing import parent_process

    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(task: Task, sent: bytes, index: int) -> Any:
    import cloudpickle

    global _cast
    if _cast[0] != sent:
        _cast = sent, cloudpickle.loads(sent)
    assert _setting is not None
    return task(_setting, _cast[1], index)


def _find(setting: Setting, cast: Cast, index: int) -> Any:
    plan, _, ahead = setting
    return candidates(plan, index, ahead)


def _make(setting: Setting, cast: Cast, index: int) -> dict[str, Any]:
    plan, sinks, ahead = setting
    built = build(plan, index, cast, ahead)
    refuse(built.undeclared)
    signed = receipt(plan.domain.schema, built.tables, built.declared)
    for sink in sinks:
        sink.write(index, built.tables, built.reference)
        sink.stage.sign(index, signed)
    return signed


def _made(sink: Sink, plan: Plan) -> dict[str, str]:
    """What the manifest of this very run says."""
    return {"fingerprint": plan.fingerprint, "form": sink.form}
