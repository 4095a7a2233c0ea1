"""A program as a user of the library writes it, for the type checker alone."""

from __future__ import annotations

import asyncio

import boxlite


class Log:
    def on_box_started(self, box_id: str) -> None:
        print(box_id)


async def build(source: str) -> str:
    options = boxlite.Options(event_listener=Log())
    async with boxlite.Boxlite(options) as runtime:
        await runtime.volumes.create("cache", labels={"for": "builds"})
        box = await runtime.create(
            boxlite.BoxOptions(
                image="python:slim",
                env={"LANG": "C.UTF-8"},
                volumes=[
                    (source, "/src", "ro"),
                    boxlite.VolumeMount(managed_volume="cache", guest_path="/cache"),
                ],
                ports=[(8080, 80), {"guest_port": 443}],
                security=boxlite.SecurityOptions.maximum(),
                secrets=[boxlite.Secret("key", "value", ["api.example.com"])],
            ),
            name="build",
        )
        async with await box.exec("make", ["-C", "/src"], timeout_secs=60) as execution:
            async for line in execution.stdout():
                print(line.upper())
            result: boxlite.ExecResult = await execution.wait()
        async with await (await box.network.tunnel(80)).forward() as forwarder:
            print(forwarder.local_addr().port)
        try:
            text = await box.read_text("/cache/report")
        except boxlite.NotFoundError as error:
            text = f"{error.code}: {error.hint}"
        async for event in runtime.events(follow=False):
            print(event.kind, event.box_name)
        return f"{result.exit_code} {text}"


async def simple() -> None:
    async with boxlite.SimpleBox("alpine:3.20", memory_mib=256) as box:
        print((await box.exec("uname", "-r", timeout=5)).stdout.strip())
    async with boxlite.CodeBox() as code:
        print(await code.run("print(1)"))
    async with boxlite.InteractiveBox("alpine:3.20", tty=False) as shell:
        await shell.shell.stdin().send_input("exit\n")
        print((await shell.wait()).exit_code)


def plain() -> int:
    with boxlite.SyncBoxlite() as runtime, runtime.create(boxlite.BoxOptions()) as box:
        return box.exec("true").wait().exit_code


if __name__ == "__main__":
    asyncio.run(simple())
    print(asyncio.run(build("/src")), plain())
