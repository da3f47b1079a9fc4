"""What a user may set for a dataset-ownership audit. Knows no torch: reading a recipe stays instant."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from burnish.core.recipe import Recipe, Settings
from burnish.prove.contrastive.recipe import TrainSettings, ViewSettings
from burnish.prove.images import ImageSettings
from burnish.prove.suspects.settings import SuspectSettings


class PipelineSettings(Settings):
    """The views that models are asked about. Defaults: DOV4CL, section 5.1."""

    global_views: int = Field(default=2, ge=2)
    """M, large crops of each image."""
    local_views: int = Field(default=6, ge=2)
    """N, small crops of each image."""
    global_view: ViewSettings = ViewSettings()
    """How a large crop is made."""
    local_view: ViewSettings = ViewSettings(scale=(0.05, 0.4))
    """How a small crop is made."""
    local_size: Literal["half", "same"] = "half"
    """Side of a local view: half the image's, as published, or the same, for models of one input size."""
    device: str = "cpu"
    """Where views are made. Another device may round a pixel differently: other queries."""


class ShadowSettings(Settings):
    """Encoders that have not seen the public images: what the suspect is measured against."""

    images: ImageSettings | None = None
    """Pictures to train them on: like the public ones, and none of them."""
    count: int = Field(default=20, ge=0)
    """Trained here. 19 or more let the rank test reach .05, 2 or more the mean test."""
    guilty: int = Field(default=0, ge=0)
    """Also trained here, on the public images: they show what guilt would look like, and so the power."""
    size: int | None = Field(default=None, ge=2)
    """Pictures each shadow sees, drawn anew for each; default: as many as are public."""
    train: TrainSettings = TrainSettings()
    """How they are trained."""
    models: list[SuspectSettings] = Field(default=[])
    """Encoders of your own that cannot have seen the public images."""


class AuditRecipe(Recipe):
    """Was this encoder pre-trained on my pictures? Source: DOV4CL (ICLR 2025); what was corrected:
    ``docs/dov4cl.md``."""

    method: str = "dov4cl"
    """What runs."""
    suspect: SuspectSettings
    """The encoder behind an API or in a folder."""
    public: ImageSettings
    """Pictures that the suspect may have been trained on."""
    private: ImageSettings
    """Pictures of the same kind that nobody else ever had."""
    private_is: Literal["held out", "synthetic"] = "held out"
    """synthetic: made by a generator where there are no held-out ones; the verdict then assumes that they are like the
    public ones in all that the models see.
    """
    shadows: ShadowSettings = ShadowSettings()
    """Encoders that have not seen the public images."""
    views: PipelineSettings = PipelineSettings()
    """The views that every model is asked about."""

    test: Literal["permutation", "paper"] = "permutation"
    """paper: the published t-test, which counts overlapping draws as independent; for comparison."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Largest p that counts as evidence."""
    a: float = Field(default=1.0, ge=0)
    """Weight of positive differences in the published test."""
    draws: int = Field(default=10_000, ge=100)
    """Arrangements of a permutation test."""
    rounds: int = Field(default=50, ge=2)
    """K of the published test."""
    images_per_round: int = Field(default=32, ge=2)
    """k of the published test, from each set."""
    repeats: int = Field(default=1, ge=1)
    """Repetitions with new views; p-values are corrected for them (published: 3)."""
    split_check: Literal["refuse", "warn", "off"] = "refuse"
    """What to do when a classifier can tell public from private pictures."""
    split_alpha: float = Field(default=0.01, gt=0, lt=1)
    """Level of that check."""
    commitment: str | None = None
    """File that `burnish prove commit` wrote before the audit."""

    @model_validator(mode="after")
    def _fits_together(self) -> AuditRecipe:
        if self.shadows.count > 0 and self.shadows.images is None:
            raise ValueError("shadows: give shadows.images to train them on (or shadows.models and shadows.count: 0)")
        if self.shadows.count + len(self.shadows.models) == 0:
            raise ValueError("shadows: none to compare with; give shadows.images, or shadows.models")
        if self.private == self.public:
            raise ValueError("private: the same pictures as public")
        return self


def query_count(recipe: AuditRecipe, public: int, private: int) -> int:
    """Views that each model is asked about, at most (the published test asks about the drawn images only)."""
    images = public + private
    if recipe.test == "paper":
        images = 2 * recipe.images_per_round * recipe.rounds
    return images * recipe.repeats * (recipe.views.global_views + recipe.views.local_views)
