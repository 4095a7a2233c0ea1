"""A token server as registries use them: tokens that Debian's docker-registry verifies, signed with openssl.

distribution, "Token Authentication Specification" and "Token Authentication Implementation".
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from engine.process import find_program

ISSUER, SERVICE = "tests", "registry.test"
LIFE_S = 300


class TokenServer:
    """Gives a token for whatever scope one of `users` asks for, and 401 to everybody else. `asked` are the queries."""

    def __init__(self, directory: Path, users: Mapping[str, str]) -> None:
        openssl = find_program("openssl")
        if openssl is None:
            pytest.skip("openssl is not installed")
        directory.mkdir()
        self._openssl = openssl
        self._key, self.certificate = directory / "key.pem", directory / "certificate.pem"
        subprocess.run(
            (openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens",
             "-keyout", self._key, "-out", self.certificate),
            check=True, capture_output=True,
        )  # fmt: skip
        self._known = {_basic(user, password) for user, password in users.items()}
        self.asked: list[dict[str, list[str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.realm = f"http://{self.host}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(self, repository: str, actions: Sequence[str]) -> str:
        """A signed token that lets its bearer do that."""
        access = [{"type": "repository", "name": repository, "actions": list(actions)}]
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": SERVICE, "sub": "", "jti": secrets.token_hex(8), "access": access,
            "iat": now, "nbf": now - 10, "exp": now + LIFE_S,
        }  # fmt: skip
        der = base64.b64encode(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).decode()
        unsigned = ".".join(
            _coded(json.dumps(part).encode())
            for part in ({"typ": "JWT", "alg": "RS256", "x5c": [der]}, claims)
        )
        signed = subprocess.run(
            (self._openssl, "dgst", "-sha256", "-sign", self._key),
            input=unsigned.encode(),
            capture_output=True,
            check=True,
        )
        return f"{unsigned}.{_coded(signed.stdout)}"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        query = parse_qs(urlsplit(handler.path).query)
        self.asked.append(query)
        status, body = 401, b'{"details": "who are you?"}'
        if handler.headers.get("Authorization") in self._known:
            _, repository, actions = query["scope"][0].split(":")
            status, body = 200, json.dumps({"token": self.token(repository, actions.split(","))}).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _coded(data: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
