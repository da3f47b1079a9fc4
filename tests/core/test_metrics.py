"""What is said of work without a count: soon, then now and then, and only while it goes on."""

import io
import os
import sys
import threading
import time
from collections.abc import Callable

import pytest

from burnish.core import metrics
from burnish.core.launch import Launch
from burnish.core.metrics import Progress, activity
from burnish.core.terminal import TERMINAL


class Heard:
    """All that was said to standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self.said = capsys, ""

    def lines(self, label: str) -> int:
        """How many are of this label by now."""
        self.said += self._capsys.readouterr().err
        return self.said.count(f"{label}: ")


@pytest.fixture(autouse=True)
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(metrics, "LINE_SECONDS", 0.3)
    monkeypatch.delenv(metrics.QUIET, raising=False)


def test_what_is_soon_over_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with activity("digits"):
        pass
    assert capsys.readouterr().err == ""


def test_what_takes_longer_is_said_first_soon_and_then_seldom(capsys: pytest.CaptureFixture[str]) -> None:
    with activity("digits"):
        deadline = time.monotonic() + 10
        said = ""
        while said.count("digits: ") < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
            said += capsys.readouterr().err
    assert all(line.startswith("digits: ") for line in said.splitlines())
    assert said.startswith("digits: 0 s\n")
    time.sleep(0.5)
    assert capsys.readouterr().err == ""


def test_it_leaves_a_loop_inside_of_it_to_speak(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("QUIET_SECONDS", "LINE_SECONDS"):
        monkeypatch.setattr(metrics, name, 0.6)  # longer than a busy machine holds a process up
    with activity("outer"):
        start = time.monotonic()
        while time.monotonic() - start < 1.4:
            metrics._said.at = time.monotonic()  # as a bar does, many times a second
            time.sleep(0.01)
    assert "outer" not in capsys.readouterr().err


def test_a_loop_speaks_alone_from_its_first_word_on(capsys: pytest.CaptureFixture[str]) -> None:
    heard = Heard(capsys)
    with activity("outer"):
        for _ in Progress().track(range(1), "loop"):
            until(lambda: heard.lines("loop") >= 3)
        # before that word the outer one may have spoken: it is clear a moment later that the loop takes a while
        inside, heard.said = heard.said[heard.said.index("loop: ") :], ""
        until(lambda: heard.lines("outer") >= 1)
    assert "outer" not in inside


def test_closed_inside_of_a_loop(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for _ in progress.track(range(2), "loop"):
        progress.close()
    assert not metrics._said.going_on


def test_a_note_counts_as_having_said_something(capsys: pytest.CaptureFixture[str]) -> None:
    before = metrics._said.at
    Progress().note("words")
    assert metrics._said.at > before
    assert capsys.readouterr().err == "words\n"


def test_it_ends_with_an_exception_and_leaves_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), activity("digits"):
        raise ZeroDivisionError
    assert threading.active_count() == before


@pytest.mark.parametrize("asked", ["argument", "variable"])
def test_quiet_is_quiet(asked: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if asked == "variable":
        monkeypatch.setenv(metrics.QUIET, "1")
    with activity("digits", quiet=asked == "argument"):
        time.sleep(0.3)
    assert capsys.readouterr().err == ""


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_only_the_innermost_of_several_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    heard = Heard(capsys)
    with activity("outer"):
        with activity("inner"):
            until(lambda: heard.lines("inner") >= 2)
        assert "outer" not in heard.said
        until(lambda: heard.lines("outer") >= 1)


def test_a_terminal_shows_it_and_then_the_loop_inside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(metrics, "SOON_SECONDS", 0.0)
    with activity("making a model"):
        until(lambda: "making a model" in screen.getvalue())
        for _ in Progress().track(range(1), "steps"):
            until(lambda: "steps" in screen.getvalue())
            both = screen.getvalue().count("steps")
            until(lambda seen=both: screen.getvalue().count("steps") > seen + 5)  # type: ignore[misc]
        # the row above goes with the next look at it
        assert not any("making a model" in each for each in screen.getvalue().split("steps")[both + 2 : -1])
        Progress().note("words " * 60)
    assert "words " * 60 in screen.getvalue().replace("\x1b[2K", "")
    assert TERMINAL._bars is None


def test_a_loop_that_the_garbage_collector_ends_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be at work in a thread that holds the lock that the loop's row needs to go."""
    monkeypatch.setattr(sys, "stderr", Screen())
    monkeypatch.setattr(metrics, "END_SECONDS", 0.1)
    loop = Progress().track(range(2), "abandoned")
    next(loop)
    until(lambda: TERMINAL._bars is not None)

    def end() -> None:
        with TERMINAL._lock:
            loop.close()  # type: ignore[attr-defined]

    ended = threading.Thread(target=end, daemon=True)
    ended.start()
    ended.join(30)
    assert not ended.is_alive()
    until(lambda: TERMINAL._bars is None)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor Rich's locks, which the thread that draws may have held: its first word would wait for them."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    row = TERMINAL.add("work")
    try:
        assert sys.stderr is not screen
        child = os.fork()
        if not child:
            os._exit(0 if sys.stderr is screen and TERMINAL._bars is None else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        TERMINAL.remove(row)
    assert sys.stderr is screen


@pytest.mark.parametrize("several", ["worker", "ranks"])
def test_who_is_one_of_several_processes_writes_lines(several: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    if several == "worker":
        monkeypatch.setattr("multiprocessing.parent_process", object)
    else:
        monkeypatch.setattr(metrics, "launched", lambda: Launch(size=2))
    with activity("work"):
        until(lambda: "work: 0 s\n" in screen.getvalue())
    assert "\x1b" not in screen.getvalue()


def test_other_ranks_say_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "launched", lambda: Launch(rank=1, size=2))
    with activity("work"):
        time.sleep(0.3)
    assert capsys.readouterr().err == ""
