"""What a box has unless it is told otherwise, and how far that can be changed."""

from __future__ import annotations

DEFAULT_CPUS = 1
DEFAULT_MEMORY_MIB = 512
DEFAULT_DISK_SIZE_GB = 10
DEFAULT_STOP_TIMEOUT_S = 10.0
DEFAULT_IMAGE = "alpine:latest"
MIN_MEMORY_MIB = 128
MAX_MEMORY_MIB = 65536
MAX_CPUS = 255
MAX_DISK_SIZE_GB = 1024
