"""Which boxes go through the gateway, and what that is told."""

from __future__ import annotations

from engine import host
from engine.model import BoxSpec, NetworkMode
from engine.net.plan import Restriction


def is_restricted(spec: BoxSpec) -> bool:
    """Is anything asked of this box's network that only the gateway can keep? Its machine then has no network device."""
    network = spec.network
    asked = (
        network.allow_net, network.deny_net, not network.host_access, network.tx_kbps, network.rx_kbps, spec.secrets,
    )  # fmt: skip
    return network.mode is NetworkMode.ENABLED and any(asked)


def restriction_of(spec: BoxSpec) -> Restriction:
    """What the gateway is told. Raises InvalidArgumentError for a rule that is none."""
    from engine.net.policy import Policy
    from engine.net.rules import Rule, parse_rules

    network = spec.network
    grants = tuple(
        Rule(
            text=secret.name,
            name=host_name.removeprefix("*."),
            wildcard=host_name.startswith("*."),
            one_level=True,
            port=port,
        )
        for secret in spec.secrets
        for host_name, port in secret.targets
    )
    return Restriction(
        policy=Policy(
            allow=parse_rules(network.allow_net),
            deny=parse_rules(network.deny_net),
            grants=grants,
            host_access=network.host_access,
        ),
        servers=network.dns,
        tx_kbps=network.tx_kbps,
        rx_kbps=network.rx_kbps,
        ipv6=host.has_ipv6(),
    )
