"""State charts: every state and every transition is there, and the same module gives the same picture."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from populace.app.cli import run_command
from populace.domains.healthcare.modules.document import Document
from populace.domains.healthcare.modules.draw import draw
from populace.domains.healthcare.modules.parse import parse
from populace.domains.healthcare.modules.values import Module

MODULE = {
    "name": "Colds & <coughs>",
    "states": {
        "Initial": {"type": "Initial", "direct_transition": "Wait"},
        "Wait": {
            "type": "Delay",
            "exact": {"quantity": 1, "unit": "months"},
            "distributed_transition": [
                {"distribution": 0.02, "transition": "Cold"},
                {"distribution": 0.98, "transition": "Wait"},
            ],
        },
        "Cold": {
            "type": "Symptom",
            "symptom": "Cough",
            "exact": {"quantity": 40},
            "conditional_transition": [
                {
                    "condition": {"condition_type": "Age", "operator": ">", "quantity": 80, "unit": "years"},
                    "transition": "End",
                },
                {"transition": "Wait"},
            ],
        },
        "End": {"type": "Terminal"},
    },
}


def module() -> Module:
    doc = Document("cold.json", json.dumps(MODULE))
    assert doc.read()
    made = parse("cold", doc)
    assert made is not None
    assert not doc.problems
    return made


def test_every_state_and_transition_is_drawn_inside_the_picture() -> None:
    text = draw(module())
    root = ElementTree.fromstring(text)
    space = {"s": "http://www.w3.org/2000/svg"}
    width, height = (float(root.attrib[k]) for k in ("width", "height"))
    boxes = root.findall("s:rect", space)
    assert len(boxes) == 4
    assert len([p for p in root.findall("s:path", space) if "marker-end" in p.attrib]) == 5
    for box in boxes:
        x, y, w, h = (float(box.attrib[k]) for k in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
    texts = [t.text for t in root.findall("s:text", space)]
    assert {"Initial", "Wait", "Cold", "End", "2 %", "Delay: 1 months", "Age > 80", "otherwise"} <= set(texts)
    assert draw(module()) == text


def test_the_command_line_checks_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cold.json").write_text(json.dumps(MODULE, indent=1))
    assert run_command(["modules", "check", str(tmp_path)]) == 0
    assert "1 modules, 0 submodules, 0 lookup tables, 4 states, 0 problems" in capsys.readouterr().out
    target = tmp_path / "cold.svg"
    assert run_command(["modules", "draw", "cold", "--modules", str(tmp_path), "--to", str(target)]) == 0
    assert target.read_text() == draw(module())
    assert run_command(["modules", "draw", "cold", "--modules", str(tmp_path), "--to", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err
    broken = {**MODULE, "states": {**MODULE["states"], "End": {"type": "Terminus"}}}
    (tmp_path / "cold.json").write_text(json.dumps(broken, indent=1))
    assert run_command(["modules", "check", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "cold.json:" in said
    assert "state 'End': unknown type of state 'Terminus'. Did you mean 'Terminal'?" in said
