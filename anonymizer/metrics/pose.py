r"""Direction of a head from its landmarks, by weak perspective on six points of a mean head.

.. math:: p_i = s R_{1,2} X_i + t, \qquad R = R_z(roll)\, R_y(yaw)\, R_x(pitch)

with x to the right, y down and z away from the viewer: positive yaw turns the nose to the left
of the picture, positive pitch down, positive roll clockwise. A head is not the mean head, so
that single angles are off by some degrees; the difference of two poses of one person is not.
"""

import torch
from torch import Tensor

#: iBUG points: nose tip, chin, outer eye corners, mouth corners.
POINTS = (30, 8, 36, 45, 48, 54)

#: Where they lie on a mean head, in millimetres from the tip of the nose.
HEAD: Tensor = torch.tensor(
    [
        (0.0, 0.0, 0.0),
        (0.0, 63.6, 12.5),
        (-43.3, -32.7, 26.0),
        (43.3, -32.7, 26.0),
        (-28.9, 28.9, 24.1),
        (28.9, 28.9, 24.1),
    ],
    dtype=torch.float64,
)


def head_pose(landmarks: Tensor) -> Tensor:
    """Return yaw, pitch and roll (B, 3) of heads [rad].

    Parameters
    ----------
    landmarks : Tensor
        (B, 68, 2) as (x, y) [px].
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2):
        raise ValueError(f"landmarks is {tuple(landmarks.shape)}, expected (B, 68, 2)")
    points = landmarks[:, list(POINTS)].double().cpu()
    points = points - points.mean(dim=1, keepdim=True)
    head = HEAD - HEAD.mean(dim=0)
    affine = (torch.linalg.pinv(head) @ points).mT  # (B, 2, 3), least squares
    u, _, v = torch.linalg.svd(affine, full_matrices=False)
    first, second = (u @ v).unbind(dim=1)  # the nearest orthonormal rows
    third = torch.linalg.cross(first, second)
    yaw = torch.asin((-third[:, 0]).clamp(-1, 1))
    pitch = torch.atan2(third[:, 1], third[:, 2])
    roll = torch.atan2(second[:, 0], first[:, 0])
    return torch.stack((yaw, pitch, roll), dim=1)
