"""`boxlite` and `python -m boxlite_cli`."""


def main() -> None:
    raise SystemExit("not wired yet")
