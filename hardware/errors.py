"""What can go wrong in the world outside.

Every message names the value, what is allowed with its unit, and what to do. `hint` is the last
of these on its own, for a page or a log that shows it apart.
"""


class HardwareError(RuntimeError):
    """A device, or a file for one, is not what it should be.

    Parameters
    ----------
    message : str
        What happened.
    hint : str
        What to do; appended to the message.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.hint = hint


class DesignRuleError(HardwareError):
    """A mask breaks rules of the process that is to make it."""


# Reaching a device


class DeviceNotFound(HardwareError):
    """There is no such device, or what it needs is not installed."""


class DeviceBusy(HardwareError):
    """Somebody else owns the device."""


class DeviceDisconnected(HardwareError):
    """The device went away; where it stood is unknown from now on."""


class DeviceTimeout(HardwareError):
    """The device did not answer in time.

    Parameters
    ----------
    command : str
        What was asked.
    waited : float
        How long was waited [s].
    last_state : str
        The last thing it said, if anything.
    """

    def __init__(
        self, command: str, waited: float, last_state: str = "", *, hint: str = ""
    ) -> None:
        heard = f", last heard {last_state!r}" if last_state else ", nothing was heard"
        super().__init__(f"{command}: no answer within {waited:.3g} s{heard}", hint=hint)
        self.command, self.waited, self.last_state = command, waited, last_state


class ProtocolError(HardwareError):
    """The device answered something that its protocol does not know.

    Parameters
    ----------
    sent, received : bytes
        Both ends of the exchange.
    """

    def __init__(self, sent: bytes, received: bytes, *, hint: str = "") -> None:
        hint = hint or "check port, baud rate and firmware"
        super().__init__(f"sent {sent[:80]!r}, received {received[:80]!r}", hint=hint)
        self.sent, self.received = sent, received


class DeviceFault(HardwareError):
    """The device reports an alarm or an error.

    Parameters
    ----------
    code : str
        The device's own code, such as "ALARM:1".
    text : str
        What it means.
    position_trusted : bool
        Whether the device still knows where it stands.
    """

    def __init__(self, code: str, text: str, *, position_trusted: bool, hint: str = "") -> None:
        lost = "" if position_trusted else "; the position is lost"
        hint = hint or ("" if position_trusted else "find out why, then home")
        super().__init__(f"{code}: {text}{lost}", hint=hint)
        self.code, self.text, self.position_trusted = code, text, position_trusted


# Moving


class LimitError(HardwareError):
    """A target lies outside the limits; nothing was sent.

    Parameters
    ----------
    axis : str
        Which axis.
    asked, low, high : float
        Target and limits [m or rad].
    unit : str
        "m" or "rad".
    """

    def __init__(self, axis: str, asked: float, low: float, high: float, unit: str = "m") -> None:
        super().__init__(
            f"{axis} = {asked:g} {unit} is outside [{low:g}, {high:g}] {unit}; nothing was moved"
        )
        self.axis, self.asked, self.low, self.high = axis, asked, low, high


class NotHomedError(HardwareError):
    """Where the stage stands is not known; it moves again after `home()`."""


class EmergencyStopped(HardwareError):
    """An emergency stop is latched; nothing moves or lights until `clear()`."""


# Capturing


class SettingsNotApplied(HardwareError):
    """The sensor did not report the exposure or gain that was asked of it.

    Parameters
    ----------
    name : str
        Which setting.
    asked, got : float
        Its values, in the same unit.
    unit : str
        That unit.
    """

    def __init__(self, name: str, asked: float, got: float, unit: str = "", hint: str = "") -> None:
        unit = f" {unit}" if unit else ""
        super().__init__(f"{name} = {asked:g}{unit} was asked, {got:g}{unit} reported", hint=hint)
        self.name, self.asked, self.got = name, asked, got


class LossyFormatError(HardwareError):
    """The camera would deliver compressed raw values, which are no measurement."""


class FrameError(HardwareError):
    """A frame is short, empty, repeated, or not of the size that was granted."""
