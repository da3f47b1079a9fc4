"""A probe set from annotated rows, and figures of a model on it that add up whatever is asked together."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from burnish.align import measure as room
from burnish.align.facts import Thing
from burnish.align.measure import ViewAsking, measure
from burnish.align.probes import read_probes
from burnish.align.recipe import ProbeSettings
from burnish.align.records import Answer, Ask, Sampling, picture_hash
from burnish.align.settings import ViewSettings
from burnish.core.errors import UserError
from tests.align.words import VOCABULARY

TRUTH: list[tuple[tuple[int, int, int], list[Any]]] = [
    ((200, 0, 0), [["circle", "red"], "dog"]),
    ((0, 0, 200), [["square", "blue"], ["circle", "green"]]),
    ((0, 200, 0), ["owl"]),
]


def write_set(folder: Path) -> ProbeSettings:
    lines = []
    for number, (colour, objects) in enumerate(TRUTH):
        Image.new("RGB", (12, 8), colour).save(folder / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "objects": objects}))
    (folder / "probe.jsonl").write_text("\n".join(lines))
    return ProbeSettings(source=str(folder / "probe.jsonl"), each=1)


class Speaker:
    """Describes by the picture's colour; to any other question it says yes. Short answers only, once it is told to."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def answer(self, asks: Sequence[Ask], sampling: Sampling) -> list[Answer]:
        self.sizes.append(len(asks))
        return [self._say(ask, sampling) for ask in asks]

    def _say(self, ask: Ask, sampling: Sampling) -> Answer:
        assert ask.image is not None
        if ask.question.startswith("Is there"):
            assert sampling.temperature == 0
            return Answer("Yes.")
        red, green, blue = ask.image.getpixel((0, 0))  # type: ignore[misc]
        if sampling.temperature and ask.seed % 2:
            return Answer("a cross")
        if red > max(green, blue):
            return Answer("a red circle and a red circle", cut=True)
        return Answer("a blue square and a cross" if blue > green else "an owl")


def test_a_probe_set_from_annotations(tmp_path: Path) -> None:
    found = read_probes(write_set(tmp_path), VOCABULARY)
    assert [each.truth for each in found.pictures] == [
        (Thing("circle", ("red",)), Thing("dog")), (Thing("square", ("blue",)), Thing("circle", ("green",))),
        (Thing("owl"),),
    ]  # fmt: skip
    assert found.hashes == {picture_hash(Image.new("RGB", (12, 8), colour)) for colour, _ in TRUTH}
    adversarial = {probe.question for probe in found.probes if probe.split == "adversarial" and probe.answer == "no"}
    assert "Is there a green circle in the image?" in adversarial  # of the picture with a red one


def test_a_thing_with_more_attributes_is_no_negative_for_less(tmp_path: Path) -> None:
    settings = write_set(tmp_path)
    file = Path(settings.source)
    Image.new("RGB", (12, 8), "white").save(tmp_path / "big.png")
    big = json.dumps({"image": "big.png", "objects": [["circle", "red", "big"]]})
    file.write_text("\n".join([file.read_text(), big]))
    found = read_probes(settings.model_copy(update={"each": 9}), VOCABULARY)
    picture = found.pictures[-1]
    assert picture.truth == (Thing("circle", ("big", "red")),)
    asked = {(probe.label, probe.answer) for probe in found.probes if probe.image == picture.picture}
    assert {label for label, answer in asked if answer == "yes"} == {"big red circle", "red circle"}
    assert not {label for label, answer in asked if answer == "no"} & {"red circle", "big red circle"}
    of_red = {(probe.label, probe.answer) for probe in found.probes if probe.image == found.pictures[0].picture}
    assert ("red circle", "yes") in of_red
    assert ("big red circle", "no") in of_red


def test_a_picture_that_no_processor_takes_is_left_out(tmp_path: Path) -> None:
    settings = write_set(tmp_path)
    file = Path(settings.source)
    Image.new("RGB", (402, 2), "white").save(tmp_path / "thread.png")
    file.write_text("\n".join([json.dumps({"image": "thread.png", "objects": ["dog"]}), file.read_text()]))
    told: list[str] = []
    assert len(read_probes(settings, VOCABULARY, note=told.append).pictures) == 3
    assert told == ["probe: 1 pictures are left out, over 200 times as long as wide"]


