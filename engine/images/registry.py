"""Fetch manifests and blobs of one repository, every byte verified.

Blocking: call it in threads. Import this module inside the functions that need it: HTTP and TLS take some hundredths of a
second to load.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import NoReturn

from engine.errors import BoxliteError, ImageError, ImageNotFoundError, NetworkError, RegistryAuthError
from engine.fsutil import storage_error
from engine.images.credentials import Credential
from engine.images.endpoints import Endpoint
from engine.images.http import READ_ERRORS, HttpError, ProxyFailedError, Response, TlsError
from engine.images.manifest import ACCEPTED_TYPES, MAX_MANIFEST_BYTES, Descriptor, check_digest
from engine.images.partial import PartialBlob, open_partial
from engine.images.reference import ImageReference, is_digest
from engine.images.transport import RegistryTransport

_CHUNK_BYTES = 1 << 18
_MAX_ERROR_BYTES = 1 << 16
_GZIP_WINDOW = 31
_INTERRUPTIONS_WITHOUT_PROGRESS = 4

Report = Callable[[int], None]
"""Called with how many bytes of the blob are there so far; with less than before when it is begun anew."""


class RegistryClient:
    """One repository at one endpoint. `cancelled`, once set, makes calls in other threads end soon."""

    def __init__(
        self,
        reference: ImageReference,
        endpoint: Endpoint,
        credential: Credential | None,
        cancelled: Event | None = None,
    ) -> None:
        self.reference = reference
        self.endpoint = endpoint
        self._transport = RegistryTransport(endpoint, credential, cancelled)

    def close(self) -> None:
        self._transport.session.close()

    def abort(self) -> None:
        """Break off what other threads are waiting for."""
        self._transport.session.abort()

    def ping(self) -> None:
        """Show that the registry takes our credentials (`GET /v2/`)."""
        url = self.endpoint.base_url.removesuffix(self.endpoint.repository)
        with self._send(url) as response:
            if response.status != 200:
                self._refuse(response, "logging in")

    def fetch_manifest(self, tag_or_digest: str, *, size_bytes: int | None = None) -> tuple[bytes, str]:
        """The document's bytes and its media type as the registry states it. A digest asked for is checked; for a tag, the
        one in the answer's header. Raises ImageNotFoundError, RegistryAuthError, NetworkError, ImageError."""
        what = f"the manifest {tag_or_digest} of {self.reference.name}"
        headers = {"Accept": ", ".join(ACCEPTED_TYPES)}
        with self._send(f"{self.endpoint.base_url}/manifests/{tag_or_digest}", headers=headers) as response:
            if response.status != 200:
                self._refuse(response, f"fetching {what}")
            data = self._read_up_to(response, MAX_MANIFEST_BYTES, what)
            media_type = response.headers.get("Content-Type", "")
            stated = response.headers.get("Docker-Content-Digest", "")
        if is_digest(tag_or_digest):
            check_digest(data, tag_or_digest, what)
        elif is_digest(stated) and not media_type.startswith(
            "application/vnd.docker.distribution.manifest.v1+"
        ):
            check_digest(data, stated, what)
        if size_bytes is not None and len(data) != size_bytes:
            raise ImageError(f"{what} has {len(data)} bytes, but its index says {size_bytes}")
        return data, media_type

    def fetch_blob(self, blob: Descriptor, part: Path, report: Report) -> None:
        """Fetch `blob` into the file `part`, going on from what it already holds.

        When this returns, `part` holds exactly the blob. An interrupted transfer is resumed; what has come stays in `part`
        for a later call. Raises ImageError when digest or size do not hold (`part` is then gone), and as fetch_manifest.
        """
        what = f"blob {blob.digest} of {self.reference.name}"
        idle = 0
        try:
            while True:
                before = part.stat().st_size if part.exists() else 0
                if self._fetch_some(blob, part, report, what):
                    return
                idle = 0 if part.stat().st_size > before else idle + 1
                if idle >= _INTERRUPTIONS_WITHOUT_PROGRESS:
                    raise NetworkError(
                        f"registry {self.endpoint.host} keeps breaking off {what}",
                        hint="what has come is kept; pull again to go on from there",
                    )
                self._transport.pause(0.25 * 2**idle)
        except OSError as error:
            raise storage_error(error, f"storing {what}") from error

    def push_files(self, files: Sequence[Path], media_type: str) -> str:
        """Push files as one artifact under our reference; the manifest's digest. oras does the work and reports a refusal
        as ValueError."""
        from engine.images.oras_client import OrasClient

        target = f"{self.endpoint.host}/{self.endpoint.repository}:{self.reference.tag or 'latest'}"
        try:
            response = OrasClient(self._transport).push(
                target,
                files=[f"{path}:{media_type}" for path in files],
                disable_path_validation=True,
                quiet=True,
            )
        except HttpError as error:
            raise self.unreachable(error) from error
        except ValueError as error:
            raise self._refused_push(error) from error
        return str(response.headers.get("Docker-Content-Digest", ""))

    def _refused_push(self, error: ValueError) -> BoxliteError:
        text = f"registry {self.endpoint.host} refused to take {self.reference.familiar}: {error}"
        if "401" in text or "403" in text:
            return RegistryAuthError(text, hint=self._transport.login_hint)
        return NetworkError(text)

    def _fetch_some(self, blob: Descriptor, part: Path, report: Report, what: str) -> bool:
        """One request's worth; True when the blob is whole, False when the transfer broke off."""
        with open_partial(blob, part) as partial:
            if partial.held_bytes:
                report(partial.held_bytes)
            if not partial.is_complete or not blob.size_bytes:
                headers = {"Range": f"bytes={partial.held_bytes}-"} if partial.held_bytes else {}
                url = f"{self.endpoint.base_url}/blobs/{blob.digest}"
                with self._send(url, headers=headers) as response:
                    if response.status == 416 or not self._goes_on(response, partial.held_bytes, blob, what):
                        partial.restart()
                        report(0)
                    if response.status == 416 or not self._copy(response, partial, report, what):
                        return False
            partial.check(what)
            return True

    def _goes_on(self, response: Response, held: int, blob: Descriptor, what: str) -> bool:
        """Does the response's body begin where we are (and not at the blob's start)?"""
        if response.status == 206:
            begin, _, rest = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")
            if begin != str(held) or rest.partition("/")[2] not in ("*", str(blob.size_bytes)):
                raise ImageError(f"{what}: the registry answers with the wrong range")
            return True
        if response.status != 200:
            self._refuse(response, f"fetching {what}")
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) != blob.size_bytes:
            raise ImageError(
                f"{what} has {length} bytes at the registry, but its manifest says {blob.size_bytes}"
            )
        return False

    def _copy(self, response: Response, partial: PartialBlob, report: Report, what: str) -> bool:
        """Append the body; False when it ended early."""
        while True:
            try:
                piece = response.read(_CHUNK_BYTES)
            except READ_ERRORS:
                return False  # the connection broke; what has come is kept and the rest is asked for again
            if not piece:
                return partial.is_complete
            partial.append(piece, what)
            report(partial.held_bytes)
            self._transport.check_cancelled()

    def _send(self, url: str, *, headers: dict[str, str] | None = None) -> Response:
        try:
            return self._transport.do_request(url, headers=headers)
        except HttpError as error:
            raise self.unreachable(error) from error

    def unreachable(self, error: HttpError) -> NetworkError:
        """The error that a failure of the connection means."""
        where = f"registry {self.endpoint.host} cannot be reached for {self.reference.familiar}"
        reason = _root_reason(error)
        if isinstance(error, TlsError):
            if "WRONG_VERSION_NUMBER" in reason or "record layer" in reason.lower():
                hint = 'it speaks plain http: configure it with "transport": "http" if you trust the network'
            else:
                hint = 'give its authority with "ca_file" in the configuration (or "skip_verify" if you must)'
        elif isinstance(error, ProxyFailedError) and error.proxy:
            where += f" through the proxy {error.proxy.address}"
            hint = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        else:
            hint = "check the name, that the registry runs, and this machine's network"
        return NetworkError(f"{where}: {reason}", hint=hint)

    def _refuse(self, response: Response, doing: str) -> NoReturn:
        """Raise the error that a response which is no success means."""
        raise self._refused(response, doing)

    def _refused(self, response: Response, doing: str) -> BoxliteError:
        registry = f"registry {self.endpoint.host}"
        said = _registry_words(response)
        status = response.status
        name = self.reference.name
        if status in (401, 403):
            return RegistryAuthError(
                self._transport.refusal(f"{registry} refused, for {name},") + (f": {said}" if said else ""),
                hint=f"{self._transport.login_hint}; a repository that does not exist may be refused like this too",
            )
        if status == 404:
            return ImageNotFoundError(
                f"{self.reference} does not exist on {registry}" + (f": {said}" if said else ""),
                hint="check the name and the tag",
            )
        if status == 429:
            return NetworkError(
                f"{registry} allows no more requests for now, {doing}" + (f": {said}" if said else ""),
                hint=f"wait and try again, or raise the limit by logging in: `boxlite login {self.endpoint.config.host}`",
            )
        return NetworkError(
            f"{registry} answered {status} {response.reason or ''}".rstrip()
            + f", {doing}"
            + (f": {said}" if said else ""),
            hint="try again later" if status >= 500 else self._hint_at_tls(status),
        )

    def _hint_at_tls(self, status: int) -> str | None:
        """For the way in which servers with TLS (Go's, nginx, Apache) answer a request without."""
        if status != 400 or not self.endpoint.is_plain_http:
            return None
        return (
            'it was asked by plain http: if it speaks TLS, say so with "transport": "https" in the configuration, '
            'and give its authority with "ca_file"'
        )

    def _read_up_to(self, response: Response, limit_bytes: int, what: str) -> bytes:
        try:
            data = _decoded(response, limit_bytes + 1)
        except READ_ERRORS as error:
            raise NetworkError(
                f"registry {self.endpoint.host} broke off {what}: {error}", hint="try again"
            ) from error
        if len(data) > limit_bytes:
            raise ImageError(f"{what} is larger than {limit_bytes} bytes")
        return data


