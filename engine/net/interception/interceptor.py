"""From a connection of the box to a host that gets secrets: what is done with it, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.errors import BoxliteError
from engine.net.flow import Connect, Flow, Target, relay
from engine.net.interception.authority import LeafIssuer
from engine.net.interception.hello import ClientHello, NotTlsError, parse_hello
from engine.net.interception.http1 import Http1Relay, refuse_http1
from engine.net.interception.http2 import Http2Relay, refuse_http2
from engine.net.interception.refusals import Refusal
from engine.net.interception.substitution import Substitution
from engine.net.interception.tls import TlsFlow, reason_of, start_tls
from engine.net.secrets import SecretsGrant

HTTP1 = "http/1.1"
HTTP2 = "h2"
CONNECT_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Interception:
    """What came of one connection, for the network log. `secrets` are names; `failure` is why it ended early."""

    requests: int = 0
    secrets: set[str] = field(default_factory=set)
    protocol: str = ""
    failure: str | None = None

    def count(self) -> None:
        self.requests += 1


class Interceptor:
    """Stands between one box and the hosts that its secrets may be sent to."""

    def __init__(self, grant: SecretsGrant) -> None:
        self._secrets = grant.secrets
        self._issuer = LeafIssuer(grant.authority)
        self._ca_file = grant.ca_file
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}

    def wants(self, name: str | None, port: int) -> bool:
        """Is there a secret for this host?"""
        return name is not None and any(secret.spec.covers(name, port) for secret in self._secrets)

    async def intercept(self, flow: Flow, target: Target, connect: Connect) -> Interception:
        """Carry a connection of the box to a host for which `wants` holds, and put secrets into its requests. Both
        connections are closed afterwards. Never raises for what box or server do: see the result's `failure`."""
        result = Interception()
        try:
            await self._intercept(flow, target, connect, result)
        except NotTlsError as error:
            result.failure = f"refused: {error}"
        except (ConnectionError, TimeoutError, ssl.SSLError, OSError) as error:
            result.failure = (
                reason_of(error) if isinstance(error, ssl.SSLError) else str(error) or "timed out"
            )
        finally:
            flow.close()
        return result

    async def _intercept(self, flow: Flow, target: Target, connect: Connect, result: Interception) -> None:
        assert target.name is not None
        hello = await _read_hello(flow)
        if hello.server_name != target.name:
            raise NotTlsError(f"its server name is {hello.server_name!r}, not {target.name!r}")
        wanted = tuple(name for name in (HTTP2, HTTP1) if name in hello.protocols)
        if hello.protocols and not wanted:  # not HTTP, so there is nowhere to put a secret
            result.protocol = hello.protocols[0]
            await _relay_untouched(flow, connect)
            return
        try:
            server = await self._connect(target, connect, wanted)
        except _UnreachableError as error:
            result.failure = error.refusal.reason
            await self._explain(flow, target, wanted, error.refusal)
            return
        try:
            agreed = server.protocol if wanted else None
            box = await self._accept(flow, target.name, (agreed,) if agreed else wanted[1:] or wanted)
            result.protocol = agreed or HTTP1
            await self._relay(box, server, target, result)
        except BaseException:
            server.abort()  # the server shall not take half a request for a whole one
            raise
        server.close()

    async def _relay(self, box: TlsFlow, server: TlsFlow, target: Target, result: Interception) -> None:
        assert target.name is not None
        substitution = Substitution(
            [secret for secret in self._secrets if secret.spec.covers(target.name, target.port)],
            self._secrets,
        )
        result.secrets = substitution.used
        kind = Http2Relay if result.protocol == HTTP2 else Http1Relay
        await kind(box, server, substitution, host=target.name, port=target.port, count=result.count).run()
        with contextlib.suppress(OSError):
            await box.write_eof()

    async def _connect(self, target: Target, connect: Connect, protocols: tuple[str, ...]) -> TlsFlow:
        """TLS to the real server, whose certificate must be good. Raises _UnreachableError."""
        name = target.name
        assert name is not None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                flow = await connect()
        except BoxliteError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise _UnreachableError(Refusal(status=403, reason=f"{error}{hint}")) from error
        except (OSError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or str(error) or "timed out"
            raise _UnreachableError(Refusal(status=502, reason=f"{name} cannot be reached: {why}")) from error
        try:
            return await start_tls(flow, self._server_context(protocols), server_side=False, server_name=name)
        except ssl.SSLCertVerificationError as error:
            flow.abort()
            reason = f"the certificate of {name} is not trusted on this host: {reason_of(error)}"
            raise _UnreachableError(Refusal(status=502, reason=reason)) from error
        except (ssl.SSLError, ConnectionError, TimeoutError) as error:
            flow.abort()
            why = reason_of(error) if isinstance(error, ssl.SSLError) else str(error) or "timed out"
            raise _UnreachableError(Refusal(status=502, reason=f"no TLS with {name}: {why}")) from error
        except BaseException:
            flow.abort()
            raise

    def _server_context(self, protocols: tuple[str, ...]) -> ssl.SSLContext:
        """The client's side, which trusts what this host trusts; made once for each choice of protocols."""
        if protocols not in self._contexts:
            context = ssl.create_default_context()
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self._ca_file is not None:
                context.load_verify_locations(self._ca_file)
            if protocols:
                context.set_alpn_protocols(list(protocols))
            self._contexts[protocols] = context
        return self._contexts[protocols]

    async def _accept(self, flow: Flow, name: str, protocols: Sequence[str]) -> TlsFlow:
        """TLS with the box, with a certificate of its own authority."""
        return await start_tls(flow, self._issuer.context(name, protocols), server_side=True)

    async def _explain(self, flow: Flow, target: Target, wanted: Sequence[str], refusal: Refusal) -> None:
        """Answer the box's first request with why there is no connection."""
        assert target.name is not None
        protocols = [HTTP1] if HTTP1 in wanted else list(wanted)
        box = await self._accept(flow, target.name, protocols)
        refuse = refuse_http2 if box.protocol == HTTP2 else refuse_http1
        await refuse(box, refusal)


class _UnreachableError(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


async def _read_hello(flow: Flow) -> ClientHello:
    """What a TLS client says first; it stays to be read. Raises NotTlsError."""
    received = b""
    while (hello := parse_hello(received)) is None:
        more = await flow.read()
        if not more:
            raise NotTlsError("it ended before it began")
        received += more
    flow.unread(received)
    return hello


async def _relay_untouched(flow: Flow, connect: Connect) -> None:
    server = await connect()
    try:
        await relay(flow, server)
    except* ConnectionError:
        pass
    finally:
        server.close()
