"""The ten methods of the house: name, capability, paper, and whether it is built. Knows no study from the inside."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from burnish.core.errors import UserError, nearest
from burnish.core.paths import shipped
from burnish.core.run import Run
from burnish.core.study import Outcome, Stored, Study, StudyRecipe, load_stored


@dataclass(frozen=True)
class Entry:
    """One method: its name in recipes and studies, its folder, its paper, and what the paper claims."""

    name: str
    capability: str
    method: str
    paper: str
    claim: str

    @property
    def module(self) -> str:
        """Where its study lives."""
        return f"burnish.studies.{self.name}.study"

    @property
    def exists(self) -> bool:
        """Whether it is built."""
        return importlib.util.find_spec(f"burnish.studies.{self.name}") is not None

    def load(self) -> Study:
        """Its study.

        Raises:
            UserError: it is not built yet.
        """
        if not self.exists:
            raise UserError(f"study: `{self.name}` ({self.method}) is not built yet; built: {', '.join(built())}")
        study = importlib.import_module(self.module).STUDY
        assert isinstance(study, Study)
        return study

    def perform(self, recipe: StudyRecipe, path: Path, *, fresh: bool = False) -> Outcome:
        """Run, resume or (if it had ended) draw again its study in a run folder.

        Raises:
            UserError: not built yet, or the folder holds something else.
            Interrupted: a stop signal came; the same call goes on.
        """
        study = self.load()
        with Run(recipe, path, fresh=fresh) as run:
            if run.finished:
                run.note(f"{path}: already finished, only drawn again (--fresh repeats it)")
            outcome = study.run(recipe, run)
            run.artifact("claims.json", [claim.model_dump(mode="json") for claim in outcome.claims])
        return outcome

    def stored(self) -> Stored | None:
        """Its judged result, if one was stored."""
        return load_stored(shipped("docs/claims") / f"{self.name}.json")


CATALOGUE = (
    Entry(
        "rmm",
        "merge",
        "RMM",
        "Reinforced Model Merging (2025)",
        "a learned layer-wise search beats uniform merges, with rewards up to 100x cheaper",
    ),
    Entry(
        "trainprove",
        "prove",
        "TrainProVe",
        "Training Data Provenance Verification (CVPR 2025)",
        "names the generator behind a classifier's training data",
    ),
    Entry(
        "dov4cl",
        "prove",
        "DOV4CL",
        "Dataset Ownership Verification in Contrastive Pre-trained Models (ICLR 2025)",
        "tells whether a backbone was pre-trained on given images",
    ),
    Entry(
        "hint_grpo",
        "reason",
        "Hint-GRPO",
        "Boosting MLLM Reasoning with Text-Debiased Hint-GRPO (ICCV 2025)",
        "hints rescue the questions on which every sample fails",
    ),
    Entry(
        "planning_acting",
        "act",
        "planning-acting",
        "Parallelized Planning-Acting for LLM-based Multi-Agent Systems (2025)",
        "agents that plan while they act are about 1.5x faster",
    ),
    Entry(
        "rftt",
        "reason",
        "RFTT",
        "Reasoning with Reinforced Functional Token Tuning (2025)",
        "functional tokens let a model search over its own reasoning",
    ),
    Entry(
        "sakd",
        "distill",
        "SAKD",
        "Sample-level Adaptive Knowledge Distillation for Action Recognition (ACM MM 2025)",
        "a better student for a fraction of the training cost",
    ),
    Entry(
        "shape",
        "align",
        "SHAPE",
        "SHAPE: Self-Improved Visual Preference Alignment (2025)",
        "aligns vision-language models without human preferences",
    ),
    Entry(
        "mint",
        "generate",
        "MINT",
        "MINT: Multi-modal Chain of Thought in Unified Generative Models (2025)",
        "planning, drawing, reflecting and correcting in one model",
    ),
    Entry(
        "secpe",
        "private",
        "SecPE",
        "SecPE: Secure Prompt Ensembling for Private and Robust LLMs (2025)",
        "encrypted answers that are robust to adversarial edits",
    ),
)


def built() -> list[str]:
    """Names of the studies that exist."""
    return [entry.name for entry in CATALOGUE if entry.exists]


def find(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UserError: there is none.
    """
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    raise UserError(f"study: `{name}` is unknown; {nearest(name, [entry.name for entry in CATALOGUE])}")
