"""What a user may set about views and about pairs. Knows pydantic only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from burnish.core.recipe import Settings

Family = Literal["flip", "crop", "rotation", "contrast", "blur", "noise", "jitter", "grayscale"]
"""A way to change a picture."""

Truth = Literal["side", "place", "objects", "upright", "light", "detail", "text", "colour"]
"""What may no longer be true of a changed picture: left and right, where in the frame, what is there and how many, what
stands upright, light and dark, small detail, what is written, colours."""

FAMILIES: tuple[Family, ...] = ("flip", "crop", "rotation", "contrast", "blur", "noise", "jitter", "grayscale")
"""All of them, in the order in which reports list them."""

WinnerKind = Literal["summary", "merger", "agreement", "fewest_unagreed", "longest"]
LoserKind = Literal["original", "view", "truncated"]


class ViewSettings(Settings):
    """The views of a picture. The paper names no strengths: these are ours."""

    views: int = Field(default=4, ge=1, le=64)
    """Views of each picture (4 in the released pairs)."""
    clean: bool = False
    """Whether the first view is the picture as it is."""
    families: tuple[Family, ...] = Field(default=FAMILIES, min_length=1)
    """Which families may be drawn. For each text those that would change what it speaks of are left out."""
    unreadable: tuple[Family, ...] = ("contrast", "blur", "noise")
    """The families for a text whose words the rule cannot read (another language than English)."""
    words: dict[Truth, tuple[str, ...]] = Field(default_factory=dict)
    """More words that speak of a truth, of your data or language. With any given, every text counts as readable."""
    crop: tuple[float, float] = (0.6, 0.9)
    """Share of the area that a crop keeps, from, to."""
    rotation: tuple[float, float] = (5.0, 15.0)
    """Degrees, from, to; either way round."""
    contrast: tuple[float, float] = (1.2, 1.6)
    """Factor of the contrast and exponent of the gamma, from, to; of each also the inverse."""
    blur: tuple[float, float] = (0.005, 0.015)
    """Standard deviation of the Gaussian as a share of the shorter side, from, to."""
    noise: tuple[int, int] = (300, 500)
    """Step of the diffusion of 1,000, from, to (SeVa, for losers alone: 500 or 800)."""
    jitter: tuple[float, float, float] = (0.3, 0.3, 0.1)
    """Strengths of brightness and saturation (a factor of up to 1 more or less) and of hue (share of the circle)."""

    @model_validator(mode="after")
    def _in_order(self) -> ViewSettings:
        limits = {"crop": (0.05, 1.0), "rotation": (0.0, 180.0), "contrast": (1.0, 4.0), "blur": (1e-4, 0.2)}
        for name, (least, most) in {**limits, "noise": (0, 999)}.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(f"{name}: {least:g} <= from <= to <= {most:g}, got {[low, high]}")
        if min(self.jitter) < 0 or max(self.jitter[:2]) > 1 or self.jitter[2] > 0.5:
            raise ValueError(f"jitter: two strengths in [0, 1], hue in [0, .5], got {list(self.jitter)}")
        if len(set(self.families)) < len(self.families):
            raise ValueError(f"families: each once, got {list(self.families)}")
        return self


class PairSettings(Settings):
    """Which text wins, which loses, and which pairs are kept. Published: summary, original, no margin, no penalty."""

    winner: WinnerKind = "summary"
    """The model's own summary; the merger of agreed facts; or one of the views' answers: the one that the others agree
    with most, the one with the fewest unagreed facts, the longest (a control)."""
    threshold: int = Field(default=2, ge=1)
    """How many views must name a fact for it to be agreed."""
    original_votes: bool = False
    """Whether the original text votes, and may be merged, as one view more."""
    form: Literal["list", "sentence", "prose"] = "sentence"
    """How merged facts are written: `red circle, blue square`; `There is a red circle and a blue square.`; or in those
    sentences of the answers that say nothing else."""
    loser: LoserKind = "original"
    """The original text (published); a view's answer, the one that the others agree with least (as SeVa); or a text as
    long as the winner, cut from a longer one."""
    margin: float | None = Field(default=0.05, ge=0, le=1)
    """A pair is kept if the winner's agreement with the views is above the loser's by more than this; none keeps all,
    as published."""
    duplicate_penalty: float = Field(default=0.5, ge=0, le=1)
    """What a text loses of its agreement per share of its mentions that repeat earlier ones."""
    shortest: float = Field(default=0.5, ge=0)
    """The least words of a winner, as a share of the loser's."""
    most_words: int = Field(default=300, ge=1)
    """The most words of a winner."""
    most_invented: int = Field(default=0, ge=0)
    """How many facts a winner may name that no view and not the original names."""
    length_slack: float = Field(default=0.2, ge=0, le=1)
    """By what share of the winner's words a truncated loser may be shorter, where no text is as long."""
