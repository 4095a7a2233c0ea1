"""Which images `images` shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from fnmatch import fnmatchcase

from boxlite_cli.parsers import parse_duration
from boxlite_cli.views import split_reference
from engine.errors import InvalidArgumentError, NotFoundError
from engine.model import Image, utc_now
from engine.values import dataclass

FILTER_KEYS = ("dangling", "reference", "label", "before", "since", "until")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilters:
    """Filters of one key are alternatives, except labels; filters of several keys must all hold."""

    by_key: dict[str, tuple[str, ...]]

    @property
    def looks_at_nameless(self) -> bool:
        return "dangling" in self.by_key


def parse_image_filters(words: Sequence[str], *, allowed: Sequence[str] = FILTER_KEYS) -> ImageFilters:
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in allowed:
            raise InvalidArgumentError(f"filter {word!r} is not KEY=VALUE with one of: {', '.join(allowed)}")
        if key == "dangling" and value not in _FLAGS:
            raise InvalidArgumentError(f"filter {word!r}: dangling is true or false")
        if key == "until":
            parse_duration(value)
        found[key] = (*found.get(key, ()), value)
    return ImageFilters(by_key=found)


def select_images(
    images: Sequence[Image], filters: ImageFilters, *, repository: str | None = None, nameless: bool = False
) -> list[Image]:
    """Those that pass, in their order. `repository` is a pattern as for the filter `reference`; images without a name only
    with `nameless`, or when a filter asks about them."""
    shown = images if nameless or filters.looks_at_nameless else [image for image in images if image.names]
    return [
        image
        for image in shown
        if (repository is None or _is_called(image, repository)) and _passes(image, filters, images)
    ]


def _passes(image: Image, filters: ImageFilters, everything: Sequence[Image]) -> bool:
    for key, values in filters.by_key.items():
        decide = all if key == "label" else any
        if not decide(_matches(image, key, value, everything) for value in values):
            return False
    return True


def _matches(image: Image, key: str, value: str, everything: Sequence[Image]) -> bool:
    match key:
        case "dangling":
            return _FLAGS[value] is not bool(image.names)
        case "reference":
            return _is_called(image, value)
        case "label":
            name, equals, wanted = value.partition("=")
            return name in image.config.labels and (not equals or image.config.labels[name] == wanted)
        case "before":
            return _age_key(image) < _age_key(_referred(everything, value))
        case "since":
            return _age_key(image) > _age_key(_referred(everything, value))
        case "until":
            return _age_key(image) < (utc_now() - timedelta(seconds=parse_duration(value))).timestamp()
    raise AssertionError(key)


def _age_key(image: Image) -> float:
    created = image.config.created
    return (created if created is not None and created.tzinfo else image.pulled_at).timestamp()


def _is_called(image: Image, pattern: str) -> bool:
    """Does a shell pattern fit the name, with or without tag, as people write it or in full?"""
    repository, tag = split_reference(image.reference)
    familiar = repository.removeprefix("docker.io/").removeprefix("library/")
    return any(
        fnmatchcase(name, pattern) or fnmatchcase(f"{name}:{tag}", pattern) for name in (repository, familiar)
    )


def _referred(everything: Sequence[Image], name: str) -> Image:
    for image in everything:
        if _is_called(image, name) or image.config_digest.removeprefix("sha256:").startswith(name):
            return image
    raise NotFoundError(f"no such image: {name}")
