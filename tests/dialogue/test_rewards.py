"""Rewards for checkable answers, and the clock that stops a pathological expression."""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import BurnishError
from burnish.dialogue import verify
from burnish.dialogue.answers import bare, compare_plainly, read_quantity
from burnish.dialogue.rewards import Accuracy, Completion, Format, answer_in, text_of
from burnish.dialogue.verify import Verifier

# Each keeps sympy busy for minutes or for ever, some of them without letting go of the interpreter lock.
ENDLESS = ["$9^{9^{9^{9}}}$", "$(10^{10})!$", r"$\sum_{n=1}^{10^9} \sin(n)$"]


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(limit=10.0) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", Fraction(7)),
        (" -3/4 ", Fraction(-3, 4)),
        ("+2.50", Fraction(5, 2)),
        ("1/0", None),
        ("1,234", Fraction(1234)),
        ("x", None),
        ("", None),
        ("٣", None),
        ("9" * 50, None),
    ],
)
def test_plain_numbers(text: str, value: Fraction | None) -> None:
    found = read_quantity(text)
    assert (None if found is None else found.value) == value


@pytest.mark.parametrize(
    ("text", "gold", "verdict"),
    [
        ("60°", " 60° ", True),
        ("0.5", "1/2", True),
        ("7", "8", False),
        ("0.3333", "1/3", None),  # so close that rounding decides
        (r"\frac{1}{2}", "1/2", True),
        (r"\frac{x}{2}", "x/2", None),
        ("0", "0.0", True),
        ("1", "0", False),
    ],
)
def test_what_needs_no_algebra(text: str, gold: str, verdict: bool | None) -> None:
    assert compare_plainly(text, gold) is verdict


@given(st.fractions(min_value=-1000, max_value=1000, max_denominator=500), st.integers(1, 9))
def test_the_same_fraction_written_otherwise_is_the_same(value: Fraction, factor: int) -> None:
    text = f"{value.numerator * factor}/{value.denominator * factor}"
    assert compare_plainly(text, str(value)) is True
    assert compare_plainly(str(value + 50), text) is False


@given(st.text(max_size=60), st.text(max_size=20))
def test_no_text_breaks_the_plain_comparison(text: str, gold: str) -> None:
    assert compare_plainly(text, gold) in (True, False, None)
    assert compare_plainly(gold, gold) is bool(bare(gold))


def test_math_verify_decides_the_rest(verifier: Verifier) -> None:
    pairs = [
        (r"so the answer is $\frac{1}{2}$", "0.5"),
        (r"\boxed{2\sqrt{3}}", r"\sqrt{12}"),
        ("therefore x = 14", "14"),
        ("therefore x = 15", "14"),
        ("no number at all", "14"),
        ("", "14"),
    ]
    assert verifier.equal(pairs) == [True, True, True, False, False, False]
    assert verifier.timeouts == 0


def test_equal_pairs_are_judged_once(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[tuple[str, str]]] = []
    judge = verifier._judge

    def noted(pairs: list[tuple[str, str]]) -> list[bool]:
        asked.append(pairs)
        return judge(pairs)

    monkeypatch.setattr(verifier, "_judge", noted)
    assert verifier.equal([("x = 3", "3")] * 5 + [("3", "3")]) == [True] * 6
    assert asked == [[("x = 3", "3")]]


def test_an_endless_expression_costs_its_limit_and_the_others_keep_their_verdicts() -> None:
    pairs = [("x = 3", "3"), *((text, "3 apples") for text in ENDLESS), ("x = 4", "4")]
    with Verifier(limit=1.0, workers=2) as verifier:
        assert verifier.equal(pairs) == [True, False, False, False, True]
        assert verifier.timeouts == len(ENDLESS)
        assert verifier.equal([("x = 5", "5")]) == [True]  # the processes were replaced


def test_it_works_off_the_main_thread_and_leaves_no_process() -> None:
    found: list[list[bool]] = []
    verifier = Verifier(limit=1.0)

    def ask() -> None:
        found.append(verifier.equal([(ENDLESS[0], "1 + x"), ("x = 2", "2")]))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert found == [[False, True]] * 2
    processes = [worker._process for worker in verifier._workers]
    verifier.close()
    assert all(process.poll() is not None for process in processes)


def test_a_process_killed_while_it_had_nothing_to_do_makes_no_pair_wrong() -> None:
    with Verifier(limit=30.0) as verifier:
        assert verifier.equal([("x = 2", "2")]) == [True]
        verifier._workers[0]._process.kill()
        assert verifier.equal([("x = 2", "2 + 0"), ("x = 3", "3 + 0")]) == [True, True]
        assert verifier.timeouts == 0


def test_a_pair_that_two_processes_die_over_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    deadly = (ENDLESS[0], "3 apples")
    asked: list[tuple[str, str]] = []
    ask, begin = verify._Worker.ask, verify._Worker.begin

    def asking(worker: verify._Worker, pair: tuple[str, str]) -> None:
        asked.append(pair)
        ask(worker, pair)
        if worker.ready and pair == deadly:
            worker._process.kill()  # out of memory, say

    def beginning(worker: verify._Worker) -> None:
        begin(worker)
        if asked[-1] == deadly:
            worker._process.kill()

    monkeypatch.setattr(verify._Worker, "ask", asking)
    monkeypatch.setattr(verify._Worker, "begin", beginning)
    with Verifier(limit=30.0) as verifier:
        assert verifier.equal([("x = 1", "1")]) == [True]
        assert verifier.equal([deadly, ("x = 3", "3 + 0")]) == [False, True]
        assert verifier.timeouts == 1
    assert asked.count(deadly) == 2


