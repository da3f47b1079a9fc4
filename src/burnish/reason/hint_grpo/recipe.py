"""What a user may set for Hint-GRPO. Defaults are the paper's, as its released code has them.

Knows pydantic only; importing it is cheap.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from burnish.core.recipe import Recipe, Settings
from burnish.dialogue.readers import QuestionSettings
from burnish.dialogue.rows import MOST_PIXELS
from burnish.dialogue.training import Adapter, refuse_taken
from burnish.reason.grpo.settings import TAKEN
from burnish.reason.hint_grpo.steps import Style

SYSTEM = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The Assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning "
    "process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., "
    "<think> reasoning process here </think><answer> answer here </answer>"
)
"""System turn of R1-style training, as the released code has it."""


class HintSettings(Settings):
    """Which hints are tried, and when."""

    levels: int = Field(default=2, ge=1)
    """H, levels with the plain prompt: level h gives the first floor(h n / H) of n steps. The paper's text has 3."""
    schedule: str = "ladder"
    """`ladder`, `exhaustive` (as released), `fixed`, `random`, `self_hint`, or `module:OBJECT` of your own."""
    level: int = Field(default=0, ge=0)
    """The level of the schedule `fixed`."""
    remember: bool = True
    """The ladder starts a question's next try near the level that worked; false: at 0, selecting as `exhaustive`."""
    decay: float = Field(default=0.5, ge=0, lt=1)
    """Weight of the past in the remembered solve rate."""
    withdraw_above: float = Field(default=0.5, gt=0, le=1)
    """Remembered solve rate from which the next attempt starts one level lower."""
    guard: bool = True
    """Never give a step that the accuracy reward would take for the answer, nor any after it."""
    split: Style = "auto"
    """How a rationale is cut into steps, where the data does not say."""
    prefill: str = "<think>"
    """How the assistant's turn starts, before the hint; not repeated where the chat template writes it itself."""

    @model_validator(mode="after")
    def _level_exists(self) -> HintSettings:
        if self.level >= self.levels:
            raise ValueError(f"level {self.level} is not below levels {self.levels}")
        return self


class RewardSettings(Settings):
    """One reward function and its weight."""

    name: str
    """`accuracy`, `format`, or `module:function` of your own in TRL's form."""
    weight: float = 1.0
    """In the sum of rewards."""


class HintGRPORecipe(Recipe):
    """GRPO in which questions that no completion solves are tried again with part of their solution given."""

    method: str = "hint_grpo"
    """What runs."""
    model: str
    """The model to train: a folder or hub id, text-only or image-text. Its tokenizer needs a chat template."""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of the weights. In bfloat16 steps of 1e-6 round to nothing, but for adapters or DeepSpeed's float32 copy."""
    bf16: bool | None = None
    """Compute in bfloat16 where that is safe (autocast); none does so on a GPU."""
    adapter: Adapter | None = None
    """Train a LoRA adapter instead of all weights."""
    data: QuestionSettings
    """The questions."""
    test: QuestionSettings | None = None
    """Questions on which the accuracy without hints is measured before and after."""
    test_samples: int = Field(default=1, ge=1)
    """Sampled completions for each test question."""
    test_batch: int = Field(default=64, ge=1)
    """Test questions that a process answers at a time."""
    system: str | None = SYSTEM
    """System turn of every conversation; none leaves it out."""
    most_pixels: int = Field(default=MOST_PIXELS, ge=1)
    """Larger images are shrunk to this many pixels."""

    hints: HintSettings = Field(default_factory=HintSettings)
    """The hints."""
    rewards: list[RewardSettings] = Field(default_factory=lambda: [RewardSettings(name="accuracy")], min_length=1)
    """Reward functions; the paper uses accuracy alone."""
    success: str | None = None
    """Reward that says whether a completion succeeds; none takes the first of `rewards`."""
    success_above: float = 0.0
    """A value of that reward above this one is a success."""
    judge: Literal["completion", "answer"] = "completion"
    """Where the accuracy looks for the answer: in the whole completion, as published, or only inside `<answer>`."""
    verify_seconds: float = Field(default=5.0, gt=0)
    """Wall-clock limit for comparing one answer, in one of `workers` processes; what takes longer is wrong."""

    generations: int = Field(default=4, ge=2)
    """G: completions of a question at a level."""
    questions: int = Field(default=1, ge=1)
    """Questions a step and process."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Completions in one forward and backward pass; divides questions x generations. None: all of a step's."""
    completion_tokens: int = Field(default=768, ge=1)
    """Longest completion."""
    temperature: float = Field(default=0.9, gt=0)
    """Of sampling."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus of sampling."""
    epochs: float = Field(default=2.0, gt=0)
    """Passes over the questions."""
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps instead of epochs."""
    token_budget: int | None = Field(default=None, ge=1)
    """Stop once this many tokens were generated in all, those that were not learnt from included."""
    updates: int = Field(default=1, ge=1)
    """Optimizer steps on the same completions (mu)."""
    learning_rate: float = Field(default=1e-6, gt=0)
    """Of AdamW."""
    lr_scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    """Course of the learning rate."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which it rises."""
    beta: float = Field(default=0.04, ge=0)
    """Weight of the KL term; 0 needs no reference model."""
    epsilon: float = Field(default=0.2, gt=0)
    """Clipping of the ratio; without effect while `updates` is 1."""
    loss: Literal["grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = "grpo"
    """TRL's `loss_type`; `grpo` is the paper's mean over each sequence."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    activation_checkpointing: bool = False
    """Less memory for more time."""
    zero_variance: Literal["keep", "mask"] = "keep"
    """Groups whose rewards are all equal: keep their KL term, or take them out of the loss."""
    dynamic_sampling: int = Field(default=0, ge=0)
    """How often a step replaces questions without any gradient by fresh ones (DAPO)."""
    vllm: Literal["colocate", "server"] | None = None
    """Generate with vLLM: in the training processes, or in a server of its own (`trl vllm-serve`)."""
    trl: dict[str, Any] = Field(default_factory=dict)
    """Any other argument of TRL's GRPOConfig, for example `vllm_gpu_memory_utilization` or `fsdp`."""
    device: Literal["auto", "cpu"] = "auto"
    """`cpu` stays there even where there is a GPU."""

    @model_validator(mode="after")
    def _fits(self) -> HintGRPORecipe:
        if self.micro_batch is not None and self.questions * self.generations % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide questions x generations = "
                f"{self.questions * self.generations}"
            )
        names = [reward.name for reward in self.rewards]
        if self.success is not None and self.success not in names:
            raise ValueError(f"success `{self.success}` is none of the rewards {', '.join(names)}")
        refuse_taken(self.trl, TAKEN)
        return self
