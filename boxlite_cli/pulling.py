"""What `boxlite pull` does once its command line was read. `beside` says why it is apart: one process makes an order, and
loads no engine for it; another carries it out, and loads no parser."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from boxlite_cli.settings import Settings
from engine.model import PullPolicy
from engine.values import dataclass

if TYPE_CHECKING:
    from boxlite_cli.results import Results

ENGINE = (
    "asyncio",
    "boxlite_cli.session",
    "boxlite_cli.progress",
    "aiosqlite",
    "urllib3",
    "engine.images.registry",
    "engine.runtime.image_library",
)
"""What carrying an order out will load, in pieces of a hundredth of a second or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOrder:
    """What was asked for, all of it valid as far as the words tell."""

    settings: Settings
    reference: str
    quiet: bool
    platform: str | None
    policy: PullPolicy
    format_word: str | None

    def to_bytes(self) -> bytes:
        return pickle.dumps(self)

    @classmethod
    def from_bytes(cls, written: bytes) -> PullOrder:
        """What another process of this program made with `to_bytes`: nothing else may be given."""
        order = pickle.loads(written)  # noqa: S301
        assert isinstance(order, cls)
        return order

    def carry_out(self) -> int:
        from boxlite_cli.results import open_results
        from boxlite_cli.session import run_async

        return run_async(_pull(self, open_results(self.format_word)))


async def _pull(order: PullOrder, results: Results) -> int:
    from boxlite_cli.progress import progress_display
    from boxlite_cli.results import image_result

    with progress_display(quiet=order.quiet) as display:
        async with order.settings.open_runtime(display.show) as runtime:
            image = await runtime.images.pull(order.reference, platform=order.platform, policy=order.policy)
    lines = [image.config_digest] if order.quiet else [image.reference, f"Digest: {image.source_digest}"]
    results.print_one(lines, image_result(image))
    return 0
