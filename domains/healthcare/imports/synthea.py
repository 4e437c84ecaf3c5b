"""Synthea as the engine: a jar that the user has is run with our seed, size and modules, and what it wrote is imported."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ....core.domain import Domain
from ....core.errors import UserError
from ....core.imports import Imported, write_imported
from .imported import read_records

OPTIONS = (
    "--exporter.fhir.export=true",
    "--exporter.fhir.bulk_data=true",
    "--exporter.hospital.fhir.export=true",
    "--exporter.practitioner.fhir.export=true",
    "--exporter.years_of_history=0",
    "--generate.thread_pool_size=1",
)
"""Synthea's settings: bulk FHIR R4 of whole lives, with those who cared for them; one thread, so that a seed is worth most."""


def command(
    jar: str,
    output: Path,
    size: int,
    seed: int,
    end: str | None = None,
    modules: str | None = None,
    only: Sequence[str] = (),
    further: Sequence[str] = (),
) -> list[str]:
    """The command line: `size` living patients, modules of a folder beside Synthea's own, `only` those of these names, all up to a day."""
    words = ["java", "-jar", jar, "-p", str(size), "-s", str(seed), "-cs", str(seed)]
    if end:
        day = dt.date.fromisoformat(end).strftime("%Y%m%d")
        words += ["-r", day, "-e", day]
    if modules:
        words += ["-d", modules]
    if only:
        words += ["-m", ":".join(only)]
    return [*words, f"--exporter.baseDirectory={output}/", *OPTIONS, *further]


def run_synthea(domain: Domain, words: Sequence[str], output: Path, into: Path) -> Imported:
    """Run a command line of `command`, import what stands in `output/fhir` and write it to `into` as a dataset. Raises UserError where there is
    no Java, no jar, or nothing that came of it; the message has the last that Synthea said."""
    jar = words[words.index("-jar") + 1]
    if not Path(jar).is_file():
        raise UserError(f"--jar {jar}: there is no such file")
    try:
        done = subprocess.run(list(words), capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise UserError("--engine synthea needs Java: there is no `java` on the path") from None
    said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    if done.returncode:
        raise UserError(f"--jar {jar}: Synthea ended with {done.returncode}: {said[-1] if said else 'it said nothing'}")
    if not (output / "fhir").is_dir():
        raise UserError(
            f"--jar {jar}: wrote no FHIR to {output / 'fhir'}: is it Synthea? It said: {said[-1] if said else 'nothing'}"
        )
    found = read_records(domain, str(output / "fhir"))
    write_imported(found, [str(into)])
    return found
