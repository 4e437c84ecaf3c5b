"""One job in a process of its own: `python -m populace.app.server.work KIND FOLDER` reads FOLDER/asked.json and leaves FOLDER/answer.json.

A process can be ended at any moment, and what it holds in memory goes with it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...core.dataset import generate
from ...core.errors import InvalidData, UserError
from ...core.evaluate import evaluate
from ...core.explain import explain
from ...core.files import write_atomic
from ...core.plan import make_plan
from ...core.render_json import render
from ...core.run import run
from ...core.sinks import for_targets, open_targets
from ...core.validate import validate
from ..report import render_report
from .request import Asked, JobAsked, OfJob, RowAsked, StreamAsked
from .streams import stream_of

PREVIEW_ROWS = 50
"""Rows of each table that a preview shows."""


def preview(asked: Asked, _: Path) -> dict[str, Any]:
    """The first rows of every table as they would be, the labels, and the domain's pictures."""
    import polars as pl

    plan = make_plan(asked.spec())
    data = generate(plan)
    tables = {}
    for name, frame in data.frames.items():
        texts = render(frame.head(PREVIEW_ROWS), {c: pl.col(c) for c in frame.columns})
        tables[name] = {"rows": frame.height, "columns": frame.columns, "head": [json.loads(t) for t in texts]}
    pictures = plan.domain.pictures(data.frames) if plan.domain.pictures else []
    return {
        "tables": tables,
        "pictures": [{"title": p.title, "caption": p.caption, "svg": p.svg} for p in pictures],
        "command": asked.command(),
        "python": asked.python(),
    }


def make(asked: JobAsked, folder: Path) -> dict[str, Any]:
    """The whole dataset, into the job's folder or the database that was named."""
    plan = make_plan(asked.spec())
    target = asked.to or (f"{asked.view}:{folder / 'out'}" if asked.view else str(folder / "out"))
    plan = for_targets(plan, [target])
    sinks = open_targets([target], plan.domain, asked.format, plan.breaks)
    (folder / "blocks").write_text(str(plan.blocks))
    outcome = run(plan, sinks, workers=1, quiet=True)
    verdict = None
    if not asked.view:
        found = validate(plan.domain, outcome.written[0] if asked.to is None else asked.to)
        verdict = {"checks": found.checks, "violations": found.listed(), "declared": found.declared.height}
    body = outcome.manifest["populace"]
    return {"tables": body["tables"], "scenarios": body["scenarios"], "validation": verdict, "command": asked.command()}


def why(asked: RowAsked, _: Path) -> dict[str, Any]:
    """Why a row exists and why it has these values."""
    plan = make_plan(Asked.model_validate(asked.model_dump(exclude={"table", "key"})).spec())
    found = explain(plan, asked.table, asked.key)
    return {"text": found.text(), "explanation": json.loads(json.dumps(found.as_dict(), default=str))}


def judge(asked: OfJob, folder: Path) -> dict[str, Any]:
    """What another job made beside its domain's rules and published figures; the page goes with what that job made."""
    made = folder.parent / asked.of
    found = evaluate(asked.to or made / "out", domain=asked.domain)
    write_atomic(made / "report.html", render_report(found, None, asked.domain).encode())
    return found.plain()


def play(asked: StreamAsked, folder: Path) -> dict[str, Any]:
    """The events, in order of time, at their pace; what is to change on the way is told to a port of this machine, which is written down."""
    from contextlib import redirect_stdout

    from ...core.streams.control import controlled

    session = stream_of(asked)
    with (
        open(folder / "events.ndjson", "w", encoding="utf-8") as events,
        redirect_stdout(events),
        controlled(session, 0) as port,
    ):
        write_atomic(folder / "control", str(port).encode())
        account = session.run()
    return {"account": account.as_dict(), "changes": session.changes, "command": asked.command()}


KINDS: dict[str, tuple[type[Asked], Callable[[Any, Path], dict[str, Any]]]] = {
    "preview": (Asked, preview),
    "make": (JobAsked, make),
    "explain": (RowAsked, why),
    "evaluate": (OfJob, judge),
    "stream": (StreamAsked, play),
}


def main(kind: str, place: str) -> int:
    folder = Path(place)
    form, task = KINDS[kind]
    asked = form.model_validate_json((folder / "asked.json").read_text("utf-8"))
    try:
        answer, code = task(asked, folder), 0
    except (UserError, InvalidData) as error:
        answer, code = {"error": str(error)}, 1
    except MemoryError:
        answer, code = {"error": "there is not enough memory for it"}, 1
    write_atomic(folder / "answer.json", json.dumps(answer).encode())
    return code


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main(*sys.argv[1:]))
