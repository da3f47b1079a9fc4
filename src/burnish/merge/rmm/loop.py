"""The loop: reads the models, searches, and leaves a checkpoint, its architecture and the figures behind."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from burnish.core.models import save_model
from burnish.core.run import Run
from burnish.merge.rmm.architecture import Blocks
from burnish.merge.rmm.candidates import whole
from burnish.merge.rmm.evaluate import Result
from burnish.merge.rmm.export import build, merge_yaml
from burnish.merge.rmm.files import SideFiles, portable
from burnish.merge.rmm.outcome import MergeResult, Outcome
from burnish.merge.rmm.preflight import refuse_too_large
from burnish.merge.rmm.problem import Problem, load_problem
from burnish.merge.rmm.recipe import SearchRecipe
from burnish.merge.rmm.remote import scorer
from burnish.merge.rmm.session import Session


def search(recipe: SearchRecipe, run: Run) -> Path:
    """Layer-wise merge search. Returns the folder of the merged checkpoint. Source: RMM, section 3.

    Raises:
        UserError: models, data or settings that do not go together, or do not fit this machine.
    """
    refuse_too_large(recipe)
    problem = load_problem(recipe)
    session = Session(recipe, problem, run.rng("search"))
    start = run.restore(session)
    with scorer(recipe, run) as score:
        for evaluation in run.progress(range(start, session.total), "evaluations"):
            if session.done > evaluation:
                continue  # scored in the batch before
            values = session.step(score)
            run.log(session.done - 1, **values)
            run.checkpoint(session.done - 1, session)
        outcome = session.outcome()
    run.artifact("outcome.json", summary(outcome, problem, recipe))
    run.note(_verdict(outcome))
    run.artifact("architecture.yaml", _architecture(outcome, problem, recipe, run))
    model = build(problem, outcome.pool.weights(outcome.architecture))
    return run.save_model(model, _side_files(problem), card=_card(outcome, problem, recipe))


def _verdict(outcome: Outcome) -> str:
    """What the search was worth on the test set, in one line."""
    found = outcome.test.reward("score")
    rivals = outcome.tuned or outcome.untuned
    if not rivals:
        return f"test score {found:.2f}"
    # chosen on the validation set, like the search's own finalist
    best = rivals[0].test.reward("score")
    kind = "tuned" if outcome.tuned else "untuned"
    return f"test score {found:.2f}; best {kind} uniform merge {best:.2f}; gain {found - best:+.2f}"


def summary(outcome: Outcome, problem: Problem, recipe: SearchRecipe) -> dict[str, Any]:
    """The outcome as plain data: tables and figures are made of it."""
    names = [task.name for task in problem.tasks]

    def scores(result: Result) -> dict[str, float]:
        each = {name: 100 * score for name, score in zip(names, result.scores, strict=True)}
        return each | {"mean": result.reward("score"), "cross_entropy": -result.reward("cross_entropy")}

    def merges(results: tuple[MergeResult, ...]) -> list[dict[str, Any]]:
        return [
            {"merge": each.spec.model_dump(), "validation": scores(each.validation), "test": scores(each.test)}
            for each in results
        ]

    return {
        "search": recipe.search,
        "verdict": _verdict(outcome),
        "architecture": outcome.architecture.to_plain(),
        "candidates": list(outcome.pool.names),
        "layers": list(problem.layout.lengths),
        "validation": scores(outcome.validation),
        "test": scores(outcome.test),
        "tuned": merges(outcome.tuned),
        "untuned": merges(outcome.untuned),
        "finalists": [
            {"architecture": each.to_plain(), "validation": scores(result)} for each, result in outcome.finalists
        ],
        "raw": [episode.raw for episode in outcome.episodes],
        "rewards": [episode.reward for episode in outcome.episodes],
        "evaluated": outcome.evaluated,
        "sampled": outcome.sampled,
    }


def _architecture(outcome: Outcome, problem: Problem, recipe: SearchRecipe, run: Run) -> Mapping[str, Any]:
    """What ``burnish merge`` rebuilds the backbone from; the plain list of blocks where slices cannot say it."""
    experts = len(recipe.experts)

    @cache  # once a candidate, whatever a run before has left there
    def folder(candidate: int) -> str:
        if candidate < experts:
            return recipe.experts[candidate]
        name = outcome.pool.names[candidate].partition(" ")[0]
        path = run.path / "artifacts" / "candidates" / f"{candidate - experts}-{name}"
        weights = whole(outcome.pool.flat(candidate), problem.layout)
        save_model(build(problem, weights), path, _side_files(problem))
        return str(path)

    made = merge_yaml(problem, outcome.pool, outcome.architecture, recipe.base, recipe.experts, folder)
    if made is None:
        names = list(outcome.pool.names)
        return {**outcome.architecture.to_plain(), "candidates": names, "stem": names[outcome.pool.stem]}
    return portable(made, run.path / "artifacts", run.path)


def _side_files(problem: Problem) -> SideFiles | None:
    return None if problem.source is None else SideFiles(problem.source)


def _card(outcome: Outcome, problem: Problem, recipe: SearchRecipe) -> str:
    kind = "blocks" if isinstance(outcome.architecture, Blocks) else "scales"
    rows = [
        f"| {task.name} | {100 * validation:.2f} | {100 * test:.2f} |"
        for task, validation, test in zip(problem.tasks, outcome.validation.scores, outcome.test.scores, strict=True)
    ]
    baseline = ""
    if outcome.tuned:
        best = outcome.tuned[0]
        baseline = (
            f"\nBest tuned uniform merge ({best.spec.method}): {best.test.reward('score'):.2f} on the test items.\n"
        )
    return "\n".join(
        [
            f"# Merge of {', '.join(problem.names)}",
            "",
            f"Made by `burnish run` with method `rmm`: search `{recipe.search}` over {kind}, {recipe.budget} "
            "proposals, "
            f"objective `{recipe.objective}`. No gradient touched the weights. Base: `{recipe.base}`.",
            "",
            "| task | validation | test |",
            "| --- | --- | --- |",
            *rows,
            f"| mean | {outcome.validation.reward('score'):.2f} | {outcome.test.reward('score'):.2f} |",
            baseline,
            f"Scores are of the float32 weights of the search; saved as {problem.dtype}.",
            "The search chose by the validation items; only the test column is an estimate of new data.",
            "",
        ]
    )
