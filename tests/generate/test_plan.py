"""Plans: what is refused and how it is said, the text form, the YAML form, and what differs."""

from pathlib import Path

import pytest

from burnish.core.errors import UserError
from burnish.generate.plan import Element, Plan, PlanError, Wording, overlap, problems, validate
from burnish.generate.plan_diff import diff
from burnish.generate.plan_file import from_yaml, to_yaml
from burnish.generate.plan_text import parse, to_prompt, to_text

CELLS = Wording(
    names=("circle", "square"),
    attributes={"colour": ("red", "blue"), "size": ("big",)},
    grid=(4, 4),
    most=5,
    most_count=1,
)
OPEN = Wording(most_count=9)
RED = Element("circle", 1, ("red",), CELLS.places["r1c1"])
BLUE = Element("square", 1, ("blue",), CELLS.places["r2c3"])
HALF = (0.0, 0.0, 0.5, 0.5)


def test_two_red_circles_left_of_a_blue_square_go_round() -> None:
    text = "red circle r1c1 red circle r3c1 blue square r2c3 end"
    plan = parse(text, CELLS)
    below = Element("circle", 1, ("red",), (0.0, 0.5, 0.25, 0.75))
    assert plan == Plan((RED, below, Element("square", 1, ("blue",), (0.5, 0.25, 0.75, 0.5))))
    assert to_text(plan, CELLS) == text
    assert to_prompt(plan, CELLS) == "a red circle at r1c1 and a red circle at r3c1 and a blue square at r2c3"


def test_boxes_counts_captions_and_open_places_go_round() -> None:
    wording = Wording(most_count=9, caption=True)
    plan = Plan((Element("fire hydrant", 2, ("red",), (0.125, 0.0, 0.5, 1.0)), Element("orange")), "a street in rain")
    text = "a street in rain | 2 red fire hydrant [0.125 0.000 0.500 1.000] orange anywhere end"
    assert to_text(plan, wording) == text
    assert parse(text, wording) == plan
    # An orange is a colour before another word, and a fruit where it is the last.
    assert parse("orange orange anywhere end", OPEN).elements[0] == Element("orange", 1, ("orange",))


def test_places_of_large_grids_have_equally_many_digits() -> None:
    assert [*Wording(grid=(12, 2)).places][:3] == ["r01c01", "r01c02", "r02c01"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("red circle r1c1", "no `end`"),
        ("", "no `end`"),
        ("end", "asks for nothing"),
        ("red circle end", "element 1 (`red circle`) has no place"),
        ("r1c1 end", "element 1: a place without a name"),
        ("red circle r1c1 end blue", "`blue` comes after"),
        ("green circle r1c1 end", "unknown attribute `green`; did you mean `red`?"),
        ("red cirle r1c1 end", "unknown name `cirle`; did you mean `circle`?"),
        ("red blue circle r1c1 end", "red and blue: one colour at most"),
        ("0 circle r1c1 end", "count 0; leave the element out"),
        ("2 circle r1c1 end", "count 2; 1 at most"),
        ("red circle r1c1 blue square r1c1 end", "elements 1 (`red circle`) and 2 (`blue square`) are both at r1c1"),
        ("circle anywhere end", "has no place; give a cell of the cells r1c1 to r4c4"),
        ("circle [0 0 0.3 0.25] end", "is no cell"),
        ("circle [0 0 x 1] end", "is no box of four numbers"),
        (" ".join(f"circle r{n}c1" for n in (1, 2, 3, 4)) + " circle r1c2 circle r1c3 end", "6 elements"),
    ],
)
def test_a_malformed_or_contradictory_plan_is_named(text: str, said: str) -> None:
    with pytest.raises(PlanError) as error:
        parse(text, CELLS)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("element", "said"),
    [
        (Element("cat", 1, (), (0.5, 0.0, 0.5, 1.0)), "is not left < right"),
        (Element("cat", 1, (), (0.0, 0.0, float("nan"), 1.0)), "is not left < right"),
        (Element("cat", 1, (), (0.0, -0.1, 0.5, 1.0)), "is not left < right"),
        (Element("cat", 10, (), HALF), "count 10; 9 at most"),
        (Element("red cat"), "begins with the attribute `red`"),
        (Element("the end"), "holds a word of the plan's own"),
        (Element("cat [x"), "holds a word of the plan's own"),
        (Element("two  cats"), "is no name"),
        (Element("cat", 5, (), HALF), "holds 4 of the codec's 4 x 4 patches, too few for 5"),
        (Element("cat", 1, (), (0.0, 0.0, 0.1, 1.0)), "patches, too few for 1"),
    ],
)
def test_what_no_model_could_draw_is_refused(element: Element, said: str) -> None:
    assert any(said in each for each in problems(Plan((element,)), OPEN, (4, 4)))


