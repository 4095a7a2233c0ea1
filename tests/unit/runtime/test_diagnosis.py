"""What `why` makes of the evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.model import BoxRecord, BoxSpec, BoxStatus, HealthState, utc_now
from engine.runtime.attempts import FailedStart
from engine.runtime.diagnosis import diagnose
from tests.framework.records import make_record


def box(status: BoxStatus, *, spec: BoxSpec | None = None, **state: Any) -> BoxRecord:
    record = make_record("web", status=status)
    return replace(record, spec=spec or record.spec, state=replace(record.state, **state))


ENDED = "the main command ended"


@pytest.mark.parametrize(
    ("record", "tails", "cause", "step", "fine"),
    [
        (box(BoxStatus.RUNNING), {}, "it runs", "nothing to do", True),
        (box(BoxStatus.RUNNING, health=HealthState.UNHEALTHY, health_failures=3), {}, "3 times in a row", "exec web", False),
        (box(BoxStatus.PAUSED, reason="the host's disk is full"), {}, "disk is full", "unpause web", False),
        (box(BoxStatus.CONFIGURED), {}, "never started", "boxlite start web", True),
        (box(BoxStatus.STOPPED, oom_killed=True, exit_code=137), {}, "512 MiB", "--memory 1024m web", False),
        (box(BoxStatus.STOPPED, reason="the host was restarted", exit_code=137), {}, "host was restarted", "start web", False),
        (box(BoxStatus.STOPPED, reason="its shim was killed", exit_code=137), {}, "killed from outside", "dmesg", False),
        (box(BoxStatus.STOPPED, reason=ENDED, exit_code=0), {}, "without an error", "logs web", True),
        (box(BoxStatus.STOPPED, reason=ENDED, exit_code=0, spec=BoxSpec(image="a")) , {}, "without an error", "run -it", True),
        (box(BoxStatus.STOPPED, reason=ENDED, exit_code=3), {}, "status 3, which is its own", "logs web", False),
        (box(BoxStatus.STOPPED, reason=ENDED, exit_code=139), {}, "SIGSEGV", "logs web", False),
        (box(BoxStatus.STOPPED, reason="stop", exit_code=143), {}, "it was stopped: stop", "start web", True),
        (box(BoxStatus.STOPPED, reason="no such file", exit_code=127), {}, "does not exist in the image", "inspect", False),
        (box(BoxStatus.FAILED, reason="the machine ended"), {"console": ["x", "Kernel panic - not syncing: y"]}, "kernel gave up", "--console web", False),
        (box(BoxStatus.FAILED, reason="the machine ended"), {"qemu": ["cannot set up guest memory 'ram'"]}, "no memory left", "--memory 256m web", False),
        (box(BoxStatus.FAILED, reason="the machine ended"), {}, "the machine ended", "logs web", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_diagnosis_of_evidence(
    record: BoxRecord, tails: dict[str, list[str]], cause: str, step: str, fine: bool
) -> None:
    found = diagnose(record, None, tails)
    assert cause in found.cause and step in found.next_step
    assert found.is_fine is fine


def test_diagnosis_of_a_failed_start_says_what_the_error_said() -> None:
    failure = FailedStart(
        time=utc_now().isoformat(),
        stage="box_config_ms",
        code="port_in_use",
        message="port 80 is in use",
        hint="choose another",
    )
    found = diagnose(box(BoxStatus.CONFIGURED), failure, {})
    assert found.cause == "its last start failed: port 80 is in use"
    assert found.next_step == "choose another; then boxlite start web"


def test_diagnosis_of_a_machine_that_did_not_start_looks_into_its_logs() -> None:
    failure = FailedStart(
        time=utc_now().isoformat(), stage="container_init_ms", code="engine_error", message="it did not start"
    )
    tails = {"console": ["Initramfs unpacking failed: write error"]}
    assert "too small" in diagnose(box(BoxStatus.FAILED), failure, tails).cause
