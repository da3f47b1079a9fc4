"""What a user may set for SecPE. The paper's text names no tasks, prompts or aggregate: the defaults are ours.

Knows pydantic only; importing it is cheap.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from burnish.core.recipe import Recipe, Settings


class EncoderSettings(Settings):
    """The frozen model that runs at the client."""

    model: str
    """Any encoder or causal language model of Hugging Face: a folder or a hub id."""
    pooling: Literal["auto", "mean", "last"] = "auto"
    """How its tokens become a vector: the mean of all, or the last; `auto` takes what its kind wants."""
    max_tokens: int = Field(default=128, ge=8)
    """Of a prompt with its text; a longer text loses its end, and the run says how many did."""
    batch: int = Field(default=64, ge=1)
    """Prompts at a time."""
    device: Literal["auto", "cpu"] = "auto"
    """`cpu` stays there even where there is a GPU."""


class TextSettings(Settings):
    """Labelled texts."""

    source: str
    """A list (.jsonl or .parquet), a folder of them, a hub id, or `module:function` that gives rows."""
    split: str = "train"
    """Which split of a hub's data set."""
    text: str = "text"
    """The field that holds the text."""
    label: str = "label"
    """The field that holds the name of its class."""
    classes: tuple[str, ...] | None = None
    """Names of the classes, in this order; none takes those that are there, sorted. Rows of other classes are left
    out."""
    train: int = Field(default=300, ge=0)
    """Texts that the heads are fitted on; 0 with `heads.kind: words`."""
    validation: int = Field(default=150, ge=1)
    """Texts by which prompts are chosen."""
    test: int = Field(default=150, ge=1)
    """Texts that nothing is chosen by."""


class PromptSettings(Settings):
    """Candidates: every template with every list of words."""

    templates: tuple[str, ...] = (
        "{text}",
        "A message: {text}",
        '"{text}"',
        "{text} What is this about?",
        "Read this and say what it is. {text}",
        "They wrote: {text} That was all.",
        "To sort: {text}",
        "Text: {text} Kind of text:",
    )
    """Each has `{text}` once. The client knows them, as it fills them in."""
    words: tuple[tuple[str, ...], ...] = ()
    """Lists of a word a class (verbalisers), in the order of the classes; none takes the classes' names. They stay at
    the server."""


class HeadSettings(Settings):
    """The linear head of each prompt."""

    kind: Literal["fitted", "words"] = "fitted"
    """`fitted`: ridge regression on labelled texts, drawn towards the words; `words`: the words' own directions, less
    what they say to an empty text. No text is learnt from then."""
    ridge: float = Field(default=0.01, ge=0)
    """How strongly a fitted head is drawn towards the words."""
    bound: Literal["calibrated", "certain"] = "calibrated"
    """What eps is a share of: the largest difference of scores that there can be (`certain`), or `margin` times the
    largest that was seen. Answers hold for every text either way."""
    margin: float = Field(default=1.5, ge=1)
    """Of `calibrated`."""


class EnsembleSettings(Settings):
    """Which prompts answer together, and how."""

    prompts: int = Field(default=5, ge=1)
    """P, chosen on the validation texts."""
    aggregate: Literal["logits", "probabilities", "weighted", "vote"] = "logits"
    """Mean of logits, mean of probabilities, mean of logits weighted by how often a prompt is right, or votes."""
    diversity: float = Field(default=0.5, ge=0)
    """What it counts, in choosing, that prompts disagree."""
    noise: float = Field(default=0.3, gt=0, le=1)
    """Share of the words of a validation text that random edits hit, where robust prompts are looked for."""


class AttackSettings(Settings):
    """Greedy attacks on test texts, on the best single prompt and on the ensemble alike."""

    texts: int = Field(default=20, ge=0)
    """How many test texts are attacked."""
    budget: int = Field(default=60, ge=1)
    """Queries a text, each of one text, to an ensemble as to a single prompt."""
    kinds: tuple[Literal["swap", "delete", "typo", "homoglyph", "neighbour"], ...] = (
        "swap",
        "delete",
        "typo",
        "homoglyph",
        "neighbour",
    )
    """Of edits: letters swapped, left out, mistyped, replaced by a twin; words by a near one."""
    share: float = Field(default=0.2, gt=0, le=1)
    """Of the words of a text that may be changed (rounded up)."""
    each: int = Field(default=2, ge=1)
    """Edits of a kind that are tried on a word."""


class EncryptionSettings(Settings):
    """How scores are compared under encryption."""

    eps: float = Field(default=2.0**-6, gt=0, lt=1)
    """The smallest difference of the best two classes, in shares of the bound, that is told; closer ones are
    ambiguous."""
    texts: int = Field(default=3, ge=0)
    """How many of the attacked test texts are also classified under encryption, as they were and as edited."""
    backend: Literal["seal", "openfhe", "clear"] = "seal"
    """`seal` encrypts, and so does `openfhe` where it loads; `clear` computes the same circuit on floating-point
    numbers, for trying."""


class SecpeRecipe(Recipe):
    """Make a prompted classifier that answers under encryption, and measure it under attack."""

    method: str = "secpe"
    """What runs."""
    encoder: EncoderSettings
    """The client's model."""
    data: TextSettings
    """What it classifies."""
    prompts: PromptSettings = Field(default_factory=PromptSettings)
    """Candidates."""
    heads: HeadSettings = Field(default_factory=HeadSettings)
    """Of each prompt."""
    ensemble: EnsembleSettings = Field(default_factory=EnsembleSettings)
    """Of prompts."""
    attack: AttackSettings = Field(default_factory=AttackSettings)
    """What it must withstand."""
    encryption: EncryptionSettings = Field(default_factory=EncryptionSettings)
    """What it answers under."""
