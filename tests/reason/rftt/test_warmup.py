"""Phase 1's data: by the hand examples of the notes, in every corner case, and counted on random trees."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path as Folder

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.reason.rftt.forecast import forecast
from burnish.reason.rftt.generators.prompted import Ask, Prompted, Reply
from burnish.reason.rftt.generators.protocol import Path, Prompt, Sampling, TokenCounts, Written
from burnish.reason.rftt.grammar import Action, Grammar, prompted_grammar, rftt_grammar
from burnish.reason.rftt.prompts import house_prompts, read_prompts, tidy
from burnish.reason.rftt.search import search
from burnish.reason.rftt.splice import Dispute, Trajectory, dispute, splice
from burnish.reason.rftt.trace import Step, Trace
from burnish.reason.rftt.tree import Tree, tree_from_json
from burnish.reason.rftt.walk import PROMPTED, SearchRules
from burnish.reason.rftt.warmup import Row, WarmupCounts, conclusion, rows_of_tree, rows_of_trees, verify_by

GRAMMAR = rftt_grammar()
SHORT = {"c": "clarify", "a": "analysis", "q": "subquestion", "n": "next_step", "d": "direct_answer"}
SHORT |= {"v": "verify", "r": "refine", "o": "output"}


def trace(text: str) -> Trace:
    """Steps from their short names: `nA` is a next step that says A."""
    return tuple(Step(SHORT[each[0]], each[1:]) for each in text.split())


def told(steps: Trace) -> str:
    names = {name: letter for letter, name in SHORT.items()}
    return " ".join(names[step.action] + step.text for step in steps)


def tree(*paths: tuple[str, float], scores: dict[str, float] | None = None, question: str = "q1") -> Tree:
    """A tree of these paths and rewards, what they begin with shared. `n?A` has no closing tag, `nA.` no answer."""
    found = Tree(Prompt(question, "How much?"), 0)
    for path, reward in paths:
        at = 0
        for place, word in enumerate(path.split()):
            closed, answered = "?" not in word, not word.endswith(".")
            word = word.replace("?", "").rstrip(".")
            action, text = SHORT[word[0]], word[1:].replace("_", " ")
            children = [found.nodes[child] for child in found.nodes[at].children or ()]
            same = [child.number for child in children if (child.action, child.text) == (action, text)]
            if not same:
                known = found.nodes[at].children or ()
                found.grow(at, [action], [0.0])
                same = list(found.nodes[at].children or ())
                found.nodes[at].children = (*known, *same)
                last = place == len(path.split()) - 1
                ending = ("answer" if answered else "depth") if last and closed else "" if closed else "unclosed"
                found.write(same[0], (), Written((1,), (0.0,), text, closed), ending)  # type: ignore[arg-type]
                found.nodes[same[0]].scores = {"prm": scores[text]} if scores and text in scores else {}
            at = same[0]
        found.nodes[at].reward = reward
        found.backup(at)
    return found


def rows(*paths: tuple[str, float], **options: object) -> tuple[list[str], WarmupCounts]:
    scores = options.pop("scored", None)
    found, counts = rows_of_tree(tree(*paths, scores=scores), GRAMMAR, **options)  # type: ignore[arg-type]
    return [told(row.trace) for row in found], counts


def test_branch_merging_as_in_the_notes() -> None:
    """Shared steps and wrong ones as found, then verify, refine, output."""
    scores = {"A": 0.9, "B": 0.9, "C": 0.7, "D": 0.7, "E": 0.4, "F": 0.2}
    found, counts = rows_of_tree(
        tree(("nA nB nC nD", 1.0), ("nA nB nE dF", 0.1), scores=scores),
        GRAMMAR,
        scores="prm",
        verify=lambda asked: [f"V{each.first_wrong}" for each in asked],
    )
    assert [told(row.trace) for row in found] == ["nA nB nC oD", "nA nB nE dF vV3 rC oD"]
    assert found[1] == Row("q1", "How much?", found[1].trace, "splice", (2, 4))
    assert counts == WarmupCounts(trees=1, used=1, paths=2, wrong=1, path_rows=1, splice_rows=1)


def test_scores_choose_the_two_branches() -> None:
    """Right paths of means .8 and .6: the first. Wrong ones of .5 and .2: the second, not one that shares nothing."""
    scores = {"A": 0.8, "B": 0.8, "C": 0.8, "D": 0.4, "E": 0.2, "F": -0.4, "X": 0.0, "Y": 0.0}
    paths = [("nA nD nB", 1.0), ("nA nB nC", 1.0), ("nA nE", 0.0), ("nA nF", 0.0), ("nX nY", 0.0)]
    asked: list[Dispute] = []

    def verify(disputes: Sequence[Dispute]) -> list[str]:
        asked.extend(disputes)
        return ["V"] * len(disputes)

    found, _ = rows(*paths, scored=scores, scores="prm", verify=verify)
    assert found[-1] == "nA nF vV rB oC"
    assert asked == [Dispute("How much?", trace("nA"), trace("nF"), trace("nB nC"), 2)]
    # The wrong branch's first step may be right: the one that is scored as wrong is named.
    (_, _), _ = rows(("nA nB nC", 1.0), ("nA nD nE", 0.0), scored=scores | {"D": 0.6}, scores="prm", verify=verify)
    assert asked[-1].first_wrong == 3
    with pytest.raises(UserError, match=r"has no score `prm` \(it has none\)"):
        rows(("nA nB", 1.0), scores="prm")


def test_without_scores_lengths_choose() -> None:
    found, counts = rows(("nA nB nC", 1.0), ("nA nD", 1.0), ("nA nE nF nG", 0.0), ("nA nE nH", 0.0), ("nX", 0.0))
    assert found[:2] == ["nA oD", "nA nB oC"]  # shortest first
    assert found[2] == "nA nE nH vLet me check the steps. Step 2 is wrong. rD oD"
    assert counts.splice_rows == 1


def test_paths_that_share_the_question_only_are_merged_too() -> None:
    found, _ = rows(("aA nB nC", 1.0), ("nX nY", 0.0), verify=lambda asked: ["V"])
    assert found == ["aA nB oC", "nX nY vV rA nB oC"]


def test_as_many_first_steps_are_told_in_the_refine_as_the_grammar_needs() -> None:
    found, _ = rows(("cA aB qC nD nE", 1.0), ("nX nY", 0.0), verify=lambda asked: ["V"])
    assert found[1] == "nX nY vV rA\nB qC nD oE"  # no analysis after a refine
    box = r"so_it_is_\boxed{5}"
    found, _ = rows((f"qA d{box}", 1.0), ("qA nB nC", 0.0), verify=lambda asked: ["V"])
    end = r"oThe answer is \boxed{5}."
    assert found == [rf"qA dso it is \boxed{{5}} {end}", rf"qA nB nC vV rso it is \boxed{{5}} {end}"]


def test_trees_of_a_model_that_ends_its_traces_itself() -> None:
    """A wrong output cannot be verified: it is told as a direct answer, or dropped where it repeats one."""
    found, _ = rows(("nA nB oC", 1.0), ("nA oD", 0.1), verify=lambda asked: ["V"])
    assert found == ["nA nB oC", "nA dD vV rB oC"]
    found, counts = rows(("nA nB oC", 1.0), ("nA dD oE", 0.1), verify=lambda asked: ["V"])
    assert found == ["nA nB oC", "nA dD vV rB oC"]
    assert counts == WarmupCounts(trees=1, used=1, paths=2, wrong=1, path_rows=1, splice_rows=1)
    found, _ = rows(("nA nB vW oC", 1.0), ("nX oY", 0.1), verify=lambda asked: ["V"])
    assert found == ["nA nB vW oC", "nX dY vV rA nB vW oC"]


def test_corner_cases_are_dropped_and_counted() -> None:
    assert rows(("nA nB", 0.0), ("nC nD", 0.1)) == ([], WarmupCounts(trees=1, without_right=1, paths=2, wrong=2))
    found, counts = rows(("nA nB", 1.0), ("nC nD", 1.0))
    assert (found, counts) == (
        ["nA oB", "nC oD"],
        WarmupCounts(trees=1, used=1, without_wrong=1, paths=2, path_rows=2),
    )
    # A direct answer to the bare question is no legal trace, at the depth limit or unclosed is no answer.
    found, counts = rows(("d5", 1.0), ("nA nB.", 0.0), ("nA n?C", 1.0), ("nA nD", 1.0))
    assert found == ["nA oD"]
    assert counts == WarmupCounts(trees=1, used=1, without_wrong=1, paths=4, unfinished=2, illegal=1, path_rows=1)
    assert rows() == ([], WarmupCounts(trees=1, unsearched=1))
    # A wrong path whose last step nothing may verify.
    found, counts = rows(("nA nB", 1.0), ("nA aC", 0.0))
    assert (found, counts.unspliced, counts.splice_rows) == (["nA oB"], 1, 0)


def test_repeated_and_blank_steps_are_dropped_and_equal_traces_too() -> None:
    found, counts = rows(("nA nA nB nC", 1.0), ("nA nB nC", 1.0), ("nA n__ nB nC", 1.0), ("nC nA nC", 1.0))
    assert found == ["nA oC", "nA nB oC"]  # the last step stays, what said it before goes
    assert counts == WarmupCounts(
        trees=1, used=1, without_wrong=1, paths=4, duplicates=2, repeated_steps=3, path_rows=2
    )


def test_what_a_path_repeats_is_no_node_to_part_at() -> None:
    """Two samples of one text are one place: the branches part where the texts do."""
    right = Trajectory(trace("nA nB nC"), True)
    wrong = Trajectory(trace("nA nB nD"), False)
    found = dispute("q", [right, wrong])
    assert found is not None
    assert (found.shared, found.wrong, found.right) == (trace("nA nB"), trace("nD"), trace("nC"))
    # A wrong path that is the beginning of a right one keeps a step of its own.
    found = dispute("q", [right, Trajectory(trace("nA nB"), False)])
    assert found is not None
    assert (found.shared, found.wrong) == (trace("nA"), trace("nB"))


def test_many_trees_ask_for_their_verify_steps_once() -> None:
    calls: list[int] = []

    def verify(disputes: Sequence[Dispute]) -> list[str]:
        calls.append(len(disputes))
        return [f"V{number}" for number in range(len(disputes))]

    trees = [
        tree(("nA nB", 1.0), ("nA nC", 0.0), question="q1"),
        tree(("nA nB", 1.0), question="q2"),
        tree(("nA nD", 1.0), ("nE nF", 0.0), question="q3"),
    ]
    found, counts = rows_of_trees([tree_from_json(each.to_json()) for each in trees], GRAMMAR, verify=verify)
    assert calls == [2]
    assert [(row.question, told(row.trace)) for row in found] == [
        ("q1", "nA oB"),
        ("q1", "nA nC vV0 rB oB"),
        ("q2", "nA oB"),
        ("q3", "nA oD"),
        ("q3", "nE nF vV1 rA oD"),
    ]
    assert counts == sum((rows_of_tree(each, GRAMMAR)[1] for each in trees), WarmupCounts())
    with pytest.raises(UserError, match="1 verify steps were written for 2 disputes"):
        rows_of_trees(trees, GRAMMAR, verify=lambda disputes: ["one"])


class Pupil:
    """A writer that adds right where the first try is odd, and wrong elsewhere; it remembers what it was asked."""

    def __init__(self) -> None:
        self.counts = TokenCounts()
        self.asked: list[Ask] = []

    def write(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        self.asked += asks
        found = []
        for ask in asks:
            if "Compare the two" in ask.text:
                found.append(Reply(" Step 2 adds wrongly. ", "third" not in ask.text))
            elif "Finish the solution" in ask.text or "one step at a time" in ask.text:
                found.append(Reply(f"Final step: \\boxed{{{ask.seed % 2}}} by {ask.seed}.\nFinal step: more", True))
            else:
                found.append(Reply(f"Let's see {ask.seed}. ", True))
        return found


def test_from_prompts_to_rows() -> None:
    """The whole of phase 1 with a scripted model: search, files and all, verify steps by the model."""
    pupil = Pupil()
    engine = Prompted(pupil, prompted_grammar(GRAMMAR))
    prompts = [Prompt(name, f"The {name} question?") for name in ("first", "second", "third")]

    def judge(found: Sequence[Path]) -> list[float]:
        return [float("boxed{1}" in path.nodes[-1].text) for path in found]

    trees = search(prompts, engine, engine.grammar, judge, PROMPTED, seed=3)
    verify = verify_by(pupil, GRAMMAR, PROMPTED.sampling, seed=1)
    found, counts = rows_of_trees(trees, GRAMMAR, verify=verify)
    assert counts.used == 3
    assert counts.splice_rows == 3
    assert counts.path_rows > 10
    assert all(GRAMMAR.fault([step.action for step in row.trace]) is None for row in found)
    checks = {row.question: next(s.text for s in row.trace if s.action == "verify") for row in found if row.wrong[1]}
    assert checks["first"] == checks["second"] == "Step 2 adds wrongly."
    assert checks["third"].startswith("Let me check the steps.")  # its reply was cut off
    seeds = [ask.seed for ask in pupil.asked[-3:]]
    assert len(set(seeds)) == 3
    verify(_disputes(trees)[1:2])
    assert pupil.asked[-1].seed == seeds[1]  # whatever else is in the batch


def _disputes(trees: Sequence[Tree]) -> list[Dispute]:
    found: list[Dispute] = []

    def keep(disputes: Sequence[Dispute]) -> list[str]:
        found.extend(disputes)
        return ["V"] * len(disputes)

    rows_of_trees(trees, GRAMMAR, verify=keep)
    return found


words = st.sampled_from(["cA", "aA", "aB", "qA", "nA", "nB", "nC", "dA", "dB", "n_", "n?D"])
paths = st.tuples(st.lists(words, min_size=1, max_size=7).map(" ".join), st.sampled_from([0.0, 0.1, 1.0]))


@given(st.lists(paths, max_size=6))
def test_every_row_is_legal_and_every_path_is_counted(found_paths: list[tuple[str, float]]) -> None:
    grown = tree(*found_paths)
    found, counts = rows_of_tree(grown, GRAMMAR)
    kinds = [row.kind for row in found]
    assert counts.paths == (counts.unfinished + counts.wrong + counts.duplicates + counts.illegal + counts.path_rows)
    assert counts.trees == 1 == counts.unsearched + counts.without_right + counts.used
    assert (kinds.count("path"), kinds.count("splice")) == (counts.path_rows, counts.splice_rows)
    assert kinds == sorted(kinds)  # a splice comes last
    assert len({row.trace for row in found}) == len(found)
    right = [_texts(grown, each) for each in grown.distinct_leaves() if grown.nodes[each].reward == 1.0]
    for row in found:
        actions = [step.action for step in row.trace]
        assert GRAMMAR.fault(actions) is None
        assert actions[-1] == "output"
        start, end = row.wrong
        assert (end > start) is (row.kind == "splice")
        if row.kind == "splice":
            assert actions[end : end + 2] == ["verify", "refine"]
            kept = [step.text for step in (*row.trace[:start], *row.trace[end + 1 :])]
            assert any(_in_order("\n".join(kept).split("\n"), texts) for texts in right)
        else:
            assert any(_in_order([step.text for step in row.trace], texts) for texts in right)


def _texts(grown: Tree, leaf: int) -> list[str]:
    return [node.text or "" for node in grown.lineage(leaf)[1:]]


def _in_order(kept: list[str], texts: list[str]) -> bool:
    """Whether every text is of the path, in its order; the last may be said twice (concluded)."""
    rest = iter([*texts, texts[-1]])
    return all(text in rest for text in kept)


def test_a_splice_without_a_legal_trace_is_none() -> None:
    tight = replace(GRAMMAR, max_depth=4)
    found = Dispute("q", trace("nA"), trace("nB nC"), trace("nD nE"), 2)
    assert splice(found, "V", tight, conclusion) is None
    assert splice(found, "V", GRAMMAR, conclusion) is not None


def slow_cost(grammar: Grammar, rules: SearchRules, prompt: float, share: float) -> tuple[float, ...]:
    """Every walk with its probability, one by one."""
    walks: list[tuple[float, list[str], float, float]] = []

    def go(names: list[str], chance: float, texts: float, tokens: float) -> None:
        ended = bool(names) and grammar.action(names[-1]).ends
        legal = () if ended else grammar.legal(names)
        if not legal:
            walks.append((chance, names, texts, tokens))
            return
        samples = [rules.samples.get(name, 1) for name in legal]
        caps = [grammar.action(name).tokens for name in legal]
        for name, count, cap in zip(legal, samples, caps, strict=True):
            here = sum(samples) if rules.eager else 1
            more = sum(a * b for a, b in zip(samples, caps, strict=True)) if rules.eager else cap
            go([*names, name], chance * count / sum(samples), texts + here, tokens + more)

    go([], 1.0, 0.0, 0.0)
    read = 0.0
    for chance, names, _, _ in walks:
        before = 0.0
        for place, name in enumerate(names):
            legal = grammar.legal(names[:place])
            here = sum(rules.samples.get(each, 1) for each in legal) if rules.eager else 1
            read += chance * here * (prompt + before)
            before += share * grammar.action(name).tokens
    return (
        sum(chance * texts for chance, _, texts, _ in walks),
        share * sum(chance * tokens for chance, _, _, tokens in walks),
        read,
        max(texts for _, _, texts, _ in walks),
        max(tokens for *_, tokens in walks),
    )


@pytest.mark.parametrize("eager", [False, True])
def test_a_forecast_is_the_mean_over_all_walks(eager: bool) -> None:
    grammar = prompted_grammar(GRAMMAR, max_depth=6)
    rules = replace(PROMPTED, eager=eager)
    texts, generated, read, texts_most, generated_most = slow_cost(grammar, rules, 100.0, 0.25)
    found = forecast(grammar, rules, 40, 100.0, 0.25)
    walks = 40 * 16
    assert found.texts == round(walks * texts)
    assert found.generated == round(walks * generated)
    assert found.read == round(walks * read)
    assert found.texts_most == walks * texts_most
    assert found.generated_most == walks * generated_most
    assert found.seconds(1000.0) == found.generated / 1000
    if eager:
        assert found.texts > 5 * forecast(grammar, PROMPTED, 40, 100.0, 0.25).texts


def test_a_forecast_by_hand() -> None:
    """One step of 8 tokens, then an end of 4: two texts, 12 tokens, the prompt read twice and the first step once."""
    begin = Action("a", "<a>", "</a>", ("z",), 8, (1, None), "a", ends=False)
    grammar = Grammar(
        (begin, replace(begin, name="z", opens="<z>", closes="</z>", follows=(), tokens=4, ends=True)), ("a",), 3
    )
    found = forecast(grammar, SearchRules(rollouts=3), 5, 10.0, 1.0)
    assert (found.texts, found.generated, found.read) == (30, 15 * 12, 15 * (10 + 18))
    assert (found.texts_most, found.generated_most) == (30, 180)


def test_prompts_ask_for_every_action_in_the_order_of_the_slots() -> None:
    question = "What is {{steps}} + $x {{number}}?"
    action_prompt, verify_prompt = house_prompts().action, house_prompts().verify
    for action in (each.name for each in GRAMMAR.actions if each.prompted):
        asked = action_prompt(action, question, ["First.", "Second."])
        assert question in asked  # slots in a question are not filled
        assert ("1. First.\n2. Second." in asked) is (action != "clarify")
    assert "(nothing yet)" in action_prompt("next_step", question, [])
    assert 'begin with "Step 3:"' in action_prompt("next_step", question, ["First.", "Second."])
    asked = verify_prompt("Q", ["S"], ["W", "X"], ["R"], 2)
    for part in ("1. S", "2. W\n3. X", "2. R", '"Step 2"'):
        assert part in asked
    names = sorted(each.name for each in (files("burnish.reason.rftt") / "prompts").iterdir())
    assert names == [f"{name}.txt" for name in sorted([*(SHORT[each] for each in "caqnd"), "verify"])]


def test_prompts_of_your_own_are_read_and_checked_before_anything_is_asked(tmp_path: Folder) -> None:
    (tmp_path / "next_step.txt").write_text("{{question}} / {{steps}} / {{number}}\n")
    mine = read_prompts(tmp_path, ["next_step"])
    assert mine.action("next_step", "Q {{steps}}", ["a"]) == "Q {{steps}} / 1. a / 2"
    with pytest.raises(UserError, match=r"verify.txt: no prompt that asks for `verify` can be read there"):
        read_prompts(tmp_path, ["next_step", "verify"])
    (tmp_path / "verify.txt").write_text("{{wrong}} {{rigth}}")
    with pytest.raises(UserError, match=r"verify.txt: knows no \{\{rigth\}\}; there are number, question, right"):
        read_prompts(tmp_path, ["verify"])


@pytest.mark.parametrize(
    ("action", "text", "kept"),
    [
        ("clarify", " One. Two 3.5! Three? Four.", "One. Two 3.5! Three?"),
        ("clarify", "One. Two", "One. Two"),
        ("next_step", "Step 2: a.\n**Step 3:** b.", "Step 2: a."),
        ("next_step", "Final step: a, as Step 1 says.\nFinal step: b", "Final step: a, as Step 1 says."),
        ("next_step", "plain\n", "plain"),
        ("direct_answer", " Step 1: a\nStep 2: b ", "Step 1: a\nStep 2: b"),
    ],
)
def test_what_was_not_asked_for_is_cut(action: str, text: str, kept: str) -> None:
    assert tidy(action, text) == kept
