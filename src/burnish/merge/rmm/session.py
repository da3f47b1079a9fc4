"""One search from beginning to end as a resumable state: tune the uniform merges, build the candidates, search, decide.

Knows no files. ``loop.py`` drives it inside a run; a study drives it directly: ``Session(...).run()``.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from burnish.core.errors import UserError
from burnish.merge.rmm.architecture import Architecture, from_plain
from burnish.merge.rmm.evaluate import Evaluator, Items, Result
from burnish.merge.rmm.outcome import Episode, MergeResult, Outcome
from burnish.merge.rmm.problem import Problem
from burnish.merge.rmm.recipe import MergeCandidate, SearchRecipe
from burnish.merge.rmm.reward import BACK_AT_START, Cycler, Subset, dynamic_average
from burnish.merge.rmm.searchers import PolicySearch, Searcher, Space, make_searcher
from burnish.merge.rmm.tuning import Tuned, best_of, fixed_subset, grid, merge_results, merged

Job = tuple[Architecture, Subset]
PUBLISHED_SAMPLES = 10
"""Episodes of the last policy whose mean is the paper's reported result."""


@runtime_checkable
class Scorer(Protocol):
    """Computes per-item results of several architectures of a session, here or elsewhere, in order."""

    def __call__(self, session: "Session", jobs: Sequence[Job]) -> Iterable[list[Items]]:
        """Results of ``jobs``, in order."""
        ...


def score_here(session: "Session", jobs: Sequence[Job]) -> Iterable[list[Items]]:
    """One after the other, in this process."""
    return (session.evaluator.compute(*job) for job in jobs)


