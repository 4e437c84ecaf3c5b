"""A real server in a process of its own: what its addresses do, whom it obeys, and that nothing is left of cancelled jobs."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from serving import Server

import populace

SMALL = {"domain": "finance", "size": 20, "end": "2025-01-20"}
TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("serve") / "jobs", "--max-size", "5000")
    yield made
    made.close()


def test_a_preview_shows_what_the_spec_makes(server: Server):
    asked = {**SMALL, "seed": 3, "scenarios": [{"name": "card-testing", "parameters": {"cards": 4}}]}
    found = server.client.post("/api/preview", json=asked).json()
    data = populace.generate("finance", size=20, seed=3, end="2025-01-20", scenarios=["card-testing:cards=4"])
    assert {n: t["rows"] for n, t in found["tables"].items()} == {n: f.height for n, f in data.frames.items()}
    head = data.frames["transaction"].head(50)
    assert [r["amount_minor"] for r in found["tables"]["transaction"]["head"]] == head["amount_minor"].to_list()
    assert found["command"] == (
        "populace generate finance --size 20 --seed 3 --end 2025-01-20 --scenario card-testing:cards=4"
    )
    made: dict[str, Any] = {}
    exec(found["python"], made)
    assert made["data"].frames["transaction"].equals(data.frames["transaction"])
    assert all(p["svg"].startswith("<svg") for p in found["pictures"])


def test_a_row_is_explained_as_the_command_explains_it(server: Server):
    data = populace.generate("finance", size=20, seed=3, end="2025-01-20")
    key = int(data.frames["account"]["account_id"][4])
    told = server.client.post("/api/explain", json={**SMALL, "seed": 3, "table": "account", "key": key}).json()
    assert told["text"].startswith(f"account {key}")
    assert told["explanation"]["table"] == "account"
    for wrong, said in (({"table": "acount"}, "Did you mean 'account'"), ({"key": 2**40}, "would belong to")):
        answer = server.client.post("/api/explain", json={**SMALL, "table": "account", "key": key, **wrong})
        assert answer.status_code == 400
        assert said in answer.json()["error"]


def test_a_stream_is_played_changed_and_read(server: Server):
    asked = {
        **SMALL,
        "speed": "36000x",
        "events": ["transaction-authorised"],
        "body": '{"n": "{row}", "at": "{authorised_at}"}',
    }
    made = server.client.post("/api/streams", json=asked)
    assert made.status_code == 202
    job = made.json()["id"]
    for _ in range(600):
        now = server.client.get(f"/api/streams/{job}").json()
        if now.get("status", {}).get("confirmed"):
            break
        time.sleep(0.1)
    told = server.client.post(
        f"/api/streams/{job}/control", json={"action": "change", "scenario": ["card-testing:cards=3"]}
    )
    assert told.status_code == 200, told.text
    for wrong, said in (
        ({"action": "change", "scenario": ["card-testin"]}, "Did you mean 'card-testing'"),
        ({"action": "pace", "speed": "fast"}, "fast"),
    ):
        answer = server.client.post(f"/api/streams/{job}/control", json=wrong)
        assert answer.status_code == 400
        assert said in answer.json()["error"]
    server.client.post(f"/api/streams/{job}/control", json={"action": "pace", "speed": "max"})
    result = server.ended(job)["result"]
    assert result["account"]["lost"] == 0
    (change,) = result["changes"]
    assert change["scenario"] == ["card-testing:cards=3"]
    sent = server.client.get(f"/api/streams/{job}/events").text.splitlines()
    assert len(sent) == result["account"]["confirmed"]
    whole = populace.generate(
        "finance", size=20, end="2025-01-20", scenarios=[{"name": "card-testing", "cards": 3, "from": change["from"]}]
    )
    labelled = whole.frames["label"].filter(table="transaction")["row_key"]
    rows = whole.frames["transaction"].filter(pl.col("transaction_id").is_in(labelled.implode()))
    assert rows["authorised_at"].min() >= dt.datetime.fromisoformat(change["from"])  # type: ignore[operator]
    known = {json.loads(line)["n"] for line in sent}
    assert set(rows["transaction_id"]) <= known, "all of what was started is in the stream"
    assert server.client.post(f"/api/streams/{job}/control", json={"action": "pause"}).status_code == 409
    assert server.client.delete(f"/api/jobs/{job}").status_code == 204


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"to": "mqtt://10.0.0.1/"}, "this server writes to no such target"),
        ({"to": "http://169.254.169.254/latest"}, "this server writes to no such target"),
        ({"body": "@/etc/passwd"}, None),
        ({"body": "rwo"}, "Did you mean 'row'"),
        ({"events": ["nothing"]}, "unknown event"),
        ({"speed": "x"}, "x"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(server: Server, wrong: dict[str, Any], said: str | None):
    answer = server.client.post("/api/streams", json={**SMALL, **wrong})
    assert answer.status_code == (400 if said else 422)
    assert said is None or said in answer.json()["error"]
    assert not server.client.get("/api/streams").json()


def test_what_a_job_made_is_validated_and_evaluated(server: Server):
    job = server.ended(server.client.post("/api/jobs", json={**SMALL, "seed": 6}).json()["id"])
    at = f"/api/jobs/{job['id']}"
    assert server.client.get(f"{at}/report").status_code == 409
    assert server.client.get(f"{at}/validation").json() == job["result"]["validation"]
    found = server.client.post(f"{at}/evaluate").json()
    assert found["figures"]["diagnostics.rules"]["value"] == 1
    assert found["figures"]["realism.met"]["detail"]
    report = server.client.get(f"{at}/report")
    assert report.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in report.headers["content-security-policy"]
    assert "Published figures met" in report.text
    # the job that measured has left nothing behind, and is in no list
    assert [j["id"] for j in server.client.get("/api/jobs").json() if j["asked"].get("seed") == 6] == [job["id"]]
    view = server.ended(server.client.post("/api/jobs", json={"domain": "healthcare", "size": 3, "view": "fhir+ndjson"}).json()["id"])  # fmt: skip
    assert server.client.post(f"/api/jobs/{view['id']}/evaluate").status_code == 409


def test_a_job_is_made_checked_and_handed_over_in_every_form(server: Server):
    answer = server.client.post("/api/jobs", json={**SMALL, "seed": 5})
    assert answer.status_code == 202
    job = server.ended(answer.json()["id"])
    assert job["state"] == "done"
    assert job["result"]["validation"]["violations"] == []
    expected = populace.generate("finance", size=20, seed=5, end="2025-01-20").frames["transaction"]
    at = f"/api/jobs/{job['id']}"
    for form, read in (("parquet", pl.read_parquet), ("arrow", pl.read_ipc_stream), ("ndjson", pl.read_ndjson)):
        got = read(io.BytesIO(server.client.get(f"{at}/tables/transaction", params={"form": form}).content))
        assert got["transaction_id"].to_list() == expected["transaction_id"].to_list()
        assert got["amount_minor"].to_list() == expected["amount_minor"].to_list()
    with zipfile.ZipFile(io.BytesIO(server.client.get(f"{at}/download").content)) as archive:
        assert "manifest.json" in archive.namelist()
        assert archive.testzip() is None
    assert server.client.delete(at).status_code == 204
    assert server.client.get(at).status_code == 404
    assert not (server.folder / job["id"]).exists()


def test_all_forms_that_the_command_line_has_are_offered(server: Server):
    from populace.core.domain import find_domain
    from populace.core.nested import all_views
    from populace.core.sinks import FORMATS

    for domain in server.client.get("/api/domains").json():
        assert domain["formats"] == list(FORMATS)
        assert set(domain["views"]) == set(all_views(find_domain(domain["name"])))
    for form, file in (({"view": "nested+json"}, "customer/0.json"), ({"format": "json"}, "customer.json")):
        job = server.ended(server.client.post("/api/jobs", json={**SMALL, "size": 2, **form}).json()["id"])
        assert job["state"] == "done"
        archive = zipfile.ZipFile(io.BytesIO(server.client.get(f"/api/jobs/{job['id']}/download").content))
        assert file in archive.namelist()


def test_a_view_becomes_documents(server: Server):
    asked = {"domain": "healthcare", "size": 5, "view": "fhir+ndjson"}
    job = server.ended(server.client.post("/api/jobs", json=asked).json()["id"])
    with zipfile.ZipFile(io.BytesIO(server.client.get(f"/api/jobs/{job['id']}/download").content)) as archive:
        assert "Patient.ndjson" in archive.namelist()
    assert server.client.get(f"/api/jobs/{job['id']}/tables/patient").status_code == 409


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"domain": "finanse"}, "Did you mean 'finance'"),
        ({**SMALL, "size": 5001}, "this server makes at most 5,000"),
        ({**SMALL, "scenarios": [{"name": "card-testin"}]}, "Did you mean 'card-testing'"),
        ({**SMALL, "set": {"purchase.voyd": 1}}, "Did you mean 'purchase.void'"),
        ({**SMALL, "end": "2020-01-01"}, "not after --start"),
        ({**SMALL, "view": "fhir"}, "unknown view"),
        ({**SMALL, "format": "xml"}, "unknown format"),
        ({**SMALL, "to": "sqlite:////etc/passwd"}, "writes to no such target"),
        ({**SMALL, "to": "http://169.254.169.254/"}, "writes to no such target"),
    ],
)
def test_what_cannot_be_is_refused_before_it_becomes_a_job(server: Server, body: dict[str, Any], said: str):
    before = len(server.client.get("/api/jobs").json())
    answer = server.client.post("/api/jobs", json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert len(server.client.get("/api/jobs").json()) == before


def test_a_method_that_an_address_does_not_take_is_answered_with_those_that_it_does(server: Server):
    answer = server.client.put("/api/targets")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_no_path_leads_out_of_a_job(server: Server):
    for path in ("../../etc/passwd", "%2e%2e/x", "transaction%2f..%2f..%2fasked.json", ".."):
        answer = server.client.get(f"/api/jobs/{'0' * 16}/tables/{path}")
        assert answer.status_code in (404, 422)
    assert server.client.get("/api/jobs/..%2f..").status_code in (404, 422)


def test_clients_write_where_the_owner_lets_them_and_nowhere_else(tmp_path: Path):
    made = Server(tmp_path / "jobs", "--allow", f"duckdb:///{tmp_path}/staging/")
    (tmp_path / "staging").mkdir()
    try:
        for name, code in (
            ("staging/a.duckdb", 202),
            ("staging", 400),
            ("staging/../b.duckdb", 400),
            ("c.duckdb", 400),
        ):
            answer = made.client.post("/api/jobs", json={**SMALL, "to": f"duckdb:///{tmp_path}/{name}"})
            assert answer.status_code == code
            if code == 202:
                assert made.ended(answer.json()["id"])["result"]["validation"]["violations"] == []
        assert sorted(p.name for p in tmp_path.rglob("*.duckdb")) == ["a.duckdb"]
    finally:
        made.close()


def test_other_sites_and_other_names_are_refused(server: Server):
    def ask(**headers: str) -> int:
        return server.client.post("/api/jobs", json=SMALL, headers=headers).status_code

    assert ask(Origin="https://evil.example") == 403
    assert ask(Host="rebound.example") == 421
    assert server.client.post("/api/jobs", content=b"x" * (1 << 20) + b"xx").status_code == 413
    headers = server.client.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_fifty_jobs_are_queued_and_cancelled_without_a_trace(server: Server):
    big = {"domain": "iot", "size": 3000}
    with ThreadPoolExecutor(16) as pool:
        jobs = [
            a.json()["id"]
            for a in pool.map(lambda n: server.client.post("/api/jobs", json={**big, "seed": n}), range(50))
        ]
        states = [server.client.get(f"/api/jobs/{j}").json()["state"] for j in jobs]
        assert states.count("running") <= 2
        assert set(states) <= {"queued", "running"}
        # a few go as they come, so that others start in their place; the rest from the end, so that not each starts only to be ended
        order = [*jobs[:6], *reversed(jobs[6:])]
        gone = list(pool.map(lambda j: server.client.delete(f"/api/jobs/{j}").status_code, order))
    assert gone == [204] * 50
    assert not {p.name for p in server.folder.iterdir()} & set(jobs)
    assert not children(server.process.pid)
    assert server.client.post("/api/preview", json=SMALL).status_code == 200


def children(process: int) -> list[int]:
    """The job processes that a server still has; those that have ended but were not waited for count too."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process:
            found.append(int(stat.parent.name))
    return found


