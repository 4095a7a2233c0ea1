"""Lists a file tree entry by entry. A script of its own too, which runs in boxes that have nothing but it.

    python tree_lister.py ROOT      prints the Python literal of what `list_tree` returns

In a box there is a bare interpreter without its library: only what is built in or frozen may be imported.
"""

import os
import stat
import sys

TYPES = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "character",
    stat.S_IFBLK: "block", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket",
}  # fmt: skip
WHOLE_BYTES = 64 << 20
"""Of a longer file only the beginning and the end are hashed: it is mostly holes."""
SAMPLE_BYTES = 1 << 20
MOUNT_POINTS = (b"proc", b"sys", b"dev")


def list_tree(root, skip=()):
    """Every entry below `root` but those in `skip` and what is mounted there.

    path → (type, mode, uid, gid, mtime in ns, size, link target, device, xattrs, content hash, path of its first hard link)
    """
    found = {}
    first_paths = {}
    device = os.lstat(root).st_dev
    pending = [b""]
    while pending:
        parent = pending.pop()
        for name in sorted(os.listdir(os.path.join(root, parent))):
            path = os.path.join(parent, name)
            if path in skip:
                continue
            full = os.path.join(root, path)
            status = os.lstat(full)
            if status.st_dev != device:
                continue
            kind = TYPES[stat.S_IFMT(status.st_mode)]
            first = first_paths.setdefault(status.st_ino, path) if kind != "directory" else path
            found[path] = (
                kind,
                stat.S_IMODE(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                status.st_size if kind == "file" else 0,
                os.readlink(full) if kind == "symlink" else b"",
                (os.major(status.st_rdev), os.minor(status.st_rdev))
                if kind in ("character", "block")
                else (0, 0),
                _xattrs(full),
                _hash(full, status.st_size) if kind == "file" else "",
                first,
            )
            if kind == "directory":
                pending.append(path)
    return found


def _xattrs(path):
    names = os.listxattr(path, follow_symlinks=False)
    return tuple(sorted((name, os.getxattr(path, name, follow_symlinks=False)) for name in names))


def _hash(path, size):
    digest = sha256()
    with open(path, "rb", buffering=0) as file:
        if size > WHOLE_BYTES:
            digest.update(file.read(SAMPLE_BYTES))
            file.seek(size - SAMPLE_BYTES)
        while piece := file.read(1 << 18):
            digest.update(piece)
    return digest.hexdigest()


def sha256():
    """The interpreter's own SHA-256, which does not need its library; its module's name changed in 3.12."""
    for name in ("_sha256", "_sha2"):
        try:
            return __import__(name).sha256()
        except ImportError:
            continue
    raise ImportError("this Python has no SHA-256 of its own")


if __name__ == "__main__":
    out = repr(list_tree(os.fsencode(sys.argv[1]), skip=tuple(map(os.fsencode, sys.argv[2:])))).encode(
        "ascii", "backslashreplace"
    )
    while out:
        out = out[os.write(1, out) :]
