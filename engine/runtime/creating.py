"""Putting a box on record: everything that can be refused is refused here, before there is one."""

from __future__ import annotations

from collections.abc import Mapping

from engine.model import BoxRecord, BoxSpec, PullPolicy
from engine.runtime import images, records
from engine.runtime.capabilities import effective_capabilities
from engine.runtime.context import Context
from engine.runtime.requests import container_argv
from engine.runtime.support import check_support


async def create_box(
    context: Context, spec: BoxSpec, name: str | None, pull: PullPolicy, secret_values: Mapping[str, str]
) -> BoxRecord:
    """Raises AlreadyExistsError for a taken name, ImageError and its kind when the image cannot be had, InvalidArgumentError
    and UnsupportedError for what could not be run."""
    check_support(spec, context.progress)
    if spec.volumes:
        from engine.runtime.volumes import check_volumes

        check_volumes(context.layout, spec.volumes)
    effective_capabilities(spec.cap_add, spec.cap_drop, privileged=spec.privileged)
    if spec.secrets:
        from engine.runtime.secrets import check_values

        await check_values(spec.secrets, secret_values)
    async with images.source_for_spec(context, spec, pull) as source:
        container_argv(spec, source.config)
        record = await records.insert_box(context, spec, name, source.key, source.config_digest)
    if secret_values:
        context.secret_values[record.id] = dict(secret_values)
    return record