def test_a_token_is_asked_for_wherever_others_can_reach(tmp_path: Path):
    refused = subprocess.run(
        [sys.executable, "-m", "populace.app.cli", "serve", "--host", "0.0.0.0", "--folder", str(tmp_path / "x")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode == 2
    assert "give a --token" in refused.stderr
    made = Server(tmp_path / "jobs", "--host", "0.0.0.0", "--token", TOKEN)
    try:
        assert made.client.get("/api/jobs").status_code == 401
        assert made.client.get("/api/jobs", headers={"Authorization": "Bearer another"}).status_code == 401
        assert made.client.get("/api/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert made.client.get("/", params={"token": TOKEN}).status_code == 200
        assert made.client.get("/api/jobs").status_code == 200, "the page's cookie"
    finally:
        made.close()


def test_a_job_that_takes_too_long_is_ended(tmp_path: Path):
    made = Server(tmp_path / "jobs", "--max-seconds", "1")
    try:
        job = made.ended(made.client.post("/api/jobs", json={"domain": "iot", "size": 3000}).json()["id"])
        assert job["state"] == "failed"
        assert job["error"] == "it took longer than this server allows"
        assert not children(made.process.pid)
    finally:
        made.close()


@pytest.mark.slow
def test_the_api_keeps_its_own_description(server: Server, tmp_path: Path):
    """schemathesis asks every address what it should not, and compares the answers with the description."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.client.base_url}/openapi.json"]
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    found = subprocess.run(
        [*command, "--checks", checks, "--max-examples", "25", "--seed", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert found.returncode == 0, found.stdout[-6000:]
