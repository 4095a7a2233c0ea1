"""Making an image trust one more certificate authority, as an addition to those it trusts already.

Programs look in different places: the system's bundle, whose path depends on the distribution, or a file that a variable
names. The authority is put into every bundle the image has, where the distribution's own tool finds it when it makes
the bundle anew, and into a file of its own.
"""

from __future__ import annotations

import os
import stat

from guest.errors import GuestError
from guest.rootfs import (
    exists_in_root,
    is_directory_in_root,
    make_directories_in_root,
    open_in_root,
    read_in_root,
)

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, distroless
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine's libressl, FreeBSD-like layouts
)
_OWN_FILE = "/usr/local/share/ca-certificates/boxlite.crt"
"""Also where update-ca-certificates(8) takes authorities from."""
_ANCHORS = "/etc/pki/ca-trust/source/anchors"
"""The same for update-ca-trust(8)."""
_BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",  # OpenSSL, Python, Go, Ruby, uv
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",  # Python's requests, pip
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NIX_SSL_CERT_FILE",
)
_ADDING_VARIABLES = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""What is in the file they name is trusted besides what the program brings along."""
_BEGIN, _END = b"# BoxLite: begin\n", b"# BoxLite: end\n"
_MAX_BUNDLE_BYTES = 16 << 20


def trust(root_fd: int, certificates: tuple[str, ...], env: tuple[str, ...]) -> tuple[str, ...]:
    """Add certificates (PEM) to every trust bundle below `root_fd`, in place of those of an earlier start, and return the
    variables that point programs to them. `env` is what image and user set: bundles named there count too.

    Raises OSError.
    """
    if not certificates:
        return ()
    wanted = "".join(f"{pem.strip()}\n" for pem in certificates).encode()
    named = [value for name, _, value in (entry.partition("=") for entry in env) if name in _BUNDLE_VARIABLES]
    bundles = [path for path in (*_BUNDLES, *dict.fromkeys(named)) if exists_in_root(root_fd, path)]
    if not bundles:
        bundles = [_BUNDLES[0]]
    for path in bundles:
        _write(root_fd, path, _with_block(read_in_root(root_fd, path, limit=_MAX_BUNDLE_BYTES), wanted))
    _write(root_fd, _OWN_FILE, wanted)
    if is_directory_in_root(root_fd, _ANCHORS):
        _write(root_fd, f"{_ANCHORS}/boxlite.pem", wanted)
    return (
        *(f"{name}={bundles[0]}" for name in _BUNDLE_VARIABLES),
        *(f"{name}={_OWN_FILE}" for name in _ADDING_VARIABLES),
    )


def _with_block(bundle: bytes, wanted: bytes) -> bytes:
    """The bundle with our block at its end, and without an older one."""
    before, begin, rest = bundle.partition(_BEGIN)
    if begin:
        bundle = before + rest.partition(_END)[2]
    if bundle and not bundle.endswith(b"\n"):
        bundle += b"\n"
    return bundle + _BEGIN + wanted + _END


def _write(root_fd: int, path: str, content: bytes) -> None:
    make_directories_in_root(root_fd, os.path.dirname(path))  # noqa: PTH120  a path in the box
    fd = open_in_root(root_fd, path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o644)
    with open(fd, "wb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise GuestError("invalid_state", f"{path} in the image is not a file")
        file.truncate(0)
        file.write(content)
