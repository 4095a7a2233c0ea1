"""From the options of the public interface to the values of the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from boxlite.options import (
    AdvancedBoxOptions,
    BoxOptions,
    HealthCheckOptions,
    ImageRegistry,
    NetworkSpec,
    Options,
    OutboundNetworkSpec,
    Port,
    PortMapping,
    Secret,
    Volume,
    VolumeMount,
)
from boxlite.security import SecurityOptions
from engine import host, model
from engine.errors import InvalidArgumentError


def runtime_config(options: Options) -> model.RuntimeConfig:
    """Raises ConfigError, InvalidArgumentError."""
    settings = host.read_settings()
    return model.RuntimeConfig(
        home_dir=str(Path(options.home_dir).expanduser()) if options.home_dir else None,
        image_registries=tuple(_registry(registry) for registry in options.image_registries),
        accel=settings.accel,
        max_layer_decompressed_bytes=settings.max_layer_decompressed_bytes,
    )


def _registry(registry: ImageRegistry) -> model.RegistryConfig:
    if not registry.host or "://" in registry.host:
        raise InvalidArgumentError(f"registry host {registry.host!r} is not a host without a scheme")
    if (registry.username is None) != (registry.password is None):
        raise InvalidArgumentError(f"registry {registry.host}: give username and password together")
    return model.RegistryConfig(
        host=registry.host,
        transport=registry.transport,
        skip_verify=registry.skip_verify,
        search=registry.search,
        username=registry.username,
        password=registry.password,
        bearer_token=registry.bearer_token,
    )


def box_spec(options: BoxOptions) -> model.BoxSpec:
    """Raises InvalidArgumentError that names what is wrong."""
    advanced = options.advanced or AdvancedBoxOptions()
    if options.security is not None and advanced.security is not None:
        raise InvalidArgumentError("security is given twice: as security and in advanced")
    security = options.security or advanced.security or SecurityOptions()
    capabilities = advanced.capabilities
    resumable = options.cmd is None and options.entrypoint is None
    ports = tuple(port_spec(item) for item in options.ports)
    return model.BoxSpec(
        image=options.source_image,
        rootfs=None
        if options.rootfs_path is None
        else str(Path(options.rootfs_path).expanduser().absolute()),
        entrypoint=words(options.entrypoint, "entrypoint"),
        cmd=words(options.cmd, "cmd"),
        env=env_pairs(options.env),
        working_dir=options.working_dir,
        user=options.user,
        hostname=options.hostname,
        tty=options.tty,
        cpus=options.cpus,
        memory_mib=options.memory_mib,
        disk_size_gb=options.disk_size_gb,
        network=_network(options.network, security, has_ports=bool(ports)),
        ports=ports,
        secrets=tuple(_secret(secret).spec for secret in options.secrets),
        volumes=tuple(volume_spec(item) for item in options.volumes),
        labels=dict(options.labels),
        auto_remove=options.auto_remove,
        detach=options.detach,
        security=security.to_model(),
        cap_add=() if capabilities is None else tuple(capabilities.add),
        cap_drop=() if capabilities is None else tuple(capabilities.drop),
        read_only=options.read_only,
        init=resumable if options.init is None else options.init,
        stop_timeout_s=options.stop_timeout,
        timeout_s=options.timeout,
        auto_stop_s=options.auto_stop,
        auto_delete_s=options.auto_delete,
        auto_resume=options.auto_resume,
        health=None if advanced.health_check is None else _health(advanced.health_check),
        platform=options.platform,
    )


def words(command: Iterable[str] | None, name: str) -> tuple[str, ...] | None:
    """A command line as a tuple; one string is refused, for it would be taken letter by letter."""
    if isinstance(command, str):
        raise InvalidArgumentError(f"{name} is a list of words, not {command!r}")
    return None if command is None else tuple(command)


def env_pairs(env: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = env.items() if isinstance(env, Mapping) else env
    return tuple((str(name), str(value)) for name, value in pairs)


def _network(network: NetworkSpec | None, security: SecurityOptions, *, has_ports: bool) -> model.NetworkSpec:
    """Security that forbids the network wins over silence, and is at odds with a network that was asked for."""
    asked_for = network or NetworkSpec()
    outbound = _outbound(asked_for)
    mode = _mode(outbound.mode)
    if not security.network_enabled:
        if has_ports or (network is not None and mode is not model.NetworkMode.DISABLED):
            asked = "ports" if has_ports else "a network"
            raise InvalidArgumentError(f"security.network_enabled is False, but the box is to have {asked}")
        return model.NetworkSpec(mode=model.NetworkMode.DISABLED)
    inbound = asked_for.inbound
    if has_ports and inbound is not None and _mode(inbound.mode) is model.NetworkMode.DISABLED:
        raise InvalidArgumentError("the inbound network is disabled, but the box is to have ports")
    return model.NetworkSpec(
        mode=mode,
        allow_net=words(outbound.allow_net, "allow_net") or (),
        deny_net=words(outbound.deny_net, "deny_net") or (),
        host_access=asked_for.host_access,
        dns=words(asked_for.dns, "dns") or (),
        dns_search=words(asked_for.dns_search, "dns_search") or (),
        add_host=tuple((name, address) for name, address in asked_for.add_host),
        tx_kbps=asked_for.tx_kbps,
        rx_kbps=asked_for.rx_kbps,
    )


def _outbound(network: NetworkSpec) -> OutboundNetworkSpec:
    flat = OutboundNetworkSpec(
        mode=network.mode or "enabled", allow_net=network.allow_net, deny_net=network.deny_net
    )
    if network.outbound is None:
        return flat
    if network.mode is not None or network.allow_net or network.deny_net:
        raise InvalidArgumentError("network: give mode, allow_net and deny_net, or outbound, not both")
    return network.outbound


def _mode(mode: str) -> model.NetworkMode:
    try:
        return model.NetworkMode(mode)
    except ValueError:
        raise InvalidArgumentError(f"network mode is enabled or disabled, not {mode!r}") from None


def secret_values(options: BoxOptions) -> dict[str, str]:
    """By name. Raises InvalidArgumentError for one that no header can carry."""
    return {secret.name: _secret(secret).value for secret in options.secrets}


def _secret(secret: Secret) -> model.Secret:
    if isinstance(secret.hosts, str):
        raise InvalidArgumentError(f"secret {secret.name}: hosts is a list of names, not one string")
    spec = model.SecretSpec(name=secret.name, hosts=tuple(secret.hosts), placeholder=secret.placeholder or "")
    return model.Secret(spec=spec, value=secret.value)


def _health(options: HealthCheckOptions) -> model.HealthCheck:
    return model.HealthCheck(
        command=words(options.command, "health check command") or (),
        interval_s=options.interval,
        timeout_s=options.timeout,
        retries=options.retries,
        start_period_s=options.start_period,
    )


def volume_spec(item: Volume) -> model.VolumeSpec:
    """Raises InvalidArgumentError for a host path that does not exist."""
    mount = _volume_mount(item)
    if (mount.host_path is None) == (mount.managed_volume is None):
        raise InvalidArgumentError(
            f"volume at {mount.guest_path}: give host_path or managed_volume, and only one of them"
        )
    if mount.managed_volume is not None:
        return model.VolumeSpec(
            kind=model.VolumeKind.NAMED,
            source=mount.managed_volume,
            target=mount.guest_path,
            read_only=mount.read_only,
        )
    assert mount.host_path is not None
    path = Path(mount.host_path).expanduser().absolute()
    if not path.exists():
        raise InvalidArgumentError(
            f"volume host path {mount.host_path} does not exist", hint="create it first"
        )
    return model.VolumeSpec(
        kind=model.VolumeKind.BIND, source=str(path), target=mount.guest_path, read_only=mount.read_only
    )


def _volume_mount(item: Volume) -> VolumeMount:
    if isinstance(item, VolumeMount):
        return item
    if isinstance(item, dict):
        try:
            return VolumeMount(**item)
        except TypeError:
            raise InvalidArgumentError(
                f"volume {item!r}: its keys are host_path or managed_volume, guest_path and read_only"
            ) from None
    match tuple(item):
        case (str() | Path() as source, str() as target):
            return VolumeMount(host_path=source, guest_path=target)
        case (str() | Path() as source, str() as target, bool() as read_only):
            return VolumeMount(host_path=source, guest_path=target, read_only=read_only)
        case (str() | Path() as source, str() as target, ("ro" | "rw") as mode):
            return VolumeMount(host_path=source, guest_path=target, read_only=mode == "ro")
    raise InvalidArgumentError(f'volume {item!r} is not (host, guest) or (host, guest, "ro" or "rw")')


def port_spec(item: Port) -> model.PortSpec:
    """Raises InvalidArgumentError."""
    port = _port_mapping(item)
    try:
        protocol = model.Protocol(port.protocol.lower())
    except ValueError:
        raise InvalidArgumentError(
            f"port {port.guest_port}: protocol is tcp or udp, not {port.protocol!r}"
        ) from None
    return model.PortSpec(
        box_port=port.guest_port, host_port=port.host_port, host_ip=port.host_ip, protocol=protocol
    )


def _port_mapping(item: Port) -> PortMapping:
    if isinstance(item, PortMapping):
        return item
    if isinstance(item, int):
        return PortMapping(guest_port=item)
    if isinstance(item, dict):
        try:
            return PortMapping(**item)
        except TypeError:
            raise InvalidArgumentError(
                f"port {item!r}: its keys are guest_port, host_port, protocol and host_ip"
            ) from None
    match tuple(item):
        case (int() as on_host, int() as in_box):
            return PortMapping(host_port=on_host, guest_port=in_box)
        case (int() as on_host, int() as in_box, str() as protocol):
            return PortMapping(host_port=on_host, guest_port=in_box, protocol=protocol)
        case (int() as on_host, int() as in_box, str() as protocol, str() as host_ip):
            return PortMapping(host_port=on_host, guest_port=in_box, protocol=protocol, host_ip=host_ip)
    raise InvalidArgumentError(f"port {item!r} is not (host, box[, protocol[, host_ip]])")
