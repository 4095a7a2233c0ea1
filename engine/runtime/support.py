"""What can be asked for but is not built yet is refused by name: a policy that is quietly not applied would be worse than
none."""

from __future__ import annotations

from engine.errors import UnsupportedError
from engine.model import BoxSpec


def refuse_unsupported(spec: BoxSpec) -> None:
    """Raises UnsupportedError for a spec whose promises could not be kept."""
    network = spec.network
    for asked, flag, instead in (
        (network.allow_net, "--allow-net", "--network disabled closes the network altogether"),
        (network.deny_net, "--deny-net", "--network disabled closes the network altogether"),
        (spec.secrets, "--secret", "leave it out"),
        (network.tx_kbps, "--net-tx-kbps", "leave it out"),
        (network.rx_kbps, "--net-rx-kbps", "leave it out"),
        (spec.security.uid, "security uid", "leave it out"),
        (spec.security.gid, "security gid", "leave it out"),
        (spec.security.sandbox_profile, "security sandbox_profile", "leave it out"),
    ):
        if asked:
            raise UnsupportedError(f"{flag} has no effect in this version yet", hint=instead)
