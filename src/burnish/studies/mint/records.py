"""What the stages of the mint study hand to each other."""

from __future__ import annotations

from burnish.core.cells import Record

PLAIN, REFINED, DENSE, WIDE, MODALITY, FUNCTION = (
    "no plan", "refined prompt", "dense", "dense, equal parameters", "by modality", "by function",
)  # fmt: skip
"""What is trained. Without a plan; without, on plans told as prompts; with a plan, in four routings."""
REAL, REAL_PLAIN = "by function, real pictures", "no plan, real pictures"
"""Likewise, of scenes whose things are emoji and stamps: with a plan and without."""
ONCE, TWICE, MENDED, REWRITTEN, ACT, FULL, TRUE, BLIND, REPAIRED = (
    "T2I", "T2I twice", "T2I, corrected", "refined prompt", "plan + act", "full", "true plan",
    "draft without its plan", "the same, corrected",
)  # fmt: skip
"""How is drawn. The last two: the planning model draws from the prompt alone, then corrects what its plan shows to be
wrong; drafts are bad there."""
TRANSITION = 0.04
"""Of the image loss, a mean over 50 steps: below it places are drawn as planned."""


class Score(Record):
    """One way of drawing, on all test prompts."""

    right: dict[str, float]
    """Share of pictures that show exactly what is asked, by category."""
    seconds: float
    """Of CPU time a picture."""
    plan_right: float | None = None
    """Share of plans that fulfil the prompt."""
    kept: float | None = None
    """Share of pictures that show their plan, of those that have one."""
    fixed: int | None = None
    """Wrong drafts that became right."""
    broken: int | None = None
    """Right drafts that became wrong."""

    @property
    def mean(self) -> float:
        """Over categories."""
        return sum(self.right.values()) / len(self.right)


class ModelCell(Record):
    """One training of one seed, and all that is drawn with it."""

    seed: int
    model: str
    parameters: int
    steps: int
    seconds: float
    """Of CPU time of the training."""
    losses: dict[str, float]
    """On test samples, at the end."""
    transition: int | None
    """Step at which the image loss falls below :data:`TRANSITION`; none if it never did."""
    cosine: float | None
    """Of the gradients of the text loss and the image loss with respect to the layers' shared weights, mean over
    moments of the drawing stage; of dense models only."""
    scores: dict[str, Score]
    """By way of drawing."""
    described: float | None
    """Share of captions that name exactly what is there."""
    answered: dict[str, float]
    """Share of right answers about pictures, by kind of question."""
    guidance: float
    """Of the drawings, chosen on scenes that are neither trained nor tested on."""
    held_out: float
    """Share of right pictures of prompts whose combination training never shows, in the model's main way of drawing."""
    wrong_drafts: float
    """Share of wrong ones among the drafts that reflection learnt from."""
    shown: str = ""
    """Plan, draft, heat and corrections of the first prompts side by side, a PNG in base64; of models that plan."""
