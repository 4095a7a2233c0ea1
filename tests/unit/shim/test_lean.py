"""What a shim does without."""

import subprocess
import sys

import pytest

LOADED = "import engine.shim.headstart, engine.shim.supervisor, qemu.qmp, sys; print('_ssl' in sys.modules)"
LEAN = "from engine.lean import do_without_tls; do_without_tls(); "


@pytest.mark.parametrize(("code", "has_tls"), [(LOADED, "True"), (LEAN + LOADED, "False")])
def test_everything_a_shim_loads_comes_without_openssl_when_asked_to(code: str, has_tls: str) -> None:
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True)
    assert done.stdout == f"{has_tls}\n"


def test_who_wants_tls_all_the_same_is_told() -> None:
    code = LEAN + "from ssl import create_default_context"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=False)
    assert "ImportError" in done.stderr
