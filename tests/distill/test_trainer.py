import copy
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from burnish.core import checkpoint
from burnish.core.errors import BurnishError, UserError
from burnish.distill import losses
from burnish.distill import trainer as trainers
from burnish.distill.building import accelerator_of, build_distiller
from burnish.distill.cost import Costs, ModelFlops
from burnish.distill.footage import Footage
from burnish.distill.loop import distill_in_memory
from burnish.distill.recipe import AugmentSettings
from burnish.distill.records import Clips
from burnish.distill.spending import everything
from burnish.distill.table import TeacherTable
from tests.distill.tiny import LABELS, classifier, picture_model, small_recipe, some_clips, video_model

CLIPS, TEST = some_clips(), some_clips(9, seed=1)
CONSTANT = {"strength": "constant"}


def built(recipe, student, teacher, clips=CLIPS, test=None, tables=None, teacher_clips=None):
    return build_distiller(
        recipe,
        classifier(student),
        classifier(teacher),
        clips,
        teacher_clips or clips,
        LABELS,
        test,
        accelerator_of(recipe),
        tables,
    )


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_everything_at_a_constant_strength_is_plain_distillation_bit_for_bit(micro_batch):
    recipe = small_recipe(
        selection={"share": 1, "kind": "random"}, difficulty=CONSTANT, micro_batch=micro_batch, epochs=2
    )
    student, teacher = video_model(seed=1), video_model(32)
    reference = copy.deepcopy(student).train()
    distill_in_memory(recipe, classifier(student), classifier(teacher), CLIPS)

    pixels = torch.from_numpy(CLIPS.pixels).permute(0, 1, 4, 2, 3).float() / 255
    labels = torch.from_numpy(CLIPS.labels)
    with torch.no_grad():
        said = torch.cat([teacher(part).logits for part in pixels.split(7)]).half().float()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for epoch in range(2):
        order = np.random.default_rng([0, epoch, 1]).permutation(23)
        for start in range(0, 23, 4):
            batch = torch.from_numpy(order[start : start + 4])
            for part in batch.split(micro_batch or 4):
                logits = reference(pixels[part]).logits
                supervised = F.cross_entropy(logits, labels[part], reduction="none")
                softened = [F.log_softmax(each / 4, -1) for each in (logits, said[part])]
                distilled = 16 * F.kl_div(softened[0], softened[1], reduction="none", log_target=True).sum(-1)
                ((0.1 * supervised + 0.9 * distilled).sum() / len(batch)).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert same(weights(student), weights(reference))


def test_no_more_is_asked_than_the_rules_look_at(monkeypatch):
    monkeypatch.setattr("burnish.distill.building.count_flops", lambda _model, _clips: ModelFlops(1.0, 3.0))

    def spent(**settings):
        recipe = small_recipe(**settings)
        outcome = distill_in_memory(recipe, classifier(video_model(seed=1)), classifier(video_model(32)), CLIPS)
        return {part.name: getattr(outcome.costs, part.name).flops for part in fields(Costs)}

    random = {"share": 0.2, "kind": "random"}
    only_labels = spent(selection=random, difficulty=CONSTANT, loss={"supervised": 1, "distilled": 0})
    assert only_labels == {"teacher": 0, "student": 4 * 5 * 3, "frozen": 0, "selection": 0, "decoding": 0}
    fresh = spent(selection=random, difficulty=CONSTANT)
    assert fresh["frozen"] == 0
    assert 5 < fresh["teacher"] <= 20  # each sample once
    published = spent()  # two evaluations: the student on the first, both on the second
    assert published["teacher"] == 23
    assert published["frozen"] == 23 * (1 + 2)
    assert spent(evaluation="cached")["frozen"] == 23 * 2
    assert spent(evaluation="history")["frozen"] == 0
    diverse = {"share": 0.5, "diversity": 1}
    assert spent(selection=diverse, difficulty=CONSTANT)["frozen"] == 0
    assert spent(selection={"share": 0.5, "kind": "trust_pool"}, difficulty={"strength": "trust"})["frozen"] == 0


