"""What the gateway of a box is told of its secrets: in memory, over a socket, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.model import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxAuthority:
    """The certificate authority of one run of a box, as it is handed over. The key exists in memory only."""

    certificate_pem: str
    key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsGrant:
    """Secrets with their values, and the authority in whose name their hosts are spoken for. `ca_file` holds certificate
    authorities that this host trusts besides its own."""

    secrets: tuple[Secret, ...]
    authority: BoxAuthority
    ca_file: str | None = None
