"""What the options of `run` and `create` amount to: one BoxSpec.

Options that the engine cannot honour yet still become part of the spec: it is the engine that refuses them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from boxlite_cli import parsers, volumes
from boxlite_cli.exec_options import process_environment, seconds
from boxlite_cli.failures import warn
from boxlite_cli.option_groups import (
    HEALTH_DEFAULTS,
    BoxOptions,
    FileOptions,
    HealthOptions,
    ImageOptions,
    NetworkOptions,
)
from boxlite_cli.process_options import StreamOptions
from boxlite_cli.security_opts import parse_security_opts
from engine.errors import InvalidArgumentError
from engine.model import (
    DEFAULT_CPUS,
    DEFAULT_MEMORY_MIB,
    DEFAULT_STOP_TIMEOUT_S,
    BoxSpec,
    HealthCheck,
    NetworkMode,
    NetworkSpec,
    PortSpec,
    RestartKind,
    RestartPolicy,
    SecretSpec,
    SecurityOptions,
    VolumeSpec,
)

T = TypeVar("T")


def build_box_spec(
    options: BoxOptions,
    words: Sequence[str],
    *,
    terminal: StreamOptions,
    auto_remove: bool = False,
    detach: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> BoxSpec:
    """What the options and the words after them (IMAGE COMMAND…) ask for.

    Prints warnings for what is taken otherwise than it was written; raises InvalidArgumentError for what is wrong.
    """
    image, command = _split_words(options.image, words)
    life = options.life
    restrictions = parse_security_opts(options.privileges.security_opt)
    cpus, cpu_warning = parsers.parse_cpus(options.resources.cpus or str(DEFAULT_CPUS))
    memory = options.resources.memory
    spec = BoxSpec(
        image=image,
        rootfs=_rootfs(options.image.rootfs),
        entrypoint=_entrypoint(options.image.entrypoint),
        cmd=command if command or options.image.entrypoint is not None else None,
        env=process_environment(options.environment, environment, tty=terminal.tty),
        working_dir=options.environment.workdir,
        user=terminal.user,
        hostname=options.network.hostname,
        tty=terminal.tty,
        stdin_open=terminal.interactive,
        cpus=cpus,
        memory_mib=parsers.parse_memory_mib(memory) if memory else DEFAULT_MEMORY_MIB,
        disk_size_gb=_optional(parsers.parse_disk_size_gb, options.resources.disk_size),
        network=_network(options.network),
        ports=_ports(options.network),
        secrets=_secrets(options.network.secret),
        publish_all=options.network.publish_all,
        volumes=_volumes(options.files),
        labels=parsers.parse_labels(options.identity.label, options.identity.label_file),
        auto_remove=auto_remove,
        detach=detach,
        security=SecurityOptions.from_preset(
            options.privileges.security or environment.get("BOXLITE_SECURITY") or "enabled"
        ),
        cap_add=tuple(options.privileges.cap_add),
        cap_drop=tuple(options.privileges.cap_drop),
        privileged=options.privileges.privileged,
        seccomp=restrictions.seccomp,
        no_new_privileges=restrictions.no_new_privileges,
        read_only=options.files.read_only,
        pids_limit=_pids_limit(options.resources.pids_limit),
        shm_size_bytes=_optional(parsers.parse_size, options.resources.shm_size),
        ulimits=tuple(parsers.parse_ulimit(word) for word in options.resources.ulimit),
        init=life.init,
        stop_signal=_checked_signal(life.stop_signal),
        stop_timeout_s=seconds(life.stop_timeout, DEFAULT_STOP_TIMEOUT_S),
        timeout_s=seconds(life.timeout, 0.0),
        auto_stop_s=seconds(life.auto_stop, 0.0),
        auto_delete_s=seconds(life.auto_delete, 0.0),
        auto_resume=not life.no_auto_resume,
        restart=parsers.parse_restart(life.restart) if life.restart else RestartPolicy(),
        health=_health(options.health),
        platform=options.image.platform,
        cold_boot=life.cold_boot,
    )
    _check_removal(spec)
    if cpu_warning:
        warn(cpu_warning)
    return spec


def secret_values(words: Sequence[str], *, stdin_is_taken: bool) -> Mapping[str, str]:
    """What `--secret` says or pipes in, which is not part of a spec."""
    if not words:
        return {}
    from boxlite_cli.secrets import given_values

    return given_values(words, stdin_is_taken=stdin_is_taken)


def _split_words(options: ImageOptions, words: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """Image and command. `--` in front of the command is allowed, as in exec."""
    if options.rootfs is None and not words:
        raise InvalidArgumentError(
            "no image given", hint="name one, like alpine:3.20, or a root file system with --rootfs"
        )
    image, command = (words[0], words[1:]) if options.rootfs is None else (None, words)
    if image == "":
        raise InvalidArgumentError("the image's name is empty")
    return image, tuple(command)


def _rootfs(path: str | None) -> str | None:
    if path is None:
        return None
    found = Path(path).expanduser().absolute()
    if not found.is_dir() and not found.is_file():
        raise InvalidArgumentError(f"rootfs {path} is neither a directory nor a tar archive")
    return str(found)


def _entrypoint(word: str | None) -> tuple[str, ...] | None:
    """One program without arguments, as Docker takes it; the empty word takes the image's away."""
    if word is None:
        return None
    return (word,) if word else ()


