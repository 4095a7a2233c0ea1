"""Names of images: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.

The grammar is that of the distribution project (reference/regexp.go, reference/normalize.go): what it accepts is
accepted, what it refuses is refused.
"""

from __future__ import annotations

import re
from dataclasses import replace

from engine.errors import InvalidArgumentError
from engine.values import dataclass

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
LOCAL_REGISTRY = "localhost"
"""Images under this host (without a port) exist only here; no registry is ever asked for them."""

_LEGACY_DEFAULT_REGISTRY = "index.docker.io"
_OFFICIAL = "library/"
_NAME_MAX_CHARS = 255

_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_BARE_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """A fully qualified name. At least one of `tag` and `digest` is set; where both are, the digest decides."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Read a reference as people write it; docker.io, `library/` and `:latest` are filled in.

        Raises InvalidArgumentError, naming the part that is wrong.
        """
        if _BARE_ID.fullmatch(text):
            raise _invalid(text, "64 hexadecimal digits are an image's id, not a name")
        if "://" in text:
            raise _invalid(text, "a name has no scheme in front of its host")
        name, tag, digest = _split(text)
        registry, path = split_registry(name)
        if not _HOST.fullmatch(registry):
            raise _invalid(text, f"{registry!r} is not a registry's host name")
        if not path:
            raise _invalid(text, "the repository's name is missing")
        if path.lower() != path:
            shown = path if path in text else path.removeprefix(_OFFICIAL)
            raise _invalid(text, f"the repository's name must be lower case: {shown!r}")
        if not _PATH.fullmatch(path):
            raise _invalid(text, f"{path!r} is not a repository's name")
        if len(registry) + 1 + len(path) > _NAME_MAX_CHARS:
            raise _invalid(text, f"the name is longer than {_NAME_MAX_CHARS} characters")
        if tag is not None and not _TAG.fullmatch(tag):
            raise _invalid(text, f"{tag!r} is not a tag")
        if digest is not None and not is_digest(digest):
            raise _invalid(text, f"{digest!r} is not a sha256 or sha512 digest")
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(registry=registry, repository=path, tag=tag, digest=digest)

    def __str__(self) -> str:
        return self.name + self._suffix

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """As people write it: without docker.io and `library/`."""
        name = self.name
        if self.registry == DEFAULT_REGISTRY:
            name = self.repository.removeprefix(_OFFICIAL)
            if "/" in name and self.repository.startswith(_OFFICIAL):
                name = self.repository
        return name + self._suffix

    @property
    def is_local(self) -> bool:
        """Never to be fetched."""
        return self.registry == LOCAL_REGISTRY

    def with_digest(self, digest: str) -> ImageReference:
        """The same repository, by digest alone."""
        return replace(self, tag=None, digest=digest)

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def is_digest(text: str) -> bool:
    """`sha256:` and 64, or `sha512:` and 128 lower-case hexadecimal digits; no other algorithm is supported."""
    return _DIGEST.fullmatch(text) is not None


def is_short_name(text: str) -> bool:
    """No registry is named: the search list applies."""
    return not _names_registry(text.partition("/")[0], "/" in text)


def split_registry(name: str) -> tuple[str, str]:
    """Registry and repository path, defaults filled in. Nothing is checked."""
    first, slash, rest = name.partition("/")
    if _names_registry(first, bool(slash)):
        registry, path = first, rest
    else:
        registry, path = DEFAULT_REGISTRY, name
    if registry == _LEGACY_DEFAULT_REGISTRY:
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and path and "/" not in path:
        path = _OFFICIAL + path
    return registry, path


def _names_registry(first: str, has_path: bool) -> bool:
    looks_so = "." in first or ":" in first or first == LOCAL_REGISTRY or first.lower() != first
    return has_path and looks_so


def _split(text: str) -> tuple[str, str | None, str | None]:
    name, at, digest = text.partition("@")
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    return f"{head}{slash}{last}", tag if colon else None, digest if at else None


def _invalid(text: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"invalid image reference {text!r}: {why}",
        hint="write it as [HOST[:PORT]/]NAME[:TAG][@DIGEST], for example docker.io/library/alpine:3.20",
    )
