"""Boxes and images as the objects and rows that people and programs see: the field names are part of the public surface."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from boxlite_cli.humane import ago, ports_text, rfc3339, size_text, status_text
from engine.model import BoxRecord, BoxSpec, BoxStatus, Image, ListedBox, SecretSpec, VolumeSpec

if TYPE_CHECKING:
    from engine.images.history import HistoryEntry

MIB = 1024**2
GIB = 1024**3
BOX_HEADINGS = {
    "ID": "ID", "Image": "IMAGE", "Status": "STATUS", "CreatedAt": "CREATED", "Ports": "PORTS", "Names": "NAMES",
    "ExitCode": "EXIT CODE", "Labels": "LABELS",
}  # fmt: skip
IMAGE_HEADINGS = {
    "Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedAt": "CREATED", "Size": "SIZE",
    "Digest": "DIGEST",
}  # fmt: skip
HISTORY_HEADINGS = {
    "ID": "LAYER", "CreatedAt": "CREATED", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
}  # fmt: skip


def box_object(record: BoxRecord) -> dict[str, Any]:
    """What `inspect` shows of a box. Sizes are bytes, durations seconds, times RFC 3339 or null."""
    spec, state = record.spec, record.state
    running = state.status is BoxStatus.RUNNING
    return {
        "Id": record.id,
        "Name": record.name,
        "Image": spec.image or spec.rootfs,
        "ImageDigest": record.manifest_digest,
        "Created": rfc3339(record.created_at),
        "Status": str(state.status),
        "State": {
            "Status": str(state.status),
            "Running": running,
            "Paused": state.status is BoxStatus.PAUSED,
            "Pid": state.pid if state.status.is_active else None,
            "ExitCode": None if running else state.exit_code,
            "OOMKilled": state.oom_killed,
            "Reason": state.reason,
            "StartedAt": rfc3339(state.started_at),
            "FinishedAt": rfc3339(state.finished_at),
            "LastActivityAt": None,
            "RestartCount": state.restart_count,
            "Health": {"Status": str(state.health), "FailingStreak": state.health_failures},
        },
        "Cpus": spec.cpus,
        "Memory": spec.memory_mib * MIB,
        "DiskSize": None if spec.disk_size_gb is None else spec.disk_size_gb * GIB,
        "Accel": None if state.accel is None else str(state.accel),
        "Config": _config(record),
        "Lifecycle": _lifecycle(record),
        "Network": _network(record),
        "Mounts": [mount_object(volume) for volume in spec.volumes],
        "Security": asdict(spec.security) | {"env_allowlist": list(spec.security.env_allowlist)},
        "TimingsMs": {key.removesuffix("_ms"): value for key, value in asdict(state.timings).items()},
    }


def _config(record: BoxRecord) -> dict[str, Any]:
    spec = record.spec
    return {
        "Entrypoint": None if spec.entrypoint is None else list(spec.entrypoint),
        "Cmd": None if spec.cmd is None else list(spec.cmd),
        "Env": [f"{key}={value}" for key, value in spec.env],
        "WorkingDir": spec.working_dir,
        "User": spec.user,
        "Hostname": spec.hostname or record.id,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin_open,
        "Labels": dict(spec.labels),
        "CapAdd": list(spec.cap_add),
        "CapDrop": list(spec.cap_drop),
        "Privileged": spec.privileged,
        "SecurityOpt": _security_opt(spec),
        "ReadonlyRootfs": spec.read_only,
        "PidsLimit": spec.pids_limit,
        "ShmSize": spec.shm_size_bytes,
        "Ulimits": [{"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in spec.ulimits],
        "Init": spec.init,
        "Platform": spec.platform,
        "ColdBoot": spec.cold_boot,
    }


def _security_opt(spec: BoxSpec) -> list[str]:
    """As Docker shows it: what was asked for, a profile with its text."""
    words = [f"seccomp={spec.seccomp}"] if spec.seccomp else []
    return [*words, "no-new-privileges"] if spec.no_new_privileges else words


def _lifecycle(record: BoxRecord) -> dict[str, Any]:
    spec = record.spec
    health = spec.health
    return {
        "AutoRemove": spec.auto_remove,
        "AutoResume": spec.auto_resume,
        "AutoStop": spec.auto_stop_s,
        "AutoDelete": spec.auto_delete_s,
        "Timeout": spec.timeout_s,
        "StopSignal": spec.stop_signal,
        "StopTimeout": spec.stop_timeout_s,
        "RestartPolicy": {"Name": str(spec.restart.kind), "MaximumRetryCount": spec.restart.max_retries},
        "Healthcheck": None
        if health is None
        else {
            "Test": list(health.command),
            "Interval": health.interval_s,
            "Timeout": health.timeout_s,
            "Retries": health.retries,
            "StartPeriod": health.start_period_s,
        },
    }


def _secret(secret: SecretSpec) -> dict[str, Any]:
    """Its value is not there to be shown."""
    return {
        "Name": secret.name,
        "Hosts": list(secret.hosts),
        "Source": str(secret.source),
        "Origin": secret.origin,
        "Placeholder": secret.token,
    }


def _network(record: BoxRecord) -> dict[str, Any]:
    network = record.spec.network
    ports = record.state.ports or record.spec.ports
    return {
        "Mode": str(network.mode),
        "AllowNet": list(network.allow_net),
        "DenyNet": list(network.deny_net),
        "Secrets": [_secret(secret) for secret in record.spec.secrets],
        "HostAccess": network.host_access,
        "Dns": list(network.dns),
        "DnsSearch": list(network.dns_search),
        "ExtraHosts": [f"{name}:{address}" for name, address in network.add_host],
        "TxKbps": network.tx_kbps,
        "RxKbps": network.rx_kbps,
        "Ports": [
            {
                "HostIp": port.host_ip,
                "HostPort": port.host_port,
                "BoxPort": port.box_port,
                "Protocol": str(port.protocol),
            }
            for port in ports
        ],
    }


def mount_object(volume: VolumeSpec) -> dict[str, Any]:
    """One volume of a box."""
    return {
        "Type": str(volume.kind),
        "Source": volume.source,
        "Destination": volume.target,
        "RW": not volume.read_only,
    }


def box_summary(record: BoxRecord | ListedBox) -> dict[str, Any]:
    """One box of `ls --format json`."""
    ports = record.state.ports or record.spec.ports
    return {
        "ID": record.id,
        "Image": record.spec.image or record.spec.rootfs or "",
        "Status": str(record.status),
        "CreatedAt": rfc3339(record.created_at),
        "Ports": ports_text(ports),
        "Names": record.name,
        "ExitCode": record.state.exit_code,
        "Labels": dict(record.spec.labels),
    }


def box_row(record: BoxRecord | ListedBox, *, full: bool, now: datetime | None = None) -> dict[str, Any]:
    """One box of the table and of `ls --format TEMPLATE`: the same fields for people."""
    spec, state = record.spec, record.state
    image = spec.image or spec.rootfs or ""
    has_ports = state.status.is_active or full
    return {
        "ID": record.id if full else record.short_id,
        "Image": image if full else _shortened(image, 40),
        "Status": status_text(record, now),
        "CreatedAt": ago(record.created_at, now),
        "Ports": ports_text(state.ports or spec.ports) if has_ports else "",
        "Names": record.name,
        "ExitCode": state.exit_code,
        "Labels": spec.labels,
    }


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def split_reference(reference: str) -> tuple[str, str]:
    """Repository and tag; `<none>` where there is no tag."""
    repository = reference.partition("@")[0]
    name, colon, tag = repository.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (repository, "<none>")


def image_object(image: Image) -> dict[str, Any]:
    """What `inspect` shows of an image."""
    config = image.config
    return {
        "Id": image.config_digest,
        "Name": image.reference,
        "RepoTags": [name for name in image.names if "@" not in name],
        "RepoDigests": sorted({f"{split_reference(name)[0]}@{image.source_digest}" for name in image.names}),
        "Digest": image.manifest_digest,
        "Created": rfc3339(config.created),
        "PulledAt": rfc3339(image.pulled_at),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size_bytes,
        "Config": {
            "Entrypoint": list(config.entrypoint),
            "Cmd": list(config.cmd),
            "Env": list(config.env),
            "User": config.user,
            "WorkingDir": config.working_dir,
            "ExposedPorts": {port: {} for port in config.exposed_ports},
            "Volumes": {path: {} for path in config.volumes},
            "Labels": dict(config.labels),
            "StopSignal": config.stop_signal,
        },
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in image.layers]},
        "Layers": [
            {"Digest": layer.digest, "Size": layer.size_bytes, "MediaType": layer.media_type}
            for layer in image.layers
        ],
    }


def image_summary(image: Image) -> dict[str, Any]:
    """One image of `images --format json`."""
    repository, tag = split_reference(image.reference)
    return {
        "Repository": repository,
        "Tag": tag,
        "ID": image.config_digest,
        "CreatedAt": rfc3339(image.config.created or image.pulled_at),
        "Size": image.size_bytes,
        "Digest": image.source_digest or image.manifest_digest,
    }


def image_row(image: Image, *, full: bool) -> dict[str, Any]:
    return image_summary(image) | {
        "ID": image.config_digest if full else short_digest(image.config_digest),
        "CreatedAt": ago(image.config.created or image.pulled_at),
        "Size": size_text(image.size_bytes),
    }


def history_object(entry: HistoryEntry) -> dict[str, Any]:
    """One step of `image history --format json`."""
    return {
        "ID": entry.layer_digest or "<none>",
        "CreatedAt": rfc3339(entry.created),
        "CreatedBy": entry.created_by,
        "Size": entry.size_bytes,
        "Comment": entry.comment,
    }


def history_row(entry: HistoryEntry, *, full: bool) -> dict[str, Any]:
    words = " ".join(entry.created_by.split())
    return history_object(entry) | {
        "ID": entry.layer_digest if full else short_digest(entry.layer_digest),
        "CreatedAt": ago(entry.created) if entry.created else "",
        "CreatedBy": words if full else _shortened(words, 45),
        "Size": size_text(entry.size_bytes),
    }


def short_digest(digest: str | None) -> str:
    """Twelve digits, as people quote them."""
    return digest.partition(":")[2][:12] if digest else "<none>"
