"""What the image's own files say or must be told: users, directories, trusted certificates."""

from __future__ import annotations

import os

from guest.errors import GuestError
from guest.requests import ContainerRequest
from guest.rootfs import (
    exists_in_root,
    is_directory_in_root,
    make_directories_in_root,
    open_in_root,
    read_in_root,
)
from guest.users import User, find_user

_TRUST_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def check_working_dir(root_fd: int, path: str) -> None:
    if not is_directory_in_root(root_fd, path or "/"):
        raise GuestError(
            "not_found",
            f'working directory "{path}" does not exist in the image',
            hint="name a directory the image has, or make it in the image",
        )


def is_mounted(path: str, request: ContainerRequest) -> bool:
    """Does the path lie in a volume? Then it is not the image that has to have it."""
    targets = (mount.target.rstrip("/") for mount in (*request.binds, *request.tmpfs))
    return any(path == target or path.startswith(f"{target}/") for target in targets)


def find_image_user(root_fd: int, user: str) -> User:
    return find_user(
        user, passwd=read_in_root(root_fd, "/etc/passwd"), group=read_in_root(root_fd, "/etc/group")
    )


def trust(root_fd: int, certificates: tuple[str, ...]) -> None:
    """Append certificates to every trust bundle the image has, once."""
    if not certificates:
        return
    wanted = "".join(f"{pem.strip()}\n" for pem in certificates).encode()
    bundles = [path for path in _TRUST_BUNDLES if exists_in_root(root_fd, path)]
    if not bundles:
        make_directories_in_root(root_fd, "/etc/ssl/certs")
        bundles = [_TRUST_BUNDLES[0]]
    for path in bundles:
        if wanted in read_in_root(root_fd, path):
            continue
        fd = open_in_root(root_fd, path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        with open(fd, "wb") as file:
            file.write(b"\n" + wanted)
