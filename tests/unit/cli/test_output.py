"""Tables, words and numbers for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxlite_cli import output
from boxlite_cli.humane import ago, duration_text, rfc3339, size_text, status_text
from boxlite_cli.output import Format, aligned, parse_format
from boxlite_cli.views import BOX_HEADINGS, box_object, box_row, box_summary, split_reference
from engine.errors import InvalidArgumentError
from engine.model import BoxRecord, BoxSpec, BoxState, BoxStatus, HealthState, PortSpec

NOW = datetime(2025, 1, 31, 12, 0, tzinfo=UTC)


def record(status: BoxStatus = BoxStatus.RUNNING, **state: object) -> BoxRecord:
    return BoxRecord(
        id="0a1b2c3d4e5f",
        name="web",
        spec=BoxSpec(image="alpine:3.20", ports=(PortSpec(box_port=80, host_port=8080),), labels={"a": "1"}),
        state=BoxState(status=status, changed_at=NOW, **state),  # type: ignore[arg-type]
        created_at=NOW - timedelta(hours=2),
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (3600, "1 hour"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"), (15 * 86400, "2 weeks"), (70 * 86400, "2 months"), (800 * 86400, "2 years"), (-5, "less than a second")],
)  # fmt: skip
def test_duration_text_has_one_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (4404019, "4.2 MiB"), (10**13, "9.09 TiB")],
)
def test_size_text_is_in_binary_units(size: int, text: str) -> None:
    assert size_text(size) == text


def test_times_are_rfc_3339_for_programs() -> None:
    assert rfc3339(NOW) == "2025-01-31T12:00:00.000000Z"
    assert rfc3339(None) is None
    assert ago(NOW - timedelta(minutes=5), NOW) == "5 minutes ago"


def test_status_text_says_how_long_and_how_it_ended() -> None:
    running = record(started_at=NOW - timedelta(minutes=5))
    assert status_text(running, NOW) == "running 5 minutes"
    well = record(started_at=NOW - timedelta(minutes=5), health=HealthState.HEALTHY)
    assert status_text(well, NOW) == "running 5 minutes (healthy)"
    stopped = record(BoxStatus.STOPPED, exit_code=7, finished_at=NOW - timedelta(hours=2))
    assert status_text(stopped, NOW) == "stopped (7) 2 hours ago"
    assert status_text(record(BoxStatus.CONFIGURED), NOW) == "configured"


def test_box_summary_has_the_documented_keys() -> None:
    summary = box_summary(record())
    assert list(summary) == ["ID", "Image", "Status", "CreatedAt", "Ports", "Names", "ExitCode", "Labels"]
    assert summary["Status"] == "running" and summary["Ports"] == "0.0.0.0:8080->80/tcp"
    assert set(box_row(record(), full=False)) == set(BOX_HEADINGS)


def test_box_object_is_plain_data_with_the_documented_keys() -> None:
    shown = box_object(record(started_at=NOW, pid=42))
    assert json.loads(json.dumps(shown)) == shown
    assert {"Id", "Name", "Image", "Created", "Status", "State", "Cpus", "Memory"} <= shown.keys()
    assert {"Status", "Running", "Pid", "ExitCode", "StartedAt", "LastActivityAt"} <= shown["State"].keys()
    assert shown["Memory"] == 512 * 1024**2 and shown["State"]["Pid"] == 42


def test_box_object_exit_code_is_null_while_it_runs() -> None:
    assert box_object(record(exit_code=3))["State"]["ExitCode"] is None
    assert box_object(record(BoxStatus.STOPPED, exit_code=3))["State"]["ExitCode"] == 3


@pytest.mark.parametrize(
    ("reference", "parts"),
    [("docker.io/library/alpine:3.20", ("docker.io/library/alpine", "3.20")), ("host:5000/x", ("host:5000/x", "<none>")), ("host:5000/x:1", ("host:5000/x", "1")), ("x@sha256:ab", ("x", "<none>"))],
)  # fmt: skip
def test_reference_is_split_into_repository_and_tag(reference: str, parts: tuple[str, str]) -> None:
    assert split_reference(reference) == parts


@given(
    st.lists(
        st.lists(st.text("abc ", max_size=6).map(str.strip), min_size=3, max_size=3), min_size=1, max_size=5
    )
)
def test_columns_stand_under_one_another(rows: list[list[str]]) -> None:
    lines = aligned(rows)
    starts = [max(len(row[0]) for row in rows) + 2]
    for row, line in zip(rows, lines, strict=True):
        assert line == line.rstrip()
        assert line.ljust(starts[0])[starts[0] :].startswith(row[1])


def test_format_words() -> None:
    assert parse_format(None, tuple(Format), default=Format.TABLE) == (Format.TABLE, "")
    assert parse_format("json", tuple(Format), default=Format.TABLE) == (Format.JSON, "")
    assert parse_format("{{.Id}}", tuple(Format), default=Format.TABLE)[0] is Format.TEMPLATE
    for wrong in ("template", "xml", "Id"):
        with pytest.raises(InvalidArgumentError, match="format"):
            parse_format(wrong, tuple(Format), default=Format.TABLE)
    with pytest.raises(InvalidArgumentError):
        parse_format("table", (Format.JSON,), default=Format.JSON)


def test_table_template_has_headings(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [box_row(record(), full=False)]
    output.print_template("table {{.Names}}\\t{{.ID}}", rows, headings=BOX_HEADINGS)
    assert capsys.readouterr().out == "NAMES  ID\nweb    0a1b2c3d4e5f\n"


def test_table_without_a_terminal_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("A", "BB"), [("x", "1"), ("long", "")])
    assert capsys.readouterr().out == "A     BB\nx     1\nlong\n"
