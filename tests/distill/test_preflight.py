import json

import pytest
import torch

from burnish.core.errors import UserError
from burnish.core.method import load_recipe
from burnish.distill.loop import distill_in_memory
from burnish.distill.preflight import check, predicted
from burnish.distill.spending import Prices
from tests.distill import contract
from tests.distill.tiny import classifier, small_recipe, some_clips, video_model


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    contract.write_world(folder)
    return folder


@pytest.fixture
def asked(world, monkeypatch):
    monkeypatch.chdir(world)

    def recipe(**changes):
        return load_recipe({"method": "sakd", **contract.SETTINGS, **changes})[1]

    return recipe


def test_what_would_run(asked):
    rows = dict(check(asked()))
    assert "VideoMAEForVideoClassification" in rows["teacher"]
    assert "4 frames, 8 classes" in rows["student"]
    assert "24 samples of 8 classes" in rows["data"]
    assert rows["a selection"] == "12 samples (perturbed), every 2 epochs"
    assert rows["length"] == "8 epochs of 3 steps of 4 samples"
    assert "of distilling on everything" in rows["cost"]
    assert "teacher's table" in rows["cache"]
    assert "at most 50% of the cost" in dict(check(asked(budget={"share": 0.5})))["length"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip": {"frames": 8, "size": [16, 16]}}, r"student: takes clips of 4 frames, not 8; set clip.frames: 4"),
        (
            {"teacher_clip": {"frames": 4, "size": [32, 32]}},
            r"teacher: takes 16 x 16 px, not 32 x 32; set teacher_clip.size: \[16, 16\]",
        ),
        ({"loss": {"kind": "feature"}}, r"loss.kind: `feature` needs features of one width"),
        ({"teacher": "nowhere"}, r"nowhere: no such folder"),
        ({"data": {"source": "nothing"}}, r"nothing"),
    ],
)
def test_what_cannot_work_is_refused(asked, changes, message):
    with pytest.raises(UserError, match=message):
        check(asked(**changes))


def test_a_teacher_of_other_classes_is_refused(asked, world):
    video_model(32, labels=["up", "down"]).save_pretrained(world / "other")
    with pytest.raises(UserError, match=r"teacher: its classes are not those of the data: it does not know `anticlock"):
        check(asked(teacher="other"))
    with pytest.raises(UserError, match=r"student: its classes .*`new_head: true` gives it a last layer"):
        check(asked(student="other"))
    assert "8 classes" in dict(check(asked(student="other", new_head=True)))["student"]


def test_frames_without_a_common_divisor(asked, world):
    config = json.loads((world / "teacher" / "config.json").read_text())
    (world / "five").mkdir(exist_ok=True)
    (world / "five" / "config.json").write_text(json.dumps({**config, "num_frames": 5, "tubelet_size": 1}))
    changes = {"teacher": "config:five", "teacher_clip": {"frames": 5, "size": [16, 16]}}
    with pytest.raises(UserError, match=r"clip.frames: 4 for the student and 5 for the teacher have no common divisor"):
        check(asked(**changes))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"evaluation": "cached"},
        {"evaluation": "history"},
        {"selection": {"share": 1, "kind": "random"}, "difficulty": {"strength": "constant"}},
        {"selection": {"share": 0.5, "kind": "fixed"}, "difficulty": {"strength": "constant"}},
        {"augment": {"flip": True}, "selection": {"share": 1, "kind": "random"}},
        {"budget": {"share": 0.5}},
    ],
)
def test_the_predicted_cost_is_what_it_comes_to(settings):
    recipe = small_recipe(**settings)
    clips, student, teacher = some_clips(24), classifier(video_model(seed=1)), classifier(video_model(32))
    with pytest.MonkeyPatch.context() as patch:
        from burnish.distill.cost import ModelFlops

        patch.setattr("burnish.distill.building.count_flops", lambda model, _clips: ModelFlops(1e6 * model.width, 48e6))
        costs = distill_in_memory(recipe, student, teacher, clips).costs
    spent = costs.total.flops - costs.selection.flops
    # A budget may end within its last step; what it pays for selections is not predicted.
    over = 4 * 48e6 + costs.selection.flops if recipe.budget.share else 0
    assert predicted(recipe, Prices(32e6, 16e6, 48e6), 24) == pytest.approx(spent, abs=over)


def test_a_budget_that_ends_before_the_first_step(asked):
    with pytest.raises(UserError, match=r"budget: 1e\+05 FLOPs do not cover a look at all samples .* and a step"):
        check(asked(budget={"flops": 1e5}))


def test_check_loads_no_weights(asked, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", None)
    monkeypatch.setattr("safetensors.safe_open", None)
    assert check(asked())
