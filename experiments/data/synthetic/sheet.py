"""Contact sheets: many faces on one picture."""

import numpy as np
from numpy.typing import NDArray


def contact_sheet(faces: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Lay pictures out in rows, from the top left; what is left over stays white.

    Parameters
    ----------
    faces : ndarray of uint8, shape (n, H, W, 3)
        Pictures, such as the `images` of rendered faces.
    columns : int
        Pictures in a row.
    """
    faces = np.asarray(faces)
    if faces.ndim != 4 or faces.shape[-1] != 3 or faces.dtype != np.uint8:
        raise ValueError(f"faces is {faces.dtype} {faces.shape}, expected uint8 (n, H, W, 3)")
    if columns < 1:
        raise ValueError(f"columns = {columns}, expected at least 1")
    n, height, width, _ = faces.shape
    rows = -(-n // columns)
    sheet = np.full((rows * columns, height, width, 3), 255, np.uint8)
    sheet[:n] = faces
    sheet = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width, 3)
