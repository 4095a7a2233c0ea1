"""What the image's own files say or must be told: users, directories."""

from __future__ import annotations

from guest.errors import GuestError
from guest.requests import ContainerRequest
from guest.rootfs import is_directory_in_root, read_in_root
from guest.users import User, find_user


def check_working_dir(root_fd: int, path: str) -> None:
    if not is_directory_in_root(root_fd, path or "/"):
        raise GuestError(
            "not_found",
            f'working directory "{path}" does not exist in the image',
            hint="name a directory the image has, or make it in the image",
        )


def is_mounted(path: str, request: ContainerRequest) -> bool:
    """Does the path lie in a volume? Then it is not the image that has to have it."""
    targets = [bind.target.rstrip("/") for bind in request.binds]
    targets += [tmpfs.target.rstrip("/") for tmpfs in request.tmpfs]
    return any(path == target or path.startswith(f"{target}/") for target in targets)


def find_image_user(root_fd: int, user: str) -> User:
    return find_user(
        user, passwd=read_in_root(root_fd, "/etc/passwd"), group=read_in_root(root_fd, "/etc/group")
    )
