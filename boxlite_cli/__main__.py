"""`boxlite` and `python -m boxlite_cli`.

`--version` is answered here, before anything else is imported.
"""

from __future__ import annotations

import sys


def main() -> None:
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        from engine.version import __version__

        sys.stdout.write(f"boxlite {__version__}\n")
        return
    from boxlite_cli.app import run

    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
