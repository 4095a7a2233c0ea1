"""Which program connects boxes to the network on this host."""

from __future__ import annotations

from engine.errors import UnsupportedError
from engine.process import find_program


def find_substitute() -> str | None:
    """The gvproxy to use where passt is missing; None where passt is there. Raises UnsupportedError where neither is."""
    if find_program("passt") is not None:
        return None
    gvproxy = find_program("gvproxy")
    if gvproxy is None:
        from engine.host.packages import find_system, install_hint, needed_programs

        passt = next(program for program in needed_programs() if program.name == "passt")
        raise UnsupportedError(
            "neither passt nor gvproxy is installed, so the box can have no network",
            hint=f"{install_hint(passt, find_system())}; or run it without a network: --network disabled",
        )
    return gvproxy
