"""What a user may set for RFTT. Defaults are the paper's, as its released code has them.

Knows pydantic only; importing it is cheap.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from burnish.core.recipe import Recipe, Settings
from burnish.dialogue.readers import QuestionSettings
from burnish.dialogue.server import EndpointSettings
from burnish.dialogue.training import Adapter, refuse_taken
from burnish.reason.grpo.settings import TAKEN

# Arguments of TRL's GRPOConfig that the recipe or the run folder decide.
RL_TAKEN = TAKEN - {"max_grad_norm", "num_iterations", "reward_weights", "steps_per_generation", "vllm_mode"}
# Arguments of TRL's SFTConfig that the recipe or the run folder decide.
SFT_TAKEN = frozenset({
    "activation_checkpointing", "bf16", "data_seed", "dataset_kwargs", "disable_tqdm", "gradient_accumulation_steps",
    "gradient_checkpointing", "learning_rate", "logging_steps", "lr_scheduler_type", "max_length", "max_steps",
    "num_train_epochs", "output_dir", "packing", "per_device_train_batch_size", "report_to", "save_strategy",
    "save_total_limit", "seed", "use_cpu", "warmup_steps", "weight_decay",
})  # fmt: skip


class GrammarSettings(Settings):
    """The functional tokens and what may follow what."""

    tags: Literal["guarded", "official"] = "guarded"
    """`<|rftt:verify|>`, which nobody writes by chance, or `<verify>`, of which `<output>` is an HTML tag too."""
    max_depth: int = Field(default=18, ge=2)
    """Steps that a trace may have."""
    table: str | None = None
    """A grammar of your own, `module:OBJECT`, instead of the paper's eight actions; with its own tags and depth."""

    @model_validator(mode="after")
    def _one_of_both(self) -> GrammarSettings:
        given = self.model_fields_set & {"tags", "max_depth"}
        if self.table is not None and given and (self.tags, self.max_depth) != ("guarded", 18):
            raise ValueError(f"{min(given)} is the table's own; leave it out beside table")
        return self


class SearchSettings(Settings):
    """Phase 1: search by prompts with the untuned model."""

    questions: int | None = Field(default=None, ge=1)
    """How many of the questions are searched; none takes all. The paper has about 1,000."""
    rollouts: int = Field(default=16, ge=1)
    """Walks from a question to an end."""
    max_depth: int = Field(default=15, ge=2)
    """Steps of a walk; 15 in the released script."""
    weight: float = Field(default=2.0, ge=0)
    """c of UCT."""
    schedule: Literal["constant", "exp", "linear"] = "constant"
    """How c falls from walk to walk."""
    eager: bool = False
    """Write every child as soon as it is proposed, as published; otherwise when a walk gets there: the same paths."""
    temperature: float = Field(default=0.8, ge=0)
    """Of sampling."""
    top_k: int = Field(default=40, ge=0)
    """Of sampling; 0 is no limit."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Of sampling."""
    tokens: int | None = Field(default=None, ge=1)
    """Cap of every step; none takes the paper's: 256 for a sub-question, 4,096 for an answer, 512 otherwise."""
    prompts: str | None = None
    """Folder with a prompt an action (`next_step.txt`); none takes ours."""
    batch: int = Field(default=16, ge=1)
    """Texts that the model writes at a time."""
    trees: int = Field(default=16, ge=1)
    """Questions searched in lock step."""
    endpoint: EndpointSettings | None = None
    """Let a server write instead of the model itself."""


class WarmupSettings(Settings):
    """Phase 1: from trees to rows to a model that writes functional tokens."""

    rows: str | None = None
    """Rows of another run (its `artifacts/rows.jsonl`) instead of a search."""
    train: bool = True
    """False stops when the rows are written; `rl` must be none."""
    search: SearchSettings = Field(default_factory=SearchSettings)
    """The search."""
    splice: bool = True
    """Rows in which a wrong branch is found by a verify step and mended by a refine step."""
    verify: Literal["model", "plain"] = "model"
    """Who says where the wrong branch goes wrong: the model, asked to compare, or one plain sentence."""
    wrong: Literal["learn", "read"] = "learn"
    """Tokens of the wrong branch: learnt too, as published, or only read."""
    learning_rate: float = Field(default=7e-6, gt=0)
    """Of AdamW."""
    lr_scheduler: Literal["constant_with_warmup", "linear", "cosine"] = "constant_with_warmup"
    """Course of the learning rate."""
    warmup_steps: int = Field(default=10, ge=0)
    """Steps over which it rises."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Of AdamW."""
    epochs: float = Field(default=10.0, gt=0)
    """Passes over the rows."""
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps instead of epochs."""
    batch: int = Field(default=1, ge=1)
    """Rows in a forward pass and process."""
    accumulate: int = Field(default=32, ge=1)
    """Forward passes a step."""
    max_length: int = Field(default=8192, ge=2)
    """Longer rows are left out."""
    trl: dict[str, Any] = Field(default_factory=dict)
    """Any other argument of TRL's SFTConfig."""

    @model_validator(mode="after")
    def _trl_is_free(self) -> WarmupSettings:
        refuse_taken(self.trl, SFT_TAKEN)
        return self


class ProcessRewardSettings(Settings):
    """A process reward model: what it thinks of each step."""

    model: str
    """`module:function` of questions and lists of steps, or an http(s) address that answers the same as JSON."""
    most_tokens: int = Field(default=5120, ge=1)
    """A longer solution gets .2 for every step without asking."""


