"""Imported records in `generate`: as they are, with scenarios, with generated patients after them; and Synthea as the engine, by a jar that honours its arguments."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

import populace
from populace.app.cli import run_command
from populace.core.dataset import Dataset
from populace.core.imports import write_imported
from populace.core.validate import validate
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.imports.imported import read_records


@pytest.fixture(scope="module")
def records(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    few.write(f"fhir+ndjson:{folder / 'fhir'}")
    write_imported(read_records(DOMAIN, str(folder / "fhir")), [str(folder / "tables")])
    return folder / "tables"


def told(data: Dataset, name: str, patients: int) -> pl.DataFrame:
    """What a table says, without keys: those of places come after our own, and rows of one moment may change places."""
    frame = data.frames[name].filter(pl.col("patient_id") < patients)
    gone = [c for c in frame.columns if c.endswith("_id") and c != "patient_id"]
    frame = frame.drop(*gone, "education", "income", strict=False).select(pl.all().cast(pl.String))
    return frame.select(sorted(frame.columns)).sort(sorted(frame.columns))


def test_records_come_through_as_they_are(records: Path, few: Dataset):
    data = populace.generate("healthcare", **{"from": str(records)})
    assert data.validate().is_empty()
    for name in ("patient", "condition", "immunization", "coverage"):
        ours, theirs = told(few, name, 30), told(data, name, 30)
        assert ours.equals(theirs.select(ours.columns)), name
    for name in ("encounter", "observation", "claim", "medication_request"):
        assert data.frames[name].height == few.frames[name].height
    total = few.frames["claim"]["total"].sum()
    assert abs(data.frames["claim"]["total"].sum() - total) < 0.01


def test_scenarios_play_on_them_and_patients_are_added(records: Path, tmp_path: Path):
    data = populace.generate(
        "healthcare", size=45, scenarios=["sepsis-deterioration", "wrong-sex:count=2"], **{"from": str(records)}
    )
    assert data.validate().is_empty()
    assert data.frames["patient"].height == 45
    assert set(data.frames["label"]["scenario"]) == {"sepsis-deterioration", "wrong-sex"}
    added = data.frames["observation"].filter(pl.col("patient_id") >= 30)
    assert added["patient_id"].n_unique() > 10
    data.write(str(tmp_path / "t"), f"fhir+ndjson:{tmp_path / 'f'}")
    for folder in ("t", "f"):
        assert validate(DOMAIN, str(tmp_path / folder)).valid


def test_what_cannot_be_is_refused(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def refused(*words: str) -> str:
        assert run_command(["generate", "healthcare", *words]) == 2
        return capsys.readouterr().err

    assert "has no meaning with it" in refused("--from", str(records), "--modules", "own")
    assert "there is no such folder" in refused("--from", str(tmp_path / "not"))
    assert "give the jar" in refused("--engine", "synthea")
    assert "Did you mean 'synthea'" in refused("--engine", "syntea")
    assert "--jar and --synthea go with" in refused("--jar", "x.jar")
    assert "there is no such file" in refused("--engine", "synthea", "--jar", str(tmp_path / "x.jar"))


JAR = """
import java.io.*; import java.nio.file.*; import java.util.*;
public class App {
  public static void main(String[] args) throws Exception {
    String base = null, modules = ""; int size = 1; long seed = 0;
    for (int i = 0; i < args.length; i++) {
      if (args[i].equals("-p")) size = Integer.parseInt(args[++i]);
      else if (args[i].equals("-s")) seed = Long.parseLong(args[++i]);
      else if (args[i].equals("-d") || args[i].equals("-m")) modules += args[i] + " " + args[++i] + " ";
      else if (args[i].startsWith("--exporter.baseDirectory=")) base = args[i].substring(25);
      else if (args[i].equals("fail")) { System.err.println("no such state: fail"); System.exit(3); }
    }
    if (!Arrays.asList(args).contains("--exporter.fhir.bulk_data=true")) System.exit(4);
    Path out = Paths.get(base, "fhir"); Files.createDirectories(out);
    Random random = new Random(seed);
    try (PrintWriter p = new PrintWriter(out.resolve("Patient.ndjson").toFile()); PrintWriter e = new PrintWriter(out.resolve("Encounter.ndjson").toFile());
         PrintWriter o = new PrintWriter(out.resolve("Observation.ndjson").toFile())) {
      for (int n = 0; n < size; n++) {
        String id = new UUID(random.nextLong(), random.nextLong()).toString();
        p.println("{\\"resourceType\\":\\"Patient\\",\\"id\\":\\"" + id + "\\",\\"identifier\\":[{\\"value\\":\\"" + id + "\\"}],\\"gender\\":\\"female\\",\\"birthDate\\":\\"19" + (50 + n) + "-03-01\\",\\"name\\":[{\\"family\\":\\"" + modules.trim() + "\\",\\"given\\":[\\"Ada\\"]}]}");
        e.println("{\\"resourceType\\":\\"Encounter\\",\\"id\\":\\"e" + id + "\\",\\"status\\":\\"finished\\",\\"class\\":{\\"code\\":\\"AMB\\"},\\"subject\\":{\\"reference\\":\\"urn:uuid:" + id + "\\"},\\"period\\":{\\"start\\":\\"2020-05-0" + (n % 9 + 1) + "T10:00:00Z\\",\\"end\\":\\"2020-05-0" + (n % 9 + 1) + "T10:30:00Z\\"}}");
        o.println("{\\"resourceType\\":\\"Observation\\",\\"id\\":\\"o" + id + "\\",\\"status\\":\\"final\\",\\"subject\\":{\\"reference\\":\\"urn:uuid:" + id + "\\"},\\"encounter\\":{\\"reference\\":\\"urn:uuid:e" + id + "\\"},\\"effectiveDateTime\\":\\"2020-05-0" + (n % 9 + 1) + "T10:10:00Z\\",\\"code\\":{\\"coding\\":[{\\"system\\":\\"http://loinc.org\\",\\"code\\":\\"8867-4\\",\\"display\\":\\"Heart rate\\"}]},\\"valueQuantity\\":{\\"value\\":" + (60 + random.nextInt(30)) + ",\\"code\\":\\"/min\\"}}");
      }
    }
  }
}
"""


@pytest.fixture(scope="module")
def jar(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not all(map(shutil.which, ("java", "javac", "jar"))):
        pytest.skip("no Java development kit here")
    folder = tmp_path_factory.mktemp("jar")
    (folder / "App.java").write_text(JAR)
    subprocess.run(["javac", "App.java"], cwd=folder, check=True, capture_output=True)
    subprocess.run(["jar", "cfe", "fake.jar", "App", "App.class"], cwd=folder, check=True, capture_output=True)
    return str(folder / "fake.jar")


def test_synthea_makes_the_patients_and_scenarios_play_on_them(
    jar: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    base = ["generate", "healthcare", "--engine", "synthea", "--jar", jar, "--size", "7", "--seed", "5"]
    more = ["--scenario", "single-name", "--modules", str(tmp_path), "--module", "a*", "--workers", "1"]
    assert run_command([*base, *more, "--to", str(tmp_path / "one"), "--to", f"fhir+ndjson:{tmp_path / 'fhir'}"]) == 0
    assert "synthea: 21 resources of 7 patients" in capsys.readouterr().out
    patients = pl.read_parquet(tmp_path / "one" / "patient" / "*.parquet")
    assert patients.height == 7
    # seed, size and modules reached it
    assert patients["family_name"].value_counts(sort=True)["family_name"][0] == f"-d {tmp_path} -m a*"
    assert patients.filter(pl.col("given_name") == "FNU").height == 1
    assert validate(DOMAIN, str(tmp_path / "one")).valid
    assert (tmp_path / "fhir" / "Observation.ndjson").read_text().count("\n") == 7
    assert run_command([*base, *more, "--to", str(tmp_path / "two"), "--quiet"]) == 0
    digest = [json.loads((tmp_path / n / "manifest.json").read_text())["populace"]["tables"] for n in ("one", "two")]
    assert digest[0] == digest[1]


def test_what_synthea_says_is_passed_on(jar: str, capsys: pytest.CaptureFixture[str]):
    base = ["generate", "healthcare", "--engine", "synthea", "--jar", jar]
    assert run_command([*base, "--synthea", "fail"]) == 2
    assert "Synthea ended with 3: no such state: fail" in capsys.readouterr().err
    assert run_command([*base, "--end", "2024-02-01", "--dry-run"]) == 0
    words = json.loads(capsys.readouterr().out)["command"]
    assert words[words.index("-r") + 1] == "20240201"