def _optional(parse: Callable[[str], T], word: str | None) -> T | None:
    return None if word is None else parse(word)


def _pids_limit(word: str | None) -> int | None:
    number = _optional(lambda text: parsers.parse_integer(text, what="pids limit", minimum=-1), word)
    return number if number and number > 0 else None


def _checked_signal(word: str | None) -> str | None:
    if word is not None:
        parsers.parse_signal(word)
    return word


def _network(options: NetworkOptions) -> NetworkSpec:
    words = {"none": "disabled", "bridge": "enabled", "default": "enabled"}
    word = options.network.lower()
    if word == "host":
        raise InvalidArgumentError(
            "a box cannot share the host's network: it is a machine of its own",
            hint="publish ports with -p; the host is host.boxlite.internal",
        )
    enabled = parsers.parse_on_off(words.get(word, word), what="network")
    return NetworkSpec(
        mode=NetworkMode.ENABLED if enabled else NetworkMode.DISABLED,
        allow_net=parsers.parse_network_rules(options.allow_net),
        deny_net=parsers.parse_network_rules(options.deny_net),
        host_access=parsers.parse_on_off(options.host_access, what="host access"),
        dns=tuple(parsers.parse_address(word, what="name server") for word in options.dns),
        dns_search=tuple(options.dns_search),
        add_host=tuple(parsers.parse_host_entry(word) for word in options.add_host),
        tx_kbps=_optional(lambda text: parsers.parse_integer(text, what="net-tx-kbps"), options.net_tx_kbps)
        or 0,
        rx_kbps=_optional(lambda text: parsers.parse_integer(text, what="net-rx-kbps"), options.net_rx_kbps)
        or 0,
    )


def _secrets(words: Sequence[str]) -> tuple[SecretSpec, ...]:
    if not words:
        return ()
    from boxlite_cli.secrets import parse_secret

    return tuple(parse_secret(word).spec for word in words)


def _ports(options: NetworkOptions) -> tuple[PortSpec, ...]:
    """Those published, and with -P those that are to count as exposed."""
    published = [port for word in options.publish for port in parsers.parse_ports(word)]
    exposed = [port for word in options.expose for port in parsers.parse_ports(word)]
    for port in exposed:
        if port.host_port:
            raise InvalidArgumentError(
                f"exposed port {port.box_port} has a port of the host", hint="use -p to publish it there"
            )
    taken = {(port.box_port, port.protocol) for port in published}
    more = [port for port in exposed if (port.box_port, port.protocol) not in taken]
    return (*published, *(more if options.publish_all else ()))


def _volumes(options: FileOptions) -> tuple[VolumeSpec, ...]:
    specs = (
        *(volumes.parse_volume(word) for word in options.volume),
        *(volumes.parse_mount(word) for word in options.mount),
        *(volumes.parse_tmpfs(word) for word in options.tmpfs),
    )
    seen = set()
    for spec in specs:
        target = spec.target.rstrip("/") or "/"
        if target in seen:
            raise InvalidArgumentError(f"two volumes have the path {target} in the box")
        seen.add(target)
    return specs


def _health(options: HealthOptions) -> HealthCheck | None:
    if options.health_cmd is None:
        if any(
            (
                options.health_interval,
                options.health_timeout,
                options.health_retries,
                options.health_start_period,
            )
        ):
            raise InvalidArgumentError("health options need --health-cmd")
        return None
    if options.no_healthcheck:
        raise InvalidArgumentError("--no-healthcheck cannot be combined with --health-cmd")
    retries = options.health_retries
    return HealthCheck(
        command=("/bin/sh", "-c", options.health_cmd),
        interval_s=seconds(options.health_interval, HEALTH_DEFAULTS.interval_s),
        timeout_s=seconds(options.health_timeout, HEALTH_DEFAULTS.timeout_s),
        retries=parsers.parse_integer(retries, what="health retries", minimum=1)
        if retries is not None
        else HEALTH_DEFAULTS.retries,
        start_period_s=seconds(options.health_start_period, HEALTH_DEFAULTS.start_period_s),
    )


def _check_removal(spec: BoxSpec) -> None:
    """A box that goes as soon as it stops has no use for what would happen to it later."""
    if not spec.auto_remove:
        return
    if spec.restart.kind is not RestartKind.NO:
        raise InvalidArgumentError("--rm cannot be combined with --restart")
    if spec.auto_stop_s or spec.auto_delete_s:
        raise InvalidArgumentError("--rm cannot be combined with --auto-stop or --auto-delete")
