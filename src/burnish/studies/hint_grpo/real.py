"""A few steps of the real path: SmolLM2-135M with a LoRA adapter on reasoning-gym's word problems. A smoke test, not a
claim."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from burnish.core.packages import Need, not_installed
from burnish.dialogue.rewards import Accuracy
from burnish.dialogue.rows import Question
from burnish.dialogue.verify import Verifier
from burnish.reason.hint_grpo.loop import train_in_memory
from burnish.reason.hint_grpo.recipe import HintGRPORecipe


def word_problems(count: int, seed: int) -> list[Question]:
    """Word problems of reasoning-gym's ``gsm_symbolic`` with its written solutions; all but the line with the answer
    are steps."""
    try:
        import reasoning_gym
    except ImportError:
        raise not_installed("study hint_grpo, size full,", Need(("reasoning_gym",))) from None
    found = []
    for index, item in enumerate(reasoning_gym.create_dataset("gsm_symbolic", size=count, seed=seed)):
        lines = [line.strip() for line in item["metadata"]["answer_cot"].splitlines()]
        steps = tuple(line for line in lines if line and not line.startswith(("####", "Therefore")))
        found.append(Question(item["question"], item["answer"], "\n".join(steps), steps, row=f"gsm_symbolic:{index}"))
    return found


def real_steps(folder: Path, steps: int, seed: int) -> dict[str, Any]:
    """Train for a few steps; returns what was generated and the metrics of each step.

    Args:
        folder: of SmolLM2-135M-Instruct.
        steps: of two questions each.
        seed: of problems and sampling.
    """
    from burnish.dialogue.models import load_chat_model

    recipe = HintGRPORecipe.model_validate(
        {
            "model": str(folder),
            "data": {"source": "reasoning-gym"},
            "seed": seed,
            "adapter": {"rank": 8},
            "hints": {"levels": 3},
            "questions": 2,
            "completion_tokens": 192,
            "steps": steps,
            "learning_rate": 1e-5,
            "device": "cpu",
        }
    )
    chat = load_chat_model(str(folder), dtype="float32")
    with Verifier(recipe.verify_seconds, 1) as verifier, tempfile.TemporaryDirectory() as work:
        trainer = train_in_memory(recipe, chat, word_problems(64, seed), Accuracy(verifier, recipe.judge), Path(work))
    course = [row for row in trainer.state.log_history if "hints/utilisation" in row]
    return {**trainer.generated, "course": course}
