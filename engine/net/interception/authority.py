"""Certificates that only one box trusts, for the hosts that its secrets go to.

Elliptic curve P-256 throughout: a key is made in a fraction of a millisecond, and every TLS library knows it. Extensions
are those that RFC 5280 asks for, which Python 3.13 insists on (VERIFY_X509_STRICT).
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine.model import utc_now
from engine.net.secrets import BoxAuthority

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import CertificateBuilder, KeyUsage, Name

ROOT_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=397)
"""The longest that clients accept of anybody (CA/Browser Forum, 6.3.2)."""
CLOCK_SKEW = timedelta(days=1)


def generate_authority(box_id: str, hosts: Iterable[str]) -> BoxAuthority:
    """A new authority that can speak for `hosts` (names, or `*.` and a name) and no others, whoever may get hold of it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("BoxLite", f"BoxLite secrets of box {box_id}")
    permitted = sorted({host.removeprefix("*.") for host in hosts})
    builder = (
        _builder(name, name, key, ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        # Not critical, against RFC 5280: who does not know it shall still accept the certificate.
        .add_extension(x509.NameConstraints([x509.DNSName(host) for host in permitted], None), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return BoxAuthority(
        certificate_pem=certificate.public_bytes(Encoding.PEM).decode(),
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


class LeafIssuer:
    """Makes the TLS contexts that speak for a host, each once. All have one key, which never leaves this process."""

    def __init__(self, authority: BoxAuthority) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509 import load_pem_x509_certificate

        self._root = load_pem_x509_certificate(authority.certificate_pem.encode())
        key = load_pem_private_key(authority.key_pem.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._root_key = key
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: dict[tuple[str, tuple[str, ...]], ssl.SSLContext] = {}

    def context(self, host: str, protocols: Sequence[str]) -> ssl.SSLContext:
        """The server's side for `host`, offering these application protocols."""
        key = (host, tuple(protocols))
        if key not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if protocols:
                context.set_alpn_protocols(list(protocols))
            with _as_file(self._leaf_pem(host)) as path:
                context.load_cert_chain(path)
            self._contexts[key] = context
        return self._contexts[key]

    def _leaf_pem(self, host: str) -> bytes:
        """Key, certificate and the authority's own."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        root_id = self._root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            _builder(_name("BoxLite"), self._root.subject, self._key, LEAF_LIFE)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id), critical=False
            )
            .sign(self._root_key, hashes.SHA256())
        )
        key = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + certificate.public_bytes(Encoding.PEM) + self._root.public_bytes(Encoding.PEM)


def _name(organization: str, common_name: str | None = None) -> Name:
    from cryptography import x509

    parts = [x509.NameAttribute(x509.oid.NameOID.ORGANIZATION_NAME, organization)]
    if common_name is not None:
        parts.append(x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common_name))
    return x509.Name(parts)


def _builder(
    subject: Name, issuer: Name, key: EllipticCurvePrivateKey, life: timedelta
) -> CertificateBuilder:
    from cryptography import x509

    begins = _without_fraction(utc_now() - CLOCK_SKEW)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _without_fraction(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


@contextmanager
def _as_file(document: bytes) -> Iterator[str]:
    """A path under which OpenSSL, which takes nothing else, can read what shall never be on a disk."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("certificate")
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(document)
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(document)
            file.flush()
            yield file.name
