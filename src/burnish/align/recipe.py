"""What a user may set for SHAPE. Defaults are the release's where it says, ours elsewhere (marked).

Knows pydantic only; importing it is cheap.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from burnish.align.settings import PairSettings, ViewSettings
from burnish.core.recipe import Recipe, Settings
from burnish.dialogue.readers import QuestionSettings
from burnish.dialogue.rows import MOST_PIXELS
from burnish.dialogue.server import EndpointSettings
from burnish.dialogue.training import Adapter, refuse_taken

# Arguments of TRL that a recipe or the run folder decide.
TAKEN = frozenset({
    "activation_checkpointing", "beta", "bf16", "data_seed", "disable_dropout", "disable_tqdm",
    "gradient_accumulation_steps", "gradient_checkpointing", "ld_alpha", "learning_rate", "logging_nan_inf_filter",
    "logging_steps", "loss_type",
    "lr_scheduler_type", "max_grad_norm", "max_length", "max_steps", "num_train_epochs", "output_dir",
    "per_device_train_batch_size", "precompute_ref_log_probs", "remove_unused_columns", "report_to", "save_steps",
    "save_strategy", "save_total_limit", "seed", "sync_ref_model", "truncation_mode", "use_cpu", "warmup_steps",
    "weight_decay",
})  # fmt: skip

SUMMARY = (
    "Here are {count} answers that were given to one question about one picture.\n"
    "Question: {question}\n{answers}\n"
    "Write one complete answer to the question. Unite the details that the answers agree on, leave out what they "
    "contradict each other in, and add nothing that none of them says. Write only the answer."
)
"""The prompt of the summary. Ours: neither the paper's text at hand nor its release has one."""


class GeneratorSettings(Settings):
    """How the answers on the views are written. The release has no generation code: all of this is ours."""

    engine: Literal["transformers", "vllm", "endpoint"] = "transformers"
    """What generates: the model that is trained, here or in vLLM; or a server's, which no round changes."""
    endpoint: EndpointSettings | None = None
    """That server, for `engine: endpoint`."""
    temperature: float = Field(default=0.7, ge=0)
    """Of the answers; the summary takes the likeliest token."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus of the answers."""
    tokens: int = Field(default=512, ge=1)
    """Longest answer, and longest summary."""
    batch: int = Field(default=32, ge=1)
    """Views answered together."""
    records: int = Field(default=64, ge=1)
    """Records in a shard: what a `kill -9` can lose at most."""
    summary: str = SUMMARY
    """The prompt of the summary, with `{count}`, `{question}` and `{answers}`."""

    @model_validator(mode="after")
    def _goes_together(self) -> GeneratorSettings:
        if "{answers}" not in self.summary:
            raise ValueError("summary: `{answers}` must stand in it")
        if (self.engine == "endpoint") != (self.endpoint is not None):
            raise ValueError("endpoint: give the server's `url` and `model` with `engine: endpoint`, and only then")
        return self


class TrainingSettings(Settings):
    """DPO on the pairs of a round. Defaults are the release's."""

    beta: float = Field(default=0.1, gt=0)
    """Of DPO."""
    loss: Literal["sigmoid", "ipo", "sigmoid_norm"] = "sigmoid"
    """TRL's loss: DPO's, IPO's, or DPO's over log-probabilities per token (length-normalised)."""
    ld_alpha: float | None = Field(default=None, ge=0, le=1)
    """Weight of the tokens beyond the shorter answer's length (LD-DPO); none counts all, as published."""
    learning_rate: float = Field(default=2e-6, gt=0)
    """Of AdamW."""
    lr_scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    """Course of the learning rate."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which it rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of AdamW."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    batch: int = Field(default=8, ge=1)
    """Pairs a step and process."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Pairs in one forward and backward pass; divides `batch`. None: all of a step's."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over a round's pairs (the release lists its rows twice: 2)."""
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps a round instead of epochs."""
    reference: Literal["table", "model"] = "table"
    """Log-probabilities of the reference: written down once before the round's training, or of a model (an adapter
    switched off, else a copy) at every step."""
    vision: bool = False
    """Whether the vision tower learns too; in LLaVA's practice it stays as it is."""
    longest: int | None = Field(default=2048, ge=1)
    """Tokens of the longest prompt and answer, those of the picture among them. A longer pair is left out and counted,
    never cut; so is one that the model's context does not hold."""
    activation_checkpointing: bool = False
    """Less memory for more time."""
    trl: dict[str, Any] = Field(default_factory=dict)
    """Any other argument of TRL's DPOConfig, for example `fsdp`."""

    @model_validator(mode="after")
    def _fits(self) -> TrainingSettings:
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ValueError(f"micro_batch {self.micro_batch} does not divide batch {self.batch}")
        refuse_taken(self.trl, TAKEN)
        return self


