"""Nothing heavy is imported before it is used, so that the first word comes at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "pandas",
    "polars",
    "numpy",
    "scipy",
    "sklearn",
    "pyarrow",
    "fhir",
    "simpy",
    "duckdb",
    "faker",
    "matplotlib",
    "adbc_driver_manager",
)
STARTS = {
    "import": "import populace",
    "help": "from populace.app.cli import cli; cli(['--help'], standalone_mode=False)",
    "generate --help": "from populace.app.cli import cli; cli(['generate', '--help'], standalone_mode=False)",
}


@pytest.mark.parametrize("start", STARTS)
def test_no_heavy_module_is_imported(start: str):
    code = f"{STARTS[start]}\nimport sys\nprint('loaded:', *sorted({set(HEAVY)!r} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "loaded:"
