"""The error of this package: data that are missing, damaged or not what they should be."""


class DataError(RuntimeError):
    """Pictures, labels or landmarks that cannot be used; the message names the file and why."""
