"""The mask rule and positions: the hand examples of the method's notes, and the slow rule token by token."""

import itertools

import pytest
import torch

from burnish.core.errors import UserError
from burnish.generate.experts import BAGEL, DENSE, MINT
from burnish.generate.records import Kind, Layout, Segment
from burnish.generate.sequence import dense_mask, fill, kind_order, pack, positions, row_mask, storage
from tests.generate.small import layout


def rows(mask: torch.Tensor) -> str:
    return " / ".join("".join(str(int(seen)) for seen in row) for row in mask)


def test_text_clean_text() -> None:
    known = layout(("text", 2), ("clean", 2, 0), ("text", 1))
    assert rows(dense_mask(known)) == "10000 / 11000 / 11110 / 11110 / 11111"
    assert positions(known).tolist() == [[0, 1, 2, 2, 3]]


def test_a_noisy_copy_for_the_loss_and_a_clean_one_as_context() -> None:
    known = layout(("text", 2), ("noisy", 2, 0), ("clean", 2, 0), ("text", 1))
    expected = "1000000 / 1100000 / 1111000 / 1111000 / 1100110 / 1100110 / 1100111"
    assert rows(dense_mask(known)) == expected
    assert int(dense_mask(known).sum()) == 24
    assert positions(known).tolist() == [[0, 1, 2, 2, 2, 2, 3]]  # both copies stand at one place


def test_packed_documents_do_not_meet_and_begin_at_0() -> None:
    first = Layout((Segment("text", 1), Segment("noisy", 1, 0)))
    known = pack([first, Layout((Segment("text", 2),))])
    assert rows(dense_mask(known)) == "1000 / 1100 / 0010 / 0011"
    assert int(dense_mask(known).sum()) == 6
    assert positions(known).tolist() == [[0, 1, 0, 1]]


def test_several_noisy_blocks_of_one_prefix_do_not_see_each_other() -> None:
    known = layout(("text", 1), ("noisy", 1, 0), ("noisy", 1, 0))
    assert rows(dense_mask(known)) == "100 / 110 / 101"
    assert positions(known).tolist() == [[0, 1, 1]]


BLOCKS = [("text", 2), ("noisy", 3), ("clean", 3), ("text", 1)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_of_blocks_follows_the_rule_token_by_token(order: tuple[int, ...]) -> None:
    blocks = [BLOCKS[place] for place in order]
    known = Layout(
        tuple(
            Segment(kind, length, None if kind == "text" else place, document=place // 3)  # type: ignore[arg-type]
            for place, (kind, length) in enumerate(blocks)
        )
    )
    tokens = [(place, segment) for place, segment in enumerate(known.segments) for _ in range(segment.length)]
    for (q, (mine, query)), (k, (other, key)) in itertools.product(enumerate(tokens), repeat=2):
        same_picture = mine == other and query.image is not None
        expected = (k <= q or same_picture) and not (key.kind == "noisy" and mine != other)
        expected = expected and query.document == key.document
        assert bool(dense_mask(known)[q, k]) == expected


def test_padding_is_seen_by_none_and_counted_nowhere() -> None:
    known = layout(("text", 3), ("noisy", 1, 0))
    real = torch.tensor([[True, True, True], [False, True, True]])
    places = torch.arange(4)
    mask = row_mask(known, places, places, real, None)
    assert rows(mask[0, 0]) == "1000 / 1100 / 1110 / 1111"
    assert rows(mask[1, 0]) == "1000 / 0100 / 0110 / 0111"
    assert positions(known, real).tolist() == [[0, 1, 2, 3], [0, 0, 1, 2]]


def test_a_hidden_segment_is_hidden_from_that_picture_alone() -> None:
    known = layout(("text", 1), ("text", 1), ("noisy", 1, 0), ("noisy", 1, 0))
    hidden = torch.tensor([[[False, False, False, False], [False, True, False, False]]])
    places = torch.arange(4)
    assert rows(row_mask(known, places, places, None, hidden)[0, 0]) == "1000 / 1100 / 1110 / 1001"


def test_a_row_lies_kind_by_kind_those_of_one_expert_together() -> None:
    known = layout(("text", 1), ("noisy", 2, 0), ("clean", 2, 0), ("text", 1))
    assert kind_order(MINT) == kind_order(BAGEL) == kind_order(DENSE) == ("text", "clean", "noisy")
    assert kind_order({"text": 0, "noisy": 0, "clean": 1}) == ("text", "noisy", "clean")
    assert storage(known, ("text", "clean", "noisy")).tolist() == [0, 5, 3, 4, 1, 2]


def test_samples_fill_rows_by_every_kind() -> None:
    sizes: list[dict[Kind, int]] = [
        {"text": 6, "noisy": 0},
        {"text": 2, "noisy": 4},
        {"text": 3, "noisy": 4},
        {"text": 2, "noisy": 0},
    ]
    filled = fill(sizes, {"text": 8, "noisy": 4})
    assert sorted(itertools.chain(*filled)) == [0, 1, 2, 3]
    for members in filled:
        assert sum(sizes[place]["text"] for place in members) <= 8
        assert sum(sizes[place]["noisy"] for place in members) <= 4
    assert len(filled) == 2
    with pytest.raises(UserError, match=r"sample 1 has 4 noisy tokens, a row holds 3"):
        fill(sizes, {"text": 8, "noisy": 3})


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ((), "no segments"),
        ((Segment("text", 0),), "at least one token"),
        ((Segment("text", 1, 0),), "text has none"),
        ((Segment("noisy", 4),), "a picture has a number"),
        ((Segment("clean", 4, 0), Segment("noisy", 4, 0)), "drawn after its own clean copy"),
        ((Segment("clean", 4, 0), Segment("noisy", 9, 1)), r"pictures of \[4, 9\] patches"),
        ((Segment("text", 1), Segment("text", 1, document=1), Segment("text", 1)), "document 0 is in two pieces"),
    ],
)
def test_a_layout_that_cannot_be(segments: tuple[Segment, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Layout(segments)
