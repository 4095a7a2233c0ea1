from __future__ import annotations

import pytest

from guest.crun import explain_failure


@pytest.mark.parametrize(
    ("message", "command", "code"),
    [
        ("executable file `nosuch` not found in $PATH: No such file or directory", "nosuch", "command_not_found"),
        ("executable file `/no/such` not found: No such file or directory", "/no/such", "command_not_found"),
        ("the path `/etc/passwd` exists but it is not executable: Operation not permitted", "/etc/passwd", "command_not_executable"),
        ("the path `/etc` is not a regular file: Operation not permitted", "/etc", "command_not_executable"),
        ("exec container process `/x`: Exec format error", "/x", "command_not_executable"),
        ("mount `tmpfs` to `data`: No such file or directory", "true", "execution_failed"),
    ],
)  # fmt: skip
def test_explain_failure_tells_missing_from_unrunnable(message: str, command: str, code: str) -> None:
    error = explain_failure([message], command)

    assert error.code == code
    assert command in error.message
