"""What a user may set for a layer-wise merge search. Knows no torch: reading a recipe stays instant.

The defaults had the best mean of all arms in the stored study, at equal budget: CMA-ES over one scale a layer and
expert, guided by cross-entropy. ``recipes/rmm/paper.yaml`` is Reinforced Model Merging as released.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from burnish.core.recipe import Recipe, Settings
from burnish.merge.methods.catalogue import CATALOGUE

ELEMENTWISE = ("linear", "task_arithmetic")
"""Methods that treat every number by itself: the whole model at once is the same, and faster."""

POLICIES = ("rmm_published", "ppo")
"""Searches that learn a policy over whole blocks."""


class TaskFiles(Settings):
    """One skill the merged model must keep, and the examples that measure it.

    A data file is JSONL (``{"text", "label"}``, ``{"text"}`` or ``{"prompt", "choices", "answer"}``), ``.npz`` /
    ``.safetensors`` with ``images`` and ``labels``, or a folder with one sub-folder of pictures a class.
    """

    name: str
    """Shown in tables and in the exported labels."""
    validation: str
    """Data file the search is rewarded on."""
    test: str
    """Data file the search never sees; the reported score."""
    score: str = "auto"
    """auto (from the file's columns) | accuracy | choices | perplexity | module:function, called with (model, rows)
    and returning one number in [0, 1] a row.
    """
    head: int | None = Field(default=None, ge=0)
    """Expert whose head reads this task; default: the task's position."""


class MergeCandidate(Settings):
    """A merge of all experts that competes with them for every layer (RMM, section 3.1: the P extra columns)."""

    method: str
    """Name of a registered merge method."""
    weight: float = 1.0
    """Weight of every expert; tuned where `tuning_budget` > 0."""
    density: float = Field(default=1.0, gt=0, le=1)
    """Share of each task vector kept; tuned likewise."""
    normalize: bool = False
    """Divide by the weights that agree (mean) instead of summing."""
    trim: Literal["model", "tensor"] = "model"
    """Where the density counts: over the whole model, as RMM does, or in each tensor, as `burnish merge` does. Methods
    that trim nothing see each tensor by itself; for them the default is `tensor`.
    """

    @model_validator(mode="before")
    @classmethod
    def _fits_the_method(cls, data: Any) -> Any:
        method = next((each for each in CATALOGUE if each.name == data.get("method")), None)
        if method is None:  # the registry names the nearest ones; a user's own function is made for single tensors
            return {"trim": "tensor", **data} if ":" in str(data.get("method")) else data
        if method.statistics:
            raise ValueError(f"{method.name} needs statistics of each model; a search has none: use `burnish merge`")
        density = method.model_parameters.get("density")
        if (density is None or density.inert) and method.name not in ELEMENTWISE:
            if data.get("trim") == "model":
                raise ValueError(f"{method.name} trims nothing and works on one tensor at a time: set trim: tensor")
            return {**data, "trim": "tensor"}
        return data


class PPOSettings(Settings):
    """Proximal policy optimisation; defaults as published (RMM, appendix and released code)."""

    actor_lr: float = Field(default=3e-4, gt=0)
    """Learning rate of the policy."""
    critic_lr: float = Field(default=1e-3, gt=0)
    """`rmm_published` only: MaskablePPO has one optimizer."""
    gamma: float = Field(default=0.99, gt=0, le=1)
    """Discount."""
    clip: float = Field(default=0.2, gt=0)
    """How far the ratio of new to old probabilities may leave 1."""
    epochs: int = Field(default=40, ge=1)
    """Passes over the episodes of one update."""
    episodes_per_update: int = Field(default=4, ge=1)
    """Episodes gathered before each update."""
    value_weight: float = 0.5
    """Of the value loss."""
    entropy_weight: float = 1e-4
    """Of the entropy bonus."""
    warm_start: float = Field(default=0.0, ge=0, lt=1)
    """Initial probability of the best merge's action; 0: uniform, as published."""
    skip_and_back: bool = True
    """Offer the two actions that leave a layer out or take one again."""


class SearchRecipe(Recipe):
    """Layer-wise search for the merge of several fine-tunes of one base. Source: RMM, sections 3 and 4; what was
    corrected: ``docs/rmm.md``."""

    method: str = "rmm"
    """What runs."""
    base: str
    """The model all experts were fine-tuned from: folder or hub id."""
    experts: list[str] = Field(min_length=2)
    """Fine-tunes of the base."""
    tasks: list[TaskFiles] = Field(min_length=1)
    """The skills that the merged model must keep."""
    max_length: int = Field(default=256, ge=2)
    """Tokens a text is cut to."""

    search: Literal["rmm_published", "ppo", "cma", "greedy", "random"] = "cma"
    """What proposes architectures; rmm_published is the released agent, fault for fault."""
    actions: Literal["blocks", "scales"] = "scales"
    """Choose whole blocks (`ppo` and `rmm_published` do nothing else), or weigh task vectors."""
    scale_per: Literal["layer", "model"] = "layer"
    """One scale an expert and layer, or an expert."""
    objective: Literal["score", "cross_entropy"] = "cross_entropy"
    """What the search maximises: the tasks' scores, or minus their cross-entropy."""
    budget: int = Field(default=160, ge=1)
    """Architectures proposed (episodes)."""
    candidates: list[MergeCandidate] = Field(
        default=[
            MergeCandidate(method="task_arithmetic"),
            MergeCandidate(method="ties", density=0.5, normalize=True),
            MergeCandidate(method="dare_ties", density=0.66, normalize=True),
        ]
    )
    """Uniform merges: baselines, warm start, and the extra columns of `actions: blocks`."""
    tuning_budget: int = Field(default=60, ge=0)
    """Evaluations spent tuning the candidates' parameters; 0: as given."""
    max_weight: float = Field(default=1.2, gt=0)
    """Largest expert weight tried in tuning and as a scale."""
    sigma: float = Field(default=0.1, gt=0)
    """First step size of CMA-ES, in units of a scale."""

    subset: Literal["cycling", "same", "full"] = "full"
    """Validation items of one reward."""
    subset_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the validation items in one reward."""
    batch_size: int | None = Field(default=None, ge=1)
    """Cycle in batches of this many items (published: 128); default: one subset a batch."""
    dynamic_average: bool = False
    """Mix each reward with the episode's before (RMM, equation 4)."""
    dynamic_weight: float = Field(default=0.8, ge=0, le=1)
    """d of that average."""

    ppo: PPOSettings = PPOSettings()
    """Of `ppo` and `rmm_published`."""
    finalists: int = Field(default=10, ge=1)
    """Architectures scored again on the whole validation set at the end."""
    chunk: int = Field(default=200, ge=1)
    """Items a forward pass."""

    @model_validator(mode="after")
    def _fits_together(self) -> "SearchRecipe":
        if self.search in POLICIES and self.actions != "blocks":
            raise ValueError(f"search {self.search} chooses blocks: set actions: blocks")
        if self.actions == "blocks" and self.scale_per == "model":
            raise ValueError("scale_per: model needs actions: scales")
        if self.subset == "full" and self.subset_fraction < 1:
            raise ValueError("subset: full uses everything: set subset: cycling | same, or subset_fraction: 1")
        for task in self.tasks:
            if task.head is not None and task.head >= len(self.experts):
                raise ValueError(
                    f"tasks: {task.name}: head {task.head} of {len(self.experts)} experts (counted from 0)"
                )
        names = [task.name for task in self.tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"tasks: names must differ, got {names}")
        return self
