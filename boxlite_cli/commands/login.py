"""`boxlite login`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from boxlite_cli.command import as_command
from boxlite_cli.failures import say
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.errors import InvalidArgumentError

EXAMPLES = """
  boxlite login ghcr.io
  echo "$TOKEN" | boxlite login --username me --password-stdin ghcr.io
  boxlite login -u me registry.example.com:5000
"""


def login(
    result: ResultOptions,
    settings: Settings,
    host: Annotated[str, typer.Argument(metavar="[REGISTRY]")] = "docker.io",
    username: Annotated[
        str | None, typer.Option("--username", "-u", metavar="NAME", help="User name. [default: asked for]")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(
            "--password", "-p", metavar="PASSWORD", help="Password; --password-stdin keeps it out of `ps`."
        ),
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password or token from standard input.")
    ] = False,
) -> int:
    """Log in to a registry: the password is shown to it and, when it takes it, kept for later pulls.

    It is kept in auth.json in the home directory, which only you can read. Without REGISTRY: Docker Hub.
    """
    if password is not None and password_stdin:
        raise InvalidArgumentError("--password cannot be combined with --password-stdin")
    if password_stdin and not username:
        raise InvalidArgumentError("--password-stdin needs --username")
    if password is not None:
        say("Warning: others on this machine can see --password; --password-stdin hides it")
    name = username or _asked("Username", host)
    secret = _read_password() if password_stdin else password or _asked("Password", host, hidden=True)
    if not secret:
        raise InvalidArgumentError("the password is empty")
    return run_async(_login(settings, host, name, secret, result.open()))


async def _login(settings: Settings, registry: str, username: str, password: str, results: Results) -> int:
    async with settings.open_runtime() as runtime:
        await runtime.images.log_in(registry, username, password)
    if results.is_text:
        say(f"logged in to {registry} as {username}")
    results.print_one([], {"Registry": registry, "Username": username})
    return 0


def _asked(what: str, registry: str, *, hidden: bool = False) -> str:
    if not sys.stdin.isatty():
        raise InvalidArgumentError(
            f"no {what.lower()} for {registry} given, and there is nobody to ask",
            hint="use --username and --password-stdin",
        )
    return str(typer.prompt(f"{what} for {registry}", hide_input=hidden, err=True))


def _read_password() -> str:
    """All of standard input, without one line end."""
    text = sys.stdin.read()
    return text.removesuffix("\n").removesuffix("\r")


COMMAND = as_command(login, "login", examples=EXAMPLES)
