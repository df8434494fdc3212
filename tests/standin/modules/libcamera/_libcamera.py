"""The compiled part of the bindings; picamera2 takes two types from it."""

from tests.standin.geometry import ColorSpace, Transform

__all__ = ["ColorSpace", "Transform"]
