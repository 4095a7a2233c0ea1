"""What `boxlite run --plan` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from boxlite_cli.humane import ports_text
from boxlite_cli.views import GIB, MIB, mount_object
from engine.model import BoxSpec

if TYPE_CHECKING:
    from engine.runtime.foresight import Foresight


def plan_object(spec: BoxSpec, name: str | None, plan: Foresight) -> dict[str, Any]:
    """The plan for people and programs. Of variables and secrets only the names; sizes in bytes."""
    network = spec.network
    return {
        "Image": plan.image.name,
        "Digest": plan.image.manifest_digest,
        "PullBytes": plan.image.missing_bytes,
        "First": list(plan.first),
        "Name": name,
        "Command": list(plan.argv),
        "User": plan.user,
        "WorkingDir": plan.working_dir,
        "EnvNames": list(plan.env_names),
        "Cpus": spec.cpus,
        "Memory": spec.memory_mib * MIB,
        "DiskSize": plan.disk_size_gb * GIB,
        "Accelerator": str(plan.accel),
        "PassedOver": plan.passed_over,
        "Template": plan.template_key,
        "Network": {
            "Mode": str(network.mode),
            "Gateway": plan.restricted,
            "HostAccess": network.host_access,
            "AllowNet": list(network.allow_net),
            "DenyNet": list(network.deny_net),
            "Dns": list(network.dns),
            "Ports": ports_text(plan.ports),
        },
        "Mounts": [mount_object(volume) for volume in spec.volumes],
        "Capabilities": list(plan.capabilities),
        "ReadonlyRootfs": spec.read_only,
        "Secrets": [secret.name for secret in spec.secrets],
        "Security": spec.security.preset,
        "Jail": {
            "Enabled": plan.jail.enabled,
            "Grants": [f"{grant.access} {grant.path}" for grant in plan.jail.grants],
            "Limits": {key: value for key, value in asdict(plan.jail.limits).items() if value is not None},
        },
        "AutoRemove": spec.auto_remove,
        "Restart": str(spec.restart.kind),
        "Timeout": spec.timeout_s,
        "AutoStop": spec.auto_stop_s,
        "AutoDelete": spec.auto_delete_s,
    }
