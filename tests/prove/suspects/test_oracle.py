"""Asking: each distinct image once, within the budget, whatever was answered before."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.core.metrics import Progress
from burnish.prove.suspects import SuspectSettings, open_suspect
from tests.prove.suspects.makers import pictures

ME = "tests.prove.suspects.test_oracle"
asked: list[int] = []
width = 3


def count(images: np.ndarray) -> np.ndarray:
    asked.append(len(images))
    return images.mean((1, 2, 3)).astype(np.int64)


def embed(images: np.ndarray) -> np.ndarray:
    return np.repeat(images.mean((1, 2, 3))[:, None], width, axis=1)


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    asked.clear()
    monkeypatch.setattr(f"{ME}.width", 3)


def suspect(name: str = "count", **more: Any) -> SuspectSettings:
    return SuspectSettings(model=f"{ME}:{name}", **more)


@pytest.mark.parametrize("on_disk", [True, False])
def test_duplicates_cost_one_query(tmp_path: Path, on_disk: bool) -> None:
    images = pictures(5)
    twice = np.concatenate([images, images[::-1]])
    with open_suspect(suspect(batch=2), "labels", tmp_path / "cache" if on_disk else None) as oracle:
        found = oracle.ask(twice)
        np.testing.assert_array_equal(found, images.mean((1, 2, 3)).astype(np.int64)[[0, 1, 2, 3, 4, 4, 3, 2, 1, 0]])
        assert asked == [2, 2, 1]
        assert (oracle.made, oracle.saved) == (5, 5)
        oracle.ask(images)
        assert (oracle.made, oracle.saved) == (5, 10)


def test_a_second_session_asks_nothing_again(tmp_path: Path) -> None:
    images = pictures(7)
    with open_suspect(suspect(), "labels", tmp_path) as oracle:
        first = oracle.ask(images[:4])
    with open_suspect(suspect(), "labels", tmp_path) as oracle:
        np.testing.assert_array_equal(oracle.ask(images)[:4], first)
        assert (oracle.made, oracle.saved) == (3, 4)
    assert asked == [4, 3]


def test_the_budget_is_kept_over_sessions_and_refused_before_any_query(tmp_path: Path) -> None:
    images = pictures(8)
    with open_suspect(suspect(queries=5), "labels", tmp_path) as oracle:
        with pytest.raises(UserError, match=r"8 queries needed, 5 of the budget of 5 left; nothing was asked"):
            oracle.ask(images)
        assert not asked
        oracle.ask(images[[0, 1, 2, 2, 1]])
        assert oracle.left == 2
    with open_suspect(suspect(queries=5), "labels", tmp_path) as oracle:
        with pytest.raises(UserError, match=r"5 queries needed, 2 of the budget"):
            oracle.ask(images)
        oracle.ask(images[:5])
        assert oracle.left == 0
    assert sum(asked) == 5


def test_a_total_beyond_the_budget_is_refused_when_it_is_announced() -> None:
    with open_suspect(suspect(queries=5), "labels") as oracle:
        oracle.announce(5)
        with pytest.raises(UserError, match="6 queries needed, and the budget is 5; nothing was asked"):
            oracle.announce(6)
    with open_suspect(suspect(), "labels") as oracle:
        oracle.announce(10**9)


def test_another_embedding_size_midway_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(4)
    with open_suspect(suspect("embed"), "embeddings", tmp_path) as oracle:
        assert oracle.ask(images[:2]).shape == (2, 3)
        monkeypatch.setattr(f"{ME}.width", 4)
        with pytest.raises(UserError, match="embeddings of size 4, but 3 before"):
            oracle.ask(images)
    with open_suspect(suspect("embed"), "embeddings", tmp_path) as oracle:  # the stored ones count too
        with pytest.raises(UserError, match="embeddings of size 4, but 3 before"):
            oracle.ask(images[2:])
        assert oracle.made == 0


def test_other_classes_are_refused_at_the_first_batch(tmp_path: Path) -> None:
    images = np.full((6, 2, 2, 3), 1, np.uint8) + np.arange(6, dtype=np.uint8)[:, None, None, None]  # labels 1 to 6
    with open_suspect(suspect(batch=2), "labels", tmp_path, classes=7) as oracle:
        assert oracle.ask(images[:4]).tolist() == [1, 2, 3, 4]
    asked.clear()
    # stored answers count too, before anything is asked
    with open_suspect(suspect(batch=2), "labels", tmp_path, classes=4) as oracle:
        with pytest.raises(UserError, match=r"returned label 4, but 4 classes \(labels 0 to 3\) are asked about"):
            oracle.ask(images)
        assert (oracle.made, asked) == (0, [])
    with open_suspect(suspect(batch=2), "labels", tmp_path, classes=6) as oracle:
        with pytest.raises(UserError, match=r"returned label 6, but 6 classes"):
            oracle.ask(images)
        assert (oracle.made, asked) == (0, [2])  # the refused batch is not kept
    for answers in ("logits", "embeddings"):
        with open_suspect(suspect("embed", batch=2), answers, tmp_path, classes=3) as oracle:
            assert oracle.ask(images).shape == (6, 3)
    with open_suspect(suspect("embed", batch=2), "logits", classes=4) as oracle:
        with pytest.raises(UserError, match="returned logits of size 3, but 4 classes are asked about"):
            oracle.ask(images)
        assert oracle.made == 0


def test_progress_counts_queries_and_says_what_is_left() -> None:
    seen: list[tuple[str, int, int]] = []

    def track(items: Iterable[int], label: str, total: int) -> Iterable[int]:
        listed = list(items)
        seen.append((label, total, len(listed)))
        return listed

    with open_suspect(suspect(queries=10), "labels", progress=track) as oracle:
        oracle.ask(pictures(6))
        oracle.ask(pictures(6))
    assert seen == [("queries (4 of the budget left after these)", 6, 6)]
    with open_suspect(suspect(), "labels", progress=Progress(quiet=True).track) as oracle:
        assert oracle.ask(pictures(6)).shape == (6,)


def test_nothing_to_ask() -> None:
    with open_suspect(suspect(), "labels") as oracle, pytest.raises(UserError, match="no images"):
        oracle.ask(pictures(0))


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("models/vit", "huggingface"),
        ("org/name", "huggingface"),
        ("a/b.onnx", "onnx"),
        ("mine:ask", "python"),
        ("http://127.0.0.1:1/v1", "http"),
        ("https://x.org", "http"),
    ],
)
def test_kinds_are_told_from_the_name(model: str, kind: str) -> None:
    assert SuspectSettings(model=model).resolved_kind == kind


@pytest.mark.parametrize("kind", ["http", "python"])
def test_a_kind_that_does_not_fit(kind: Any) -> None:
    with pytest.raises(ValueError, match=f"kind {kind} needs"):
        SuspectSettings(model="folder", kind=kind)
