"""Claims of the rftt study, written down before any judged run. Knows numbers only.

The unit of every interval is the world: its own base model, questions and draws; all arms of a world are compared
within it. Theory (``theory.py``), for a model that carries out every way without a mistake: trying every way once
solves all questions for 45 tokens, five independent bare completions (55 tokens) solve .76 of them, three with tags
(45) .66. So tags can gain up to .24 over independent sampling; over a control that finds the place where the ways part,
nothing but the price of the tags. Where a single way exists there is nothing to gain. A wrong way ends in the right
answer in .13 of all cases: that is what a model without any correction reaches after one.

Expected not to hold: C1 against every arm without functional tokens (an arm in words names the way by a word, and one
that branches where a pass is least certain finds it), C2, C8 (a search that tries ways evenly gives the frequent one no
more votes). Open: C3 to C5 and C9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from burnish.core.findings import Finding, paired
from burnish.core.study import Measured, Rule
from burnish.studies.rftt.records import (
    BARE,
    FULL,
    MASKED,
    NO_PRM,
    NO_SEARCH,
    NO_SFT,
    OURS,
    SIBLINGS,
    Cell,
    MendCell,
    ReinforceCell,
    Search,
    SearchCell,
)
from burnish.studies.rftt.theory import greedy_before, right_by_chance, solved_by_draws

MORE = Rule("paired difference", kind="share difference", over="worlds")
NOT_IN_PAPER = "not in the paper"


def judge_cells(cells: Sequence[Cell]) -> list[Measured]:
    """All claims, each with its own verdict."""
    searches = [cell for cell in cells if isinstance(cell, SearchCell)]
    mends = [cell for cell in cells if isinstance(cell, MendCell)]
    trained = by_world([cell for cell in cells if isinstance(cell, ReinforceCell)])
    return [*_search_claims(searches), *_training_claims(trained), *_mend_claims(mends), *_order_claims(trained)]


def by_world(cells: Sequence[ReinforceCell]) -> list[dict[str, ReinforceCell]]:
    """Arms of each world that is whole, worlds in order."""
    names = {cell.arm for cell in cells}
    found: dict[int, dict[str, ReinforceCell]] = {}
    for cell in cells:
        found.setdefault(cell.world, {})[cell.arm] = cell
    return [arms for _, arms in sorted(found.items()) if set(arms) == names]


def best_arm(searches: Sequence[Search], forms: Sequence[str]) -> str:
    """The arm with rows of these forms that solves most on average over worlds: chosen in the baseline's favour."""
    names = [name for name in searches[0].arms if name.startswith(tuple(forms))]
    return max(names, key=lambda name: float(np.mean([each.arms[name].within for each in searches])))


def _search_claims(cells: Sequence[SearchCell]) -> list[Measured]:
    hidden, single = [cell.hidden for cell in cells], [cell.single for cell in cells]
    return [
        _against(
            "search",
            "C1: branching at functional tokens solves more questions than the best arm without them, bare or in "
            "words, for at least as many tokens (expected not to hold)",
            hidden,
            ("bare", "words"),
        ),
        _against(
            "search_bare",
            "C1: it solves more than the best arm on the same rows without tags, for at least as many tokens",
            hidden,
            ("bare",),
        ),
        _against(
            "search_single",
            "C2: the same where a single way exists (expected not to hold)",
            single,
            ("bare", "words"),
        ),
    ]


def _against(name: str, claim: str, searches: Sequence[Search], forms: Sequence[str]) -> Measured:
    if not searches:
        return _not_run(name, claim, NOT_IN_PAPER)
    other = best_arm(searches, forms)
    paid = float(np.mean([each.arms[other].paid for each in searches]))
    found = paired(searches, lambda each: each.arms[OURS].within, lambda each: each.arms[other].within, MORE.kind)
    return Measured(
        name,
        claim,
        "pass@k above sampling, tokens not counted",
        MORE,
        found,
        f"{np.mean([each.budget for each in searches]):.1f} tokens a question against {paid:.1f} of `{other}`, the "
        f"best of the baseline's arms on average; in theory {solved_by_draws(3):.2f} by three independent completions, "
        f"{solved_by_draws(5):.2f} by five",
    )


def _training_claims(worlds: Sequence[dict[str, ReinforceCell]]) -> list[Measured]:
    return [
        _trained(
            worlds,
            "rl",
            "C3: reinforced with tags and branches a model answers more accurately (greedy) than without tags on "
            "independent completions, for the same generated tokens (open)",
            NO_PRM,
            BARE,
        ),
        _trained(worlds, "forced", "C4: learning the imposed tokens is better than masking them", NO_PRM, MASKED),
        _trained(
            worlds,
            "siblings",
            "C5: advantages among siblings are better than those over the batch",
            SIBLINGS,
            NO_PRM,
        ),
    ]


