"""What a user may set for an audit of a classifier. Knows no torch: reading a recipe stays instant.

Defaults of ``training`` and of the prompts are the paper's for ImageNet-100; those of the test are measured
(``docs/trainprove.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from burnish.core.packages import Need
from burnish.core.recipe import Recipe, Settings
from burnish.prove.suspects.settings import SuspectSettings
from burnish.prove.trainprove.prompts import Strategy


class SourceSettings(Settings):
    """Where pictures come from: a pipeline, a function, or folders of pictures already made."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Shown in tables; names a folder of the run."""
    pipeline: str | None = None
    """Any diffusers text-to-image pipeline: a folder or hub id, safetensors only."""
    function: str | None = None
    """`module:function`, your own code: called with (class names, class indices, seed, temperature), returns uint8
    pictures [n, height, width, channels].
    """
    pictures: str | None = None
    """Folder with one sub-folder of training pictures a class."""
    validation: str | None = None
    """With `pictures`: folder of the validation pictures, none of them among the former."""
    steps: int | None = Field(default=None, ge=1)
    """Denoising steps of a pipeline; default: its own."""
    guidance: float | None = None
    """Guidance scale; default: the pipeline's own, or the prompt's."""
    variant: str | None = None
    """Variant of a pipeline's weights, such as fp16."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Of a pipeline's weights."""
    batch: int = Field(default=8, ge=1)
    """Pictures a pipeline draws at a time."""

    @model_validator(mode="after")
    def _one_way(self) -> SourceSettings:
        given = [key for key in ("pipeline", "function", "pictures") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError(
                f"{self.name}: give one of pipeline, function, pictures (given: {', '.join(given) or 'none'})"
            )
        if self.pictures and not self.validation:
            raise ValueError(f"{self.name}: pictures need a validation folder beside them")
        return self

    @property
    def needed_packages(self) -> tuple[Need, ...]:
        """diffusers, for a pipeline."""
        return (Need(("diffusers",), "prove"),) if self.pipeline else ()


class Architecture(Settings):
    """A kind of shadow model: a transformers configuration, or a function of your own."""

    name: str
    """Shown in tables."""
    config: dict[str, Any] | None = None
    """`model_type` and settings of transformers' AutoConfig (resnet, vit, convnext ...)."""
    function: str | None = None
    """`module:function`, called with (classes, channels, size); returns a torch module."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings of `training` that differ for it."""

    @model_validator(mode="after")
    def _one_way(self) -> Architecture:
        if (self.config is None) == (self.function is None):
            raise ValueError(f"{self.name}: give config or function, one of them")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError(f"{self.name}: config needs model_type, for example resnet")
        Training.model_validate(self.training)
        return self


class Training(Settings):
    """How a shadow is trained; the defaults are the published ones for 256-pixel pictures."""

    epochs: int = Field(default=100, ge=1)
    """Passes over the training pictures, unless `steps` is given."""
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps instead of epochs."""
    batch: int = Field(default=64, ge=1)
    """Pictures a step (published: 512 for 32-pixel pictures, 64 for 256)."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Of AdamW."""
    weight_decay: float = Field(default=0.9, ge=0)
    """Of AdamW."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Of the learning rate."""
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    """focal: gamma 2, alpha .25, on the batch mean, as released."""


class Variation(Settings):
    """What differs from shadow to shadow, drawn for each: without it, augmented innocents look guilty."""

    shift: int = Field(default=2, ge=0)
    """Each shadow shifts its pictures by up to 0..this many pixels."""
    flip: bool = False
    """Half of the shadows flip pictures left to right."""
    noise: float = Field(default=0.1, ge=0)
    """Each adds Gaussian noise of 0..this standard deviation."""
    share: tuple[float, float] = (0.6, 1.0)
    """Each sees this share of the training pictures."""
    steps: tuple[float, float] = (0.7, 1.3)
    """Each takes this multiple of the steps."""
    temperatures: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    """Sampling temperatures of a `function`; each shadow uses some of them."""

    @model_validator(mode="after")
    def _ranges(self) -> Variation:
        for key in ("share", "steps"):
            low, high = getattr(self, key)
            if not 0 < low <= high:
                raise ValueError(f"{key}: give a range low, high with 0 < low <= high")
        if self.share[1] > 1:
            raise ValueError("share: at most 1")
        return self


class Mixtures(Settings):
    """Shadows trained on a known share of my pictures: they calibrate the estimate of the used fraction."""

    fractions: tuple[float, ...] = ()
    """Shares of my pictures, between 0 and 1; none: no estimate."""
    each: int = Field(default=4, ge=1)
    """Shadows a fraction; the rest of their pictures come from one other source."""

    @model_validator(mode="after")
    def _inside(self) -> Mixtures:
        if any(not 0 < each < 1 for each in self.fractions):
            raise ValueError("fractions: between 0 and 1, both excluded")
        return self


class AuditRecipe(Recipe):
    """Was this classifier trained on pictures of my generator? Source: TrainProVe (CVPR 2025); what was corrected:
    ``docs/trainprove.md``."""

    method: str = "trainprove"
    """What runs."""
    suspect: SuspectSettings
    """The classifier behind an API or in a folder."""
    answer: Literal["labels", "logits"] = "labels"
    """What it answers; the entropy and similarity variants need logits."""
    classes: list[str] = Field(min_length=2)
    """The suspect's classes, in the order of its labels."""
    glosses: list[str] = Field(default=[])
    """A definition for each class, for the prompt strategy `gloss`."""
    size: int = Field(default=256, ge=4)
    """Side of the square pictures, in pixels."""
    channels: Literal[1, 3] = 3
    """Of the pictures: 1 grey, 3 colour."""
    mine: SourceSettings
    """My generator."""
    others: list[SourceSettings] = Field(min_length=2)
    """Other sources: other generators, real pictures; each p leaves one of them out."""

    shadow_prompts: Strategy = "class"
    """Prompts of the training pictures."""
    validation_prompts: Strategy = "photo"
    """Prompts of the validation pictures."""
    shadow_pictures: int = Field(default=300, ge=2)
    """Training pictures a class and source."""
    validation_pictures: int = Field(default=100, ge=1)
    """Validation pictures a class, from my generator."""
    reference_pictures: int = Field(default=50, ge=1)
    """Validation pictures a class from each reference source."""
    references: list[str] = Field(default=[])
    """Names of the other sources that lend a reference set; default: the first three."""

    architectures: list[Architecture] = Field(
        default=[
            Architecture(
                name="resnet-18",
                config={
                    "model_type": "resnet",
                    "layer_type": "basic",
                    "depths": [2, 2, 2, 2],
                    "hidden_sizes": [64, 128, 256, 512],
                },
            )
        ],
        min_length=1,
    )
    """Kinds of shadow models; several, since the suspect's own is unknown."""
    mine_each: int = Field(default=6, ge=1)
    """Shadows of each architecture on my generator's pictures."""
    others_each: int = Field(default=2, ge=1)
    """Shadows of each architecture on each other source."""
    training: Training = Training()
    """How shadows are trained."""
    variation: Variation = Variation()
    """What differs from shadow to shadow."""
    mixtures: Mixtures = Mixtures()
    """Shadows that calibrate the used fraction."""
    device: str = "cpu"
    """Where pictures are drawn and shadows trained: cpu, cuda, cuda:1 ..."""

    statistic: Literal["agreement", "grubbs_paper", "grubbs_entropy", "grubbs_similarity"] = "agreement"
    """What the verdict rests on; grubbs_*: the published rule and its variants."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Largest p that counts as evidence."""
    novelty: float = Field(default=0.05, ge=0, lt=1)
    """Novelty p at or below it: inconclusive."""
    ridge: float = Field(default=0.02, gt=0)
    """Of the kernel ridge regression."""
    ask_again: int = Field(default=40, ge=0)
    """Queries that ask pictures a second and third time, to see whether the suspect stays with its labels; only out of
    what the test leaves of `suspect.queries`. 0: not looked at."""
    batch: int = Field(default=16, ge=1)
    """Images a batch of the published rule (16 at 256 px, as here; 128 at 32 px)."""
    least_power: float = Field(default=0.5, ge=0, le=1)
    """Below it, no evidence is called inconclusive."""
    commitment: str | None = None
    """File that `burnish prove commit` wrote before the audit."""
    choice: Literal["disagreement", "random"] = "disagreement"
    """How images are chosen when `suspect.queries` allows fewer than there are."""

    @model_validator(mode="after")
    def _fits_together(self) -> AuditRecipe:
        self._names_fit()
        self._classes_fit()
        if self.statistic in ("grubbs_entropy", "grubbs_similarity") and self.answer != "logits":
            raise ValueError(f"statistic {self.statistic} needs answer: logits")
        if self.statistic == "grubbs_similarity" and len(self.classes) < 3:
            raise ValueError(f"statistic grubbs_similarity needs 3 classes or more, got {len(self.classes)}")
        asked = [self.mine, *(each for each in self.others if each.name in reference_sources(self))]
        if not any(each.pictures for each in asked):  # a folder may hold fewer pictures: seen when it has been read
            sizes = [self.validation_pictures] + [self.reference_pictures] * (len(asked) - 1)
            problem = refusal(self, [len(self.classes) * each for each in sizes])
            if problem is not None:
                raise ValueError(problem)
        return self

    def _names_fit(self) -> None:
        names = [self.mine.name, *(each.name for each in self.others)]
        if len(set(names)) < len(names):
            raise ValueError(f"mine, others: names must differ, got {names}")
        kinds = [each.name for each in self.architectures]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"architectures: names must differ, got {kinds}")
        unknown = [each for each in self.references if each not in names[1:]]
        if unknown:
            raise ValueError(f"references: {unknown[0]} is none of the other sources ({', '.join(names[1:])})")

    def _classes_fit(self) -> None:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: names must differ")
        if self.glosses and len(self.glosses) != len(self.classes):
            raise ValueError(f"glosses: {len(self.glosses)} for {len(self.classes)} classes")
        if "gloss" in (self.shadow_prompts, self.validation_prompts) and not self.glosses:
            raise ValueError("glosses: the prompt strategy gloss needs one for each class")


