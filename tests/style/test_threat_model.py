"""Every promise of the threat model names a test that exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "engine" / "jailer" / "THREAT_MODEL.md"


def test_every_promise_names_tests_that_exist() -> None:
    promised = MODEL.read_text().partition("## Promised")[2].partition("\n## ")[0]
    rows = [line for line in promised.splitlines() if line.startswith("| ") and "| test |" not in line]
    assert len(rows) >= 15
    without = [row for row in rows if not re.search(r"`test_\w+`", row)]
    assert without == []
    assert set(re.findall(r"`(test_\w+)`", promised)) - set(every_test()) == set()


def every_test() -> list[str]:
    return [
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
