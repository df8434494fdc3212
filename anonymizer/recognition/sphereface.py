"""SphereFace with 20 layers, as the identity transformer's adversary uses it.

Module names are those of the published file, so that it loads without translation.

References
----------
W. Liu, Y. Wen, Z. Yu, M. Li, B. Raj, L. Song, "SphereFace: deep hypersphere embedding for face
recognition", CVPR 2017, table 2.
"""

from torch import Tensor, nn

from anonymizer.recognition.heads import AngularHead
from anonymizer.recognition.recognizer import FACE_SIZE, Recognizer, in_order

_STAGES = ((64, 1), (128, 2), (256, 4), (512, 1))  # channels and residual pairs
_WIDTH = 96  # columns that the network sees [px]
_PEOPLE = 10_574  # of CASIA-WebFace


class SphereFace(Recognizer):
    """SphereFace-20 on the middle 96 columns of the aligned face.

    Parameters
    ----------
    people : int, default 10574
        Size of the angular head `fc6`; the published file has the default.
    """

    dimension = 512

    def __init__(self, *, people: int = _PEOPLE) -> None:
        super().__init__()
        channels = 3
        for stage, (width, pairs) in enumerate(_STAGES, start=1):
            for i in range(1, 2 * pairs + 2):
                first = i == 1
                conv = nn.Conv2d(channels if first else width, width, 3, 2 if first else 1, 1)
                self.add_module(f"conv{stage}_{i}", conv)
                self.add_module(f"relu{stage}_{i}", nn.PReLU(width))
            channels = width
        self.fc5 = nn.Linear(512 * (FACE_SIZE // 16) * (_WIDTH // 16), self.dimension)
        self.fc6 = AngularHead(people, self.dimension)

    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features; the network's own order is B G R, its range (x - 127.5) / 128."""
        margin = (FACE_SIZE - _WIDTH) // 2
        x = in_order(faces[..., margin : margin + _WIDTH], "BGR")
        return self.native((255 * x - 127.5) / 128)

    def native(self, x: Tensor) -> Tensor:
        """Return raw features (B, 512) of the network's own input (B, 3, 112, 96), B G R."""
        for stage, (_, pairs) in enumerate(_STAGES, start=1):
            x = self._layer(x, stage, 1)
            for i in range(2, 2 * pairs + 2, 2):
                x = x + self._layer(self._layer(x, stage, i), stage, i + 1)
        features: Tensor = self.fc5(x.flatten(1))
        return features

    def _layer(self, x: Tensor, stage: int, number: int) -> Tensor:
        name = f"{stage}_{number}"
        y: Tensor = self.get_submodule(f"relu{name}")(self.get_submodule(f"conv{name}")(x))
        return y