def test_nearly_equal_boxes_are_one_place_and_others_are_not() -> None:
    assert overlap((0.0, 0.0, 0.5, 1.0), (0.25, 0.0, 0.75, 1.0)) == pytest.approx(1 / 3)
    cats = [Element("cat", 1, (), HALF), Element("dog", 1, (), (0.0, 0.0, 0.5, 0.45))]
    with pytest.raises(PlanError, match=r"plan: elements 1 \(`cat`\) and 2 \(`dog`\) are both at the same box"):
        validate(Plan(tuple(cats)), OPEN)  # they share 0.9
    validate(Plan((cats[0], Element("dog", 1, (), (0.0, 0.0, 0.5, 0.35)))), OPEN)  # 0.7


def test_a_wording_refuses_a_word_for_two_attributes() -> None:
    with pytest.raises(ValueError, match="stands for two"):
        Wording(attributes={"colour": ("red",), "wine": ("red",)})
    with pytest.raises(ValueError, match="not a single word"):
        Wording(attributes={"colour": ("dark red",)})


def test_rows_of_a_layout_make_a_plan_and_a_broken_one_is_named() -> None:
    rows = [{"name": "circle", "attributes": ["red"], "box": [0, 0, 0.25, 0.25]}]
    assert Plan.from_rows(rows) == Plan((RED,))
    assert Plan.from_rows(Plan((RED, Element("owl"))).to_rows()) == Plan((RED, Element("owl")))
    with pytest.raises(PlanError, match="element 2"):
        Plan.from_rows([*rows, {"name": "owl", "box": [1, 2]}])


def test_a_plan_is_edited_in_yaml(tmp_path: Path) -> None:
    text = to_yaml(Plan((RED, BLUE)), CELLS, "a red circle and a blue square")
    assert from_yaml(text, CELLS) == (Plan((RED, BLUE)), "a red circle and a blue square")
    edited = tmp_path / "edited.yaml"
    edited.write_text(text.replace("r2c3", "r4c4"))
    moved, prompt = from_yaml(edited, CELLS)
    assert (moved.elements[1].box, prompt) == ((0.75, 0.75, 1.0, 1.0), "a red circle and a blue square")
    with pytest.raises(PlanError, match="this model has no cells; give a `box`"):
        from_yaml(edited, OPEN)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("elements:\n- name: circle\n  colour: red\n  place: r1c1\n", "mine:3: `elements.0.colour` is not a setting"),
        ("elements:\n- name: circle\n  place: r9c1\n", "mine:2: unknown place `r9c1`; did you mean"),
        ("elements:\n- name: circle\n  place: r1c1\n  box: [0, 0, 1, 1]\n", "mine:2: `place` and `box`"),
        ("elements:\n- name: circle\n  count: 0\n  place: r1c1\n", "mine: element 1 (`0 circle`): count 0"),
        ("- circle\n", "mine:1: a plan is a mapping"),
        ("elements: [\n", "not valid YAML"),
        ("elements: []\n", "asks for nothing"),
    ],
)
def test_a_mistake_in_the_yaml_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        from_yaml(text, CELLS, name="mine")
    assert said in str(error.value)


def test_the_difference_names_each_unit_once() -> None:
    asked = parse("red circle r1c1 red circle r3c1 blue square r2c3 end", CELLS)
    drawn = parse("red circle r1c1 blue circle r3c1 blue square r2c4 red square r4c4 end", CELLS)
    found = diff(asked, drawn)
    assert found.lines(CELLS) == [
        "moved: blue square asked at r2c3, drawn at r2c4",
        "changed: red circle asked at r3c1, drawn blue circle",
        "extra: red square at r4c4",
    ]
    assert (len(found.kept), found.faults) == (1, 3)


def test_a_group_is_kept_by_as_many_units_in_its_box_and_free_attributes_by_any() -> None:
    asked = Plan((Element("cat", 2, (), HALF), Element("dog")))
    cat = Element("cat", 1, ("black",), (0.1, 0.1, 0.2, 0.2))
    assert diff(asked, Plan((cat, cat, Element("dog")))).faults == 0
    assert diff(asked, Plan((cat, Element("dog")))).missing == (Element("cat", 1, (), HALF),)
    assert diff(Plan(()), Plan(())).faults == 0
