"""Images on the command line: archives in and out, names, lists, what goes and what stays."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from engine.fsutil import disk_usage_bytes
from tests.framework.cli import Boxlite
from tests.framework.image_builder import BuiltImage, Entry, build_image, file, hardlink, layer_tar
from tests.framework.registry import RunningRegistry
from tests.framework.scripted_registry import Answer, ScriptedRegistry

SHARED = [file("shared", b"s" * 300_000)]
ONE = build_image(
    [SHARED, [file("one", b"1" * 200_000)]], config={"Cmd": ["/one"], "Labels": {"stage": "test"}}
)
TWO = build_image([SHARED, [file("two", b"2" * 100_000)]], config={"Cmd": ["/two"]})


@pytest.fixture
def boxlite(tmp_path: Path) -> Boxlite:
    """The command with a home of its own."""
    (tmp_path / "user").mkdir()
    return Boxlite(tmp_path / "home", {"HOME": str(tmp_path / "user")})


def docker_archive(image: BuiltImage, *names: str) -> bytes:
    """What `docker save` wrote before version 25."""
    document = json.loads(image.document)
    config = document["config"]["digest"]
    layers = [layer["digest"] for layer in document["layers"]]
    item = {
        "Config": f"{config[7:]}.json",
        "RepoTags": list(names) or None,
        "Layers": [f"{layer[7:]}/layer.tar" for layer in layers],
    }
    members = {
        item["Config"]: image.blobs[config],
        **{f"{layer[7:]}/layer.tar": gzip.decompress(image.blobs[layer]) for layer in layers},
        "manifest.json": json.dumps([item]).encode(),
    }
    return layer_tar([Entry(name=str(name), content=content) for name, content in members.items()])


def listed(boxlite: Boxlite, *words: str) -> list[str]:
    return boxlite.out("images", "--format", "{{.Repository}}:{{.Tag}}", *words).split()


def test_load_reads_standard_input_compressed_or_not(boxlite: Boxlite) -> None:
    archive = docker_archive(ONE, "one:1")
    assert boxlite.out("load", stdin=archive) == "Loaded image: docker.io/library/one:1"
    assert boxlite.out("load", "-q", stdin=gzip.compress(archive)) == "Loaded image: docker.io/library/one:1"
    assert boxlite.out("load", stdin=docker_archive(TWO)).startswith("Loaded image ID: sha256:")
    assert listed(boxlite) == ["docker.io/library/one:1"]
    assert len(listed(boxlite, "-a")) == 2


@pytest.mark.parametrize("compress", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_save_and_load_keep_an_image_and_its_names(
    boxlite: Boxlite, tmp_path: Path, kind: str, compress: str
) -> None:
    boxlite("load", stdin=docker_archive(ONE, "one:1", "localhost/other:2"), check=True)
    archive = tmp_path / "saved"
    boxlite(
        "save",
        "-o",
        str(archive),
        "--format",
        kind,
        "--compress",
        compress,
        "one:1",
        "localhost/other:2",
        check=True,
    )
    again = Boxlite(tmp_path / "again", boxlite.env)
    assert set(again.out("load", "-i", str(archive)).splitlines()) == {
        "Loaded image: docker.io/library/one:1",
        "Loaded image: localhost/other:2",
    }
    show = ("image", "inspect", "--format", "{{.Id}} {{.Digest}} {{json .Config}}", "one:1")
    assert again.out(*show) == boxlite.out(*show)


def test_save_to_standard_output_is_what_skopeo_reads(boxlite: Boxlite, tmp_path: Path) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    boxlite("load", stdin=docker_archive(ONE, "one:1"), check=True)
    (tmp_path / "out.tar").write_bytes(boxlite("save", "one:1", check=True).stdout)
    for transport in ("docker-archive", "oci-archive"):
        done = subprocess.run(
            (skopeo, "inspect", "--config", f"{transport}:{tmp_path / 'out.tar'}"),
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout)["config"]["Cmd"] == ["/one"]


def test_save_that_fails_leaves_the_old_file(boxlite: Boxlite, tmp_path: Path) -> None:
    (tmp_path / "saved").write_bytes(b"old")
    done = boxlite("save", "-o", str(tmp_path / "saved"), "nope:1")
    assert done.returncode == 1 and b"image nope:1 is not here" in done.stderr
    assert (tmp_path / "saved").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"saved", "home", "user"}


def test_save_where_no_directory_is_names_it(boxlite: Boxlite, tmp_path: Path) -> None:
    done = boxlite("save", "-o", str(tmp_path / "nowhere" / "saved"), "nope:1")
    assert done.returncode == 2 and f"there is no directory {tmp_path}/nowhere\n" in done.stderr.decode()


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("https://example.com/a.tar", "curl -fL https://example.com/a.tar | boxlite import -"),
        ("/etc", "tar -C /etc -c . | boxlite import -"),
    ],
)
def test_import_of_what_is_no_file_says_how_it_is_done(boxlite: Boxlite, source: str, remedy: str) -> None:
    done = boxlite("import", source)
    assert done.returncode == 2 and remedy in done.stderr.decode()


def test_load_of_what_is_no_archive_is_refused(boxlite: Boxlite, tmp_path: Path) -> None:
    done = boxlite("load", stdin=layer_tar([file("etc/passwd")]))
    assert done.returncode == 1 and b"is no image archive" in done.stderr and b"boxlite import" in done.stderr
    assert boxlite("load", str(tmp_path / "nope")).returncode == 2


def test_load_takes_an_image_from_podman(boxlite: Boxlite, tmp_path: Path) -> None:
    podman = shutil.which("podman")
    if podman is None:
        pytest.skip("podman is not installed")
    storage = tmp_path / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "vfs"\nrunroot = "{tmp_path}/run"\ngraphroot = "{tmp_path}/graph"\n'
    )
    env = boxlite.environment(CONTAINERS_STORAGE_CONF=str(storage))
    try:
        subprocess.run(
            (podman, "load"),
            input=docker_archive(ONE, "localhost/one:1"),
            env=env,
            check=True,
            capture_output=True,
        )
    except subprocess.CalledProcessError as error:
        pytest.skip(f"podman does not work here: {error.stderr.decode()[-200:]}")
    source = "containers-storage:localhost/one:1"
    variables = {"CONTAINERS_STORAGE_CONF": str(storage)}
    assert boxlite.out("load", source, **variables) == "Loaded image: localhost/one:1"
    assert boxlite.out("pull", "--policy", "missing", source).startswith("localhost/one:1\n")
    done = boxlite("pull", "containers-storage:localhost/nope:1", **variables)
    assert done.returncode == 1 and b"podman has no image localhost/nope:1" in done.stderr


def test_pull_from_docker_uses_its_command_line(boxlite: Boxlite, tmp_path: Path) -> None:
    """A program in the place of docker, whose daemon cannot run in a test."""
    (tmp_path / "image.tar").write_bytes(docker_archive(ONE, "one:1"))
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        "#!/bin/sh\n"
        '[ "$1 $2 $4" = "save --output one:1" ] || { echo "Error response from daemon: No such image: $4" >&2; exit 1; }\n'
        f'cp {tmp_path}/image.tar "$3"\n'
    )
    docker.chmod(0o755)
    path = f"{docker.parent}:{boxlite.environment()['PATH']}"
    assert boxlite.out("pull", "docker-daemon:one:1", PATH=path).startswith("docker.io/library/one:1\n")
    done = boxlite("pull", "docker-daemon:two:1", PATH=path)
    assert done.returncode == 1 and b"docker has no image two:1" in done.stderr
    done = boxlite("pull", "docker-daemon:", PATH=path)
    assert done.returncode == 2 and b"names no image" in done.stderr


def test_pull_policy_never_asks_nobody(boxlite: Boxlite) -> None:
    done = boxlite("pull", "--policy", "never", "127.0.0.1:9/x")
    assert done.returncode == 1 and b"pulling is switched off" in done.stderr


def test_pull_says_a_line_per_layer_and_one_at_the_end(boxlite: Boxlite, registry: RunningRegistry) -> None:
    reference = registry.push("lines", "1", ONE)
    first, second, last = boxlite("pull", reference, check=True).stderr.decode().splitlines()
    names = {layer["digest"][7:19] for layer in ONE.layers}
    assert {first.partition(":")[0], second.partition(":")[0]} == names
    assert ": pulled, " in first and ": pulled, " in second
    assert last.startswith(f"pulled {reference}, 2 of 2 layers, ")
    again = boxlite("pull", reference, check=True).stderr.decode().splitlines()
    assert all(": already here, " in line for line in again[:2]) and again[2:] == [
        f"{reference} is up to date"
    ]
    quiet = boxlite("pull", "-q", reference, check=True)
    assert quiet.stderr == b"" and quiet.stdout.startswith(b"sha256:")


def test_rmi_takes_names_and_then_the_image(boxlite: Boxlite) -> None:
    boxlite("load", stdin=docker_archive(ONE, "one:1"), check=True)
    boxlite("tag", "one:1", "one:2", check=True)
    assert boxlite.out("rmi", "one:1") == "Untagged: docker.io/library/one:1"
    assert boxlite.out("image", "rm", "one:2").splitlines()[1].startswith("Deleted: sha256:")
    done = boxlite("rmi", "one:1", "two:1")
    assert done.returncode == 1 and done.stderr.count(b"is not here") == 2


def test_rmi_refuses_what_a_box_is_made_from(boxlite: Boxlite) -> None:
    boxlite("load", stdin=docker_archive(ONE, "one:1"), check=True)
    boxlite("create", "--name", "web", "one:1", check=True)
    done = boxlite("rmi", "one:1")
    assert done.returncode == 1 and b"is used by box web" in done.stderr
    assert boxlite.out("rmi", "-f", "one:1") == "Untagged: docker.io/library/one:1"
    assert boxlite.out("image", "prune", "-af") == "" and len(listed(boxlite, "-a")) == 1
    boxlite("rm", "web", check=True)
    assert "sha256:" in boxlite.out("image", "prune", "-f")
    assert listed(boxlite, "-a") == []


def test_images_are_filtered_by_name_label_and_age(boxlite: Boxlite) -> None:
    for archive in (docker_archive(ONE, "one:1", "ghcr.io/me/one:2"), docker_archive(TWO, "two:1")):
        boxlite("load", stdin=archive, check=True)
    assert listed(boxlite, "one") == ["docker.io/library/one:1"]
    assert listed(boxlite, "--filter", "reference=ghcr.io/*/*") == ["ghcr.io/me/one:2"]
    assert len(listed(boxlite, "--filter", "label=stage=test")) == 2
    assert listed(boxlite, "--filter", "since=one:1") == ["docker.io/library/two:1"]
    assert listed(boxlite, "--filter", "until=1h") == listed(boxlite, "--filter", "dangling=true") == []
    assert len(boxlite.out("images", "-q").split()) == 2
    headings = boxlite.out("images", "--digests").splitlines()[0].split()
    assert headings == ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
    assert boxlite("images", "--filter", "colour=red").returncode == 2


def test_import_writes_configuration_and_history(boxlite: Boxlite) -> None:
    words = [
        "-c",
        'CMD ["/x"]',
        "-c",
        "ENV A=1",
        "-m",
        "by hand",
        "--platform",
        "linux/arm64",
        "-",
        "localhost/m:1",
    ]
    boxlite("import", *words, stdin=layer_tar([file("x")]), check=True)
    shown = json.loads(boxlite.out("image", "inspect", "localhost/m:1"))[0]
    assert (shown["Config"]["Cmd"], shown["Config"]["Env"], shown["Architecture"]) == (
        ["/x"],
        ["A=1"],
        "arm64",
    )
    step = json.loads(boxlite.out("image", "history", "--format", "json", "localhost/m:1"))[0]
    assert (step["CreatedBy"], step["Comment"]) == ("boxlite import", "by hand")


def test_history_shows_steps_with_and_without_layers(boxlite: Boxlite, tmp_path: Path) -> None:
    steps = [
        {"created": "2024-01-01T00:00:00Z", "created_by": "ADD rootfs"},
        {"created": "2024-01-02T00:00:00Z", "created_by": "ENV A=1", "empty_layer": True},
    ]
    built = build_image([[file("a", b"1")], [file("b", b"2")]], config_changes={"history": steps})
    boxlite("load", stdin=docker_archive(built, "h:1"), check=True)
    shown = json.loads(boxlite.out("image", "history", "--format", "json", "h:1"))
    assert [step["CreatedBy"] for step in shown] == ["", "ENV A=1", "ADD rootfs"]
    assert [step["ID"] == "<none>" for step in shown] == [False, True, False]
    table = boxlite.out("image", "history", "h:1").splitlines()
    assert table[0].split()[:2] == ["LAYER", "CREATED"] and len(table) == 4


def test_prune_frees_what_it_says_and_df_agrees_with_du(boxlite: Boxlite) -> None:
    for archive in (docker_archive(ONE, "one:1"), docker_archive(TWO, "two:1")):
        boxlite("load", stdin=archive, check=True)
    blobs = boxlite.home / "images" / "blobs"

    def usage() -> dict[str, int]:
        kinds = json.loads(boxlite.out("df", "--format", "json"))
        found = next(kind for kind in kinds if kind["Type"] == "images")
        return {"size": found["Size"], "reclaimable": found["Reclaimable"]}

    assert usage()["size"] == disk_usage_bytes(boxlite.home / "images")
    before = disk_usage_bytes(blobs)
    boxlite("image", "prune", "-af", "--filter", "reference=two", check=True)
    assert listed(boxlite) == ["docker.io/library/one:1"]
    freed = before - disk_usage_bytes(blobs)
    assert 90_000 < freed < 150_000  # its own layer and documents; the shared layer stays
    left = usage()["reclaimable"]
    boxlite("image", "prune", "-af", check=True)
    assert left == before - freed - disk_usage_bytes(blobs)
    assert disk_usage_bytes(blobs) < 20_000


def test_blobs_of_a_broken_pull_are_reclaimable_until_they_are_pruned(
    boxlite: Boxlite, scripted: ScriptedRegistry
) -> None:
    reference, missing = scripted.put("v1", TWO), TWO.layers[-1]["digest"]
    scripted.rules.append(lambda asked: Answer(status=403) if missing in asked.path else None)
    done = boxlite("pull", reference)
    assert done.returncode == 1 and b"pulled " + reference.encode() not in done.stderr
    (boxlite.home / "tmp" / f"blob-{missing.replace(':', '-')}.part").write_bytes(bytes(50_000))

    def reclaimable() -> int:
        kinds = json.loads(boxlite.out("df", "--format", "json"))
        return sum(kind["Reclaimable"] for kind in kinds if kind["Type"] in ("images", "temporary files"))

    def taken() -> int:
        return disk_usage_bytes(boxlite.home / "images" / "blobs") + disk_usage_bytes(boxlite.home / "tmp")

    promised, before = reclaimable(), taken()
    assert promised > 50_000
    assert json.loads(boxlite.out("gc", "--dry-run", "--format", "json"))["Freed"] == promised
    assert json.loads(boxlite.out("gc", "--format", "json"))["Freed"] == promised == before - taken()
    assert reclaimable() == 0


def test_pull_whose_disk_cannot_be_made_is_not_said_to_be_done(
    boxlite: Boxlite, registry: RunningRegistry
) -> None:
    reference = registry.push("undone", "1", build_image([[hardlink("a", "nowhere")]]))
    done = boxlite("pull", reference)
    assert done.returncode == 1 and b"hard link" in done.stderr
    assert b"pulled " + reference.encode() not in done.stderr and listed(boxlite) == []


def test_rootfs_base_goes_with_its_box(boxlite: Boxlite, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "bin" / "sh").write_text("#!")
    with tarfile.open(tmp_path / "rootfs.tar", "w") as tar:
        tar.add(rootfs, ".")
    bases = boxlite.home / "bases"
    for source in (rootfs, tmp_path / "rootfs.tar"):
        boxlite("create", "--name", "web", "--rootfs", str(source), check=True)
        assert len(list(bases.iterdir())) == 1
        done = boxlite("create", "--name", "web", "--rootfs", str(source))
        assert done.returncode == 125 and len(list(bases.iterdir())) == 1
        boxlite("rm", "web", check=True)
        assert list(bases.iterdir()) == []
    boxlite("create", "--name", "a", "--rootfs", str(tmp_path / "rootfs.tar"), check=True)
    boxlite("create", "--name", "b", "--rootfs", str(tmp_path / "rootfs.tar"), check=True)
    boxlite("rm", "a", check=True)
    assert len(list(bases.iterdir())) == 1


def test_reader_who_stopped_ends_save_quietly(boxlite: Boxlite) -> None:
    big = build_image([[file("big", bytes(8 << 20))]], compression="none")
    boxlite("load", stdin=oci_archive(big), check=True)
    name = boxlite.out("images", "-qa")
    process = boxlite.popen("save", name, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(60) == 141 and process.stderr.read() == b""
    process.stderr.close()


def oci_archive(image: BuiltImage) -> bytes:
    index = {"schemaVersion": 2, "manifests": [image.descriptor()]}
    blobs = {**image.blobs, image.digest: image.document}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": json.dumps(index).encode(),
            **{"blobs/" + digest.replace(":", "/"): blob for digest, blob in blobs.items()},
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()
