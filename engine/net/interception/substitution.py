"""Placeholders become values on the way out, values become placeholders on the way back.

Only in header values and in the query of a URL: what stands in a body may be stored, logged or shown by whoever gets it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, quote_plus

from engine.model import Secret

Header = tuple[bytes, bytes]

_UNTOUCHED = frozenset({
    b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding",
    b"upgrade",
})  # fmt: skip
"""Headers that say where a message goes, where it ends and how it is carried."""
_BASIC = re.compile(rb"(basic\s+)([A-Za-z0-9+/_=-]+)\s*", re.IGNORECASE)
_BASIC_HEADERS = frozenset({b"authorization", b"proxy-authorization"})
_SCRUBBED_CREDENTIALS = 64
"""How many different Basic credentials of one connection are remembered, to be recognised in answers."""


class Substitution:
    """What to replace for one host. `secrets` may be sent there; values of `all_secrets` are scrubbed from answers."""

    def __init__(self, secrets: Sequence[Secret], all_secrets: Sequence[Secret]) -> None:
        self.used: set[str] = set()
        """The names of the secrets that were sent."""
        self._values = {secret.spec.token.encode(): secret for secret in secrets}
        self._names = {secret.spec.token.encode(): secret.spec.name for secret in secrets}
        self._plain = _alternatives(re.escape(token) for token in self._values)
        self._encoded = _alternatives(_any_encoding(token) for token in self._values)
        self._credentials: dict[bytes, bytes] = {}
        self._shown = _forms_of(all_secrets)
        self._hidden = _alternatives(re.escape(form) for form in self._shown)

    # ------------------------------------------------------------ out

    def headers(self, headers: Iterable[Header]) -> list[Header]:
        """The headers of a request with the values in them."""
        return [(name, self._value(name.lower(), value)) for name, value in headers]

    def target(self, target: bytes) -> bytes:
        """The target of a request (RFC 9112, 3.2), with values in its query only, percent-encoded."""
        path, question, query = target.partition(b"?")
        if not question or self._encoded is None:
            return target
        return path + question + self._encoded.sub(self._encoded_value, query)

    def _value(self, name: bytes, value: bytes) -> bytes:
        if name in _UNTOUCHED or name.startswith(b":") or self._plain is None:
            return value
        if name in _BASIC_HEADERS and (basic := _BASIC.fullmatch(value)):
            return self._basic(basic[1], basic[2])
        return self._plain.sub(self._plain_value, value)

    def _basic(self, scheme: bytes, credentials: bytes) -> bytes:
        """RFC 7617: user and password, joined by a colon, in base64."""
        assert self._plain is not None
        try:
            decoded = base64.b64decode(
                credentials + b"=" * (-len(credentials) % 4), altchars=None, validate=True
            )
        except binascii.Error:
            return scheme + credentials
        replaced = self._plain.sub(self._plain_value, decoded)
        if replaced == decoded:
            return scheme + credentials
        sent = base64.b64encode(replaced)
        if sent not in self._credentials and len(self._credentials) < _SCRUBBED_CREDENTIALS:
            self._credentials[sent] = credentials
            self._shown |= {sent: credentials, sent.rstrip(b"="): credentials}
            self._hidden = _alternatives(re.escape(form) for form in self._shown)
        return scheme + sent

    def _plain_value(self, match: re.Match[bytes]) -> bytes:
        self.used.add(self._names[match[0]])
        return self._values[match[0]].value.encode()

    def _encoded_value(self, match: re.Match[bytes]) -> bytes:
        token = _decoded(match[0])
        self.used.add(self._names[token])
        return quote(self._values[token].value, safe="").encode()

    # ------------------------------------------------------------ back

    def scrubbed(self, headers: Iterable[Header]) -> list[Header]:
        """The headers of an answer, or its trailers, with every value put back to its placeholder."""
        return [(name, value if name.lower() in _UNTOUCHED else self.scrub(value)) for name, value in headers]

    def scrub(self, text: bytes) -> bytes:
        if self._hidden is None:
            return text
        return self._hidden.sub(lambda match: self._shown[match[0]], text)


def _alternatives(patterns: Iterable[bytes]) -> re.Pattern[bytes] | None:
    """One of the patterns, a longer one rather than a shorter; None: of none."""
    words = sorted(patterns, key=len, reverse=True)
    return re.compile(b"|".join(words)) if words else None


def _any_encoding(token: bytes) -> bytes:
    """A pattern of a token in a query: each character may be percent-encoded or not (RFC 3986, 2.1)."""
    return b"".join(b"(?:%s|%%%s)" % (re.escape(bytes((octet,))), _any_case(octet)) for octet in token)


def _any_case(octet: int) -> bytes:
    return b"".join(
        f"[{digit.upper()}{digit}]".encode() if digit.isalpha() else digit.encode()
        for digit in f"{octet:02x}"
    )


def _decoded(text: bytes) -> bytes:
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes((int(match[1], 16),)), text)


def _forms_of(secrets: Sequence[Secret]) -> dict[bytes, bytes]:
    """How each value may appear in an answer, and what is shown instead."""
    forms: dict[bytes, bytes] = {}
    for secret in secrets:
        value, token = secret.value, secret.spec.token
        forms[quote_plus(value).encode()] = quote_plus(token).encode()
        forms[quote(value, safe="").encode()] = quote(token, safe="").encode()
        forms[quote(value).encode()] = quote(token).encode()
        forms[base64.b64encode(value.encode())] = base64.b64encode(token.encode())
        forms[value.encode()] = token.encode()
    return forms
