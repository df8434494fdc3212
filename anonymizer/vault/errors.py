"""What can be wrong with a vault, one class for each remedy."""


class VaultError(RuntimeError):
    """A vault cannot be written, read or trusted; the message says why and what to do."""


class DamagedVault(VaultError):
    """The file is cut short, altered, or not signed by whoever is said to have made it."""


class UnknownVersion(VaultError):
    """The file was written by another version of the format; there is no falling back."""


class WrongKey(VaultError):
    """The password or key file opens nothing here."""


class ForeignModel(VaultError):
    """The vault was made with another method, other weights, or for another picture."""
