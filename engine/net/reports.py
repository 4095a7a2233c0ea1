"""What the gateway tells others: a line in the log for every attempt, an event for every denial, the counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from engine.net.connectionlog import ConnectionEntry, ConnectionLog, now
from engine.net.counts import Counts
from engine.net.policy import Decision

QUIET_S = 30.0
"""How long the same denial makes no further event; the log has every one."""
MOST_EVENTS_PER_MINUTE = 60
MAX_REMEMBERED = 1024


class Reports:
    """Collects what happens in one gateway. `tell` takes what is to become an event."""

    def __init__(self, log: ConnectionLog, tell: Callable[[dict[str, object]], None]) -> None:
        self.counts = Counts()
        self._log = log
        self._tell = tell
        self._told: dict[tuple[str, str], float] = {}
        self._minute = 0
        self._events = 0

    def allowed(self, protocol: str, decision: Decision, *, name: str, address: str, port: int) -> None:
        self.counts.add_connection(name or address)
        self._write("allowed", protocol, name, address, port, decision.rule)

    def failed(
        self, protocol: str, decision: Decision, *, name: str, address: str, port: int, reason: str
    ) -> None:
        """The policy allows it, but the connection does not come about."""
        self.counts.failed += 1
        self._write("failed", protocol, name, address, port, decision.rule, reason)

    def denied(self, protocol: str, decision: Decision, *, name: str, address: str, port: int) -> None:
        self.counts.add_denied(name or address)
        entry = self._write(
            "denied", protocol, name, address, port, decision.rule, decision.reason, decision.remedy
        )
        if self._is_news(entry):
            self._tell({"denied": {field: value for field, value in asdict(entry).items() if value}})

    def _write(
        self, verdict: str, protocol: str, name: str, address: str, port: int, rule: str,
        reason: str = "", remedy: str = "",
    ) -> ConnectionEntry:  # fmt: skip
        entry = ConnectionEntry(
            time=now(), verdict=verdict, protocol=protocol, name=name, address=address, port=port, rule=rule,
            reason=reason, remedy=remedy,
        )  # fmt: skip
        self._log.write(entry)
        return entry

    def _is_news(self, entry: ConnectionEntry) -> bool:
        moment = time.monotonic()
        minute = int(moment / 60)
        if minute != self._minute:
            self._minute, self._events = minute, 0
        key = (entry.protocol, entry.target)
        if moment - self._told.get(key, float("-inf")) < QUIET_S or self._events >= MOST_EVENTS_PER_MINUTE:
            return False
        if len(self._told) >= MAX_REMEMBERED:
            self._told.pop(next(iter(self._told)))
        self._told[key] = moment
        self._events += 1
        return True