def _order_claims(worlds: Sequence[dict[str, ReinforceCell]]) -> list[Measured]:
    return [
        _trained(
            worlds,
            "order_prm",
            "C9: the whole method is above the one without a process reward model",
            FULL,
            NO_PRM,
            "average of five benchmarks 75.66 and 73.92",
        ),
        _trained(
            worlds,
            "order_search",
            "C9: that is above the one without search",
            NO_PRM,
            NO_SEARCH,
            "73.92 and 72.34",
        ),
        _trained(
            worlds,
            "order_sft",
            "C9: that is above the one without supervised warm-up",
            NO_SEARCH,
            NO_SFT,
            "72.34 and 69.40",
        ),
    ]


def _trained(
    worlds: Sequence[dict[str, ReinforceCell]],
    name: str,
    claim: str,
    ours: str,
    baseline: str,
    paper: str = NOT_IN_PAPER,
) -> Measured:
    if not worlds or not {ours, baseline} <= set(worlds[0]):
        return _not_run(name, claim, paper)

    def accuracy(arm: str) -> Callable[[dict[str, ReinforceCell]], float]:
        return lambda arms: arms[arm].best.accuracy[-1]

    spent = "; ".join(
        f"`{arm}`: {np.mean([arms[arm].best.tokens[-1] for arms in worlds]):,.0f} tokens, "
        f"{np.mean([arms[arm].best.accuracy[0] for arms in worlds]):.3f} before"
        for arm in (ours, baseline)
    )
    return Measured(
        name,
        claim,
        paper,
        MORE,
        paired(worlds, accuracy(ours), accuracy(baseline), MORE.kind),
        f"{spent}; learning rates chosen on other questions; in theory {greedy_before():.2f} before",
    )


def _mend_claims(cells: Sequence[MendCell]) -> list[Measured]:
    def accuracy(name: str) -> Callable[[MendCell], float]:
        return lambda cell: cell.accuracy[name]

    def votes(name: str) -> Callable[[MendCell], float]:
        return lambda cell: cell.votes[name]

    most = max((name for cell in cells[:1] for name in cell.votes if name != "iid"), key=int, default="16")
    compare: Callable[[Callable[[MendCell], float], Callable[[MendCell], float]], Finding | None] = (
        partial(_paired, cells) if cells else lambda _ours, _baseline: None
    )
    return [
        Measured(
            "mended",
            "C6: after an imposed wrong first branch a model taught by spliced rows is right more often than one "
            "taught by the same rows without splices",
            "P(right | first branch wrong) not given",
            MORE,
            compare(lambda cell: cell.mended["spliced"], lambda cell: cell.mended["without"]),
            _cost_of_splices(cells),
        ),
        Measured(
            "no_verify",
            "C7: masking the functional token `verify` lowers accuracy",
            "MATH-500 79.8 -> 72.8",
            MORE,
            compare(accuracy("spliced"), accuracy("no verify")),
        ),
        Measured(
            "no_refine",
            "C7: masking the functional token `refine` lowers accuracy",
            "MATH-500 79.8 -> 72.6",
            MORE,
            compare(accuracy("spliced"), accuracy("no refine")),
        ),
        Measured(
            "vote",
            f"C8: the majority of a search with {most} rollouts is more accurate than one rollout (expected not to "
            "hold)",
            "accuracy rises with rollouts; how answers are chosen is not said",
            MORE,
            compare(votes(most), votes("1")),
        ),
        Measured(
            "vote_iid",
            "C8: it is more accurate than the majority of independent completions for as many tokens (expected not "
            "to hold)",
            NOT_IN_PAPER,
            MORE,
            compare(votes(most), votes("iid")),
        ),
    ]


def _cost_of_splices(cells: Sequence[MendCell]) -> str:
    """What to know beside the gain: who learns wrong branches also begins with them."""
    if not cells:
        return ""
    plain = {name: np.mean([cell.accuracy[name] for cell in cells]) for name in ("spliced", "without")}
    return (
        f"in theory a wrong way is right by chance in {right_by_chance():.2f}; with no way imposed accuracy is "
        f"{plain['spliced']:.3f} with splices, {plain['without']:.3f} without"
    )


def _paired(
    cells: Sequence[MendCell], ours: Callable[[MendCell], float], baseline: Callable[[MendCell], float]
) -> Finding:
    return paired(cells, ours, baseline, MORE.kind)


def _not_run(name: str, claim: str, paper: str) -> Measured:
    return Measured(name, claim, paper, MORE, None)