def reference_sources(recipe: AuditRecipe) -> list[str]:
    """Names of the sources whose pictures are reference sets."""
    return recipe.references or [each.name for each in recipe.others[:3]]


def refusal(recipe: AuditRecipe, sizes: Sequence[int]) -> str | None:
    """Why an audit could not end with validation sets of such sizes, mine first; none if it can. Known before any
    training."""
    budget, asked, mine = recipe.suspect.queries, sum(sizes), sizes[0]
    if budget is not None and budget < asked:
        if budget < len(sizes):
            return f"suspect.queries: {budget} for {len(sizes)} validation sets; allow at least one each"
        few = min(recipe.mine_each, recipe.others_each) < 2
        if recipe.choice == "disagreement" and few:
            return (
                "suspect.queries: a budget needs two shadows of every source and architecture, one to choose images, "
                "one to "
                "calibrate; raise mine_each and others_each, or set choice: random"
            )
        mine = budget * mine // asked
    batches = -(-mine // recipe.batch)
    if recipe.statistic in ("grubbs_paper", "grubbs_entropy") and batches < 3:
        return (
            f"statistic {recipe.statistic}: {mine} validation pictures of my generator make {batches} batches of "
            f"{recipe.batch}; it needs 3 or more: use a smaller batch or more validation pictures"
        )
    return None
