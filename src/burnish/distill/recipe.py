"""What a user may set for SAKD. Defaults are the paper's, as its text has them; where its code differs, that is said.

Knows pydantic only; importing it is cheap.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from burnish.core.recipe import Recipe, Settings
from burnish.distill.settings import DifficultySettings, InterruptionSettings, SelectionSettings

Evaluation = Literal["interrupted", "cached", "history"]


class DataSettings(Settings):
    """Where labelled videos or pictures are."""

    source: str
    """A folder with a folder a class, a list (.csv, .jsonl: `path`, `label`), a hub id (or a folder of its Parquet
    files), or `module:function` of your own that gives rows of `path` and `label`."""
    layout: Literal["auto", "folders", "list", "ucf101", "kinetics"] = "auto"
    """What the source looks like; `ucf101` and `kinetics` read their split files."""
    split: str = "train"
    """Which split, where the layout has several (`ucf101`: `train01` is the first list of training, and `train` is
    that one)."""
    root: str | None = None
    """Folder that the paths of a list start from; none takes the list's own."""
    bad_files: Literal["skip", "fatal"] = "skip"
    """A row or a file that gives no clip: named, counted and left out, or the end."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many samples, in turn from each class; of a hub's data set and of a function the first ones."""


class ClipSettings(Settings):
    """Which frames make a clip, and how large they are decoded."""

    frames: int = Field(default=32, ge=1)
    """Frames of a clip; 1 for pictures."""
    sampling: Literal["uniform", "dense"] = "uniform"
    """From the first to the last equally far apart (in time), or each `stride` after the last, from the middle of the
    video. Short videos are looped."""
    stride: int = Field(default=2, ge=1)
    """Of `dense`."""
    size: tuple[int, int] = (224, 224)
    """Height and width: a frame is scaled until it covers them, its shape kept, and the centre is cut out."""


class AugmentSettings(Settings):
    """How training clips are varied; the paper does not. Drawn for each sample and view, so that a view is always the
    same one."""

    views: int = Field(default=1, ge=1)
    """Different views of a sample, taken in turn by epoch; the teacher is asked about each once."""
    flip: bool = False
    """Left and right exchanged in half of the views."""
    crop: float = Field(default=1.0, gt=0, le=1)
    """Least share of the area that a view keeps."""
    jitter: float = Field(default=0.0, ge=0, le=1)
    """Strength of changes of brightness, contrast and saturation."""

    @property
    def varies(self) -> bool:
        """Whether a view is anything but the clip as it is."""
        return (self.flip, self.crop, self.jitter) != (False, 1.0, 0.0)


class LossSettings(Settings):
    """The base loss, whose two parts the strength mixes."""

    kind: Literal["kd", "dkd", "head_crossing", "feature"] = "kd"
    """Hinton's, decoupled, the student's features through the teacher's head, or the distance of features."""
    temperature: float = Field(default=4.0, gt=0)
    """T."""
    supervised: float = Field(default=0.1, ge=0)
    """Weight of the cross-entropy."""
    distilled: float = Field(default=0.9, ge=0)
    """Weight of the distillation loss."""
    alpha: float = Field(default=0.1, ge=0)
    """DKD: weight of the label's part (its own paper: 1)."""
    beta: float = Field(default=1.0, ge=0)
    """DKD: weight of the rest (its own paper: 8)."""


class BudgetSettings(Settings):
    """When training ends, if before its epochs: whatever comes first. All costs count, the frozen passes too.

    FLOPs are never overdrawn: a step that they do not cover is not made, and all samples are measured again only where
    the training up to the next evaluation is covered too; else training goes on with what is known."""

    share: float | None = Field(default=None, gt=0)
    """Of the FLOPs of distilling on all samples for all epochs."""
    seconds: float | None = Field(default=None, gt=0)
    """Wall-clock seconds of training; decoding, which is done once, is not counted."""
    flops: float | None = Field(default=None, gt=0)
    """FLOPs in all."""


class SakdRecipe(Recipe):
    """Distil on a small easy and diverse part of the data, each sample by its own mix of label and teacher."""

    method: str = "sakd"
    """What runs."""
    teacher: str
    """A video or image classifier: a folder, a hub id, or `module:function` of your own."""
    student: str
    """Likewise; what is trained. `config:FOLDER` starts from random weights of that folder's configuration."""
    new_head: bool = False
    """Give the student a last layer for the classes of the data, in place of its own: it was trained on others."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights of the teacher; the student's stay float32."""
    bf16: bool | None = None
    """Compute in bfloat16 (autocast); none does so on a GPU."""
    device: Literal["auto", "cpu"] = "auto"
    """`cpu` stays there even where there is a GPU."""
    data: DataSettings
    """What is learnt from."""
    test: DataSettings | None = None
    """What accuracy is measured on, before, at every evaluation and after; never used for a choice, nor counted as a
    cost."""
    clip: ClipSettings = Field(default_factory=ClipSettings)
    """The clips, of the student."""
    teacher_clip: ClipSettings | None = None
    """The teacher's, where it wants other frames or another size; none takes the student's."""
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    """Views of the training clips."""
    interruption: InterruptionSettings = Field(default_factory=InterruptionSettings)
    """How clips are disturbed when difficulty is measured."""
    difficulty: DifficultySettings = Field(default_factory=DifficultySettings)
    """Difficulty and strength."""
    evaluation: Evaluation = "interrupted"
    """What difficulty is measured by: both models on interrupted clips (published); the teacher's table of clean clips
    and the student; or the losses seen in training, which costs nothing."""
    selection: SelectionSettings = Field(default_factory=SelectionSettings)
    """Which samples are trained on."""
    interval: int = Field(default=5, ge=1)
    """Epochs from one evaluation to the next (the paper: 1 or 5)."""
    loss: LossSettings = Field(default_factory=LossSettings)
    """The base loss."""
    epochs: int = Field(default=50, ge=1)
    """N; an epoch goes over what is selected."""
    batch: int = Field(default=16, ge=1)
    """Samples a step and process."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Samples in one forward and backward pass; divides `batch`. None: all of a step's."""
    frozen_batch: int = Field(default=48, ge=1)
    """Samples at a time where nothing is learnt."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """The paper's is SGD with momentum."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Of the optimizer."""
    lr_scheduler: Literal["constant", "cosine", "linear"] = "constant"
    """Course of the learning rate; the released code makes none."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which it rises."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Of the optimizer."""
    max_grad_norm: float | None = Field(default=None, gt=0)
    """Gradients are clipped to this norm; none clips nothing."""
    budget: BudgetSettings = Field(default_factory=BudgetSettings)
    """When to end before the epochs are over."""

    @model_validator(mode="after")
    def _fits(self) -> SakdRecipe:
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ValueError(f"micro_batch {self.micro_batch} does not divide batch {self.batch}")
        return self
