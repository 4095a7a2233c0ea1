"""Ids of boxes: twelve characters of base62 from the system's random source (71 bits)."""

from __future__ import annotations

import string

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
BOX_ID_LENGTH = 12


def new_box_id() -> str:
    import secrets

    return "".join(secrets.choice(BASE62) for _ in range(BOX_ID_LENGTH))
