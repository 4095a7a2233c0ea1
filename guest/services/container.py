"""boxlite.v1.Container: the box's one container."""

from __future__ import annotations

from pathlib import PurePosixPath

from grpclib.const import Handler

from guest.container import Container, ContainerRequest
from guest.errors import GuestError
from guest.oci import BindMount, TmpfsMount
from guest.services.calls import unary
from guest.services.guest import GuestService
from guest.sessions import Ending
from guest.wire import portal_pb2 as pb

_SERVICE = "/boxlite.v1.Container/"


class ContainerService:
    def __init__(self, container: Container, guest: GuestService) -> None:
        self._container = container
        self._guest = guest

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"{_SERVICE}Init": unary(self.init, pb.ContainerInitRequest, pb.ContainerInitReply),
            f"{_SERVICE}Start": unary(self.start, pb.ContainerStartRequest, pb.ContainerStartReply),
            f"{_SERVICE}Stop": unary(self.stop, pb.ContainerStopRequest, pb.ContainerStopReply),
        }

    async def init(self, request: pb.ContainerInitRequest) -> pb.ContainerInitReply:
        wanted = self._request(request)
        identity = await self._guest.identity()
        return pb.ContainerInitReply(pid=await self._container.initialize(identity, wanted))

    async def start(self, _: pb.ContainerStartRequest) -> pb.ContainerStartReply:
        await self._container.start()
        return pb.ContainerStartReply()

    async def stop(self, request: pb.ContainerStopRequest) -> pb.ContainerStopReply:
        ending = await self._container.stop(request.signal or 15, request.grace_ms / 1000)
        return pb.ContainerStopReply(status=exit_status(ending))

    def _request(self, request: pb.ContainerInitRequest) -> ContainerRequest:
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
            binds=tuple(self._bind(m) for m in request.mounts if m.kind == pb.Mount.SHARE),
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
        )

    def _bind(self, mount: pb.Mount) -> BindMount:
        path = PurePosixPath(mount.share_path)
        if path.is_absolute() or ".." in path.parts:
            raise GuestError("invalid_argument", f"the shared path {mount.share_path} leads out of the share")
        source = self._container.share / path
        return BindMount(source=str(source), target=mount.target, read_only=mount.read_only)


def _tmpfs(mount: pb.Mount) -> TmpfsMount:
    return TmpfsMount(
        target=mount.target,
        size_bytes=mount.tmpfs_size_bytes,
        mode=mount.tmpfs_mode,
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
