"""What can go wrong in the world outside."""


class HardwareError(RuntimeError):
    """A device, or a file for one, is not what it should be."""


class DesignRuleError(HardwareError):
    """A mask breaks rules of the process that is to make it."""
