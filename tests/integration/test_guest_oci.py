from __future__ import annotations

from guest.oci import (
    BindMount,
    ContainerSpec,
    ProcessSpec,
    TmpfsMount,
    build_config,
    default_env,
    merge_env,
)
from guest.users import User

PROCESS = ProcessSpec(
    argv=("sh", "-c", "true"),
    env=("PATH=/bin",),
    working_dir="/srv",
    user=User(uid=5, gid=6, groups=(7,)),
    tty=True,
    capabilities=("CHOWN", "KILL"),
    rlimits=(("nofile", 10, 20),),
    rows=33,
    cols=77,
)


def _mount_of(config: dict[str, object], target: str) -> dict[str, object]:
    mounts = config["mounts"]
    assert isinstance(mounts, list)
    return next(mount for mount in mounts if mount["destination"] == target)


def test_build_config_process_carries_everything_asked_for() -> None:
    process = build_config(ContainerSpec(process=PROCESS, rootfs="/r", hostname="box"))["process"]

    assert process["args"] == ["sh", "-c", "true"]
    assert process["user"] == {"uid": 5, "gid": 6, "additionalGids": [7]}
    assert process["cwd"] == "/srv"
    assert process["consoleSize"] == {"height": 33, "width": 77}
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]
    for kind in ("bounding", "effective", "permitted"):
        assert process["capabilities"][kind] == ["CAP_CHOWN", "CAP_KILL"]
    assert "inheritable" not in process["capabilities"]
    assert "ambient" not in process["capabilities"]


def test_build_config_has_no_network_namespace_of_its_own() -> None:
    config = build_config(ContainerSpec(process=PROCESS, rootfs="/r", hostname="box"))

    assert {one["type"] for one in config["linux"]["namespaces"]} == {"pid", "ipc", "uts", "mount", "cgroup"}


def test_build_config_privileged_masks_nothing_and_writes_sys() -> None:
    spec = ContainerSpec(process=PROCESS, rootfs="/r", hostname="box", privileged=True)
    config = build_config(spec)

    assert "maskedPaths" not in config["linux"]
    assert "rw" in _mount_of(config, "/sys")["options"]  # type: ignore[operator]
    unprivileged = build_config(ContainerSpec(process=PROCESS, rootfs="/r", hostname="box"))
    assert "/proc/kcore" in unprivileged["linux"]["maskedPaths"]
    assert "ro" in _mount_of(unprivileged, "/sys")["options"]  # type: ignore[operator]


def test_build_config_mounts_parents_before_children() -> None:
    mounts = (
        BindMount(source="/share/1", target="/data/a/b", read_only=True),
        TmpfsMount(target="/data", size_bytes=4096, mode=0o700),
    )
    config = build_config(ContainerSpec(process=PROCESS, rootfs="/r", hostname="box", mounts=mounts))

    targets = [mount["destination"] for mount in config["mounts"]]
    assert targets.index("/data") < targets.index("/data/a/b")
    assert _mount_of(config, "/data")["options"] == [
        "mode=700",
        "nosuid",
        "nodev",
        "rw",
        "noexec",
        "size=4096",
    ]
    assert _mount_of(config, "/data/a/b")["options"] == ["rbind", "rprivate", "ro"]


def test_merge_env_last_value_wins_in_first_place() -> None:
    assert merge_env(("A=1", "B=2"), ("A=3", "C=x=y")) == ("A=3", "B=2", "C=x=y")


def test_default_env_without_a_home_is_the_root() -> None:
    assert "HOME=/" in default_env(hostname="box", home="", tty=False)
    assert "TERM=xterm" in default_env(hostname="box", home="/root", tty=True)