def test_a_verdict_is_not_taken_for_the_next_pairs_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(timeout: float) -> object:
        raise KeyboardInterrupt

    with Verifier(limit=30.0) as verifier:
        assert verifier.equal([("x = 2", "2")]) == [True]
        with monkeypatch.context() as patched:
            patched.setattr(verifier._lines, "get", interrupted)
            with pytest.raises(KeyboardInterrupt):
                verifier.equal([("x = 3", "3")])
        assert verifier.equal([("x = 3", "4 apples"), ("x = 5", "5")]) == [False, True]


class Scripted:
    """A worker whose words come by the clock: the first hangs, the second takes its time, the third replaces the
    first."""

    made: ClassVar[list["Scripted"]] = []

    def __init__(self, lines: queue.Queue[tuple["Scripted", str]], limit: float) -> None:
        self.lines, self.limit, self.ready, self.deadline = (
            lines,
            (0.2, 60.0, 60.0)[len(self.made)],
            False,
            float("inf"),
        )
        self.made.append(self)
        if len(self.made) == 3:
            lines.put((self, "ready\n"))
            threading.Timer(0.2, lines.put, [(self.made[1], "right\n")]).start()

    def ask(self, pair: tuple[str, str]) -> None:
        self.lines.put((self, "ready\n"))
        self.deadline = time.monotonic() + 60

    def begin(self) -> None:
        self.ready, self.deadline = True, time.monotonic() + self.limit

    def stop(self) -> None:
        pass


def test_a_worker_that_starts_while_nothing_is_left_for_it_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its next pair would have the time of a start, and the run would end if that pair is endless."""
    monkeypatch.setattr(verify, "_Worker", Scripted)
    verifier = Verifier(workers=2)
    assert verifier.equal([("x = 1", "1 + y"), ("x = 2", "2 + y")]).count(True) == 1
    assert [worker.ready for worker in verifier._workers] == [True, True]
    workers: list[object] = list(verifier._workers)
    assert Scripted.made[2] in workers


def test_processes_end_with_the_one_that_asked(tmp_path: object) -> None:
    script = (
        "from burnish.dialogue.verify import Verifier\n"
        "import os, signal\n"
        "v = Verifier(limit=5.0)\n"
        "v.equal([('x = 2', '2')])\n"
        "print(v._workers[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    pid, deadline = int(done.stdout), time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent")


def test_a_worker_that_cannot_start_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Verifier() as verifier, pytest.raises(BurnishError, match="cannot start"):
        verifier.equal([("x = 2", "2")])


def test_answers_are_found_in_messages() -> None:
    assert text_of([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": None}]) == "a"
    assert answer_in("<think>1</think><answer>\n 7 </answer> <answer>8</answer>") == "7"
    assert answer_in("seven") is None


def test_accuracy_takes_mathematics_or_the_same_text(verifier: Verifier) -> None:
    accuracy = Accuracy(verifier)
    completions: list[Completion] = [
        [{"role": "assistant", "content": r"<think>half</think><answer>\frac{1}{2}</answer>"}],
        "<think>..</think><answer>a red cube</answer>",
        "a red cube",
        "<answer>a blue cube</answer>",
        "it is 3",
    ]
    answers = ["0.5", "a red cube", "a red cube", "a red cube", "<answer> 3 </answer>"]
    assert accuracy(completions, answer=answers, trainer_state=None) == [1.0, 1.0, 1.0, 0.0, 1.0]


def test_a_number_in_passing_counts_only_where_the_paper_counts_it(verifier: Verifier) -> None:
    texts = ["<think>3</think><answer>it is below</answer> \\boxed{3}", "3"]
    assert Accuracy(verifier).judge(texts, ["3", "3"]) == [1.0, 1.0]
    assert Accuracy(verifier, "answer").judge(texts, ["3", "3"]) == [0.0, 0.0]
    assert Accuracy(verifier, "answer").judge(["<answer>6/2</answer>"], ["3"]) == [1.0]


def test_plain_answers_never_start_a_process() -> None:
    with Verifier() as verifier:
        accuracy = Accuracy(verifier, "answer")
        assert accuracy.judge(["<answer>3</answer>", "<answer>4</answer>", "none"], ["3", "3", "3"]) == [1.0, 0.0, 0.0]
        assert not verifier._workers


@pytest.mark.parametrize(
    ("prefix", "completion", "reward"),
    [
        ("<think>", "so</think><answer>3</answer>", 1.0),
        ("<think>Half of it.", " The rest.</think>\n<answer>3</answer>\n", 1.0),
        ("", "so</think><answer>3</answer>", 0.0),  # what a prefill costs a reward that does not see it
        ("<think>", "so</think><answer>3</answer> and more", 0.0),
        ("<think>", "a</think><think>b</think><answer>3</answer>", 0.0),
        ("<think>", "<answer>2</answer></think><answer>3</answer>", 0.0),
        ("<think>", "so</think><answer>3</answer><answer>4</answer>", 0.0),
    ],
)
def test_format_sees_the_prefill(prefix: str, completion: str, reward: float) -> None:
    assert Format()([completion], prefix=[prefix]) == [reward]
    assert Format()([prefix + completion]) == [reward]


def test_format_is_fast_on_long_text() -> None:
    assert Format()(["<think>" + "<" * 100_000], prefix=[""]) == [0.0]
