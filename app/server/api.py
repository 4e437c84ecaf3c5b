"""The addresses of the API and the page."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import FastAPI, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException as StarletteError

from ...core.address import redact
from ...core.domain import Domain, domain_names, find_domain
from ...core.errors import UserError, unknown
from ...core.nested import all_views
from ...core.plan import make_plan
from ...core.render_json import render
from ...core.schema import LABEL
from ...core.schema_text import FORMS
from ...core.sinks import FORMATS
from .guard import guard
from .jobs import Full, Job, Jobs
from .request import Asked, JobAsked, OfJob, RowAsked, StreamAsked, Told
from .streams import stream_of, tell

JobId = Annotated[str, InPath(pattern=r"^[0-9a-f]{16}$")]
_PAGE = {"": "text/html", "page.js": "text/javascript", "streams.js": "text/javascript", "page.css": "text/css"}
_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": said, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for code, said in {
        400: "What was asked for cannot be",
        401: "No token, or a wrong one",
        403: "A page of another site asked",
        404: "There is none",
        409: "Not now",
        411: "No length",
        413: "Too long",
        421: "Another host was meant",
        429: "Too many jobs wait",
    }.items()
}


_ARCHIVE = "application/zip"
_KINDS = {
    "ndjson": "application/x-ndjson",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}


def _as(*kinds: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}}}


def create(jobs: Jobs, token: str | None = None, allowed: tuple[str, ...] = ()) -> FastAPI:
    """The application. `allowed`: what a target URL must begin with for a client to have data written there."""
    app = FastAPI(title="populace", version="1", docs_url=None, redoc_url=None, responses=_ERRORS)
    app.middleware("http")(guard(token))
    limits = jobs.limits

    @app.exception_handler(UserError)
    def told(_: Request, error: UserError) -> Response:
        return JSONResponse({"error": str(error)}, 400)

    @app.exception_handler(Full)
    def full(_: Request, error: Full) -> Response:
        return JSONResponse({"error": str(error)}, 429, {"Retry-After": "5"})

    @app.exception_handler(StarletteError)
    def plain(_: Request, error: StarletteError) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    def checked(asked: Asked, most: int) -> None:
        """Everything that can be wrong with a request, before it becomes a job."""
        domain = find_domain(asked.domain)
        if (asked.size or domain.size) > most:
            raise UserError(f"size is {asked.size or domain.size:,}, and this server makes at most {most:,}")
        make_plan(asked.spec())

    def job_of(identifier: str) -> Job:
        if identifier not in jobs.known:
            raise HTTPException(404, "there is no such job")
        return jobs.known[identifier]

    def whole(identifier: str) -> Job:
        job = job_of(identifier)
        if job.state != "done":
            raise HTTPException(409, f"the job is {job.state}")
        return job

    def finished(identifier: str) -> Path:
        out = whole(identifier).folder / "out"
        if not out.is_dir():
            raise HTTPException(409, "it was written elsewhere")
        return out

    async def answered(kind: str, asked: Asked, seconds: float) -> dict[str, Any]:
        """The answer of a job that nobody follows: it is waited for and leaves nothing."""
        job = jobs.submit(kind, asked)
        try:
            await asyncio.to_thread(job.ended.wait, seconds + 60)
        finally:
            await asyncio.to_thread(jobs.remove, job)
        if job.state != "done":
            raise UserError(job.answer.get("error", "it was cancelled"))
        return job.answer

    @app.get("/api/domains", summary="The domains, their scenarios, views and limits")
    def domains() -> list[dict[str, Any]]:
        return [_about(find_domain(name), limits.size) for name in domain_names()]

    @app.get("/api/domains/{name}/schema", summary="A domain's schema as text", response_class=PlainTextResponse)
    def schema(name: Annotated[str, InPath(max_length=100)], form: str = "markdown") -> PlainTextResponse:
        if form not in FORMS:
            raise unknown("form", form, FORMS)
        return PlainTextResponse(FORMS[form](find_domain(name).schema))

    @app.post("/api/preview", summary="The first rows of a small dataset, its labels and pictures")
    async def preview(asked: Asked) -> dict[str, Any]:
        if asked.size is None:
            asked = asked.model_copy(update={"size": min(find_domain(asked.domain).size, limits.preview_size)})
        checked(asked, limits.preview_size)
        return await answered("preview", asked, limits.preview_seconds)

    @app.post("/api/explain", summary="Why a row of a small dataset exists and why it has these values")
    async def explained(asked: RowAsked) -> dict[str, Any]:
        if asked.size is None:
            asked = asked.model_copy(update={"size": min(find_domain(asked.domain).size, limits.preview_size)})
        checked(asked, limits.preview_size)
        domain = find_domain(asked.domain)
        if asked.table not in domain.schema.tables:
            raise unknown("table", asked.table, domain.schema.tables, domain.name)
        return await answered("explain", asked, limits.preview_seconds)

    @app.get("/api/targets", summary="The databases that this server lets clients fill")
    def targets() -> list[str]:
        # what has a password in it is the owner's to tell
        return [t for t in allowed if not t.endswith("/") and redact(t) == t]

    @app.post("/api/jobs", status_code=202, summary="Make a dataset")
    def submit(asked: JobAsked) -> dict[str, Any]:
        checked(asked, limits.size)
        domain = find_domain(asked.domain)
        if asked.view is not None and asked.view not in (views := all_views(domain)):
            raise unknown("view", asked.view, views)
        if asked.format not in FORMATS:
            raise unknown("format", asked.format, FORMATS)
        if asked.to is not None and not _lets(allowed, asked.to):
            raise UserError("this server writes to no such target; its owner names them with --allow")
        if asked.to is not None and asked.view is not None:
            raise UserError("a view becomes files: it cannot go to a database")
        return jobs.submit("make", asked).as_dict()

    @app.get("/api/jobs", summary="All jobs, the newest first")
    def listed() -> list[dict[str, Any]]:
        found = [j for j in list(jobs.known.values()) if j.kind == "make"]
        return [j.as_dict() for j in sorted(found, key=lambda j: -j.created)]

    @app.get("/api/jobs/{job}", summary="One job: state, progress, result")
    def one(job: JobId) -> dict[str, Any]:
        return job_of(job).as_dict()

    @app.delete("/api/jobs/{job}", status_code=204, summary="Cancel a job and delete what it wrote")
    def delete(job: JobId) -> Response:
        jobs.remove(job_of(job))
        return Response(status_code=204)

    @app.get("/api/jobs/{job}/validation", summary="What the domain's validator found in what a job made")
    def validation(job: JobId) -> dict[str, Any]:
        found = whole(job).answer.get("validation")
        if found is None:
            raise HTTPException(409, "a view is validated as tables: make them")
        return found

    @app.post("/api/jobs/{job}/evaluate", summary="What a job made beside its domain's rules and published figures")
    async def evaluated(job: JobId) -> dict[str, Any]:
        known = whole(job)
        if known.answer.get("validation") is None:
            raise HTTPException(409, "a view is evaluated as tables: make them")
        asked = OfJob.model_validate({**known.asked.model_dump(), "of": job})
        return await answered("evaluate", asked, limits.seconds)

    @app.get("/api/jobs/{job}/report", summary="The evaluation as a page", responses=_as("text/html"))
    def report(job: JobId) -> FileResponse:
        page = whole(job).folder / "report.html"
        if not page.exists():
            raise HTTPException(409, "it has not been evaluated")
        # charts carry their own styles; nothing on the page runs or is fetched
        held = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
        return FileResponse(page, media_type="text/html", headers=held)

    @app.get("/api/jobs/{job}/download", summary="Everything that a job wrote, as one archive", responses=_as(_ARCHIVE))
    def download(job: JobId) -> FileResponse:
        out = finished(job)
        archive = out.parent / "out.zip"
        if not archive.exists():
            draft = archive.with_suffix(".draft")
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
                for file in sorted(f for f in out.rglob("*") if f.is_file()):
                    made.write(file, file.relative_to(out).as_posix())
            draft.replace(archive)
        return FileResponse(archive, media_type=_ARCHIVE, filename=f"populace-{job}.zip")

    @app.get(
        "/api/jobs/{job}/tables/{table}",
        summary="One table as NDJSON, Arrow or Parquet",
        responses=_as(*_KINDS.values()),
    )
    def table(
        job: JobId,
        table: Annotated[str, InPath(pattern=r"^[a-z_]{1,60}$")],
        form: Literal["ndjson", "arrow", "parquet"] = "ndjson",
    ) -> Response:
        out, domain = finished(job), find_domain(job_of(job).asked.domain)
        if table not in domain.schema.tables and table != LABEL.name:
            raise HTTPException(404, f"{domain.name} has no such table")
        parts = sorted((out / table).glob("part-*.parquet"))
        if not parts:
            raise HTTPException(409, "only tables kept as Parquet can be read one by one")
        if form == "ndjson":
            return StreamingResponse(_lines(parts), media_type=_KINDS["ndjson"])
        if form == "parquet" and len(parts) == 1:
            return FileResponse(parts[0], media_type=_KINDS["parquet"])
        made = out.parent / f"{table}.{form}"
        if not made.exists():
            whole, draft = pl.read_parquet(parts), made.with_suffix(".draft")
            whole.write_parquet(draft) if form == "parquet" else whole.write_ipc_stream(draft)
            draft.replace(made)
        return FileResponse(made, media_type=_KINDS[form])

    @app.post("/api/streams", status_code=202, summary="Stream a dataset's events, to a broker or to be read here")
    def stream(asked: StreamAsked) -> dict[str, Any]:
        checked(asked, limits.size)
        if asked.to is not None and not _lets(allowed, asked.to):
            raise UserError("this server writes to no such target; its owner names them with --allow")
        stream_of(asked)
        return jobs.submit("stream", asked).as_dict()

    @app.get("/api/streams", summary="All streams, the newest first")
    def streams() -> list[dict[str, Any]]:
        found = [j for j in list(jobs.known.values()) if j.kind == "stream"]
        return [j.as_dict() for j in sorted(found, key=lambda j: -j.created)]

    def stream_job(identifier: str) -> Job:
        if (job := job_of(identifier)).kind != "stream":
            raise HTTPException(404, "there is no such stream")
        return job

    @app.get("/api/streams/{job}", summary="A stream: what was sent and confirmed, its pace, what was changed")
    def playing(job: JobId) -> dict[str, Any]:
        found = stream_job(job)
        status = tell(found, "status", None) if found.state == "running" else None
        return {**found.as_dict(), **({"status": status} if status else {})}

    @app.post(
        "/api/streams/{job}/control",
        summary="Pause, resume or stop a stream, change its pace, start a scenario, shift a prior",
    )
    def control(job: JobId, told: Told) -> dict[str, Any]:
        status = tell(stream_job(job), told.action, told.body())
        if status is None:
            raise HTTPException(409, "the stream does not play")
        return status

    @app.get(
        "/api/streams/{job}/events",
        summary="What a stream without a target has sent so far",
        responses=_as(_KINDS["ndjson"]),
    )
    def events(job: JobId) -> FileResponse:
        sent = stream_job(job).folder / "events.ndjson"
        if not sent.exists():
            raise HTTPException(409, "nothing has been sent yet")
        return FileResponse(sent, media_type=_KINDS["ndjson"])

    @app.get("/", include_in_schema=False)
    @app.get("/page.js", include_in_schema=False)
    @app.get("/streams.js", include_in_schema=False)
    @app.get("/page.css", include_in_schema=False)
    def page(request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        folder = resources.files(__package__ or "")
        if name == "page.css":
            house = folder.joinpath("../style.css").read_text("utf-8")
            return Response(house + folder.joinpath("page.css").read_text("utf-8"), media_type="text/css")
        return Response(folder.joinpath(name or "page.html").read_text("utf-8"), media_type=_PAGE[name])

    described = app.openapi

    def openapi() -> dict[str, Any]:
        found = described()
        found["components"]["schemas"]["Problem"] = {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string"}},
        }
        return found

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _lets(allowed: tuple[str, ...], target: str) -> bool:
    """Whether a target is one of those that the owner named, or lies below one that ends in a slash."""
    return ".." not in target and any(target == p or (p.endswith("/") and target.startswith(p)) for p in allowed)


def _about(domain: Domain, most: int) -> dict[str, Any]:
    return {
        "name": domain.name,
        "doc": domain.doc,
        "root": domain.root,
        "size": min(domain.size, most),
        "most": most,
        "start": domain.window[0],
        "end": domain.window[1],
        "formats": FORMATS,
        "views": {v.name: v.doc for v in all_views(domain).values()},
        "scenarios": [
            {
                "name": s.name,
                "title": s.title,
                "doc": s.doc,
                "source": s.source,
                "parameters": [
                    {k: getattr(p, k) for k in ("name", "type", "default", "doc", "min", "max", "choices", "column")}
                    for p in s.parameters.values()
                ],
            }
            for s in domain.scenarios.values()
        ],
    }


def _lines(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        for frame in pl.read_parquet(part).iter_slices(20_000):
            yield ("\n".join(render(frame, {c: pl.col(c) for c in frame.columns})) + "\n").encode()