def test_a_teacher_in_train_mode_is_put_in_evaluation_mode():
    def trained(mode):
        student, teacher = video_model(seed=1), video_model(32, hidden_dropout_prob=0.5)
        held = classifier(teacher)
        teacher.train(mode)
        distill_in_memory(small_recipe(epochs=2), classifier(student), held, CLIPS)
        assert not teacher.training
        assert all(each.grad is None for each in teacher.parameters())
        return weights(student)

    assert same(trained(True), trained(False))


def test_a_shared_table_changes_neither_weights_nor_costs():
    table = TeacherTable(Footage(CLIPS), 3, 32, "teacher")
    found = []
    for given in (None, table, table):
        student = video_model(seed=1)
        outcome = distill_in_memory(
            small_recipe(), classifier(student), classifier(video_model(32)), CLIPS, TEST, table=given
        )
        found.append((weights(student), outcome))
    assert all(same(found[0][0], each[0]) for each in found)
    assert len({each[1].costs.total.flops for each in found}) == 1
    assert all(found[0][1].curve == each[1].curve for each in found)


def test_the_curve_begins_before_the_first_step_and_ends_at_the_end():
    outcome = distill_in_memory(
        small_recipe(learning_rate=0.1, epochs=6),
        classifier(video_model(seed=1)),
        classifier(video_model(32)),
        CLIPS,
        TEST,
    )
    assert [len(each) for each in outcome.selections] == [12, 12, 12]
    assert outcome.steps == 6 * 3
    assert len(outcome.curve) == 4
    assert outcome.curve[0][0] == 0
    assert outcome.curve[-1] == (outcome.costs.total.flops, outcome.accuracy)


def test_a_budget_ends_training_and_the_course_of_the_learning_rate():
    recipe = small_recipe(budget={"share": 0.5}, lr_scheduler="linear", epochs=40)
    trainer = built(recipe, video_model(seed=1), video_model(32))
    rates = [logged["lr"] for logged in trainer.units() if "lr" in logged]
    assert trainer.spent
    assert trainer.epoch < 40
    assert rates[0] == 0.05  # the look at all samples, which costs a fifth of the budget, is no training
    assert rates[-1] < 0.002
    assert rates == sorted(rates, reverse=True)
    more = built(
        small_recipe(budget={"flops": trainer.ledger.flops / 2}, epochs=40), video_model(seed=1), video_model(32)
    )
    for _ in more.units():
        pass
    assert more.step < trainer.step
    assert more.ledger.flops < 0.6 * trainer.ledger.flops


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"evaluation": "cached", "interval": 1},
        {"selection": {"share": 0.5, "kind": "random"}, "difficulty": CONSTANT},
        {"selection": {"share": 0.5, "kind": "infobatch"}, "difficulty": CONSTANT},
        {"augment": {"views": 5, "flip": True}, "difficulty": CONSTANT},
    ],
)
def test_flops_are_never_overdrawn_and_nothing_is_left_that_would_buy_a_step(settings):
    recipe = small_recipe(budget={"share": 0.37}, epochs=60, **settings)
    trainer = built(recipe, video_model(seed=1), video_model(32))
    for _ in trainer.units():
        pass
    prices = trainer._prices
    assert trainer.spent
    assert trainer.epoch < 60
    allowed = 0.37 * everything(recipe, prices, len(CLIPS.ids))
    step = 4 * (prices.training + prices.teacher)
    assert allowed - step - trainer._selection_flops() < trainer.ledger.flops <= allowed * (1 + 1e-6)


def test_a_pass_is_not_begun_where_the_training_it_is_for_is_not_covered(monkeypatch):
    monkeypatch.setattr("burnish.distill.building.count_flops", lambda _model, _clips: ModelFlops(1.0, 3.0))
    monkeypatch.setattr(trainers.Distiller, "_selection_flops", lambda _self: 0.0)
    # at first 23 + 23; two epochs of 12 samples 72; a pass 46, and two more epochs 72
    judged = {}
    for flops in (236.0, 235.0):
        trainer = built(small_recipe(budget={"flops": flops}, epochs=40), video_model(seed=1), video_model(32))
        logs = list(trainer.units())
        judged[flops] = [logged["epoch"] for logged in logs if "rate" in logged]
        assert trainer.ledger.flops == (236 if flops == 236 else 46 + 72 + 36 * 3)
        assert [logged["epoch"] for logged in logs if "selected" in logged] == [0, 2, 4][: 2 if flops == 236 else 3]
    assert judged == {236.0: [0, 2], 235.0: [0]}


