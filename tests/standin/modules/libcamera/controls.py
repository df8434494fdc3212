"""Identities and enumerations of controls, as ``libcamera.controls``."""

from types import SimpleNamespace

from tests.standin.controls import (
    CONTROLS,
    DRAFT,
    AeStateEnum,
    AfModeEnum,
    AfStateEnum,
    AfTriggerEnum,
    NoiseReductionModeEnum,
)

globals().update(vars(CONTROLS))
draft = SimpleNamespace(NoiseReductionModeEnum=NoiseReductionModeEnum, **vars(DRAFT))
rpi = SimpleNamespace()

__all__ = ["AeStateEnum", "AfModeEnum", "AfStateEnum", "AfTriggerEnum", "draft", "rpi"]
