"""What was asked for is refused by name where it cannot be kept: a policy that is quietly not applied would be worse than
none."""

from __future__ import annotations

import os

from engine import host
from engine.model import BoxSpec, SecurityOptions
from engine.progress import Progress, ProgressSink
from engine.runtime.restrictions import is_restricted, restriction_of


def check_support(spec: BoxSpec, progress: ProgressSink) -> None:
    """Raises InvalidArgumentError for a network rule that is none, and for security options no machine could start under;
    warns of those that do nothing."""
    if is_restricted(spec):
        restriction_of(spec)
    warn_of_security(spec, progress)


def warn_of_security(spec: BoxSpec, progress: ProgressSink) -> None:
    """Name every security option that does nothing here. Raises InvalidArgumentError for those no machine could start under."""
    if spec.security == SecurityOptions():
        return
    from engine.runtime.security_notes import check_security, ineffective_options

    check_security(spec)
    for text in ineffective_options(spec.security, system=host.operating_system(), is_root=os.geteuid() == 0):
        progress(Progress(stage="warning", item="security", message=text))
