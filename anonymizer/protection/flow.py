r"""The invertible network of PRO-Face S: a face hidden in its cover, under a map of key bits.

Cover u and face v, both as Haar bands, pass coupling blocks whose four small networks see the
other half and the bands K of the key map:

.. math:: u' = u \, e^{s(\psi[v, K])} + \phi[v, K], \quad
          v' = v \, e^{s(\rho[u', K])} + \eta[u', K], \quad
          s(x) = 2 c \, (\sigma(x) - 1/2)

u becomes the protected picture. v is thrown away; recovery puts the key's bands in its place.
Values are sRGB in [-1, 1], key maps are -1 or +1.

References
----------
L. Yuan et al., "PRO-Face S: Privacy-preserving reversible obfuscation of face images via secure
flow-based network", IEEE Trans. Circuits Syst. Video Technol. 34 (2024).

J. Jing et al., "HiNet: Deep image hiding by invertible network", ICCV 2021, eqs. 1-4; its blocks
only add to u.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.protection.wavelets import haar, inverse_haar

_COLOURS, _BANDS = 3, 4
_STATE = _COLOURS * _BANDS  # channels of each half
_LAYERS = 5
_CLAMP = 2.0  # c: each block scales by e^-2 to e^2
_PUBLISHED = {"rho": "r", "eta": "y", "phi": "f", "psi": "p"}
MULTIPLE = 2
"""Sides of images must be multiples of it [px]."""


class SecureFlow(nn.Module):
    """Hide faces in covers and find them again.

    It starts as the identity: the protected picture is the cover.

    Parameters
    ----------
    blocks : int
        Coupling blocks: 3 in the published weights for 256 px, 6 in the older ones for 112 px.
    width : int
        Features that each inner convolution adds: 32 in the published weights.
    """

    def __init__(self, blocks: int = 3, *, width: int = 32) -> None:
        super().__init__()
        if blocks < 1 or width < 1:
            raise ValueError(f"blocks = {blocks}, width = {width}, expected at least 1 of each")
        self.blocks = nn.ModuleList(_Coupling(width) for _ in range(blocks))

    def forward(self, faces: Tensor, covers: Tensor, key_maps: Tensor) -> tuple[Tensor, Tensor]:
        """Hide faces in covers.

        Parameters
        ----------
        faces, covers : Tensor
            (B, 3, H, W) of even sides.
        key_maps : Tensor
            (B, 1, H, W), -1 or +1.

        Returns
        -------
        protected : Tensor
            (B, 3, H, W), unbounded.
        residue : Tensor
            (B, 12, H / 2, W / 2): with it, `invert` is exact.
        """
        _check(faces, covers, key_maps)
        u, v, key = haar(covers), haar(faces), haar(key_maps)
        for block in self._couplings():
            u, v = block(u, v, key)
        return inverse_haar(u), v

    def invert(self, protected: Tensor, key_maps: Tensor, residue: Tensor) -> tuple[Tensor, Tensor]:
        """Return the faces and the covers from which protected pictures and residue came."""
        _check(protected, protected, key_maps)
        u, v, key = haar(protected), residue, haar(key_maps)
        for block in reversed(self._couplings()):
            u, v = block.invert(u, v, key)
        return inverse_haar(v), inverse_haar(u)

    def recover(self, protected: Tensor, key_maps: Tensor) -> Tensor:
        """Return the faces (B, 3, H, W), unbounded, that key maps find in protected pictures.

        The key's bands stand in for the residue, so that it is as near the face as training made
        it, and not exact.
        """
        residue = haar(key_maps).repeat(1, _COLOURS, 1, 1)
        return self.invert(protected, key_maps, residue)[0]

    def _couplings(self) -> list["_Coupling"]:
        return [block for block in self.blocks if isinstance(block, _Coupling)]


class _Coupling(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.rho, self.eta, self.phi, self.psi = (_DenseNetwork(width) for _ in range(4))

    def forward(self, u: Tensor, v: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat((v, key), dim=1)
        u = u * _scale(self.psi(seen)) + self.phi(seen)
        seen = torch.cat((u, key), dim=1)
        return u, v * _scale(self.rho(seen)) + self.eta(seen)

    def invert(self, u: Tensor, v: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat((u, key), dim=1)
        v = (v - self.eta(seen)) / _scale(self.rho(seen))
        seen = torch.cat((v, key), dim=1)
        return (u - self.phi(seen)) / _scale(self.psi(seen)), v


class _DenseNetwork(nn.Module):
    """Five convolutions, each of which sees all that came before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for i in range(1, _LAYERS + 1):
            seen, new = _STATE + _BANDS + (i - 1) * width, width if i < _LAYERS else _STATE
            convolution = nn.Conv2d(seen, new, 3, padding=1)
            spread = 0.01 if i < _LAYERS else 0.0  # the last is zero: nothing happens at first
            nn.init.normal_(convolution.weight, std=spread)
            nn.init.normal_(convolution.bias, std=spread)  # type: ignore[arg-type]
            self.add_module(f"conv{i}", convolution)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, _LAYERS):
            x = torch.cat((x, F.leaky_relu(self.get_submodule(f"conv{i}")(x))), dim=1)
        out: Tensor = self.get_submodule(f"conv{_LAYERS}")(x)
        return out


def published_names(blocks: int, *, numbered: bool = False) -> dict[str, str]:
    """Return the published name of each tensor of a `SecureFlow`.

    Parameters
    ----------
    blocks : int
    numbered : bool
        As in the older files of six blocks, whose blocks are inv1 to inv6.
    """
    names = {}
    for i in range(blocks):
        place = f"model.inv{i + 1}" if numbered else f"model.inv_blocks.{i}"
        for ours, theirs in _PUBLISHED.items():
            for layer in range(1, _LAYERS + 1):
                for what in ("weight", "bias"):
                    tail = f"conv{layer}.{what}"
                    names[f"blocks.{i}.{ours}.{tail}"] = f"{place}.{theirs}.{tail}"
    return names


def translate_published(state: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Return the tensors of a published file by their names in a `SecureFlow`."""
    ours = {
        theirs: name
        for numbered in (False, True)
        for name, theirs in published_names(blocks, numbered=numbered).items()
    }
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {ours.get(name, name): tensor for name, tensor in plain.items()}


def _scale(x: Tensor) -> Tensor:
    return torch.exp(2 * _CLAMP * (torch.sigmoid(x) - 0.5))


def _check(faces: Tensor, covers: Tensor, key_maps: Tensor) -> None:
    shape = tuple(faces.shape)
    if len(shape) != 4 or shape[1] != _COLOURS or any(n % MULTIPLE for n in shape[2:]):
        raise ValueError(f"faces is {shape}, expected (B, 3, H, W) of even sides")
    if tuple(covers.shape) != shape:
        raise ValueError(f"covers is {tuple(covers.shape)}, expected {shape}")
    wanted = (shape[0], 1, *shape[2:])
    if tuple(key_maps.shape) != wanted:
        raise ValueError(f"key_maps is {tuple(key_maps.shape)}, expected {wanted}")
