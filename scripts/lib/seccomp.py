"""Write the programs of the container's usual filter, one for each processor machines can have."""

from __future__ import annotations

from engine.fsutil import write_atomic
from engine.model import DOCKER_CAPABILITIES
from engine.seccomp.container import ARCHES, committed_path
from engine.seccomp.docker import default_profile
from engine.seccomp.program import compile_profile


def main() -> None:
    for arch in ARCHES:
        path = committed_path(arch)
        write_atomic(
            path, compile_profile(default_profile(DOCKER_CAPABILITIES), arch, compat=True), mode=0o644
        )
        print(path)


if __name__ == "__main__":
    main()