def _decoded(response: Response, limit_bytes: int) -> bytes:
    """The body, or the beginning of it. Some servers compress what they were asked not to."""
    pieces, left = [], limit_bytes
    while left and (piece := response.read(left)):
        pieces.append(piece)
        left -= len(piece)
    data = b"".join(pieces)
    if response.headers.get("Content-Encoding", "").lower() != "gzip":
        return data
    try:
        return zlib.decompressobj(_GZIP_WINDOW).decompress(data, limit_bytes)
    except zlib.error as error:
        raise OSError(f"its answer is no gzip: {error}") from error


def _registry_words(response: Response) -> str:
    """What the registry says went wrong (distribution-spec, "Error Codes"), shortened, on one line."""
    try:
        errors = json.loads(_decoded(response, _MAX_ERROR_BYTES))["errors"]
        words = "; ".join(str(item.get("message") or item.get("code")) for item in errors[:3])
    except (*READ_ERRORS, ValueError, LookupError, TypeError, AttributeError):
        return ""  # an answer that cannot be read adds nothing to the status
    return "".join(char if char.isprintable() else " " for char in words)[:200]


def _root_reason(error: BaseException) -> str:
    """The innermost cause, without addresses of objects."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None) or seen.__cause__
        if inner is None:
            break
        seen = inner
    text = str(seen).rpartition(">: ")[2] or str(seen)
    return text or type(seen).__name__