def test_rows_that_are_none_are_named(tmp_path: Path) -> None:
    settings = write_set(tmp_path)
    file = Path(settings.source)
    whole = file.read_text()
    for line, why in (
        ({"image": "0.png"}, "4: `objects` is not a list"),
        ({"objects": ["dog"]}, "4: `image` is neither"),
        ({"image": "0.png", "objects": [[]]}, r"4: `objects` has \[\]"),
        ({"image": "no.png", "objects": ["dog"]}, r"no\.png: no such picture"),
    ):
        file.write_text(f"{whole}\n{json.dumps(line)}")
        with pytest.raises(UserError, match=why):
            read_probes(settings, VOCABULARY)
    told: list[str] = []
    file.write_text(f"{whole}\n{json.dumps({'image': '0.png', 'objects': ['zebra']})}")
    assert len(read_probes(settings, VOCABULARY, note=told.append).pictures) == 3
    assert told == [
        "probe: 1 objects that the vocabulary has no word for, the first zebra",
        "probe: 1 pictures occur again and are measured once",
    ]
    file.write_text(json.dumps({"image": "0.png", "objects": ["zebra"]}))
    with pytest.raises(UserError, match="no picture with an object that the vocabulary knows"):
        read_probes(settings, VOCABULARY)


def test_figures_by_hand(tmp_path: Path) -> None:
    settings = write_set(tmp_path)
    found = measure(Speaker(), read_probes(settings, VOCABULARY), VOCABULARY, settings)
    facts = found.described.facts
    # so: circle, red circle, dog | square, blue square, circle, green circle | owl
    # named: circle, red circle | square, blue square, cross | owl
    assert (facts.right, facts.named, facts.true) == (5, 6, 8)
    assert found.described.length == pytest.approx((7 + 6 + 2) / 3)
    assert found.described.repeated == 1
    assert found.cut == 1
    assert found.texts == ("a red circle and a red circle", "a blue square and a cross", "an owl")
    for score in found.pope.values():
        assert (score.tp, score.fp, score.tn, score.fn) == (3, 3, 0, 0)
    assert found.shown["pope_random_yes"] == 1.0
    assert found.agreement is None


@pytest.mark.parametrize("size", [1, 2, 256])
def test_no_figure_depends_on_what_is_asked_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    settings = write_set(tmp_path)
    probes = read_probes(settings, VOCABULARY)
    views = ViewAsking(ViewSettings(views=3, families=("blur", "noise")), Sampling(8, temperature=1.0), seed=3)
    whole = measure(Speaker(), probes, VOCABULARY, settings, views=views)
    monkeypatch.setattr(room, "AT_ONCE", size)
    speaker = Speaker()
    assert measure(speaker, probes, VOCABULARY, settings, views=views) == whole
    assert max(speaker.sizes) <= 6 * size


def test_large_pictures_are_opened_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = write_set(tmp_path)
    probes = read_probes(settings, VOCABULARY)
    whole = measure(Speaker(), probes, VOCABULARY, settings)
    monkeypatch.setattr(room, "MOST_OPEN", 2 * 12 * 8)
    speaker = Speaker()
    assert measure(speaker, probes, VOCABULARY, settings) == whole
    described = speaker.sizes[::2]  # each part is described, then asked POPE's questions
    assert described == [2, 1]
    assert room.sampled(speaker, probes, settings, seed=1) == room.sampled(Speaker(), probes, settings, seed=1)


def test_agreement_of_views_by_hand(tmp_path: Path) -> None:
    """Of views that say two things, two of one kind and one of the other: one pair in three agrees."""
    settings = write_set(tmp_path)
    probes = read_probes(settings, VOCABULARY)

    class Alternating(Speaker):
        def _say(self, ask: Ask, sampling: Sampling) -> Answer:
            if sampling.temperature:
                self.turn = getattr(self, "turn", -1) + 1
                return Answer("an owl" if self.turn % 3 else "a dog")
            return Answer("")

    views = ViewAsking(ViewSettings(views=3), Sampling(8, temperature=1.0))
    found = measure(Alternating(), probes, VOCABULARY, settings, views=views)
    assert found.agreement == pytest.approx(1 / 3)
    single = ViewAsking(ViewSettings(views=1), Sampling(8, temperature=1.0))
    assert measure(Alternating(), probes, VOCABULARY, settings, views=single).agreement is None
