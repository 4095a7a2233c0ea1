"""The keys that leave a box alone; the terminal itself is `engine.terminal`."""

from __future__ import annotations

from engine.terminal import is_terminal, raw_mode, terminal_size

__all__ = ["DetachKeys", "is_terminal", "raw_mode", "terminal_size"]


class DetachKeys:
    """Finds the keys that detach in what is typed, even when they arrive in pieces.

    A key that may begin the sequence is held back until the next one tells.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the keys were typed (what comes after them is dropped)."""
        if not self._keys:
            return typed, False
        text = self._held + typed
        found = text.find(self._keys)
        if found >= 0:
            self._held = b""
            return text[:found], True
        kept = self._overlap(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], False

    def _overlap(self, text: bytes) -> int:
        """How many bytes at the end of `text` begin the sequence."""
        for length in range(min(len(self._keys) - 1, len(text)), 0, -1):
            if text.endswith(self._keys[:length]):
                return length
        return 0
