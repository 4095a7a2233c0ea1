"""The only room that knows the order in which the others work."""

from engine.runtime.runtime import Runtime

__all__ = ["Runtime"]
