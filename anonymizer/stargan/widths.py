"""How wide the networks are: one rule for all of them, all picture sizes and all budgets."""

SIZES = (64, 128, 256, 512)
"""Sides of the pictures the networks are made for [px]."""

_WIDEST = 512
_AREA = 2**14  # channels times side, where a map is not yet at the widest


def channels(side: int, width: float) -> int:
    """Return min(512 w, w 2**14 / side) channels for maps of `side` px.

    Parameters
    ----------
    side : int
        Side of the maps, a power of 2 [px].
    width : float
        Factor w on the published widths, which are w = 1; 1/8 or 1/4 for small machines.

    Raises
    ------
    ValueError
        If that is no whole number of channels.

    Examples
    --------
    >>> [channels(side, 1.0) for side in (256, 128, 64, 32, 16)]
    [64, 128, 256, 512, 512]
    >>> [channels(side, 0.125) for side in (64, 32, 16)]
    [32, 64, 64]
    """
    count = min(_WIDEST * width, width * _AREA / side)
    if count < 1 or count != int(count):
        raise ValueError(
            f"width = {width:g} gives {count:g} channels at {side} px; take a power of 2, such as "
            f"1, 1/4 or 1/8"
        )
    return int(count)


def check_size(size: int) -> int:
    """Return `size` if networks are made for pictures of that side, else raise ValueError."""
    if size not in SIZES:
        raise ValueError(f"size = {size} px, expected one of {', '.join(map(str, SIZES))}")
    return size
