"""Pixels themselves as patches: exact, without weights; for small pictures. Knows torch only."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from burnish.generate.codecs.face import check_grid, check_size, cut, joined


class PixelCodec:
    """Squares of pixels in -1..1, divided by ``spread``.

    Args:
        size: height and width, in pixels.
        patch: side of a square. Patches that fall together with what is drawn learn soonest.
        spread: what pixels are divided by, to be about as wide as the noise.
    """

    def __init__(self, size: tuple[int, int], patch: int, spread: float = 1.0) -> None:
        self.size, self.patch, self.spread = size, patch, spread
        self.grid = check_grid(size, patch, "pixel")
        self.patch_dim = 3 * patch * patch

    def encode(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch patches dim"]:
        """See ``Codec``."""
        check_size(pictures, self.size)
        return cut(pictures, self.patch) / self.spread

    def decode(self, patches: Float[Tensor, "batch patches dim"]) -> Float[Tensor, "batch 3 height width"]:
        """See ``Codec``."""
        return joined(patches, self.grid, self.patch) * self.spread

    def to_dict(self) -> dict[str, object]:
        """See ``Codec``."""
        return {"kind": "pixel", "size": list(self.size), "patch": self.patch, "spread": self.spread}
