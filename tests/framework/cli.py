"""The installed `boxlite`, run as people run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = Path(sys.executable).with_name("boxlite")


@dataclass(frozen=True, slots=True)
class Boxlite:
    """Calls the command on one home. A call returns what `subprocess.run` does, with text output unless `binary`."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def __call__(
        self,
        *words: str,
        stdin: bytes | None = None,
        timeout_s: float = 120.0,
        check: bool = False,
        **env: str,
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            self.argv(*words),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=self.environment(**env),
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"boxlite {' '.join(words)}: {done.returncode}\n{done.stderr.decode()}")
        return done

    def out(self, *words: str, **options: object) -> str:
        """Standard output of a call that must succeed, without the last line end."""
        return self(*words, check=True, **options).stdout.decode().rstrip("\n")  # type: ignore[arg-type]

    def argv(self, *words: str) -> list[str]:
        return [str(COMMAND), *words]

    def environment(self, **env: str) -> dict[str, str]:
        names = ("PATH", "HOME", "LANG", "TERM", "PYTHONPATH")
        keep = {name: os.environ[name] for name in names if name in os.environ}
        return {**keep, **self.env, **env, "BOXLITE_HOME": str(self.home)}

    def popen(self, *words: str, **options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.argv(*words), env=self.environment(), **options)  # type: ignore[call-overload, no-any-return]

    def remove_all(self) -> None:
        """Leave no box running whatever the test did."""
        names = self("ls", "-aq").stdout.decode().split()
        if names:
            self("rm", "-f", *names)


def shared_home() -> Path:
    """The user's own home, whose guest image and templates tests share; nothing else of it is touched."""
    return Path(os.environ.get("BOXLITE_HOME") or Path.home() / ".boxlite")


def make_home(home: Path) -> Path:
    """A home of its own that shares what is costly to build."""
    home.mkdir(mode=0o700, parents=True)
    for name in ("guest", "templates"):
        (shared_home() / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / name).symlink_to(shared_home() / name)
    return home


def keep_evidence(home: Path, target: Path) -> None:
    """Consoles, QEMU's logs and records of every box, for a test that failed."""
    for log in home.glob("boxes/*/logs/*"):
        place = target / log.relative_to(home)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, place)