def test_a_budget_that_covers_no_step_is_refused():
    for settings, words in (
        ({}, r"do not cover a look at all samples \(.*choose `selection.kind: random`"),
        ({"selection": {"kind": "random"}, "difficulty": CONSTANT}, r"do not cover .* and a step \(.*\); raise it$"),
    ):
        with pytest.raises(UserError, match=words):
            built(small_recipe(budget={"flops": 1e5}, **settings), video_model(seed=1), video_model(32))


def test_infobatch_looks_at_the_loss_that_is_trained_on_and_ends_on_everything():
    """Without a teacher its distillation loss is 0 for all: nothing would ever be left out."""
    recipe = small_recipe(
        selection={"share": 0.25, "kind": "infobatch"},
        difficulty=CONSTANT,
        loss={"supervised": 1.0, "distilled": 0.0},
        epochs=16,
    )
    outcome = distill_in_memory(recipe, classifier(video_model(seed=1)), classifier(video_model(32)), CLIPS)
    sizes = [len(each) for each in outcome.selections]
    assert sizes[0] == 23
    assert max(sizes[1:14]) < 23
    assert sizes[14:] == [23, 23]


def test_a_budget_of_seconds(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr("burnish.distill.spending.time.monotonic", lambda: float(next(clock)))
    trainer = built(small_recipe(budget={"seconds": 9.0}, epochs=40), video_model(seed=1), video_model(32))
    for _ in trainer.units():
        pass
    assert 9 <= trainer.ledger.costs.total.seconds < 11


@pytest.mark.parametrize("kind", ["dkd", "head_crossing", "feature"])
def test_every_base_loss_moves_the_student(kind):
    student = video_model(16, seed=1)
    before = weights(student)
    recipe = small_recipe(loss={"kind": kind, "supervised": 0.0}, epochs=1)
    distill_in_memory(recipe, classifier(student), classifier(video_model(16)), CLIPS)
    after = weights(student)
    assert not torch.equal(before["videomae.encoder.layer.0.output.dense.weight"],
                           after["videomae.encoder.layer.0.output.dense.weight"])  # fmt: skip


def test_teacher_and_student_may_see_other_clips():
    teacher = video_model(32)
    wide = replace(CLIPS, pixels=np.repeat(CLIPS.pixels, 2, axis=1))
    config = copy.deepcopy(teacher.config)
    config.num_frames = 8
    longer = type(teacher)(config)
    outcome = distill_in_memory(
        small_recipe(), classifier(video_model(seed=1)), classifier(longer), CLIPS, teacher_clips=wide
    )
    assert outcome.steps == 12


def test_pictures_are_interrupted_in_patches():
    clips = some_clips(frames=1)
    recipe = small_recipe(epochs=8, interruption={"grid": 4})
    outcome = distill_in_memory(recipe, classifier(picture_model(seed=1)), classifier(picture_model(32)), clips)
    assert len(outcome.selections) == 4
    with pytest.raises(UserError, match="patches of 5 px do not fill pictures of 16 x 16"):
        distill_in_memory(
            small_recipe(epochs=8, interruption={"grid": 3}),
            classifier(picture_model(seed=1)),
            classifier(picture_model(32)),
            clips,
        )


def test_labels_of_the_teacher_in_another_order():
    turned = video_model(32, labels=LABELS[::-1])
    straight = copy.deepcopy(turned)
    with torch.no_grad():
        straight.classifier.weight.copy_(turned.classifier.weight.flip(0))
        straight.classifier.bias.copy_(turned.classifier.bias.flip(0))
    straight.config.id2label = dict(enumerate(LABELS))
    found = []
    for teacher in (turned, straight):
        for loss in ({"kind": "kd"}, {"kind": "head_crossing"}):
            student = video_model(32, seed=1)
            distill_in_memory(small_recipe(loss=loss), classifier(student), classifier(teacher), CLIPS)
            found.append(weights(student))
    assert same(found[0], found[2])
    for name, value in found[1].items():  # the head's sums run in another order
        assert torch.allclose(value, found[3][name], atol=1e-6), name


def test_half_precision_computes_otherwise_and_keeps_weights_single():
    found = {}
    for half in (False, True, False):
        student = video_model(seed=1)
        recipe = small_recipe(bf16=half, epochs=1)
        teacher = video_model(32).bfloat16() if half else video_model(32)
        outcome = distill_in_memory(recipe, classifier(student), classifier(teacher), CLIPS)
        assert outcome.steps == 3
        found[half] = weights(student)
    assert all(value.dtype == torch.float32 for value in found[True].values())
    assert not same(found[True], found[False])
    assert all(torch.allclose(found[True][name], found[False][name], atol=0.02) for name in found[True])


# Resuming


RESUMED: dict[str, dict[str, Any]] = {
    "published": {"epochs": 5},
    "views": {"augment": {"views": 2, "flip": True}, "difficulty": {"strength": "trust"}, "epochs": 3},
    "infobatch": {"selection": {"share": 0.5, "kind": "infobatch"}, "optimizer": "adamw", "evaluation": "history"},
    "budget": {"budget": {"share": 0.6}, "lr_scheduler": "cosine", "warmup_steps": 3, "epochs": 9},
}


@pytest.mark.parametrize("name", RESUMED)
def test_resumed_after_any_unit_it_ends_in_the_same_bits(name, tmp_path):
    """Twenty kill points spread over all units, those inside the passes too."""
    recipe = small_recipe(**RESUMED[name])

    def begun(folder):
        student = video_model(seed=1, hidden_dropout_prob=0.1)
        return built(recipe, student, video_model(32), test=TEST, tables=folder)

    whole, logs, saved = begun(tmp_path / "whole"), [], []
    for number, logged in enumerate(whole.units()):
        logs.append(logged)
        saved.append(checkpoint.save(tmp_path / "whole-steps", number, {"state": whole.state_dict()}, keep=10_000))
    moments = np.unique(np.linspace(0, len(saved) - 2, 20 if name == "published" else 6).round().astype(int))
    assert len(moments) >= 6
    in_pass = 0
    for moment in moments:
        again = begun(tmp_path / "whole")
        content = checkpoint._read(saved[moment])[1]["state"]
        in_pass += content["judging"] is not None and content["judging"]["done"] > 0
        again.load_state_dict(content)
        rest = list(again.units())
        assert _without_clocks(rest) == _without_clocks(logs[moment + 1 :])
        assert same(weights(again.student.classifier.model), weights(whole.student.classifier.model))
        for key, value in whole.states.state_dict().items():
            np.testing.assert_array_equal(value, again.states.state_dict()[key], key)
    if name in ("published", "budget"):
        assert in_pass


def _without_clocks(logs):
    return [{name: value for name, value in each.items() if not name.endswith("_seconds")} for each in logs]


def test_a_resumed_training_asks_the_teacher_nothing_twice(tmp_path):
    recipe = small_recipe()
    first = built(recipe, video_model(seed=1), video_model(32), tables=tmp_path)
    units = first.units()
    for _ in range(3):
        next(units)
    state = copy.deepcopy(first.state_dict())
    again = built(recipe, video_model(seed=1), video_model(32), tables=tmp_path)
    again.load_state_dict(state)
    asked = []
    teacher = again.teacher.classifier.model
    teacher.register_forward_hook(lambda _module, given, _out: asked.append(len(given) or 7))
    for _ in again.frozen.ask(AugmentSettings(), 0, again.frozen.everything):
        pass
    assert len(asked) == 1  # three of four batches lay on disk


def test_what_was_computed_in_half_precision_is_not_read_by_others(tmp_path):
    found = []
    for folder, halves in (("alone", (False,)), ("after", (True, False))):
        for half in halves:
            student = video_model(seed=1)
            trainer = built(small_recipe(bf16=half, epochs=1), student, video_model(32), tables=tmp_path / folder)
            for _ in trainer.units():
                pass
        found.append(weights(student))
    assert same(*found)


# Bad input


def test_a_loss_that_is_no_number_names_its_sample():
    student = video_model(seed=1)
    recipe = small_recipe(selection={"share": 1, "kind": "random"}, difficulty=CONSTANT)
    trainer = built(recipe, student, video_model(32))
    real = losses.cross_entropy

    def broken(logits, labels):
        found = real(logits, labels)
        return torch.where(torch.arange(len(found)) == 2, torch.nan, found)

    order = np.random.default_rng([0, 0, 1]).permutation(23)
    before = weights(student)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers, "cross_entropy", broken)
        with pytest.raises(BurnishError, match=rf"the loss of sample s{order[2]} is nan"):
            for _ in trainer.units():
                pass
    assert same(before, weights(student))  # stopped before the step