class ProbeSettings(Settings):
    """Held-out annotated pictures on which every round is measured."""

    source: str
    """A .jsonl file, or `module:function`: rows of `image` and `objects`, a list of names or of `[name, attribute,
    ...]`."""
    question: str = "Describe the picture."
    """What is asked about each picture for recall and precision."""
    limit: int | None = Field(default=None, ge=1)
    """Stop after this many pictures."""
    each: int = Field(default=3, ge=1)
    """POPE: positives and negatives of a picture."""
    pope: str = "Is there {} in the image?"
    """POPE: the question; `{}` is the thing with its article."""
    tokens: int = Field(default=128, ge=1)
    """Longest description."""

    @model_validator(mode="after")
    def _has_a_place(self) -> ProbeSettings:
        if self.pope.count("{}") != 1:
            raise ValueError("pope: `{}` must stand in it once")
        return self


class DriftSettings(Settings):
    """When the rounds stop early. Ours."""

    most_precision_lost: float | None = Field(default=0.02, ge=0, le=1)
    """Stop, and keep the model of the round before, once precision falls by more than this below the start; none never
    stops."""
    require_better_winners: bool = True
    """Refuse to train on pairs whose winners the views do not agree with more than with the losers."""


class ShapeRecipe(Recipe):
    """Rounds of: answer views of a picture, unite the answers into a winner, prefer it over the original text."""

    method: str = "shape"
    """What runs."""
    model: str
    """The image-text model: a folder or hub id. Its processor needs a chat template."""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of the weights. In bfloat16 steps of 2e-6 round to nothing, but for adapters or DeepSpeed's float32 copy."""
    bf16: bool | None = None
    """Compute in bfloat16 where that is safe (autocast); none does so on a GPU."""
    device: Literal["auto", "cpu"] = "auto"
    """`cpu` stays there even where there is a GPU."""
    adapter: Adapter | None = None
    """Train a LoRA adapter (on the language model alone, unless `training.vision`), merged after each round; the
    release trained all weights."""
    data: QuestionSettings
    """Captioned pictures: `answer` is the supervised text."""
    system: str | None = None
    """System turn of every conversation; none leaves it out."""
    most_pixels: int = Field(default=MOST_PIXELS, ge=1)
    """Larger images are shrunk to this many pixels."""
    vocabulary: str = "coco"
    """What texts may speak of: `coco` (80 objects with their synonyms, colours, sizes), a YAML file, or
    `module:OBJECT`."""
    rounds: int = Field(default=2, ge=1)
    """T; the paper's number is not at hand: ours."""
    triplets: str | None = None
    """Ready pairs instead of a factory: a folder of triplets that a run made, or anyone's .jsonl in TRL's layout; for
    one round."""
    train: bool = True
    """False: the triplets of the first round are made, and nothing is trained."""
    views: ViewSettings = Field(default_factory=ViewSettings)
    """The views."""
    generator: GeneratorSettings = Field(default_factory=GeneratorSettings)
    """The answers on them."""
    pairs: PairSettings = Field(default_factory=PairSettings)
    """Winner, loser, gate."""
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    """DPO."""
    probe: ProbeSettings | None = None
    """Pictures on which drift is measured; none measures what needs no annotation."""
    drift: DriftSettings = Field(default_factory=DriftSettings)
    """When to stop."""
    judge: EndpointSettings | None = None
    """A judge of answers before against after (positions swapped); none asks nobody."""

    @model_validator(mode="after")
    def _goes_together(self) -> ShapeRecipe:
        if self.judge is not None and self.probe is None:
            raise ValueError("judge: compares descriptions of the probe set's pictures; set `probe` too")
        if self.triplets is not None and self.rounds != 1:
            raise ValueError("triplets: ready pairs are of one round; set rounds: 1")
        if self.triplets is not None and not self.train:
            raise ValueError("train: with ready triplets there is nothing else to do; leave `triplets` or `train` out")
        return self


def round_seed(seed: int, number: int) -> int:
    """The seed of a round's views and answers, from 1: each round draws its own."""
    return seed + 1_000_003 * (number - 1)
