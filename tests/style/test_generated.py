"""What is generated from the command line is what the command line is."""

from __future__ import annotations

from pathlib import Path

from boxlite_cli.pages.files import generated_files

ROOT = Path(__file__).resolve().parents[2]


def test_generated_files_generating_them_again_changes_nothing() -> None:
    files = generated_files()
    stale = [
        name
        for name, text in files.items()
        if not (ROOT / name).exists() or (ROOT / name).read_text() != text
    ]
    surplus = [
        str(path)
        for directory in ("completions", "man", "docs/reference")
        for path in (ROOT / directory).rglob("*")
        if path.is_file() and path.relative_to(ROOT).as_posix() not in files
    ]
    assert not stale and not surplus, "run scripts/generate"
