"""Write the generated files, or with `--check` name those that are not as they should be (status 1)."""

from __future__ import annotations

import sys
from pathlib import Path

from boxlite_cli.pages.files import generated_files

ROOT = Path(__file__).resolve().parents[2]
GENERATED_ONLY = ("completions", "man", "docs/reference")
"""Directories that hold nothing else: what is not generated any more is deleted there."""


def main() -> int:
    files = generated_files()
    found = {
        path.relative_to(ROOT).as_posix()
        for name in GENERATED_ONLY
        for path in (ROOT / name).rglob("*")
        if path.is_file()
    }
    stale = [name for name, text in files.items() if _text_of(ROOT / name) != text]
    surplus = sorted(found - files.keys())
    if "--check" in sys.argv[1:]:
        for name in (*stale, *surplus):
            print(f"{name} is not what scripts/generate makes")
        return 1 if stale or surplus else 0
    for name in stale:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(files[name])
        print(name)
    for name in surplus:
        (ROOT / name).unlink()
        print(f"{name} is gone")
    return 0


def _text_of(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
