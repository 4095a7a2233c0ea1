"""What can be asked for but is not built yet is refused by name: a policy that is quietly not applied would be worse than
none."""

from __future__ import annotations

import os

from engine import host
from engine.errors import UnsupportedError
from engine.model import BoxSpec, SecurityOptions
from engine.progress import Progress, ProgressSink


def check_support(spec: BoxSpec, progress: ProgressSink) -> None:
    """Raises UnsupportedError for a spec whose promises could not be kept; warns of security options that do nothing."""
    refuse_unsupported(spec)
    warn_of_security(spec, progress)


def refuse_unsupported(spec: BoxSpec) -> None:
    """Raises UnsupportedError for a spec whose promises could not be kept."""
    network = spec.network
    for asked, flag, instead in (
        (network.allow_net, "--allow-net", "--network disabled closes the network altogether"),
        (network.deny_net, "--deny-net", "--network disabled closes the network altogether"),
        (network.tx_kbps, "--net-tx-kbps", "leave it out"),
        (network.rx_kbps, "--net-rx-kbps", "leave it out"),
    ):
        if asked:
            raise UnsupportedError(f"{flag} has no effect in this version yet", hint=instead)


def warn_of_security(spec: BoxSpec, progress: ProgressSink) -> None:
    """Name every security option that does nothing here. Raises InvalidArgumentError for those no machine could start under."""
    if spec.security == SecurityOptions():
        return
    from engine.runtime.security_notes import check_security, ineffective_options

    check_security(spec)
    for text in ineffective_options(spec.security, system=host.operating_system(), is_root=os.geteuid() == 0):
        progress(Progress(stage="warning", item="security", message=text))