class Session:
    """A search in progress.

    Args:
        recipe: what was asked.
        problem: models and tasks.
        rng: every random choice of the search.
        tuned: merges tuned before (a study shares them between searches); None: tune here.

    Raises:
        UserError: objective and tasks do not go together, or a subset without items.
    """

    def __init__(
        self, recipe: SearchRecipe, problem: Problem, rng: np.random.Generator, tuned: Sequence[Tuned] | None = None
    ) -> None:
        if recipe.objective == "cross_entropy" and any(task.kind == "custom" for task in problem.tasks):
            raise UserError(
                "objective: cross_entropy needs class, choice or text tasks; a module:function has a score only"
            )
        self.recipe = recipe
        self.problem = problem
        self.rng = rng
        self.episodes: list[Episode] = []
        self.tuned: list[Tuned] = list(tuned or ())
        self._grid = grid(recipe) if tuned is None else []
        self._previous: float | None = None
        self._tuner: Evaluator | None = None
        if not self._grid:
            self._prepare()

    @property
    def done(self) -> int:
        """Evaluations spent, tuning included."""
        return len(self.episodes) + (len(self.tuned) if self._grid else 0)

    @property
    def total(self) -> int:
        """Evaluations in all."""
        return len(self._grid) + self.recipe.budget

    def step(self, score: Scorer = score_here) -> dict[str, Any]:
        """One evaluation of tuning, or one batch of proposals; returns numbers for the log."""
        if len(self.tuned) < len(self._grid):
            return self._tune_one()
        warming = self._warms and not self.episodes
        if warming:
            proposals: list[Architecture | None] = [self.space.architecture(self.space.start())]
        else:
            left = self.recipe.budget - len(self.episodes)
            proposals = self.searcher.ask(min(self.searcher.batch, left))
        rewards = []
        for architecture, raw in zip(proposals, self._raw(proposals, score), strict=True):
            rewards.append(self._averaged(raw, failed=architecture is None))
            self.episodes.append(Episode(architecture, raw, rewards[-1]))
        if not warming:
            self.searcher.tell(rewards)
        best = max(episode.raw for episode in self.episodes)
        return {"reward": float(np.mean(rewards)), "batch_best": max(rewards), "best": best}

    def run(self, score: Scorer = score_here) -> Outcome:
        """All steps, then the decision."""
        while self.done < self.total:
            self.step(score)
        return self.outcome()

    def _tune_one(self) -> dict[str, Any]:
        spec = self._grid[len(self.tuned)]
        if self._tuner is None:
            self._tuner = self.problem.evaluator(self.problem.pool([], self.recipe.seed), self.recipe.chunk)
        weights = merged(spec, self.problem, self.recipe.seed)
        result = self._tuner.mean(self._tuner.items(weights, fixed_subset(self.recipe, self.problem.sizes)))
        self.tuned.append(Tuned(spec, result.reward(self.recipe.objective)))
        if len(self.tuned) == len(self._grid):
            self._prepare()
        return {"tuning": spec.method, "reward": self.tuned[-1].reward}

    def _prepare(self) -> None:
        """Candidates, subset and searcher, once the merges are tuned."""
        recipe, experts = self.recipe, len(self.problem.experts)
        self.specs = best_of(self.tuned) or list(recipe.candidates)
        # every other search looks at its starting point first; greedy does so by itself
        self._warms = recipe.search not in ("rmm_published", "greedy")
        best = max(self.tuned, key=lambda tuned: tuned.reward).spec if self.tuned else None
        warm = (experts + self.specs.index(best) if best is not None else experts) if self.specs else 0
        held = self.specs if recipe.actions == "blocks" else []
        self.pool = self.problem.pool(held, recipe.seed, warm if held and recipe.search != "rmm_published" else None)
        self.evaluator = self.problem.evaluator(self.pool, recipe.chunk)
        self._subset = fixed_subset(recipe, self.problem.sizes)
        self._cycler = self._cycle() if recipe.subset == "cycling" else None
        self.space = self._space(warm)
        self.searcher: Searcher = make_searcher(recipe, self.space, self.rng)

    def _space(self, warm: int) -> Space:
        recipe, lengths = self.recipe, self.problem.layout.lengths
        scales = recipe.actions == "scales"
        shape, start = (sum(lengths), 1), float(warm)
        if scales:
            sums = [each for each in self.tuned if each.spec.method == "task_arithmetic" and not each.spec.normalize]
            shape = (sum(lengths), len(self.problem.experts))
            start = max(sums, key=lambda each: each.reward).spec.weight if sums else 1 / shape[1]
        return Space(
            lengths,
            candidates=len(self.pool.names),
            warm=np.full(shape, start),
            scales=scales,
            per_model=recipe.scale_per == "model",
            max_scale=recipe.max_weight,
        )

    def _cycle(self) -> Cycler:
        recipe = self.recipe
        language = frozenset(n for n, task in enumerate(self.problem.tasks) if task.kind in ("text", "choices"))
        fixed = language if recipe.search == "rmm_published" and recipe.batch_size else frozenset()
        return Cycler(self.problem.sizes, recipe.subset_fraction, recipe.chunk, recipe.batch_size, fixed)

    def _raw(self, proposals: Sequence[Architecture | None], score: Scorer) -> list[float]:
        """Measured rewards; what is remembered is not run again."""
        jobs: list[Job | None] = [
            None if each is None else (each, self._cycler.next() if self._cycler else self._subset)
            for each in proposals
        ]
        missing = [job for job in dict.fromkeys(jobs) if job is not None and job not in self.evaluator.known]
        for job, items in zip(missing, score(self, missing), strict=True):
            self.evaluator.remember(*job, self.evaluator.mean(items))
        return [
            BACK_AT_START if job is None else self.evaluator.result(*job).reward(self.recipe.objective) for job in jobs
        ]

    def _averaged(self, raw: float, failed: bool) -> float:
        # a failed episode advances the count, uses no data and is told as it is (as released)
        if not self.recipe.dynamic_average or failed:
            return raw
        recipe, number = self.recipe, len(self.episodes) + 1
        weight, fraction = recipe.dynamic_weight, recipe.subset_fraction
        self._previous = dynamic_average(self._previous, raw, number, recipe.budget, weight, fraction)
        return self._previous

    def outcome(self) -> Outcome:
        """The best distinct architectures again on the whole validation set; the winner on the test set.

        Raises:
            UserError: every episode failed.
        """
        recipe = self.recipe
        measured: dict[Architecture, list[float]] = {}
        for episode in self.episodes:
            if episode.architecture is not None:
                measured.setdefault(episode.architecture, []).append(episode.raw)
        if not measured:
            raise UserError(f"all {len(self.episodes)} episodes stepped back before the first layer: raise `budget`")
        ranked = sorted(measured, key=lambda each: -float(np.mean(measured[each])))[: recipe.finalists]
        finalists = sorted(
            ((each, self.evaluator.result(each)) for each in ranked), key=lambda pair: -pair[1].reward(recipe.objective)
        )
        tester = self.problem.tester(self.pool, recipe.chunk)
        chosen, validation = finalists[0]

        def merges(specs: Sequence[MergeCandidate]) -> tuple[MergeResult, ...]:
            return tuple(merge_results(specs, self.problem, recipe, self.evaluator, tester))

        return Outcome(
            architecture=chosen,
            validation=validation,
            test=tester.result(chosen),
            finalists=tuple(finalists),
            tuned=merges(self.specs) if self.tuned else (),
            untuned=merges(recipe.candidates),
            episodes=tuple(self.episodes),
            evaluated=len(self.evaluator.known),
            sampled=self._sampled(tester),
            pool=self.pool,
        )

    def _sampled(self, tester: Evaluator) -> float | None:
        if self.recipe.search != "rmm_published" or not isinstance(self.searcher, PolicySearch):
            return None
        played = self.searcher.ask(PUBLISHED_SAMPLES)
        return float(np.mean([0.0 if each is None else tester.result(each).reward("score") for each in played]))

    def state_dict(self) -> dict[str, Any]:
        """Everything but the problem: what was tried and told, and the searcher's own state."""
        searching = len(self.tuned) >= len(self._grid)
        return {
            "tuned": [each.reward for each in self.tuned] if self._grid else [],
            "episodes": [
                [None if e.architecture is None else e.architecture.to_plain(), e.raw, e.reward] for e in self.episodes
            ],
            "previous": self._previous,
            "searcher": self.searcher.state_dict() if searching else None,
            "cycler": self._cycler.state_dict() if searching and self._cycler else None,
            "known": self._known() if searching else None,
        }

    def _known(self) -> dict[str, Any]:
        """Every result, each subset written once."""
        subsets: dict[Subset, int] = {}
        rows = [
            [
                job[0].to_plain(),
                subsets.setdefault(job[1], len(subsets)),
                list(found.scores),
                list(found.cross_entropies),
            ]
            for job, found in self.evaluator.known.items()
        ]
        return {"subsets": [[list(chunk) for chunk in subset] for subset in subsets], "rows": rows}

    def _load_known(self, state: dict[str, Any]) -> None:
        subsets: list[Subset] = [tuple((int(t), int(a), int(b)) for t, a, b in subset) for subset in state["subsets"]]
        for plain, number, scores, nlls in state["rows"]:
            result = Result(tuple(float(v) for v in scores), tuple(float(v) for v in nlls))
            self.evaluator.remember(from_plain(plain), subsets[int(number)], result)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``; the generator is the run's to restore."""
        if self._grid:
            tried = zip(self._grid, state["tuned"], strict=False)
            self.tuned = [Tuned(spec, float(reward)) for spec, reward in tried]
            if len(self.tuned) == len(self._grid):
                self._prepare()
        self.episodes = [
            Episode(None if plain is None else from_plain(plain), float(raw), float(reward))
            for plain, raw, reward in state["episodes"]
        ]
        self._previous = state["previous"]
        if state["searcher"] is not None:
            self.searcher.load_state_dict(state["searcher"])
        if state["known"] is not None:
            self._load_known(state["known"])
        if state["cycler"] is not None and self._cycler:
            self._cycler.load_state_dict(state["cycler"])
