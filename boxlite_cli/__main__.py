"""`boxlite` and `python -m boxlite_cli`.

`--version`, `--help` and what a shell asks to complete a word are answered here, before anything else is imported.
"""

from __future__ import annotations

import gc
import os
import sys

COLLECT_AFTER = 200_000
"""New objects between two collections of cyclic garbage: few commands make so many. Looking for it among all that was
imported takes ten milliseconds of a start, and a fifth of the time of a long list."""

FRONT_PAGE_COLUMNS = 80
"""The width that `front_page.txt` was made for."""


def open_standard_streams() -> None:
    """Point standard streams that the caller closed at nothing, or the next file we open would take their place."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def main() -> None:
    open_standard_streams()
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        sys.exit(print_version())
    if arguments in ([], ["--help"], ["-h"], ["help"]) and print_front_page():
        sys.exit(0)
    if arguments[:1] == ["__complete"]:
        from boxlite_cli.candidates import print_candidates

        sys.exit(print_candidates(arguments[1:]))
    import signal

    from boxlite_cli.beside import await_order, carry_out
    from boxlite_cli.early import begin

    gc.set_threshold(COLLECT_AFTER)
    begin(arguments)
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:  # it may be ignored
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # while nothing was done there is nothing to tell: just end
    ordered = await_order(arguments)
    if ordered is None:
        from boxlite_cli.app import run
    signal.signal(signal.SIGINT, interrupt)
    if ordered is None:
        status = run(arguments)
    else:
        status = ordered if isinstance(ordered, int) else carry_out(ordered)
    # What is left is memory: taking the interpreter and its libraries apart would cost a tenth of the time of `exec`.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def print_front_page() -> bool:
    """Print the help that is ready; False where it does not fit and has to be made."""
    try:
        columns = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(1).columns
    except (OSError, ValueError):
        columns = FRONT_PAGE_COLUMNS
    if columns < FRONT_PAGE_COLUMNS:
        return False
    try:
        with open(f"{os.path.dirname(__file__)}/front_page.txt", encoding="utf-8") as page:  # noqa: PTH120
            sys.stdout.write(page.read())
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    except OSError:
        return False
    return True


def print_version() -> int:
    from engine.version import __version__

    try:
        print(f"boxlite {__version__}", flush=True)
    except OSError:
        return 1
    return 0


if __name__ == "__main__":
    main()
