"""What can be asked for but is not built yet is refused by name: a policy that is quietly not applied would be worse than
none."""

from __future__ import annotations

from engine.errors import UnsupportedError
from engine.model import BoxSpec
from engine.runtime.restrictions import is_restricted, restriction_of


def refuse_unsupported(spec: BoxSpec) -> None:
    """Raises UnsupportedError for a spec whose promises could not be kept, InvalidArgumentError for a network rule that is
    none."""
    if is_restricted(spec):
        restriction_of(spec)
    for asked, flag, instead in (
        (spec.security.uid, "security uid", "leave it out"),
        (spec.security.gid, "security gid", "leave it out"),
        (spec.security.sandbox_profile, "security sandbox_profile", "leave it out"),
    ):
        if asked:
            raise UnsupportedError(f"{flag} has no effect in this version yet", hint=instead)
