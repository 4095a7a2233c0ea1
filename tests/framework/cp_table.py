"""What `cp` does with every kind of source and destination, as data: the same rows hold into a box and out of it."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

Tree = dict[str, str]
"""Paths with what they are: `dir`, `-> TARGET`, or a file's content."""

SOURCE: Tree = {
    "f": "f", "lf": "-> f", "ld": "-> d", "gone": "-> nowhere", "empty": "dir",
    "d": "dir", "d/a": "a", "d/l": "-> a", "d/sub": "dir", "d/sub/b": "b",
    "mix": "dir", "mix/p": "dir", "mix/p/x": "x", "xim": "dir", "xim/p": "p",
}  # fmt: skip
TARGET: Tree = {
    "dir": "dir", "dir/keep": "keep", "file": "old", "lf": "-> file", "ld": "-> dir", "gone": "-> nowhere",
    "d": "dir", "d/a": "old", "d/z": "z", "mix": "dir", "mix/p": "file", "xim": "dir", "xim/p": "dir",
}  # fmt: skip


def below(name: str, *, of: str = "d") -> Tree:
    """A directory of the source, as it appears at `name`."""
    found = {name: "dir"} if name else {}
    for path, what in SOURCE.items():
        if path.startswith(f"{of}/"):
            found[f"{name}/{path[len(of) + 1 :]}".lstrip("/")] = what
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`cp OPTIONS SOURCE/source TARGET/target`: `becomes` is what is new or other in the target afterwards, `error` a
    pattern of what is said instead. `out` where it is not the same out of a box; `docker` why it is not what Docker does."""

    name: str
    source: str
    target: str
    becomes: Tree | None = None
    error: str = ""
    options: tuple[str, ...] = ()
    out: Tree | None = None
    docker: str = ""


PARENTS = "missing directories are made"
INSIDE = "a directory keeps its name in a destination that is made for it"
ROWS = (
    Row(name="file-missing", source="f", target="new", becomes={"new": "f"}),
    Row(name="file-missing-parent", source="f", target="no/new", becomes={"no": "dir", "no/new": "f"}, docker=PARENTS),
    Row(name="file-file", source="f", target="file", becomes={"file": "f"}),
    Row(name="file-dir", source="f", target="dir", becomes={"dir/f": "f"}),
    Row(name="file-dir-slash", source="f", target="dir/", becomes={"dir/f": "f"}),
    Row(name="file-missing-slash", source="f", target="no/", becomes={"no": "dir", "no/f": "f"}, docker=PARENTS),
    Row(name="file-file-slash", source="f", target="file/", error="not a directory"),
    Row(name="file-link-to-file", source="f", target="lf", becomes={"file": "f"}, out={"lf": "f"}),
    Row(name="file-link-to-dir", source="f", target="ld", becomes={"dir/f": "f"}),
    Row(name="file-dangling-link", source="f", target="gone", becomes={"gone": "f"}, docker="podman writes where the link leads"),
    Row(name="dir-missing", source="d", target="new", becomes={"new": "dir", **below("new/d")}, docker=INSIDE),
    Row(name="dir-missing-slash", source="d", target="new/", becomes={"new": "dir", **below("new/d")}, docker=INSIDE),
    Row(
        name="dir-missing-parent", source="d", target="no/new",
        becomes={"no": "dir", "no/new": "dir", **below("no/new/d")}, docker=PARENTS,
    ),
    Row(name="dir-dir", source="d", target="dir", becomes=below("dir/d")),
    Row(name="dir-dir-slash", source="d", target="dir/", becomes=below("dir/d")),
    Row(name="dir-slash-dir", source="d/", target="dir", becomes=below("dir/d")),
    Row(name="dir-same-name-merges", source="d", target="", becomes={k: v for k, v in below("d").items() if k != "d"}),
    Row(name="contents-dir", source="d/.", target="dir", becomes={f"dir/{k}": v for k, v in below("").items()}),
    Row(name="contents-missing", source="d/.", target="new", becomes=below("new")),
    Row(name="contents-missing-slash", source="d/.", target="new/", becomes=below("new"), docker=PARENTS),
    Row(name="contents-link-to-dir", source="d/.", target="ld", becomes={f"dir/{k}": v for k, v in below("").items()}),
    Row(name="contents-file", source="d/.", target="file", error="not a directory"),
    Row(name="contents-by-option", source="d", target="new", becomes=below("new"), options=("--no-include-parent",), docker="an option of ours"),
    Row(name="dir-file", source="d", target="file", error="not a directory"),
    Row(name="dir-link-to-dir", source="d", target="ld", becomes=below("dir/d")),
    Row(name="dir-link-to-file", source="d", target="lf", error="not a directory"),
    Row(name="empty-dir", source="empty", target="dir", becomes={"dir/empty": "dir"}),
    Row(name="empty-contents-missing", source="empty/.", target="new", becomes={"new": "dir"}),
    Row(name="link-missing", source="lf", target="new", becomes={"new": "-> f"}, docker="podman follows a link that is the source"),
    Row(name="link-dir", source="lf", target="dir", becomes={"dir/lf": "-> f"}, docker="podman follows a link that is the source"),
    Row(name="link-followed-missing", source="lf", target="new", becomes={"new": "f"}, options=("-L",), docker="podman has no -L"),
    Row(name="link-followed-dir", source="lf", target="dir", becomes={"dir/lf": "f"}, options=("-L",), docker="podman has no -L"),
    Row(name="link-to-dir-dir", source="ld", target="dir", becomes={"dir/ld": "-> d"}, docker="podman follows a link that is the source"),
    Row(name="link-to-dir-slash-dir", source="ld/", target="dir", becomes=below("dir/ld"), docker="podman calls it by the name of what the link leads to"),
    Row(name="link-to-dir-contents", source="ld/.", target="dir", becomes={f"dir/{k}": v for k, v in below("").items()}),
    Row(name="link-to-dir-followed", source="ld", target="dir", becomes=below("dir/ld"), options=("-L",), docker="podman has no -L"),
    Row(name="dangling-link-dir", source="gone", target="dir", becomes={"dir/gone": "-> nowhere"}, docker="podman follows a link that is the source"),
    Row(name="dangling-link-followed", source="gone", target="dir", error="does not exist", options=("-L",)),
    Row(name="source-missing", source="none", target="dir", error="does not exist"),
    Row(name="source-file-slash", source="f/", target="dir", error="does not exist|not a directory", docker="podman overlooks a slash behind a file when it copies out"),
    Row(name="source-file-contents", source="f/.", target="dir", error="does not exist|not a directory", docker="podman overlooks a slash behind a file when it copies out"),
    Row(name="source-with-dots", source="d/sub/../a", target="dir", becomes={"dir/a": "a"}),
    Row(name="no-overwrite", source="f", target="file", error="already exists", options=("--no-overwrite",)),
    Row(name="no-overwrite-missing", source="f", target="new", becomes={"new": "f"}, options=("--no-overwrite",), docker="an option of ours"),
    Row(name="dir-over-file-inside", source="mix", target="", error="director"),
    Row(name="file-over-dir-inside", source="xim", target="", error="director"),
    Row(name="file-dir-dot", source="f", target="dir/.", becomes={"dir/f": "f"}),
    Row(name="file-missing-dot", source="f", target="new/.", becomes={"new": "dir", "new/f": "f"}, docker=PARENTS),
    Row(name="file-below-file", source="f", target="file/x", error="not a directory", docker="podman puts it beside the file, under its new name"),
    Row(name="file-link-to-dir-slash", source="f", target="ld/", becomes={"dir/f": "f"}),
    Row(name="file-below-link-to-dir", source="f", target="ld/new", becomes={"dir/new": "f"}),
    Row(name="file-target-with-dots", source="f", target="dir/../new", becomes={"new": "f"}),
    Row(name="file-with-dot", source="./f", target="dir", becomes={"dir/f": "f"}),
    Row(name="file-below-link-in-source", source="ld/a", target="dir", becomes={"dir/a": "a"}),
    Row(name="dir-dir-dot", source="d", target="dir/.", becomes=below("dir/d")),
    Row(name="dir-two-slashes-dir", source="d//", target="dir", becomes=below("dir/d")),
    Row(name="dir-below-dir-merges", source="d/sub", target="d", becomes={"d/sub": "dir", "d/sub/b": "b"}),
    Row(name="dir-file-slash", source="d", target="file/", error="not a directory"),
    Row(name="dir-dangling-link", source="d", target="gone", error="not a directory", docker="podman writes where the link leads"),
    Row(name="empty-dir-missing", source="empty", target="new", becomes={"new": "dir", "new/empty": "dir"}, docker=INSIDE),
    Row(name="empty-contents-dir", source="empty/.", target="dir", becomes={}),
    Row(name="contents-below-dir", source="d/sub/.", target="dir", becomes={"dir/b": "b"}),
    Row(name="contents-conflict-inside", source="mix/.", target="mix", error="director"),
    Row(name="contents-by-option-dir", source="d", target="dir", becomes={f"dir/{k}": v for k, v in below("").items()}, options=("--no-include-parent",), docker="an option of ours"),
    Row(name="link-below-dir-missing", source="d/l", target="new", becomes={"new": "-> a"}, docker="podman follows a link that is the source"),
    Row(name="link-to-dir-missing", source="ld", target="new", becomes={"new": "-> d"}, docker="podman follows a link that is the source"),
    Row(name="link-to-dir-contents-missing", source="ld/.", target="new", becomes=below("new")),
    Row(name="link-over-file", source="lf", target="file", becomes={"file": "-> f"}, docker="podman follows a link that is the source"),
    Row(name="no-overwrite-dir", source="d", target="", error="already exists|there already", options=("--no-overwrite",)),
    Row(name="no-overwrite-dir-new", source="d", target="dir", becomes=below("dir/d"), options=("--no-overwrite",), docker="an option of ours"),
)  # fmt: skip


def make_tree(tree: Tree, at: Path) -> None:
    at.mkdir(parents=True)
    for path, what in tree.items():
        place = at / path
        if what == "dir":
            place.mkdir()
        elif what.startswith("-> "):
            place.symlink_to(what[3:])
        else:
            place.write_text(what)


def read_tree(at: Path) -> Tree:
    found = {}
    for path in sorted(at.rglob("*")):
        name = str(path.relative_to(at))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "dir" if path.is_dir() else path.read_text()
    return found


def read_tar(archive: bytes) -> Tree:
    """The same of a tar archive whose top directory is left out."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for member in opened:
            name = member.name.partition("/")[2].rstrip("/")
            if not name:
                continue
            if member.issym():
                found[name] = f"-> {member.linkname}"
            elif member.isdir():
                found[name] = "dir"
            else:
                file = opened.extractfile(member)
                found[name] = file.read().decode() if file else ""
    return found
