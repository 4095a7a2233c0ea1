"""The output log: every byte back, whatever the pieces; a guest that lies ends the log and nothing else."""

import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.shim import outputlog
from engine.shim.outputlog import OutputLog, read_frames
from guest.wire.constants import OUTPUT_FRAME_BYTES, OUTPUT_HEADER


def frame(stream: int, data: bytes) -> bytes:
    return OUTPUT_HEADER.pack(stream, len(data)) + data


@given(frames=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=300))), cut=st.integers(1, 50))
def test_output_log_gives_back_what_was_fed_in_any_pieces(
    tmp_path_factory: object, frames: list[tuple[int, bytes]], cut: int
) -> None:
    path = Path(tmp_path_factory.mktemp("log")) / "output.log"  # type: ignore[attr-defined]
    log = OutputLog(path)
    stream = b"".join(frame(number, data) for number, data in frames)
    for start in range(0, len(stream), cut):
        log.feed(stream[start : start + cut])
    log.close()
    with path.open("rb") as file:
        entries = [(entry.stream, entry.data) for entry in read_frames(file)]
    assert entries == [("stderr" if number == 2 else "stdout", data) for number, data in frames]


def test_output_log_of_a_lying_guest_keeps_what_was_good(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    log = OutputLog(path)
    log.feed(frame(1, b"good") + OUTPUT_HEADER.pack(1, OUTPUT_FRAME_BYTES + 1) + b"x" * 100)
    log.feed(frame(1, b"never"))
    log.close()
    with path.open("rb") as file:
        entries = list(read_frames(file))
    assert entries[0].data == b"good"
    assert b"not readable" in entries[1].data and len(entries) == 2


def test_output_log_past_the_cap_keeps_one_older_file(tmp_path: Path, monkeypatch: object) -> None:
    monkeypatch.setattr(outputlog, "CAP_BYTES", 1000)  # type: ignore[attr-defined]
    path = tmp_path / "output.log"
    log = OutputLog(path)
    for _ in range(100):
        log.feed(frame(1, b"0123456789" * 5))
    log.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["output.log", "output.log.1"]
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 2500


def test_read_frames_of_a_growing_file_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    log = OutputLog(path)
    log.feed(frame(1, b"one"))
    with path.open("rb") as file:
        assert [entry.data for entry in read_frames(file)] == [b"one"]
        log.feed(frame(2, b"two")[:4])
        assert list(read_frames(file)) == []
        log.feed(frame(2, b"two")[4:])
        assert [entry.data for entry in read_frames(file)] == [b"two"]
    log.close()


def test_output_log_on_a_full_disk_loses_what_came_then_and_keeps_nothing_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    log = OutputLog(path)
    log.feed(frame(1, b"before"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        for _ in range(50):
            with pytest.raises(OSError, match="too large"):
                log.feed(frame(1, b"x" * 1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(log._pending) == 0
    log.feed(frame(1, b"after"))
    log.close()
    with path.open("rb") as file:
        assert [entry.data for entry in read_frames(file)] == [b"before", b"after"]
