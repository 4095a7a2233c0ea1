"""HTTP to one registry: TLS, credentials, tokens, deadlines, retries.

Import this module inside the functions that need it: HTTP and TLS take some hundredths of a second to load.
"""

from __future__ import annotations

import base64
import email.utils
import json as json_format
import random
import ssl
import time
from collections.abc import Mapping
from threading import Event, Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from engine.errors import ConfigError, NetworkError, RegistryAuthError
from engine.host.environment import read_settings
from engine.images.credentials import Credential
from engine.images.endpoints import Endpoint, is_loopback
from engine.images.http import READ_ERRORS, Body, HttpClient, HttpError, ProxyFailedError, Response, TlsError
from engine.version import __version__

if TYPE_CHECKING:
    from engine.images.challenge import Challenge

CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 60.0

_ATTEMPTS = 5
_CONNECT_ATTEMPTS = 3
_FIRST_DELAY_S = 0.25
_LONGEST_DELAY_S = 60.0
_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_TOKEN_BYTES = 1 << 20


class CancelledPullError(Exception):
    """The caller no longer wants what is being fetched."""


class RegistryTransport:
    """An HTTP client for one repository that keeps deadlines, tries again and speaks every way of authentication.

    `cancelled`, once set, ends waits between attempts. Several threads may use one.
    """

    def __init__(
        self, endpoint: Endpoint, credential: Credential | None, cancelled: Event | None = None
    ) -> None:
        self.session = HttpClient(
            headers={
                "User-Agent": f"boxlite/{__version__}",
                "Accept-Encoding": "identity",  # a blob's digest is of its bytes as they are
            },
            variables=read_settings().proxies,
            new_context=lambda: _tls_context(endpoint),
            connect_timeout_s=CONNECT_TIMEOUT_S,
            read_timeout_s=READ_TIMEOUT_S,
        )
        self.endpoint = endpoint
        self._credential = credential
        self._cancelled = cancelled or Event()
        self._lock = Lock()
        self._authorization = (
            f"Bearer {credential.bearer_token}" if credential and credential.bearer_token else ""
        )

    def do_request(
        self,
        url: str,
        method: str = "GET",
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        document: Any = None,
    ) -> Response:
        """Send a request; answer a challenge; try again what may be better later. Returns the last response, whatever its
        status. Raises HttpError and its kinds when there is none, RegistryAuthError when no token is to be had."""
        attempt = 0
        while True:
            attempt += 1
            try:
                response = self._authenticated(method, url, dict(headers or {}), body=body, document=document)
            except (TlsError, ProxyFailedError):
                raise
            except HttpError:
                if attempt >= _CONNECT_ATTEMPTS:
                    raise
                delay_s = _back_off_s(attempt)
            else:
                delay_s = _delay_s(response, attempt)
                if (
                    response.status not in _RETRIED_STATUSES
                    or attempt >= _ATTEMPTS
                    or delay_s > _LONGEST_DELAY_S
                ):
                    return response
                response.close()
            self.pause(delay_s)

    def pause(self, delay_s: float) -> None:
        """Wait. Raises CancelledPullError as soon as the pull is cancelled."""
        if self._cancelled.wait(delay_s):
            raise CancelledPullError

    def check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise CancelledPullError

    def _authenticated(self, method: str, url: str, headers: dict[str, str], **rest: Any) -> Response:
        asked: set[str] = set()
        while True:
            authorization = self._authorization
            if authorization:
                headers["Authorization"] = authorization
            response = self.session.request(method, url, headers=headers, **rest)
            challenge = response.headers.get("WWW-Authenticate", "")
            if response.status != 401 or not challenge or challenge in asked:
                return response
            asked.add(challenge)
            if not self._answered(challenge, authorization, response):
                return response
            response.close()

    def _answered(self, challenge: str, refused: str, response: Response) -> bool:
        """Find another Authorization header than the refused one; False when there is none."""
        from engine.images.challenge import parse_challenges

        try:
            with self._lock:
                if self._authorization == refused:  # or another thread has answered meanwhile
                    answer = self._answer(parse_challenges(challenge))
                    if answer is None or answer == refused:
                        return False
                    self._authorization = answer
        except BaseException:
            response.close()
            raise
        return True

    def _answer(self, challenges: list[Challenge]) -> str | None:
        """The Authorization header that meets one of the challenges, or None."""
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                if self._credential and self._credential.bearer_token:
                    return None  # a given token was refused; there is nothing to exchange it for
                return f"Bearer {self._token(challenge.parameters)}"
        credential = self._credential
        if (
            any(challenge.scheme == "basic" for challenge in challenges)
            and credential
            and credential.username
        ):
            return _basic(credential)
        return None

    def _token(self, parameters: dict[str, str]) -> str:
        realm = parameters["realm"]
        self._check_realm(realm)
        query = {"scope": parameters.get("scope") or f"repository:{self.endpoint.repository}:pull"}
        if parameters.get("service"):
            query["service"] = parameters["service"]
        credential = self._credential
        if credential and credential.identity_token:
            form = query | {
                "grant_type": "refresh_token",
                "client_id": "boxlite",
                "refresh_token": credential.identity_token,
            }
            response = self.session.request("POST", realm, form=form)
        else:
            headers = {}
            if credential and credential.username:
                query["account"] = credential.username
                headers["Authorization"] = _basic(credential)
            response = self.session.request("GET", realm, query=query, headers=headers)
        return self._token_from(response, realm)

    def _check_realm(self, realm: str) -> None:
        parts = urlsplit(realm)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.netloc))
        if not is_safe and not (parts.scheme == "http" and self.endpoint.is_plain_http):
            raise RegistryAuthError(
                f"registry {self.endpoint.host} asks to get a token from {realm!r}, which is not https",
                hint="no password is sent there; tell the registry's operator",
            )

    def _token_from(self, response: Response, realm: str) -> str:
        with response:
            body = _read_token(response, realm)
            if response.status in (400, 401, 403):
                where = f"the token server {urlsplit(realm).netloc} of registry {self.endpoint.host}"
                raise RegistryAuthError(
                    self.refusal(f"{where} refused, for {self.endpoint.repository},"), hint=self.login_hint
                )
            if response.status != 200:
                raise NetworkError(
                    f"the token server {realm} of registry {self.endpoint.host} answered {response.status}",
                    hint="try again later",
                )
        try:
            document = json_format.loads(body)
            token = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token or not token.isprintable():
            raise RegistryAuthError(
                f"the token server {realm} of registry {self.endpoint.host} gave no token"
            )
        return token

    def refusal(self, said: str) -> str:
        """Who was refused, for messages."""
        if self._credential is None:
            return f"{said} an anonymous pull"
        who = self._credential.username or "the given token"
        return f"{said} the credentials of {who} from {self._credential.source}"

    @property
    def login_hint(self) -> str:
        if self._credential is None:
            return f"log in with `boxlite login {self.endpoint.config.host}`"
        return f"check the user and password: `boxlite login {self.endpoint.config.host}` replaces them"


def _read_token(response: Response, realm: str) -> bytes:
    try:
        return response.read(_MAX_TOKEN_BYTES)
    except READ_ERRORS as error:
        raise NetworkError(
            f"the token server {realm} broke off its answer: {error}", hint="try again"
        ) from error


def _basic(credential: Credential) -> str:
    """RFC 7617, in UTF-8."""
    pair = f"{credential.username}:{credential.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if endpoint.config.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif endpoint.config.ca_file:
        try:
            context.load_verify_locations(endpoint.config.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"ca_file {endpoint.config.ca_file} of registry {endpoint.host} cannot be used: {error}",
                hint="it must be a file of PEM certificates",
            ) from error
    return context


def _delay_s(response: Response, attempt: int) -> float:
    """What the server asks for in Retry-After (RFC 9110, 10.2.3: seconds or a date), else ever longer."""
    wish = response.headers.get("Retry-After", "").strip()
    if wish.isdigit():
        return float(wish)
    if wish:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(wish).timestamp() - time.time())
        except ValueError:
            return _back_off_s(attempt)
    return _back_off_s(attempt)


def _back_off_s(attempt: int) -> float:
    return float(_FIRST_DELAY_S * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))  # noqa: S311
