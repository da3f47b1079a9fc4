"""Judged results of studies as they are kept in a checkout: ``docs/claims/NAME.json``."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import read_json, write_atomic
from burnish.core.recipe import Settings
from burnish.core.study import JUDGED, Claim, Judgement, Size, StudyRecipe, Verdict


class Stored(Settings):
    """A judged result as stored in ``docs/claims/NAME.json``."""

    study: str
    size: Size
    seeds: int
    looks: str = ""
    """How often the claims were looked at, in words; empty for one look at the end."""
    command: str
    versions: dict[str, str]
    git_revision: str | None
    hardware: dict[str, Any]
    date: str
    wall_seconds: float
    cpu_seconds: float
    claims: list[Claim]

    @property
    def verdicts(self) -> str:
        """How many claims came out how, in words."""
        counts = Counter(claim.verdict for claim in self.claims)
        several: dict[Verdict, str] = {"holds": "hold", "does not hold": "do not hold", "undecided": "undecided"}
        return ", ".join(
            f"{counts[verdict]} {verdict if counts[verdict] == 1 else said}"
            for verdict, said in several.items()
            if counts[verdict]
        )


def check_judged(recipe: StudyRecipe) -> None:
    """Refuse to store what no verdict may come from.

    Raises:
        UserError: the size is not a judged one, or too few seeds for it.
    """
    least = {"quick": 3, "full": 5}
    if recipe.size not in JUDGED:
        raise UserError(f"store: size `{recipe.size}` is not judged; quick and full are", arguments=("size",))
    if recipe.seeds < least[recipe.size]:
        raise UserError(f"store: size `{recipe.size}` needs {least[recipe.size]} seeds or more", arguments=("seeds",))


def store(name: str, recipe: StudyRecipe, run_path: Path, judgement: Judgement, root: Path) -> Path:
    """Write ``docs/claims/NAME.json`` below ``root`` from a judged run.

    Raises:
        UserError: the size is not a judged one, or too few seeds for it.
        BurnishError: the run's record is missing.
    """
    check_judged(recipe)
    run = read_json(run_path / "run.json")
    if run is None:
        raise BurnishError(f"{run_path}/run.json: missing or unreadable; run the study afresh", arguments=("fresh",))
    stored = Stored(
        study=name,
        size=recipe.size,
        seeds=judgement.look.seeds,
        looks=judgement.words,
        command=f"{recipe.command} --store",
        versions=run["versions"],
        git_revision=run["git_revision"],
        hardware=run["hardware"],
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        wall_seconds=run["wall_seconds"],
        cpu_seconds=run["cpu_seconds"],
        claims=judgement.claims,
    )
    return write_atomic(root / "docs" / "claims" / f"{name}.json", stored.model_dump_json(indent=1) + "\n")


def load_stored(path: Path) -> Stored | None:
    """A stored result; ``None`` if there is none.

    Raises:
        BurnishError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return Stored.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BurnishError(
            f"{path}: damaged ({error.error_count()} faults); store it again", arguments=("store",)
        ) from None
