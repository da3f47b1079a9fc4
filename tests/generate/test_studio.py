"""Drawing and describing for a person: files, edited plans, the picture of all steps, mistakes in one line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.cli import app
from burnish.core.errors import UserError
from burnish.generate import describe, draw
from burnish.generate.artist import ModelArtist
from burnish.generate.folder import load_unified
from burnish.generate.picture_files import read_picture, write_picture
from burnish.generate.plan_diff import diff
from burnish.generate.plan_file import from_yaml
from burnish.generate.steps.chain import Policy, run_chain
from burnish.generate.steps.state import State
from burnish.generate.steps_picture import steps_figure
from tests.generate.test_steps import HOT, RED, WARM, Scripted
from tests.generate.untrained import WORDING, equip_easel

PROMPT = "two red circles left of a blue square"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    equip_easel(folder)
    return folder


def test_a_plan_is_written_edited_and_drawn_again(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    told: list[str] = []
    (first,) = draw(PROMPT, steps=2, show_steps=True, tell=told.append)
    assert (str(first.picture), str(first.plan), str(first.steps)) == (
        "picture.png",
        "picture.yaml",
        "picture-steps.png",
    )
    assert Image.open(first.picture).size == (32, 32)
    assert told[0].startswith(f"{PROMPT}: plan: ")
    assert told[-1].startswith("pictures 1, planned 1")
    Path("mine.yaml").write_text("elements:\n- name: circle\n  attributes: [red]\n  place: r4c4\n")
    (second,) = draw(PROMPT, out="again.png", plan="mine.yaml", steps=2, think=("plan",))
    assert second.plan is not None
    plan, prompt = from_yaml(second.plan, WORDING)
    assert prompt == PROMPT
    assert [WORDING.place(element.box) for element in plan.elements] == ["r4c4"]
    assert [line.partition(":")[0] for line in second.events] == ["act"]


def test_a_picture_is_read_back_and_compared_with_its_plan(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    artist = ModelArtist(load_unified("runs/mint-tiny"))
    told: list[str] = []
    (drawn,) = draw(PROMPT, out="compared.png", steps=1, think=("plan",), compare=True, tell=told.append)
    assert drawn.plan is not None
    asked, _ = from_yaml(drawn.plan, WORDING)
    (seen,) = artist.read_plans([read_picture(drawn.picture, (32, 32))])
    assert seen is not None
    assert drawn.differences == tuple(diff(asked, seen).lines(WORDING))
    assert told[-1] == f"{PROMPT}: {drawn.differences[-1]}"
    assert drawn.row()["differences"] == list(drawn.differences)
    (bare,) = draw(PROMPT, out="bare.png", steps=1, think=(), compare=True, tell=told.append)
    assert bare.differences is None
    assert told[-1].endswith("nothing to compare")


def test_several_prompts_get_numbers_and_nothing_planned_no_yaml(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    found = draw(["a circle", "a square"], out="two", think=(), steps=1)
    assert [str(each.picture) for each in found] == ["two-1.png", "two-2.png"]
    assert [each.plan for each in found] == [None, None]
    again = draw("a circle", out="one.png", think=(), steps=1)[0]
    assert np.array_equal(read_picture(again.picture, (32, 32)), read_picture(found[0].picture, (32, 32)))


def test_mistakes_are_named_before_anything_is_drawn(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    Path("zero.yaml").write_text("elements:\n- name: circle\n  count: 0\n  place: r1c1\n")
    for arguments, said in (
        ({"prompts": " "}, "prompt: asks for nothing"),
        ({"prompts": []}, "prompts: none given"),
        ({"prompts": "ein Kreis"}, "no word `ein`"),
        ({"prompts": PROMPT, "plan": "zero.yaml"}, "zero.yaml: element 1 (`0 circle`): count 0"),
        ({"prompts": PROMPT, "plan": "absent.yaml"}, "absent.yaml: no such file"),
        ({"prompts": [PROMPT, "a circle"], "plan": "zero.yaml"}, "plan: is for one prompt"),
        ({"prompts": PROMPT, "steps": 0}, "draw: `steps`"),
        ({"prompts": PROMPT, "guidance": -1.0}, "draw: `guidance`"),
        ({"prompts": PROMPT, "think": ("plam",)}, "think: `plam` is unknown; did you mean `plan`"),
    ):
        with pytest.raises(UserError) as error:
            draw(out="never.png", **arguments)
        assert said in str(error.value)
    assert not Path("never.png").exists()
    monkeypatch.chdir(desk / "runs")
    with pytest.raises(UserError, match="no runs/mint-tiny; `burnish run mint/tiny` makes one"):
        draw(PROMPT)


def test_describing_reads_pictures_of_the_model_s_size(desk: Path, tmp_path: Path) -> None:
    model = desk / "runs" / "mint-tiny"
    assert len(describe([desk / "scene.png"] * 2, model, question="how many circles ?")) == 2
    write_picture(tmp_path / "large.png", np.zeros((64, 48, 3), dtype=np.uint8))
    with pytest.raises(UserError, match="is 48 x 64; this model takes 32 x 32 pixels"):
        describe(tmp_path / "large.png", model)
    assert len(describe(tmp_path / "large.png", model, resize=True)) == 1


def test_pictures_of_other_modes_are_read_or_refused(tmp_path: Path) -> None:
    size = (2, 2)
    for mode, value in (("L", 7), ("P", 0), ("1", 1), ("RGBA", (1, 2, 3, 255)), ("RGB", (1, 2, 3))):
        Image.new(mode, size, value).save(tmp_path / "ok.png")
        assert read_picture(tmp_path / "ok.png", size).shape == (2, 2, 3)
    Image.new("RGBA", size, (1, 2, 3, 254)).save(tmp_path / "glass.png")
    Image.new("I;16", size, 300).save(tmp_path / "deep.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "ok.png").read_bytes()[:50])
    for name, said in (
        ("glass.png", "see-through"),
        ("deep.png", "is of mode I;16"),
        ("text.png", "not a picture that can be read"),
        ("cut.png", "not a picture that can be read"),
        ("absent.png", "no such file"),
    ):
        with pytest.raises(UserError, match=said):
            read_picture(tmp_path / name, size)


def test_the_picture_of_all_steps_has_a_panel_a_step() -> None:
    artist = Scripted(texts=[RED, "no plan"], seen={10: HOT, 20: HOT, 30: WARM, 40: HOT}, repaints=[30, 40, 40, 40])
    states = run_chain([State("a red circle"), State("b")], artist, Policy(attempts=1))
    figure = steps_figure(states)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:6] == [
        "plan",
        "draft",
        "heat 0.90",
        "correction 1: accepted\nheat 0.60",
        "correction 2: not accepted\nheat 0.90",
        "picture",
    ]
    assert titles[6:9] == ["draft", "heat 0.90", "correction 1: not accepted\nheat 0.90"]
    assert [axes.texts[-1].get_text() for axes in (figure.axes[0], figure.axes[6])] == ["a red circle", "b"]


def test_the_command_line_says_what_was_written(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(desk / "runs" / "mint-tiny")
    out = str(desk / "cli.png")
    line = ["generate", "draw", "a circle", "--model", model, "--out", out]
    app([*line, "--steps", "1", "--json"], standalone_mode=False)
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["prompt"], row["picture"], row["steps"]) == ("a circle", out, None)
    app([*line, "--think", "none"], standalone_mode=False)
    assert capsys.readouterr().out.strip().startswith(out)
    app(["generate", "describe", out, "--model", model, "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)[0]["picture"] == out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, burnish.generate, burnish.cli; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
