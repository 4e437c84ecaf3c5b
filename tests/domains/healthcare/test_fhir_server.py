"""FHIR servers as targets: one that judges each request by an independent validator and closes every reference, and Medplum's own router."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fhirkit
import polars as pl
import pytest
from fhir_references import references
from hypothesis import given
from hypothesis import strategies as st

from populace.app.cli import run_command
from populace.core.sinks.order import documents, groups


class Store(ThreadingHTTPServer):
    """Keeps resources by type and id. Refuses what the validator faults and references to what it has not."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kept: dict[str, dict[str, Any]] = {}
        self.posts = 0
        self.faults: dict[int, int] = {}
        """By number of the POST: the status it is answered with; 0 closes the line before the answer."""
        self.dead_after: int | None = None
        self.version = "4.0.1"
        self.authorization: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"fhir+http://127.0.0.1:{self.server_address[1]}/r4"


class Handler(BaseHTTPRequestHandler):
    server: Store
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def say(self, status: int, body: dict[str, Any], **headers: str) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(text)

    def refuse(self, why: str) -> None:
        issue = [{"severity": "error", "code": "invalid", "diagnostics": why}]
        self.say(422, {"resourceType": "OperationOutcome", "issue": issue})

    def do_GET(self) -> None:
        self.server.authorization.add(self.headers.get("Authorization"))
        if self.path == "/r4/metadata":
            return self.say(200, {"resourceType": "CapabilityStatement", "fhirVersion": self.server.version})
        found = self.server.kept.get(self.path.removeprefix("/r4/"))
        return self.say(200, found) if found else self.say(404, {})

    def do_POST(self) -> None:
        store = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        store.posts += 1
        assert self.path in ("/r4", "/r4/")
        fault = store.faults.get(store.posts)
        if store.dead_after is not None and store.posts > store.dead_after:
            fault = 503
        if fault:
            return self.say(fault, {}, Retry_After="0")
        bundle = json.loads(body)
        assert bundle["type"] == "transaction"
        sent = {entry["request"]["url"]: entry["resource"] for entry in bundle["entry"]}
        for url, resource in sent.items():
            if url != f"{resource['resourceType']}/{resource['id']}":
                return self.refuse(f"{url} holds another resource")
            if errors := fhirkit.validate(json.dumps(resource)):
                return self.refuse(f"{url}: {errors[0]}")
            for reference in references(resource):
                if reference not in sent and reference not in store.kept:
                    return self.refuse(f"{url} refers to {reference}, which is not there")
        status = ["200" if url in store.kept else "201" for url in sent]
        store.kept |= sent
        if fault == 0:  # done, and the answer is lost on the way
            self.close_connection = True
            return None
        reply = [{"response": {"status": s}} for s in status]
        return self.say(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": reply})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("populace.core.sinks.fhir_server.LONGEST", 0.01)
    monkeypatch.delenv("POPULACE_FHIR_TOKEN", raising=False)
    with Store() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def seed(store: Store, *more: str, size: int = 12) -> int:
    return run_command(["generate", "healthcare", "--size", str(size), "--seed", "3", "--to", store.url, *more])


def expected(tmp_path: Path, *more: str, size: int = 12) -> dict[str, dict[str, Any]]:
    to = tmp_path / "expected"
    assert (
        run_command(["generate", "healthcare", "--size", str(size), "--seed", "3", "--to", f"fhir+ndjson:{to}", *more])
        == 0
    )
    lines = [json.loads(line) for f in to.glob("*.ndjson") for line in f.read_text("utf-8").splitlines()]
    return {f"{r['resourceType']}/{r['id']}": r for r in lines}


def test_every_resource_arrives_valid_with_its_references_closed(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture
):
    scenario = ("--scenario", "duplicate-registration")
    assert seed(store, *scenario) == 0
    assert f"written: {store.url}" in capsys.readouterr().out
    assert store.kept == expected(tmp_path, *scenario)
    assert sum(k.startswith("Patient/") for k in store.kept) >= 12
    left = {p.name for p in tmp_path.iterdir()} - {"expected"}
    assert not left


def test_a_second_run_duplicates_nothing(store: Store):
    assert seed(store) == 0
    first = dict(store.kept)
    assert seed(store) == 0
    assert store.kept == first


def test_a_server_that_is_busy_or_loses_answers_gets_everything_once(store: Store, tmp_path: Path):
    store.faults = {1: 429, 2: 503, 4: 0, 7: 502, 8: 429}
    assert seed(store) == 0
    assert store.kept == expected(tmp_path)


def test_a_server_that_goes_away_leaves_a_run_to_resume(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture):
    store.dead_after = 6
    assert seed(store) == 2
    said = capsys.readouterr().err
    for part in ("6 of ", "--resume sends the rest", "503"):
        assert part in said
    store.dead_after, store.posts = None, 0
    whole = expected(tmp_path)
    assert seed(store, "--resume") == 0
    assert store.kept == whole
    # what was there was not sent again
    assert store.posts == int(said.split("6 of ")[1].split()[0]) - 6


def test_another_patient_under_our_id_is_never_overwritten(store: Store, capsys: pytest.CaptureFixture):
    other = {"resourceType": "Patient", "id": "patient-0", "identifier": [{"system": "urn:theirs", "value": "1"}]}
    store.kept["Patient/patient-0"] = other
    assert seed(store) == 2
    assert "another Patient/patient-0" in capsys.readouterr().err
    assert store.kept == {"Patient/patient-0": other}


@pytest.mark.parametrize(
    ("version", "more", "said"),
    [
        ("5.0.0", (), "speaks FHIR 5.0.0"),
        ("4.0.1", ("--mode", "append"), "is for databases"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    store: Store, version: str, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture
):
    store.version = version
    assert seed(store, *more) == 2
    assert said in capsys.readouterr().err
    assert not store.posts


def test_only_healthcare_has_resources(store: Store, capsys: pytest.CaptureFixture):
    assert run_command(["generate", "finance", "--size", "2", "--to", store.url]) == 2
    assert "finance has no FHIR resources" in capsys.readouterr().err


def test_the_token_is_sent_and_told_nowhere(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
):
    monkeypatch.setenv("POPULACE_FHIR_TOKEN", "s3cret-token")
    assert seed(store, size=2) == 0
    assert store.authorization == {"Bearer s3cret-token"}
    told = capsys.readouterr()
    assert "s3cret" not in told.out + told.err
    far = "fhir+http://fhir.example/r4"
    assert run_command(["generate", "healthcare", "--size", "2", "--to", far]) == 2
    assert "encrypted" in capsys.readouterr().err


def test_a_refused_bundle_says_why_and_what_is_there(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(fhirkit, "validate", lambda text: ["not today"] if '"Encounter"' in text else [])
    assert seed(store) == 2
    said = capsys.readouterr().err
    for part in ("not today", "422", "were sent before"):
        assert part in said


@given(st.data())
def test_documents_come_after_what_they_need(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    count = data.draw(st.integers(1, 12))
    needs = data.draw(st.lists(st.lists(st.integers(0, count), max_size=3), min_size=count, max_size=count))
    cut = data.draw(st.integers(0, count))
    folder = tmp_path_factory.mktemp("parts")
    lines = []
    for n, wanted in enumerate(needs):
        document = {"fullUrl": f"http://s/Basic/{n}", "r": [{"reference": f"Basic/{k}"} for k in wanted]}
        lines.append(f"d{n}\t{json.dumps(document, separators=(',', ':'))}")
    parts = []
    for n, some in enumerate((lines[:cut], lines[cut:])):
        if some:
            parts.append(folder / f"part-{n}.named")
            parts[-1].write_text("".join(f"{line}\n" for line in some))
    sent: set[int] = set()
    names = []
    for group in documents(parts, groups(parts)):
        sent |= {int(name[1:]) for name, _ in group}
        for name, _ in group:
            names.append(name)
            assert {k for k in needs[int(name[1:])] if k < count} <= sent
    assert sorted(names) == sorted(f"d{n}" for n in range(count))


@pytest.mark.slow
def test_medplum_keeps_all_that_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        pytest.skip("Node.js is not installed")
    monkeypatch.chdir(tmp_path)
    packages = [f"@medplum/{p}@4.5.2" for p in ("core", "definitions", "fhir-router")]
    done = subprocess.run([npm, "install", "--no-audit", "--no-fund", *packages], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"Medplum cannot be installed: {done.stderr[-200:]}")
    shutil.copy(Path(__file__).with_name("medplum_server.mjs"), tmp_path / "server.mjs")
    with subprocess.Popen([node, "server.mjs"], stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        try:
            assert server.stdout is not None
            base = f"127.0.0.1:{int(server.stdout.readline())}/r4"
            whole = pl.Series(list(expected(tmp_path))).str.split("/").list.first().value_counts()
            for _ in range(2):  # the second run duplicates nothing
                asked = ["generate", "healthcare", "--size", "12", "--seed", "3", "--to", f"fhir+http://{base}"]
                assert run_command(asked) == 0
                for kind, count in whole.iter_rows():
                    with urllib.request.urlopen(f"http://{base}/{kind}?_total=accurate&_count=0") as answer:
                        assert json.load(answer)["total"] == count, kind
        finally:
            server.kill()
