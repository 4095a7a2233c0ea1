"""Failures the host is told about, with the `code` of the host's error tree."""

from __future__ import annotations

import errno
import os


class GuestError(Exception):
    """A call failed for a reason the caller should see. `errno` is 0 when the operating system had no part in it."""

    def __init__(self, code: str, message: str, *, hint: str = "", errno: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.errno = errno


_CODES = {
    errno.ENOENT: "not_found",
    errno.EEXIST: "already_exists",
    errno.ENOTEMPTY: "not_empty",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.EROFS: "read_only",
    errno.ENOSPC: "resource_exhausted",
    errno.EDQUOT: "resource_exhausted",
    errno.ENOMEM: "resource_exhausted",
    errno.EMFILE: "resource_exhausted",
    errno.EAGAIN: "resource_exhausted",
    errno.EINVAL: "invalid_argument",
    errno.ENAMETOOLONG: "invalid_argument",
    errno.ENOTDIR: "not_directory",
    errno.EISDIR: "is_directory",
    errno.ELOOP: "invalid_argument",
    errno.EXDEV: "unsupported",
    errno.EBUSY: "invalid_state",
    errno.ETXTBSY: "invalid_state",
}


def from_os_error(error: OSError, doing: str) -> GuestError:
    """Translate what the operating system said while `doing` something (empty: the path alone is named)."""
    number = error.errno or 0
    name = error.filename
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    place = f" {name}" if name and str(name) not in doing else ""
    reason = (error.strerror or os.strerror(number)).lower() if number else str(error)
    return GuestError(_CODES.get(number, "internal"), f"{doing}{place}: {reason}".lstrip(), errno=number)
