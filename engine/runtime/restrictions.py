"""Which boxes go through the gateway, and what that is told."""

from __future__ import annotations

from engine import host
from engine.model import NetworkMode, NetworkSpec
from engine.net.plan import Restriction


def is_restricted(network: NetworkSpec) -> bool:
    """Is anything asked of this network that only the gateway can keep? Such a box has no network device."""
    asked = (
        network.allow_net, network.deny_net, not network.host_access, network.tx_kbps, network.rx_kbps,
    )  # fmt: skip
    return network.mode is NetworkMode.ENABLED and any(asked)


def restriction_of(network: NetworkSpec) -> Restriction:
    """What the gateway is told. Raises InvalidArgumentError for a rule that is none."""
    from engine.net.policy import Policy
    from engine.net.rules import parse_rules

    return Restriction(
        policy=Policy(
            allow=parse_rules(network.allow_net),
            deny=parse_rules(network.deny_net),
            host_access=network.host_access,
        ),
        servers=network.dns,
        tx_kbps=network.tx_kbps,
        rx_kbps=network.rx_kbps,
        ipv6=host.has_ipv6(),
    )
