"""What can go wrong when captures and measurements are turned into knowledge."""


class CalibrationError(RuntimeError):
    """A measurement does not say what was asked of it."""