def test_a_teacher_of_nan():
    teacher = video_model(32)
    with torch.no_grad():
        teacher.classifier.weight[0, 0] = torch.nan
    with pytest.raises(BurnishError, match="teacher: what it says of sample s0 is no number"):
        distill_in_memory(small_recipe(), classifier(video_model(seed=1)), classifier(teacher), CLIPS)


def test_fewer_samples_than_a_batch_and_one_sample():
    for count in (1, 3):
        outcome = distill_in_memory(
            small_recipe(selection={"share": 0.1}, batch=16),
            classifier(video_model(seed=1)),
            classifier(video_model(32)),
            some_clips(count),
        )
        assert [len(each) for each in outcome.selections] == [1, 1]
        assert outcome.steps == 4


@pytest.mark.parametrize("by_class", [False, True])
def test_one_class_alone(by_class):
    clips = replace(CLIPS, labels=np.zeros(23, np.int64))
    recipe = small_recipe(selection={"share": 0.2, "by_class": by_class})
    outcome = distill_in_memory(recipe, classifier(video_model(seed=1)), classifier(video_model(32)), clips)
    assert [len(each) for each in outcome.selections] == [5, 5]


@pytest.mark.parametrize("kind", ["map", "perturbed", "stochastic"])
def test_clips_that_are_all_the_same(kind):
    """Features, losses and difficulties are all equal."""
    pixels = np.repeat(CLIPS.pixels[:1], 23, axis=0)
    clips = Clips(pixels, np.zeros(23, np.int64), CLIPS.ids)
    recipe = small_recipe(selection={"share": 0.2, "kind": kind})
    outcome = distill_in_memory(recipe, classifier(video_model(seed=1)), classifier(video_model(32)), clips)
    assert [len(np.unique(each)) for each in outcome.selections] == [5, 5]