class ReinforceSettings(Settings):
    """Phase 2: reinforcement learning on rollouts over functional tokens."""

    layout: Literal["mcts", "branch16", "iid"] = "mcts"
    """Every walk of a tree search, the released fixed tree of sixteen openings, or plain samples."""
    samples: int = Field(default=16, ge=2)
    """Rollouts of a question; `branch16` has as many as the grammar has openings."""
    weight: float = Field(default=2.0, ge=0)
    """c of UCT, for `mcts`."""
    forced: Literal["include", "mask", "importance"] = "include"
    """Tokens that the layout imposed: learnt as published, left out of the loss, or weighted by the ratio to the
    layout."""
    advantage: Literal["batch", "group", "siblings"] = "batch"
    """Baseline: the batch (as published), the question, or the other children of the step before."""
    reward: Literal["outcome", "prm_paper", "prm_released"] = "outcome"
    """1, .1 or 0 by the answer; the same with the process score where there is no answer; or .6 and .4 of both."""
    kl: Literal["loss", "reward"] = "loss"
    """Where the divergence from the model of phase 1 counts: in the loss (TRL) or in the reward (released)."""
    beta: float = Field(default=0.01, ge=0)
    """Its weight; 0 needs no reference model."""
    epsilon: float = Field(default=0.2, gt=0)
    """Clipping of the ratio."""
    questions: int = Field(default=16, ge=1)
    """Questions a step and process."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Completions in one forward and backward pass; divides questions x samples. None: all of a step's."""
    step_tokens: int | None = Field(default=None, ge=1)
    """Cap of every step's text; none takes the grammar's."""
    completion_tokens: int = Field(default=1024, ge=1)
    """Longest completion of `iid`."""
    temperature: float = Field(default=0.1, ge=0)
    """Of the text inside a step; `iid` samples at 1."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Of the same."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the questions."""
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps instead of epochs."""
    token_budget: int | None = Field(default=None, ge=1)
    """Stop once this many tokens were generated in all."""
    learning_rate: float = Field(default=5e-7, gt=0)
    """Of AdamW."""
    lr_scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "constant"
    """Course of the learning rate."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which it rises."""
    trl: dict[str, Any] = Field(default_factory=dict)
    """Any other argument of TRL's GRPOConfig."""

    @model_validator(mode="after")
    def _fits(self) -> ReinforceSettings:
        if self.layout != "branch16" and self.micro_batch and self.questions * self.samples % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide questions x samples = {self.questions * self.samples}"
            )
        if self.forced == "importance" and self.temperature == 0 and self.layout != "iid":
            raise ValueError("forced importance needs a temperature above 0: what is certain has no probability")
        refuse_taken(self.trl, RL_TAKEN)
        return self


class RFTTRecipe(Recipe):
    """Functional tokens: learnt from searched traces (phase 1), then reinforced over searches (phase 2)."""

    method: str = "rftt"
    """What runs."""
    model: str
    """The model to train: a folder or hub id of a causal language model. Its tokenizer needs a chat template."""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of the weights."""
    bf16: bool | None = None
    """Compute in bfloat16 where that is safe (autocast); none does so on a GPU."""
    adapter: Adapter | None = None
    """Train a LoRA adapter and the new rows instead of all weights; merged at the end of each phase."""
    data: QuestionSettings
    """The questions."""
    test: QuestionSettings | None = None
    """Questions on which the accuracy is measured before, between and after."""
    test_rollouts: int = Field(default=8, ge=1)
    """Walks of the search by which the trained model answers the test questions a second time; 1 leaves it out."""
    test_tokens: int = Field(default=1024, ge=1)
    """Longest answer of a test."""
    test_batch: int = Field(default=64, ge=1)
    """Test questions answered at a time."""
    system: str | None = None
    """System turn of every conversation."""
    answer: str = "boxed"
    """Where the answer stands: the last LaTeX box, the whole text (`whole`), or a `module:function` of your own."""
    language: Literal["any", "no_chinese"] = "any"
    """`no_chinese` counts answers with Chinese characters as wrong, as the released sampler does."""
    verify_seconds: float = Field(default=5.0, gt=0)
    """Wall-clock limit for comparing one answer; what takes longer is wrong."""
    grammar: GrammarSettings = Field(default_factory=GrammarSettings)
    """The functional tokens."""
    warmup: WarmupSettings | None = Field(default_factory=WarmupSettings)
    """Phase 1; none goes on from a model that has the functional tokens."""
    prm: ProcessRewardSettings | None = None
    """Guides the splices of phase 1 and, where `rl.reward` says so, phase 2."""
    rl: ReinforceSettings | None = Field(default_factory=ReinforceSettings)
    """Phase 2; none stops after phase 1."""
    engine: Literal["auto", "reuse", "reencode", "continuous"] = "auto"
    """Who writes in searches over functional tokens: prefixes kept where the model's layers allow it, every path read
    anew, or transformers' continuous batching (for GPUs)."""
    cache: int = Field(default=4 << 30, ge=0)
    """Bytes of keys and values that a search keeps between its calls."""
    activation_checkpointing: bool = False
    """Less memory for more time, in both trainings."""
    device: Literal["auto", "cpu"] = "auto"
    """`cpu` stays there even where there is a GPU."""

    @model_validator(mode="after")
    def _has_a_phase(self) -> RFTTRecipe:
        if self.warmup is not None and not self.warmup.train and self.rl is not None:
            raise ValueError("warmup.train is false and rl is set: set rl to none, or train")
        if self.warmup is None and self.rl is None:
            raise ValueError("warmup and rl are both none: nothing is left to do")
        if self.rl is not None and self.rl.reward != "outcome" and self.prm is None:
            raise ValueError(f"rl.reward {self.rl.reward} needs a process reward model; name one under prm")
        return self
