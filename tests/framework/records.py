"""Records for the tests of the store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.ids import new_box_id
from engine.model import BoxRecord, BoxSpec, BoxState, BoxStatus, utc_now


def make_record(name: str, *, status: BoxStatus = BoxStatus.CONFIGURED, **changes: Any) -> BoxRecord:
    now = utc_now()
    record = BoxRecord(
        id=new_box_id(),
        name=name,
        spec=BoxSpec(image="docker.io/library/alpine:3.20", cmd=("sleep", "1"), env=(("A", "1"),)),
        state=BoxState(status=status, changed_at=now),
        created_at=now,
        manifest_digest="sha256:" + "0" * 64,
    )
    return replace(record, **changes)
