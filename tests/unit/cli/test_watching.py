"""What the commands that watch and clean up make of words: moments, filters, events, figures."""

from datetime import UTC, datetime, timedelta

import pytest

from boxlite_cli.happenings import event_line, event_object, parse_event_filter
from boxlite_cli.measures import stats_row
from boxlite_cli.pruning import parse_prune_filter
from boxlite_cli.times import parse_time
from engine.errors import InvalidArgumentError
from engine.events import BoxEvent, EventKind
from engine.metrics import BoxMetrics, CpuUse
from engine.model import BoxRecord, BoxSpec, BoxState, BoxStatus

NOW = datetime(2025, 1, 31, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("word", "moment"),
    [
        ("2025-01-31T07:00:00Z", NOW - timedelta(hours=1)),
        ("2025-01-31T09:00:00+01:00", NOW),
        ("10m", NOW - timedelta(minutes=10)),
        ("90", NOW - timedelta(seconds=90)),
        ("1h30m", NOW - timedelta(minutes=90)),
        (str(int(NOW.timestamp())), NOW),
        (f"{int(NOW.timestamp())}.5", NOW + timedelta(seconds=0.5)),
    ],
)
def test_parse_time_takes_moments_and_whiles_ago(word: str, moment: datetime) -> None:
    assert parse_time(word, NOW) == moment


@pytest.mark.parametrize("word", ["", "yesterday", "2025-13-01", "-5", "99999999999999999999"])
def test_parse_time_of_anything_else_quotes_it(word: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"time "):
        parse_time(word, NOW)


EVENT = BoxEvent(
    cursor=7, time=NOW, box_id="Ab3dEf6hIj9L", box_name="web", kind=EventKind.STOPPED, reason="stop",
    attributes={"from": "running", "to": "stopped", "exit_code": "3"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ([], True),
        (["name=web"], True),
        (["name=we"], False),
        (["name=db", "name=web"], True),
        (["id=Ab3"], True),
        (["box=Ab3"], True),
        (["box=web", "box=other"], True),
        (["box=we"], False),
        (["event=started"], False),
        (["event=started", "event=stopped", "name=web"], True),
        (["label=team"], True),
        (["label=team=x", "label=other"], False),
    ],
)
def test_event_filter_values_of_a_key_are_alternatives_but_labels(words: list[str], passes: bool) -> None:
    assert parse_event_filter(words).passes(EVENT, {"team": "x"}) is passes


@pytest.mark.parametrize("word", ["name", "colour=red", "event=exploded"])
def test_event_filter_that_is_none_names_what_there_is(word: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_event_filter([word])


def test_event_line_and_object_say_what_happened() -> None:
    assert event_line(EVENT) == ("2025-01-31T08:00:00.000000Z stopped Ab3dEf6hIj9L web (exit_code=3): stop")
    assert event_object(EVENT)["Cursor"] == 7 and event_object(EVENT)["Event"] == "stopped"


def stopped(labels: dict[str, str], ago: timedelta) -> BoxRecord:
    state = BoxState(status=BoxStatus.STOPPED, changed_at=NOW, finished_at=NOW - ago)
    spec = BoxSpec(image="a", labels=labels)
    return BoxRecord(id="x" * 12, name="x", spec=spec, state=state, created_at=NOW)


def test_prune_filter_must_hold_wholly() -> None:
    old, kept = stopped({}, timedelta(days=400)), stopped({"keep": "1"}, timedelta(days=400))
    wanted = parse_prune_filter([f"until={(NOW - timedelta(days=1)).isoformat()}", "label!=keep"])
    assert wanted.passes(old) and not wanted.passes(kept)
    assert not wanted.passes(stopped({}, timedelta(hours=1)))
    assert parse_prune_filter(["label=keep=1"]).passes(kept)
    with pytest.raises(InvalidArgumentError):
        parse_prune_filter(["status=stopped"])


def test_cpu_use_is_of_one_processor_and_never_negative() -> None:
    def look(second: float, cpu_us: int, host_us: int | None) -> BoxMetrics:
        return BoxMetrics(
            taken_at=NOW + timedelta(seconds=second), cpu_usage_us=cpu_us, memory_bytes=2**20,
            memory_limit_bytes=4 * 2**20, pids=1, network_bytes_received=0, network_bytes_sent=0,
            network_tcp_connections=0, network_tcp_errors=0, block_read_bytes=0, block_write_bytes=0,
            disk_used_bytes=0, disk_size_bytes=0, host_cpu_us=host_us,
        )  # fmt: skip

    use = CpuUse.between(look(0, 0, 100), look(2, 3_000_000, None))
    assert use == CpuUse(box_percent=150.0, host_percent=None)
    assert CpuUse.between(look(0, 9, 9), look(1, 0, 0)) == CpuUse(box_percent=0.0, host_percent=0.0)
    row = stats_row(stopped({}, timedelta(0)), look(2, 0, None), use)
    assert (row["CPUPerc"], row["MemPerc"], row["HostCPU"]) == ("150.00%", "25.00%", "-")
