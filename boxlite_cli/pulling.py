"""What `boxlite pull` does once its command line was read. `beside` says why it is apart: one process makes an order, and
loads no engine for it; another carries it out, and loads no parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxlite_cli.settings import Settings
from engine.model import PullPolicy
from engine.values import dataclass

if TYPE_CHECKING:
    from boxlite_cli.results import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOrder:
    """What was asked for, all of it valid as far as the words tell. It can be pickled."""

    settings: Settings
    reference: str
    quiet: bool
    platform: str | None
    policy: PullPolicy
    format_word: str | None

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


def load_engine() -> None:
    """Load what carrying an order out will use."""
    import aiosqlite  # noqa: F401

    import boxlite_cli.progress
    import boxlite_cli.results
    import boxlite_cli.session  # noqa: F401
    import engine.images.registry
    import engine.runtime.image_library  # noqa: F401
