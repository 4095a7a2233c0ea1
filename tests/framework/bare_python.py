"""A layer with a Python interpreter and hardly more, which runs in an image that has nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.framework import tree_lister
from tests.framework.image_builder import Entry, file, folder

PLACE = ".python"
"""The one directory all of it is in."""
LISTER = f"/{PLACE}/lister.py"
_MODULES = ("encodings/__init__.py", "encodings/aliases.py", "encodings/ascii.py", "encodings/latin_1.py", "encodings/utf_8.py")  # fmt: skip
_QUESTIONS = """
import sys, sysconfig, glob
print(sysconfig.get_path("stdlib"))
print(*sys.version_info[:2], sep=".")
for name in ("_sha256", "_sha2"):
    print(*glob.glob(sysconfig.get_path("stdlib") + f"/lib-dynload/{name}.*.so"))
"""


def interpreter() -> str:
    """The system's Python, which is small, or the one that runs the tests."""
    system = Path("/usr/bin/python3")
    return str(system) if system.exists() else str(Path(getattr(sys, "_base_executable", sys.executable)))


def layer() -> list[Entry]:
    """The interpreter, the libraries it is linked with, and the lister of trees."""
    python = interpreter()
    answers = _output(python, "-I", "-c", _QUESTIONS).splitlines()
    stdlib, version, modules = Path(answers[0]), answers[1], " ".join(answers[2:]).split()
    linked = _output("ldd", python)
    libraries = re.findall(r"=> (/\S+)", linked)
    loader = re.search(r"^\s*(/\S+)", linked, re.MULTILINE)
    assert loader, f"{python} has no loader: {linked}"
    lib = f"{PLACE}/lib"
    return [
        folder(PLACE),
        file(f"{PLACE}/loader", Path(loader[1]).read_bytes(), mode=0o755),
        file(f"{PLACE}/python", Path(python).resolve().read_bytes(), mode=0o755),
        *(file(f"{lib}/{Path(library).name}", Path(library).read_bytes()) for library in libraries),
        *(file(f"{lib}/python{version}/{module}", (stdlib / module).read_bytes()) for module in _MODULES),
        *(file(f"{lib}/python{version}/lib-dynload/{Path(module).name}", Path(module).read_bytes()) for module in modules),
        file(LISTER.removeprefix("/"), Path(tree_lister.__file__).read_bytes()),
    ]  # fmt: skip


def command(*arguments: str) -> list[str]:
    """The command line in the box; its environment needs ENVIRONMENT."""
    return [f"/{PLACE}/loader", "--library-path", f"/{PLACE}/lib", f"/{PLACE}/python", "-SBsP", *arguments]


ENVIRONMENT = [f"PYTHONHOME=/{PLACE}", "PYTHONUTF8=1"]


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout
