"""Identities of camera properties, as ``libcamera.properties``."""

from types import SimpleNamespace

from tests.standin.controls import DRAFT_PROPERTIES, PROPERTIES, ColorFilterArrangementEnum

globals().update(vars(PROPERTIES))
draft = SimpleNamespace(
    ColorFilterArrangementEnum=ColorFilterArrangementEnum, **vars(DRAFT_PROPERTIES)
)

__all__ = ["draft"]
