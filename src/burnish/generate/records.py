"""What goes between the rooms of generate: the layout of a row, a batch of rows, and what the model says of it.

Every row of a batch has the same layout, so each kind of token is one slice of every layer. Rows that differ are either
padded (``Batch.real``) or packed as documents into one longer row. A batch holds its tokens kind by kind; only the
attention mask and the positions know in what order they are read, so nothing is ever permuted. Knows torch only.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.core.errors import UserError
from burnish.generate.kinds import KINDS, Kind

__all__ = ["KINDS", "Batch", "Kind", "Layout", "Outputs", "Segment"]


@dataclass(frozen=True)
class Segment:
    """One block of a row.

    Attributes:
        kind: of all its tokens.
        length: tokens; of a picture: patches.
        image: which picture of its document this is a copy of; none for text. Copies of one picture (noisy and clean,
            or several noisy ones) stand at the same position.
        document: rows may be packed; tokens of different documents never meet, and positions start again.
    """

    kind: Kind
    length: int
    image: int | None = None
    document: int = 0


@dataclass(frozen=True)
class Layout:
    """The blocks of a row, in the order in which they are read. Hashable: masks and positions are kept by it.

    Attributes:
        segments: documents one after another.

    Raises:
        UserError: an empty row; text with a picture's number or a picture without one; a document in two pieces;
            pictures of different sizes; a picture drawn after its own clean copy, which would show the answer.
    """

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        if not self.segments:
            raise UserError("layout: no segments; a row holds at least one")
        documents: list[int] = []
        looked_at: set[tuple[int, int]] = set()
        for place, segment in enumerate(self.segments):
            where = f"layout: segment {place} ({segment.kind} of {segment.length})"
            _check_segment(segment, where)
            if segment.document not in documents[-1:]:
                if segment.document in documents:
                    raise UserError(f"{where}: document {segment.document} is in two pieces; put them together")
                documents.append(segment.document)
            if segment.image is None:
                continue
            if segment.kind == "clean":
                looked_at.add((segment.document, segment.image))
            elif (segment.document, segment.image) in looked_at:
                raise UserError(f"{where}: picture {segment.image} is drawn after its own clean copy; give it a number")
        sizes = {segment.length for segment in self.segments if segment.image is not None}
        if len(sizes) > 1:
            raise UserError(f"layout: pictures of {sorted(sizes)} patches in one row; batch them by size")

    def of(self, kind: Kind) -> tuple[int, ...]:
        """Places of the segments of a kind, in order."""
        return tuple(place for place, segment in enumerate(self.segments) if segment.kind == kind)

    def tokens(self, kind: Kind) -> int:
        """Tokens of a kind in one row."""
        return sum(self.segments[place].length for place in self.of(kind))


def _check_segment(segment: Segment, where: str) -> None:
    if segment.kind not in KINDS or segment.length < 1:
        raise UserError(f"{where}: kinds are {', '.join(KINDS)}, and a segment holds at least one token")
    if (segment.kind == "text") != (segment.image is None):
        raise UserError(f"{where}: a picture has a number, text has none")


@dataclass(frozen=True)
class Batch:
    """Rows of one layout. What a row lacks is a tensor of length 0, never absent.

    Attributes:
        layout: of every row.
        tokens: text of all segments of a row, one after another.
        clean: patches of pictures that are looked at, in the layout's order.
        noisy: patches of pictures that are being drawn, at the noise level of ``times``.
        times: 0 is noise, 1 is data (the paper's convention).
        real: false for padding: seen by no other token, counted in no position. None: all are real.
        hidden: true where a noisy picture must not see a segment: how a condition is dropped. None: none is.
        masked: patches of clean pictures that are replaced by the learnt mask token. None: none are.
    """

    layout: Layout
    tokens: Int[Tensor, "batch text"]
    clean: Float[Tensor, "batch cleans patches dim"]
    noisy: Float[Tensor, "batch noisies patches dim"]
    times: Float[Tensor, "batch noisies"]
    real: Bool[Tensor, "batch text"] | None = None
    hidden: Bool[Tensor, "batch noisies segments"] | None = None
    masked: Bool[Tensor, "batch cleans patches"] | None = None


@dataclass(frozen=True)
class Outputs:
    """What the model says of a batch.

    Attributes:
        text_logits: of the token after each text token.
        estimates: the picture without noise (x-prediction), in the codec's units.
        heat: logits of "this patch needs repair".
    """

    text_logits: Float[Tensor, "batch text vocab"]
    estimates: Float[Tensor, "batch noisies patches dim"]
    heat: Float[Tensor, "batch cleans patches"]
