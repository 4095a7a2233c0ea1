"""Directories and files of the host in a box; read-only ones cannot be written, whatever the box does."""

from pathlib import Path

from tests.framework.cli import Boxlite


def test_binds_tmpfs_and_anonymous_volumes_are_where_they_were_asked_for(
    boxlite: Boxlite, alpine: str, tmp_path: Path
) -> None:
    (tmp_path / "given").write_text("given\n")
    script = "cat /data/given /etc/one; echo made > /data/made; df /scratch | tail -1 | cut -d' ' -f1; touch /anon/x && echo ok"
    out = boxlite.out(
        "run", "--rm", "-v", f"{tmp_path}:/data", "-v", f"{tmp_path}/given:/etc/one", "--tmpfs", "/scratch", "-v", "/anon",
        alpine, "sh", "-c", script,
    )  # fmt: skip
    assert out.splitlines() == ["given", "given", "tmpfs", "ok"]
    assert (tmp_path / "made").read_text() == "made\n"
    assert list((boxlite.home / "volumes" / "anonymous").iterdir()) == []


def test_read_only_bind_is_not_written_even_by_remounting(
    boxlite: Boxlite, alpine: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("kept")
    script = "mount -o remount,rw /data; mount -o remount,rw,bind /data; echo broken > /data/file; rm /data/file; touch /data/new"
    boxlite("run", "--rm", "--privileged", "-v", f"{tmp_path}:/data:ro", alpine, "sh", "-c", script)
    assert (tmp_path / "file").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_volume_is_named_and_nothing_is_left(boxlite: Boxlite, alpine: str) -> None:
    for source, said in (
        ("/nonesuch", "volume host path /nonesuch"),
        ("nosuch", "volume 'nosuch' not found"),
    ):
        done = boxlite("run", "--rm", "-v", f"{source}:/x", alpine, "true")
        assert done.returncode in (2, 125)
        assert said in done.stderr.decode()
    assert boxlite.out("ls", "-aq") == ""


def test_new_volume_gets_what_the_image_has_at_its_place(
    boxlite: Boxlite, alpine: str, tmp_path: Path
) -> None:
    boxlite("volume", "create", "filled", check=True)
    expected = boxlite.out("run", "--rm", alpine, "ls", "/etc/apk")
    assert "repositories" in expected
    script = "ls /etc/apk; head -c 0 /etc/apk/repositories && echo mine > /etc/apk/mine; rm /etc/apk/world"
    assert boxlite.out("run", "--rm", "-v", "filled:/etc/apk", alpine, "sh", "-c", script) == expected
    again = boxlite.out("run", "--rm", "-v", "filled:/etc/apk", alpine, "ls", "/etc/apk").splitlines()
    assert "mine" in again and "world" not in again
    (tmp_path / "bound").mkdir()
    boxlite("volume", "create", "plain", check=True)
    words = ["-v", "plain:/etc/apk:nocopy", "-v", f"{tmp_path}/bound:/etc/init.d", "-v", "/etc/profile.d"]
    script = "ls /etc/apk /etc/init.d | grep -vc :; ls /etc/profile.d"
    said = boxlite.out("run", "--rm", *words, alpine, "sh", "-c", script).splitlines()
    assert said[0] == "1" and "color_prompt.sh.disabled" in said
