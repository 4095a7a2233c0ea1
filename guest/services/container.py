"""boxlite.v1.Container: the box's one container."""

from __future__ import annotations

from grpclib.const import Handler

from guest.container import Container
from guest.services.calls import unary
from guest.services.guest import GuestService
from guest.services.requests import container_request, exit_status
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
        wanted = container_request(self._container, request)
        identity = await self._guest.identity()
        return pb.ContainerInitReply(pid=await self._container.initialize(identity, wanted))

    async def start(self, _: pb.ContainerStartRequest) -> pb.ContainerStartReply:
        await self._container.start()
        return pb.ContainerStartReply()

    async def stop(self, request: pb.ContainerStopRequest) -> pb.ContainerStopReply:
        ending = await self._container.stop(request.signal or 15, request.grace_ms / 1000)
        return pb.ContainerStopReply(status=exit_status(ending))
