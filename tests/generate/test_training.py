"""Lessons, losses against slow references, the average, and steps that do not depend on how they are cut."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from burnish.core.errors import BurnishError, UserError
from burnish.generate.codecs.opening import open_codec
from burnish.generate.experts import by_expert
from burnish.generate.initial import from_scratch
from burnish.generate.plan import Plan
from burnish.generate.recipe import MintRecipe
from burnish.generate.script import Script
from burnish.generate.training.average import MovingAverage
from burnish.generate.training.course import TASKS
from burnish.generate.training.defects import changed, masked, spoilt
from burnish.generate.training.drafts import faults, own_drafts
from burnish.generate.training.lessons import Teacher, resampled
from burnish.generate.training.losses import sums, tokens_of
from burnish.generate.training.samples import read_samples
from burnish.generate.training.trainer import Trainer
from burnish.testbeds.easel.checker import as_rows, find
from burnish.testbeds.easel.prompts import Ask, Group, Scene
from burnish.testbeds.easel.sources import make_tokenizer, objects
from burnish.testbeds.easel.world import SHAPE_WORLD, Thing, render
from tests.generate.contract import METHOD, SETTINGS
from tests.generate.test_steps import Scripted

RECIPE = MintRecipe.load({"method": METHOD, **SETTINGS})
CODEC = open_codec(RECIPE.model.codec)
TOKENIZER = make_tokenizer()
SCRIPT = Script(TOKENIZER, RECIPE.wording)
SAMPLES = read_samples(RECIPE.data, RECIPE.wording, CODEC.size)


def model(seed: int = 0):
    torch.manual_seed(seed)
    return from_scratch(RECIPE.model, CODEC, len(TOKENIZER))


def lesson(task, count=3, seed=0, samples=SAMPLES, **settings):
    recipe = RECIPE.changed(settings)
    rng = np.random.default_rng(seed)
    return Teacher(recipe, SCRIPT, CODEC).lesson(task, samples[:count], samples[count : 2 * count], rng)


def trainer(recipe=RECIPE, samples=SAMPLES, seed=0) -> Trainer:
    found = [samples] * len(recipe.stages)
    return Trainer(recipe, model(seed), SCRIPT, CODEC, found, Accelerator(cpu=True))


def weights(of) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in of.model.state_dict().items()}


def test_a_plan_is_taught_after_the_word_that_begins_it() -> None:
    found = lesson("draw", **{"flow.unplanned": 0.0})
    for row, sample in enumerate(SAMPLES[:3]):
        assert sample.plan is not None
        plan = SCRIPT.plan(sample.plan)
        taught = found.batch.tokens[row][found.taught[row]].tolist()
        assert taught == plan[len(SCRIPT.plan_start) :]
        assert taught[-1] == SCRIPT.stop


def test_reading_is_taught_in_the_segments_in_which_a_picture_is_read_back() -> None:
    found = lesson("read")
    assert [part.kind for part in found.batch.layout.segments] == ["clean", "text"]
    assert torch.equal(found.batch.clean[:, 0], lesson("draw", **{"flow.copies": 1}).data[:, 0])
    for row, sample in enumerate(SAMPLES[:3]):
        assert sample.plan is not None
        plan = SCRIPT.plan(sample.plan)
        real = found.batch.tokens[row] if found.batch.real is None else found.batch.tokens[row][found.batch.real[row]]
        assert real.tolist() == plan
        assert found.batch.tokens[row][found.taught[row]].tolist() == plan[len(SCRIPT.plan_start) :]
    recipe = RECIPE.changed({"stages": [{"name": "R", "steps": 1, "batch": 2, "tasks": {"read": 1}}]})
    with pytest.raises(UserError, match="stage `R`: read needs rows with `objects` and no `heat`"):
        trainer(recipe, samples=[replace(SAMPLES[0], plan=None)])


def test_a_plan_left_out_is_as_if_there_were_none() -> None:
    """Drawn without one, the same noise gives the same estimate: padding is seen by nobody and moves nothing."""
    unified = model().eval()
    planned = lesson("draw", 2, **{"flow.unplanned": 0.0, "flow.drop": 0.0, "flow.drop_plan": 0.0})
    none = replace(SAMPLES[0], plan=None)
    mixed = lesson("draw", 2, samples=[none, SAMPLES[1], *SAMPLES[2:]], **{
        "flow.unplanned": 0.0, "flow.drop": 0.0, "flow.drop_plan": 0.0,
    })  # fmt: skip
    alone = lesson("draw", 1, samples=[none, *SAMPLES[1:]], **{"flow.unplanned": 0.0, "flow.drop": 0.0})
    assert not mixed.taught[0].any()
    assert torch.equal(mixed.taught[1], planned.taught[1][-mixed.taught.shape[1] :])
    alone = replace(alone, batch=replace(alone.batch, noisy=mixed.batch.noisy[:1], times=mixed.batch.times[:1]))
    with torch.no_grad():
        assert torch.allclose(unified(mixed.batch).estimates[0], unified(alone.batch).estimates[0], atol=1e-5)


def test_losses_against_loops() -> None:
    unified = model().eval()
    for task in TASKS:
        found = lesson(task)
        with torch.no_grad():
            outputs = unified(found.batch)
        told = sums(outputs, found)
        for row in range(3):
            text = image = heat = 0.0
            for at in range(1, found.batch.tokens.shape[1]):
                if found.taught[row, at]:
                    text -= outputs.text_logits[row, at - 1].log_softmax(-1)[found.batch.tokens[row, at]].item()
            for copy in range(found.data.shape[1]):
                time = found.batch.times[row, copy].item()
                error = (outputs.estimates[row, copy] - found.data[row, copy]) / max(1 - time, 0.1)
                image += (error**2).mean(-1).sum().item()
            for patch in range(found.heat.shape[2] if found.judged else 0):
                chance = outputs.heat[row, 0, patch].sigmoid()
                wanted = found.heat[row, 0, patch]
                heat -= (wanted * chance.log() + (1 - wanted) * (1 - chance).log()).item()
            assert told.losses[row].tolist() == pytest.approx([text, image, heat], rel=1e-3, abs=1e-5)
        tokens = {"draw": (1, 32, 0), "reflect": (0, 0, 16), "correct": (0, 16, 0)}.get(task, (1, 0, 0))
        assert tokens_of(found)[0, 1:].tolist() == list(tokens[1:])
        assert bool(tokens_of(found)[0, 0]) == bool(tokens[0])


def test_each_parameter_has_a_gradient_whatever_kinds_a_row_has() -> None:
    for task in TASKS:
        unified, found = model(), lesson(task)
        sums(unified(found.batch), found).losses.sum().backward()
        assert [name for name, each in unified.named_parameters() if each.grad is None] == []


def test_dropped_conditions_are_those_asked_for() -> None:
    found = lesson("draw", 12, **{"flow.drop": 1.0, "flow.drop_plan": 0.0}).batch.hidden
    assert found[:, :, :2].all()
    assert not found[:, :, 2:].any()
    found = lesson("draw", 12, **{"flow.drop": 0.0, "flow.drop_plan": 1.0}).batch.hidden
    assert found[:, :, 1].all()
    assert not found[:, :, 0].any()


def test_defects_are_marked_where_they_are() -> None:
    rng = np.random.default_rng(0)
    settings = RECIPE.defects.model_copy(update={"share": 1.0})
    kinds = 0
    for first, second in zip(SAMPLES[:20], SAMPLES[20:40], strict=True):
        picture = first.picture(CODEC.size)
        before = picture.copy()
        foreign = second.picture(CODEC.size)
        spoiled, mask = spoilt(picture, first.plan, foreign, second.plan, CODEC.grid, settings, rng)
        assert np.array_equal(picture, before)
        for row in range(4):
            for column in range(4):
                tile = np.s_[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                differs = np.abs(spoiled[tile].astype(int) - before[tile]).max() > 12
                assert mask[row, column] == differs
        kinds += int(mask.any())
    assert kinds > 10
    faultless = RECIPE.defects.model_copy(update={"share": 0.0})
    one, two = (sample.picture(CODEC.size) for sample in SAMPLES[:2])
    spoiled, mask = spoilt(one, None, two, None, CODEC.grid, faultless, rng)
    assert not mask.any()
    assert not changed(spoiled, one, CODEC.grid).any()
    sizes = [masked(None, (4, 4), RECIPE.defects, rng).sum() for _ in range(200)]
    assert min(sizes) == 1
    assert max(sizes) <= 6


def test_a_heat_map_on_another_grid_keeps_its_highest() -> None:
    heat = np.zeros((4, 6), np.float32)
    heat[3, 5], heat[0, 2] = 1.0, 0.5
    assert resampled(heat, (2, 2)).tolist() == [[0.5, 0.0], [0.0, 1.0]]
    assert resampled(np.array([[0.25]], np.float32), (2, 3)).tolist() == [[0.25] * 3] * 2


def test_a_marked_picture_teaches_reflection_alone() -> None:
    marked = [replace(SAMPLES[0], heat=np.ones((2, 2), dtype=np.float32))]
    with pytest.raises(UserError, match="stage `I`: draw needs rows with a picture and no `heat`"):
        trainer(samples=marked)
    both = trainer(samples=[*marked, *SAMPLES[1:20]])
    (_, described, reflected, corrected) = both.lessons(1, 0)
    names = {name for at in range(12) for each in both.lessons(1, at) if not each.judged for name in each.rows}
    assert SAMPLES[0].row not in names
    assert SAMPLES[0].row in {name for at in range(20) for name in both.lessons(1, at)[2].rows}
    assert reflected.judged
    assert not described.judged
    assert not corrected.judged


def test_own_drafts_are_hot_where_they_are_not_as_planned() -> None:
    """Three samples: drawn as planned, the one thing in another place, and in another colour beside a new thing."""
    grid = (SHAPE_WORLD.grid, SHAPE_WORLD.grid)
    things = [Thing("circle", "red", 0, 0)]
    asked = replace(
        SAMPLES[0], plan=Plan.from_rows(objects(Scene("single", Ask((Group("circle"),)), tuple(things)), SHAPE_WORLD))
    )
    drawn = [things, [Thing("circle", "red", 2, 1)], [Thing("circle", "blue", 0, 0), Thing("cross", "red", 3, 3)]]

    class Hand(Scripted):
        def draw(self, prompts, plans, seeds):
            assert plans == [asked.plan] * 3
            assert len(set(seeds)) == 3
            return [render(each, SHAPE_WORLD, np.random.default_rng(0)) for each in drawn]

    def marker(sample, picture):
        return faults(sample.plan, Plan.from_rows(as_rows(find(picture, SHAPE_WORLD))), grid)

    found = own_drafts(Hand(), [asked] * 3, marker, seed=0)
    hot = [[tuple(place) for place in np.argwhere(np.asarray(draft.heat)).tolist()] for draft in found]
    assert hot == [[], [(0, 0), (2, 1)], [(0, 0), (3, 3)]]
    assert found[0].row == f"draft of {asked.row}"


def test_passes_of_fewer_rows_make_the_same_step() -> None:
    found = []
    for size in (None, 2):
        mine = trainer(RECIPE.changed({"micro_batch": size, "stages.0.steps": 1}))
        units = mine.units()
        next(units), next(units)
        found.append(weights(mine))
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], atol=2e-5), name


def test_a_training_goes_on_bit_by_bit_from_every_step() -> None:
    recipe = RECIPE.changed({"stages.0.steps": 9, "stages.1.steps": 12, "stages.0.batch": 2, "stages.1.batch": 4})
    whole = trainer(recipe)
    states = []
    for _ in whole.units():
        state = whole.state_dict()
        states.append({**state, "model": weights(whole)})
        states[-1]["optimizer"] = {
            "state": {
                key: {name: value.clone() for name, value in one.items()}
                for key, one in state["optimizer"]["state"].items()
            },
            "param_groups": [dict(group) for group in state["optimizer"]["param_groups"]],
        }
        average = state["average"]["average"]
        states[-1]["average"] = {**state["average"], "average": {key: one.clone() for key, one in average.items()}}
    end = weights(whole)
    for state in states[:20]:  # the next step after each of 20 kill points is that of the undisturbed training
        again = trainer(recipe, seed=1)
        again.load_state_dict(state)
        next(again.units())
        after = states[again.step - 1]
        assert all(torch.equal(value, after["model"][name]) for name, value in weights(again).items())
        assert all(torch.equal(value, after["average"]["average"][name])
                   for name, value in again.state_dict()["average"]["average"].items())  # fmt: skip
    assert all(torch.equal(value, end[name]) for name, value in states[-1]["model"].items())


def test_the_average_by_hand() -> None:
    line = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        line.weight.fill_(1.0)
        average = MovingAverage(line, 0.5)
        line.weight.fill_(2.0)
        average.update()  # decay 2/11: 1 * 2/11 + 2 * 9/11
        assert average.state_dict()["average"]["weight"].item() == pytest.approx(20 / 11)
        with average.instead():
            assert line.weight.item() == pytest.approx(20 / 11)
        assert line.weight.item() == 2.0


def test_a_stage_that_copies_an_expert_copies_its_moments() -> None:
    mine = trainer()
    list(islice(mine.units(), RECIPE.stages[0].steps))
    mine._begin(RECIPE.stages[1])
    weight = mine.model.layers[0].feed.up.weight
    for name in ("exp_avg", "exp_avg_sq"):
        text, clean, noisy = by_expert(mine._optimizer.state[weight][name], 3)
        assert torch.equal(clean, noisy)
        assert noisy.any()
        assert not torch.equal(clean, text)


def test_a_loss_that_is_no_number_names_its_sample() -> None:
    mine = trainer()
    with torch.no_grad():
        mine.model.patch_in.weight.fill_(torch.nan)
    with pytest.raises(BurnishError, match=r"loss: no number at step 0 .*scene \d+ of seed 1000000"):
        next(mine.units())


def test_losses_fall() -> None:
    recipe = RECIPE.changed({"stages": [{"steps": 40, "batch": 6, "learning_rate": 3e-3}]})
    logged = list(trainer(recipe).units())
    assert np.mean([row["text_loss"] for row in logged[-10:]]) < 0.7 * logged[0]["text_loss"]
    assert np.mean([row["image_loss"] for row in logged[-10:]]) < 0.5 * logged[0]["image_loss"]
