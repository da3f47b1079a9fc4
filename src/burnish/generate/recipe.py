"""What a user may set about training a unified model. Imports no heavy library.

Defaults are the paper's where it says them (AdamW, betas, weight decay, a constant rate after a warm-up, stages I to
III, the three tasks of stage III in equal parts); what it leaves open is chosen here and said beside the setting.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from burnish.core.recipe import Recipe, Settings
from burnish.generate.kinds import Kind
from burnish.generate.plan import Wording
from burnish.generate.settings import ModelSettings

Task = Literal["draw", "describe", "reflect", "correct", "read"]
"""What a row teaches: plan and draw a prompt; say what is in a picture; find what needs repair; repair it; read a
picture back as a plan, which `burnish generate draw --compare` needs (ours: the paper has no such task)."""


class SourceSettings(Settings):
    """Where samples come from."""

    source: str
    """`module:function` that gives rows; a JSONL file of rows; a folder with `metadata.jsonl`; a WebDataset shard or a
    folder of them; Visual Genome's folder (`region_descriptions.json`); RichHF-18K's `train.tfrecord`. A row has
    `image` (or `file_name`), `prompt` (or `text`), and where known `objects` (rows of `name`, `attributes`, `box`),
    `caption`, `question` with `answer`, and `heat` (rows of 0..1: where a picture needs repair; `reflect` alone learns
    from such a row)."""
    pictures: str | None = None
    """Folder of the pictures of Visual Genome or RichHF-18K; none: they lie where the list does."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many rows, the first ones."""
    bad_files: Literal["refuse", "skip"] = "refuse"
    """What to do about a picture that cannot be read: stop and name it, or leave it out."""


class StageSettings(Settings):
    """A stretch of training with its own mix of tasks."""

    name: str = "stage"
    """In logs and reports."""
    steps: int = Field(ge=1)
    """Of the optimizer."""
    tasks: dict[Task, float] = Field(default={"draw": 1.0}, min_length=1)
    """Share of the rows of each step, by task: `{draw: 8, describe: 1}`."""
    batch: int = Field(default=32, ge=1)
    """Rows a step, of all processes and tasks together."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """The highest of the stage."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Course of the rate after the warm-up; `cosine` falls to a twentieth at the stage's end."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate rises, at the stage's begin (the paper: 10,000)."""
    copy_experts: dict[Kind, Kind] = Field(default_factory=dict)
    """Before the stage the expert of a kind becomes a copy of another kind's: `{clean: noisy}` at stage II. Nothing
    happens where both have one expert."""
    data: SourceSettings | None = None
    """What this stage learns from; none takes the recipe's."""

    @model_validator(mode="after")
    def _shares(self) -> StageSettings:
        if any(share <= 0 for share in self.tasks.values()):
            raise ValueError("tasks: shares are above 0; leave a task out to train none of it")
        if len(self.tasks) > self.batch:
            raise ValueError(f"batch {self.batch} has no row for each of {len(self.tasks)} tasks")
        return self


class LossSettings(Settings):
    """Weights of the losses, each of which is a mean over its own tokens of all processes."""

    text: float = Field(default=1.0, ge=0)
    """Of the next token's cross-entropy."""
    image: float = Field(default=1.0, ge=0)
    """Of the squared error of the velocity. The paper does not say; with means a token, 1 is BAGEL's."""
    heat: float = Field(default=1.0, ge=0)
    """Of the binary cross-entropy of "this patch needs repair"."""


class FlowSettings(Settings):
    """Noise levels of training, and dropped conditions."""

    spread: float = Field(default=1.2, gt=0)
    """Times are sigmoid(spread z + offset) of standard normal z; 0 is noise."""
    offset: float = -1.8
    """See `spread`. The paper draws times evenly; where things stand is decided near the noise."""
    copies: int = Field(default=4, ge=1)
    """Noisy copies of a picture a prompt, each at its own noise level: the prompt is read once for all."""
    drop: float = Field(default=0.1, ge=0, le=1)
    """Share of copies that see neither prompt nor plan, for guidance."""
    drop_plan: float = Field(default=0.1, ge=0, le=1)
    """Share of copies that see the prompt and no plan, so that the plan can be weighted by itself."""
    unplanned: float = Field(default=0.1, ge=0, le=1)
    """Share of rows whose plan is left out, so that pictures can also be drawn and looked at without one."""

    @model_validator(mode="after")
    def _possible(self) -> FlowSettings:
        if self.drop + self.drop_plan > 1:
            raise ValueError("drop and drop_plan are more than 1 together")
        return self


class DefectSettings(Settings):
    """How pictures are spoilt for `reflect`, where a row brings no heat-map, and masked for `correct`."""

    share: float = Field(default=0.6, ge=0, le=1)
    """Of the pictures that are spoilt; the rest is to be found faultless."""
    most: int = Field(default=2, ge=1)
    """Defects of a picture, at most."""
    masked: float = Field(default=0.35, gt=0, le=1)
    """Share of the patches that a correction draws anew, at most; one at least."""


class MintRecipe(Recipe):
    """Train one model to plan, draw, describe, reflect and correct."""

    method: str = "mint"
    """What runs."""
    model: ModelSettings = Field(default_factory=ModelSettings)
    """What is trained."""
    tokenizer: str | None = None
    """A folder or hub id, or `module:function` that makes one; none takes that of `model.base`."""
    wording: Wording = Field(default_factory=Wording)
    """How plans are written; kept with the model."""
    plans: bool = True
    """Whether rows with `objects` are taught with a plan before the picture; rows without go without."""
    data: SourceSettings
    """What is learnt from."""
    test: SourceSettings | None = None
    """Losses are measured on these at the end of every stage; and their first prompts are drawn."""
    stages: tuple[StageSettings, ...] = Field(min_length=1)
    """One after another."""
    loss: LossSettings = Field(default_factory=LossSettings)
    """Weights."""
    flow: FlowSettings = Field(default_factory=FlowSettings)
    """Noise levels."""
    defects: DefectSettings = Field(default_factory=DefectSettings)
    """Of the tasks `reflect` and `correct`."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of AdamW."""
    weight_decay: float = Field(default=0.02, ge=0)
    """Of AdamW."""
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm; none clips nothing."""
    ema: float | None = Field(default=None, ge=0, lt=1)
    """Decay of the moving average of the weights, which is what is saved; it starts faster. None: none is kept."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Rows of a task in one forward and backward pass of a process; none: all."""
    bf16: bool | None = None
    """Compute in bfloat16 (autocast; norms, the flow head and losses stay float32); none does so on a GPU."""
    device: Literal["auto", "cpu"] = "auto"
    """`cpu` stays there even where there is a GPU."""
