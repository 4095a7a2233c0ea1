"""The store of boxes over a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import AlreadyExistsError, InvalidArgumentError, InvalidStateError, NotFoundError
from engine.events import EventKind
from engine.layout import Layout
from engine.model import TRANSITIONS, Accel, BoxStatus, HealthState, ListedSpec, PortSpec, utc_now
from engine.store import BoxStore
from engine.store.rows import ROWS_AT_ONCE
from engine.store.schema import ACTIVE_CONDITION, ACTIVE_STATUSES
from tests.framework.records import make_record


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BoxStore]:
    async with BoxStore(Layout(tmp_path)) as opened:
        yield opened


async def test_insert_then_get_returns_the_same_record(store: BoxStore) -> None:
    record = make_record("web")
    await store.insert(record)
    assert await store.get(record.id) == record


async def test_store_reopened_has_what_was_written(tmp_path: Path) -> None:
    record = make_record("web")
    async with BoxStore(Layout(tmp_path)) as first:
        await first.insert(record)
    async with BoxStore(Layout(tmp_path)) as second:
        assert await second.list() == [record]


async def test_insert_with_taken_name_names_it_and_says_how_to_go_on(store: BoxStore) -> None:
    first = make_record("web")
    await store.insert(first)
    with pytest.raises(AlreadyExistsError, match=f"'web' is in use by box {first.id}") as caught:
        await store.insert(make_record("web"))
    assert "boxlite rm web" in str(caught.value.hint)
    assert "--name" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "x" * 129])
async def test_insert_with_invalid_name_is_refused(store: BoxStore, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="box name"):
        await store.insert(make_record(name))


async def test_insert_unnamed_makes_up_a_name_that_is_free(store: BoxStore) -> None:
    names = {(await store.insert_unnamed(make_record(""))).name for _ in range(30)}
    assert len(names) == 30
    assert names == {record.name for record in await store.list()}


async def test_resolve_by_id_name_and_prefix_finds_the_box(store: BoxStore) -> None:
    record = make_record("web", id="Abc123456789")
    other = make_record("db", id="Abd123456789")
    await store.insert(record)
    await store.insert(other)
    for ref in (record.id, "web", "Abc", "Abc12345678"):
        assert (await store.resolve(ref)).id == record.id


async def test_resolve_prefers_exact_name_to_prefix(store: BoxStore) -> None:
    await store.insert(make_record("one", id="web123456789"))
    named = make_record("web", id="zzz123456789")
    await store.insert(named)
    assert (await store.resolve("web")).id == named.id


async def test_resolve_prefers_exact_id_to_name(store: BoxStore) -> None:
    by_id = make_record("one", id="web123456789")
    await store.insert(by_id)
    await store.insert(make_record("web123456789", id="zzz123456789"))
    assert (await store.resolve("web123456789")).id == by_id.id


async def test_resolve_ambiguous_prefix_lists_candidates(store: BoxStore) -> None:
    for number in range(7):
        await store.insert(make_record(f"box{number}", id=f"Abc{number}23456789"))
    with pytest.raises(InvalidArgumentError, match=r"7 box ids: .*box6.* and 2 more"):
        await store.resolve("Abc")


@pytest.mark.parametrize("ref", ["nope", "abc", "%", "_", "A*", "\U0010ffff"])
async def test_resolve_unknown_raises_not_found(store: BoxStore, ref: str) -> None:
    await store.insert(make_record("web", id="Abc123456789"))
    with pytest.raises(NotFoundError, match="no such box: "):
        await store.resolve(ref)
    assert await store.find(ref) is None


async def test_find_with_empty_reference_is_refused(store: BoxStore) -> None:
    with pytest.raises(InvalidArgumentError):
        await store.find("")


async def test_list_is_newest_first_and_filters_by_status(store: BoxStore) -> None:
    start = utc_now()
    for number in range(4):
        await store.insert(make_record(f"box{number}", created_at=start + timedelta(seconds=number)))
    newest, *_, oldest = await store.list()
    assert (newest.name, oldest.name) == ("box3", "box0")
    await store.transition(oldest.id, BoxStatus.RUNNING, reason="started")
    assert [record.name for record in await store.list(ACTIVE_STATUSES)] == ["box0"]
    assert [record.name for record in await store.list({BoxStatus.RUNNING})] == ["box0"]
    assert len(await store.list({BoxStatus.CONFIGURED})) == 3
    assert await store.list(()) == []
    assert await store.count() == {BoxStatus.RUNNING: 1, BoxStatus.CONFIGURED: 3}


async def test_list_of_active_boxes_is_answered_from_the_partial_index(store: BoxStore) -> None:
    asked: list[str] = []
    async with store._database.reading() as connection:
        await connection.set_trace_callback(asked.append)
    await store.list(ACTIVE_STATUSES)
    await store.list_briefly([BoxStatus.RUNNING])
    async with store._database.reading() as connection:
        await connection.set_trace_callback(None)
        queries = [query for query in asked if query.startswith("SELECT")]
        for query in queries:
            plan = await connection.execute_fetchall(f"EXPLAIN QUERY PLAN {query}")
            assert ["boxes_active" in step[3] for step in plan] == [True], query
    assert len(queries) == 2
    assert all(status.value in ACTIVE_CONDITION for status in ACTIVE_STATUSES)


async def test_list_of_boxes_put_on_record_at_one_time_has_the_last_one_first(store: BoxStore) -> None:
    at_once = utc_now()
    for number in range(3):
        await store.insert(make_record(f"box{number}", created_at=at_once))
    await store.insert(make_record("late", created_at=at_once - timedelta(seconds=1)))
    assert [record.name for record in await store.list()] == ["box2", "box1", "box0", "late"]


async def test_list_briefly_has_the_same_boxes_with_what_a_list_shows(store: BoxStore) -> None:
    for number in range(ROWS_AT_ONCE + 1):
        await store.insert(make_record(f"box{number}"))
    whole, brief = await store.list(), await store.list_briefly()
    assert [(one.id, one.name, one.created_at, one.state) for one in brief] == [
        (one.id, one.name, one.created_at, one.state) for one in whole
    ]
    for field in fields(ListedSpec):
        assert getattr(brief[0].spec, field.name) == getattr(whole[0].spec, field.name)


async def test_transition_writes_state_and_event(store: BoxStore) -> None:
    record = make_record("web")
    await store.insert(record)
    started = await store.transition(
        record.id, BoxStatus.RUNNING, reason="started", expect={BoxStatus.CONFIGURED},
        pid=17, pid_start=99, accel=Accel.TCG, started_at=utc_now(), ports=(PortSpec(box_port=80, host_port=8080),),
    )  # fmt: skip
    assert started == await store.get(record.id)
    assert (started.state.pid, started.state.reason, started.status) == (17, "started", BoxStatus.RUNNING)
    ended = await store.transition(
        record.id, BoxStatus.STOPPED, reason="its command ended", exit_code=7, pid=None, pid_start=None
    )
    assert ended.state.started_at == started.state.started_at
    kinds = [event.kind for event in await store.events()]
    assert kinds == [EventKind.CREATED, EventKind.STARTED, EventKind.STOPPED]
    assert (await store.events())[-1].attributes == {"from": "running", "to": "stopped", "exit_code": "7"}


async def test_transition_from_unexpected_status_changes_nothing(store: BoxStore) -> None:
    record = make_record("web", status=BoxStatus.STOPPED)
    await store.insert(record)
    with pytest.raises(InvalidStateError, match="it is stopped, not configured"):
        await store.transition(record.id, BoxStatus.RUNNING, reason="", expect={BoxStatus.CONFIGURED})
    assert await store.get(record.id) == record


async def test_transition_of_a_box_that_another_shim_runs_by_now_changes_nothing(store: BoxStore) -> None:
    record = make_record("web")
    await store.insert(record)
    first = await store.transition(record.id, BoxStatus.RUNNING, reason="", pid=7, pid_start=1, boot_id="a")
    second = await store.transition(record.id, BoxStatus.STOPPED, reason="", pid=None, pid_start=None)
    third = await store.transition(record.id, BoxStatus.RUNNING, reason="", pid=7, pid_start=2)
    for seen in (first, second):
        with pytest.raises(InvalidStateError, match="it was started anew meanwhile"):
            await store.transition(record.id, BoxStatus.STOPPED, reason="", seen=seen)
    assert await store.get(record.id) == third
    await store.transition(record.id, BoxStatus.STOPPED, reason="", seen=third)


async def test_transition_of_missing_box_raises_not_found(store: BoxStore) -> None:
    with pytest.raises(NotFoundError):
        await store.transition("nope", BoxStatus.RUNNING, reason="")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.lists(st.sampled_from(BoxStatus), max_size=8))
async def test_transitions_in_any_order_follow_the_table(store: BoxStore, path: list[BoxStatus]) -> None:
    record = await store.insert_unnamed(make_record(""))
    start = await store.last_cursor()
    status, allowed = record.status, 0
    for wanted in path:
        if wanted in TRANSITIONS[status]:
            await store.transition(record.id, wanted, reason="walk")
            status, allowed = wanted, allowed + 1
        else:
            with pytest.raises(InvalidStateError):
                await store.transition(record.id, wanted, reason="walk")
        assert (await store.get(record.id)).status is status
        assert [r.id for r in await store.list({status})].count(record.id) == 1
    events = await store.events(after_cursor=start)
    assert len(events) == allowed
    if status.is_active:
        with pytest.raises(InvalidStateError):
            await store.remove(record.id)
    else:
        await store.remove(record.id)
        assert await store.find(record.id) is None


async def test_update_state_keeps_status_and_writes_no_event(store: BoxStore) -> None:
    record = make_record("web", status=BoxStatus.RUNNING)
    await store.insert(record)
    changed = await store.update_state(record.id, restart_count=3)
    assert changed.state == replace(record.state, restart_count=3)
    assert [event.kind for event in await store.events()] == [EventKind.CREATED]
    with pytest.raises(InvalidArgumentError):
        await store.update_state(record.id, status=BoxStatus.STOPPED)


async def test_update_state_with_other_health_writes_an_event(store: BoxStore) -> None:
    record = make_record("web", status=BoxStatus.RUNNING)
    await store.insert(record)
    await store.update_state(record.id, health=HealthState.UNHEALTHY, health_failures=3)
    event = (await store.events())[-1]
    assert (event.kind, event.reason) == (EventKind.HEALTH, "unhealthy")


async def test_update_spec_validates_and_writes(store: BoxStore) -> None:
    record = make_record("web")
    await store.insert(record)
    changed = await store.update_spec(record.id, cpus=2, labels={"a": "b"})
    assert (await store.get(record.id)).spec == changed.spec
    assert changed.spec.cpus == 2
    with pytest.raises(InvalidArgumentError):
        await store.update_spec(record.id, cpus=0)


async def test_rename_frees_the_old_name_and_refuses_a_taken_one(store: BoxStore) -> None:
    record = make_record("web")
    await store.insert(record)
    await store.insert(make_record("db"))
    assert (await store.rename(record.id, "www")).name == "www"
    await store.insert(make_record("web"))
    for taken in ("db", "www"):
        with pytest.raises(AlreadyExistsError):
            await store.rename(record.id, taken)


async def test_remove_of_active_box_is_refused_with_a_hint(store: BoxStore) -> None:
    record = make_record("web", status=BoxStatus.RUNNING)
    await store.insert(record)
    with pytest.raises(InvalidStateError) as caught:
        await store.remove(record.id)
    assert caught.value.hint == "boxlite stop web"


async def test_remove_of_unreadable_row_works(store: BoxStore) -> None:
    record = make_record("web")
    await store.insert(record)
    async with store._database.writing() as connection:
        await connection.execute("UPDATE boxes SET spec = '{}x'")
    with pytest.raises(Exception, match="web: metadata error"):
        await store.get(record.id)
    await store.remove(record.id)
    with pytest.raises(NotFoundError):
        await store.remove(record.id)


async def test_spec_of_newer_schema_is_refused(store: BoxStore) -> None:
    record = make_record("web")
    await store.insert(record)
    async with store._database.writing() as connection:
        await connection.execute("UPDATE boxes SET spec = json_set(spec, '$.schema', 99)")
    with pytest.raises(Exception, match="schema 99"):
        await store.get(record.id)
    with pytest.raises(Exception, match="schema 99"):
        await store.list_briefly()


async def test_events_are_read_by_cursor_time_and_limit(store: BoxStore) -> None:
    assert await store.last_cursor() == 0
    before = utc_now()
    record = await store.insert_unnamed(make_record(""))
    await store.record_event(record, EventKind.EXEC_STARTED, execution="e1")
    between = utc_now()
    await store.remove(record.id, reason="asked to")
    events = await store.events()
    assert [event.cursor for event in events] == [1, 2, 3]
    assert await store.events(after_cursor=2) == events[2:]
    assert await store.events(limit=1) == events[:1]
    assert await store.events(since=between) == events[2:]
    assert await store.events(until=between) == events[:2]
    assert await store.events(since=before, until=between) == events[:2]
    assert events[1].attributes == {"execution": "e1"}
    assert await store.last_cursor() == 3


async def test_old_events_go_and_cursors_are_not_used_again(
    store: BoxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.eventlog.EVENTS_KEPT", 5)
    record = make_record("web")
    await store.insert(record)
    for _ in range(9):
        await store.record_event(record, EventKind.EXEC_STARTED)
    assert [event.cursor for event in await store.events()] == [6, 7, 8, 9, 10]