def test_more_picks_than_rank_for_an_exact_draw():
    recipe = small_recipe(selection={"share": 0.9, "kind": "dpp"})
    with pytest.raises(UserError, match="a k-DPP draws at most as many samples as the features have rank"):
        distill_in_memory(recipe, classifier(video_model(seed=1)), classifier(video_model(8)), CLIPS)


def test_models_that_do_not_fit_the_clips_or_each_other():
    student, teacher = classifier(video_model(seed=1)), classifier(video_model(32))
    with pytest.raises(UserError, match=r"student: takes clips of 4 frames, not 6; set clip.frames: 4"):
        distill_in_memory(small_recipe(), student, teacher, some_clips(frames=6))
    with pytest.raises(UserError, match=r"teacher: takes 16 x 16 px, not 8 x 8; set teacher_clip.size: \[16, 16\]"):
        distill_in_memory(small_recipe(), student, teacher, CLIPS, teacher_clips=some_clips(side=8))
    with pytest.raises(UserError, match=r"loss.kind: `feature` .* have 16 numbers, the teacher's 32"):
        distill_in_memory(small_recipe(loss={"kind": "feature"}), student, teacher, CLIPS)
    other = classifier(video_model(32, labels=("up", "down", "left")))
    with pytest.raises(UserError, match="teacher: its classes are not those of the data: it does not know `round`"):
        distill_in_memory(small_recipe(), student, other, CLIPS)
