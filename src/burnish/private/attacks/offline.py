"""One's own private classifier under attack, offline: both halves are here, nothing is encrypted, no server asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from burnish.core.errors import UserError
from burnish.core.metrics import Progress
from burnish.private.attacks.neighbours import neighbours_of
from burnish.private.attacks.search import Attacked, AttackPlan, attack
from burnish.private.bundle import load_client, load_heads
from burnish.private.duels import victim_of
from burnish.private.prompts import Prompt
from burnish.private.recipe import TextSettings
from burnish.private.texts import read_texts


@dataclass(frozen=True)
class Withstood:
    """What a classifier withstood.

    Attributes:
        labels: names of the classes.
        right: class of each text, as given with it.
        attacked: what became of each.
    """

    labels: tuple[str, ...]
    right: tuple[int, ...]
    attacked: tuple[Attacked, ...]

    @property
    def before(self) -> float:
        """Accuracy on the texts as they were."""
        return float(np.mean([each.before.argmax() == label for each, label in self._pairs]))

    @property
    def after(self) -> float:
        """On the edited ones."""
        return float(np.mean([each.after.argmax() == label for each, label in self._pairs]))

    @property
    def queries(self) -> float:
        """Mean over the texts."""
        return float(np.mean([each.queries for each in self.attacked]))

    @property
    def _pairs(self) -> list[tuple[Attacked, int]]:
        return list(zip(self.attacked, self.right, strict=True))


def attack_service(service: Path, source: str, texts: int, plan: AttackPlan, seed: int = 0) -> Withstood:
    """Greedy attacks on a classifier in a folder.

    Args:
        service: a folder with both halves, as ``burnish run`` leaves it.
        source: labelled texts, see :class:`burnish.private.recipe.TextSettings`.
        texts: how many of them are attacked, drawn at random.
        plan: what the attacker may do.
        seed: draws texts and edits.

    Raises:
        UserError: a folder or texts that cannot be read, or classes that the classifier does not have.
    """
    heads, client = load_heads(service)[0], load_client(service)
    found = read_texts(TextSettings(source=source))
    unknown = sorted(set(found.classes) - set(heads.labels))
    if unknown:
        raise UserError(
            f"{source}: the class `{unknown[0]}` is unknown to the classifier ({', '.join(heads.labels)[:80]}); "
            "rename it, or leave its texts out"
        )
    encoder = client.load()
    victim = victim_of(encoder, [Prompt(template, ()) for template in client.templates], heads)
    near, rng = neighbours_of(encoder.model, encoder.tokenizer), np.random.default_rng(seed)
    picked = rng.permutation(len(found.texts))[:texts]
    right = tuple(heads.labels.index(found.classes[found.labels[at]]) for at in picked)
    pairs = Progress().track(list(zip(picked, right, strict=True)), "texts attacked")
    attacked = tuple(attack(victim, found.texts[at], label, plan, rng, near) for at, label in pairs)
    return Withstood(heads.labels, right, attacked)
