"""Between the wire's messages and the agent's own values."""

from __future__ import annotations

from pathlib import PurePosixPath

from guest.container import Container
from guest.errors import GuestError
from guest.execution import Ending
from guest.oci import BindMount, TmpfsMount
from guest.requests import ContainerRequest
from guest.wire import portal_pb2 as pb


def container_request(container: Container, request: pb.ContainerInitRequest) -> ContainerRequest:
    """Raises GuestError for what makes no sense."""
    if not request.argv and not request.files_only:
        raise GuestError("invalid_argument", "there is no command to run")
    return ContainerRequest(
        argv=tuple(request.argv) or ("true",),
        env=tuple(request.env),
        working_dir=request.working_dir or "/",
        create_working_dir=request.create_working_dir,
        user=request.user,
        tty=request.tty,
        stdin=request.stdin,
        rows=request.size.rows,
        cols=request.size.cols,
        binds=tuple(_bind(container, m) for m in request.mounts if m.kind == pb.Mount.SHARE),
        tmpfs=tuple(_tmpfs(m) for m in request.mounts if m.kind == pb.Mount.TMPFS),
        capabilities=tuple(request.capabilities),
        privileged=request.privileged,
        read_only=request.read_only,
        memory_bytes=request.memory_limit_bytes,
        pids=request.pids_limit,
        shm_bytes=request.shm_size_bytes,
        rlimits=tuple((one.name, one.soft, one.hard) for one in request.ulimits),
        ca_certificates=tuple(request.ca_certificates),
        init_process=request.init_process,
        files_only=request.files_only,
        seccomp_filter=request.seccomp_filter,
        no_new_privileges=request.no_new_privileges,
    )


def _bind(container: Container, mount: pb.Mount) -> BindMount:
    path = PurePosixPath(mount.share_path)
    if path.is_absolute() or ".." in path.parts:
        raise GuestError("invalid_argument", f"the shared path {mount.share_path} leads out of the share")
    source = container.share / path
    return BindMount(source=str(source), target=mount.target, read_only=mount.read_only, fill=mount.fill)


def _tmpfs(mount: pb.Mount) -> TmpfsMount:
    return TmpfsMount(
        target=mount.target,
        size_bytes=mount.tmpfs_size_bytes,
        mode=mount.tmpfs_mode,
        executes=mount.tmpfs_exec,
        read_only=mount.read_only,
    )


def exit_status(ending: Ending) -> pb.ExitStatus:
    return pb.ExitStatus(
        exit_code=ending.exit_code,
        signal=ending.signal,
        timed_out=ending.timed_out,
        oom_killed=ending.oom_killed,
        error=ending.error,
    )
