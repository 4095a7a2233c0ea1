"""Where the values of a box's secrets come from, each time it starts.

A value is on record nowhere. What was typed, piped or handed over by a program is known to that process alone, and to the
shim it started; everything else is fetched anew: from a variable, a file, a command.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from pathlib import Path

from engine import host
from engine.errors import BoxliteError, InvalidArgumentError, InvalidStateError
from engine.host.environment import environment
from engine.model import MAX_SECRET_LENGTH, BoxRecord, Secret, SecretSource, SecretSpec
from engine.net.secrets import SecretsGrant
from engine.process import Command, run
from engine.runtime.context import Context

COMMAND_TIMEOUT_S = 60.0
_READ_BYTES = MAX_SECRET_LENGTH + 16


async def get_secrets_grant(context: Context, record: BoxRecord) -> SecretsGrant:
    """The secrets of a box with their values, and an authority for their hosts. Raises InvalidStateError where a value
    cannot be had any more, InvalidArgumentError where it is none."""
    from engine.net.interception.authority import generate_authority

    given = context.secret_values.get(record.id, {})
    secrets = tuple([await _fetch(spec, given) for spec in record.spec.secrets])
    hosts = [name for spec in record.spec.secrets for name, _ in spec.targets]
    return SecretsGrant(
        secrets=secrets,
        authority=generate_authority(record.id, hosts),
        ca_file=host.read_settings().ca_file,
    )


async def check_values(specs: tuple[SecretSpec, ...], given: Mapping[str, str]) -> None:
    """Refuse at create what a start would refuse. A command is not run for that. Raises what `get_secrets_grant` does."""
    for spec in specs:
        if spec.source is not SecretSource.COMMAND:
            await _fetch(spec, given)


async def _fetch(spec: SecretSpec, given: Mapping[str, str]) -> Secret:
    match spec.source:
        case SecretSource.GIVEN:
            value = given.get(spec.name) or environment().get(spec.name)
            if not value:
                raise InvalidStateError(
                    f"the value of secret {spec.name} was given to an earlier command, and is kept nowhere",
                    hint=f"set the variable {spec.name} here; or have it fetched at each start, "
                    f"with env=, file= or command= in --secret",
                )
        case SecretSource.ENV:
            value = environment().get(spec.origin, "")
            if not value:
                raise InvalidStateError(
                    f"the variable {spec.origin}, which has the value of secret {spec.name}, is not set here",
                    hint=f"set {spec.origin}, or give the value otherwise: --secret {spec.name},file=PATH,host=…",
                )
        case SecretSource.FILE:
            value = await asyncio.to_thread(_read, spec)
        case SecretSource.COMMAND:
            value = await _ask(spec)
    return Secret(spec=spec, value=value)


def _read(spec: SecretSpec) -> str:
    try:
        with Path(spec.origin).open("rb") as file:
            return _text(spec, file.read(_READ_BYTES))
    except OSError as error:
        raise InvalidStateError(
            f"the file {spec.origin}, which has the value of secret {spec.name}, cannot be read: {error.strerror}"
        ) from error


async def _ask(spec: SecretSpec) -> str:
    """A password manager may need all of the person's environment."""
    try:
        command = Command(argv=tuple(shlex.split(spec.origin)), env=dict(environment()))
        return _text(spec, (await run(command, timeout_s=COMMAND_TIMEOUT_S)).stdout)
    except BoxliteError as error:
        raise InvalidStateError(
            f"the command that prints the value of secret {spec.name} failed: {error.message}",
            hint=error.hint,
        ) from error


def _text(spec: SecretSpec, content: bytes) -> str:
    """Without the line's end that files and commands have."""
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"the value of secret {spec.name} is not UTF-8 text") from None
