import json
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from burnish.core.errors import UserError
from burnish.distill.looks import Look, look_of, refuse_misfit
from burnish.distill.models import Classifier, fingerprint, load_classifier, match_labels
from tests.distill.tiny import LABELS, classifier, names, picture_model, video_model

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "videomae": ("VideoMAE", {**SMALL, "image_size": 16, "patch_size": 8, "num_frames": 4}),
    "timesformer": ("Timesformer", {**SMALL, "image_size": 16, "patch_size": 8, "num_frames": 4}),
    "vivit": ("Vivit", {**SMALL, "image_size": 16, "num_frames": 4, "tubelet_size": [2, 8, 8]}),
    "vjepa2": (
        "VJEPA2",
        {
            "hidden_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_pooler_layers": 1,
            "crop_size": 16,
            "patch_size": 8,
            "frames_per_clip": 4,
            "mlp_ratio": 2,
        },
    ),
    "vit": ("ViT", {**SMALL, "image_size": 16, "patch_size": 8}),
    "resnet": ("ResNet", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}),
}


def build(kind):
    name, settings = KINDS[kind]
    config = names(getattr(transformers, f"{name}Config")(**settings), LABELS)
    task = "Image" if kind in ("vit", "resnet") else "Video"
    torch.manual_seed(0)
    return getattr(transformers, f"AutoModelFor{task}Classification").from_config(config).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_what_the_head_makes_logits_of(kind, tmp_path):
    build(kind).save_pretrained(tmp_path / "model")
    found = load_classifier(str(tmp_path / "model"), "student")
    frames = 4 if found.look.video else 1
    pixels = torch.rand(2, frames, 3, 16, 16)
    with torch.no_grad():
        logits, features = found.taught(pixels)
    assert logits.shape == (2, 3)
    assert features.shape == (2, found.width)
    assert torch.equal(found.head(features), logits)
    assert found.labels == LABELS
    assert found.look.video == (kind not in ("vit", "resnet"))
    assert found.look.frames == frames
    assert found.look.size == (None if kind == "resnet" else (16, 16))


def test_mean_and_deviation_are_those_of_the_image_processor(tmp_path):
    video_model().save_pretrained(tmp_path)
    settings = {
        "image_processor_type": "VideoMAEImageProcessor",
        "image_mean": [0.5, 0.25, 0],
        "image_std": [0.5, 1, 2],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    found = load_classifier(str(tmp_path), "student")
    white = torch.ones(1, 4, 3, 16, 16)
    assert found.prepared(white)[0, 0, :, 0, 0].tolist() == [1.0, 0.75, 0.5]
    found.kept_processor().save_pretrained(tmp_path / "..")
    assert json.loads((tmp_path / ".." / "preprocessor_config.json").read_text()) == settings


def test_without_a_processor_pixels_go_in_as_they_are_and_its_copy_says_so(tmp_path):
    video_model().save_pretrained(tmp_path)
    found = load_classifier(str(tmp_path), "student")
    view = torch.rand(1, 4, 3, 16, 16)
    assert torch.equal(found.prepared(view), view)
    found.kept_processor().save_pretrained(tmp_path)
    again = load_classifier(str(tmp_path), "student")
    assert again.look.mean == found.look.mean
    assert again.look.std == found.look.std
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    frames = list((view[0].permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy())
    made = torch.as_tensor(np.asarray(processor(frames, return_tensors="np")["pixel_values"]))
    assert (made.float() - view).abs().max() < 0.5 / 255 + 1e-6


def test_grey_models_get_the_mean_of_the_colours():
    found = classifier(picture_model(num_channels=1))
    view = torch.rand(2, 1, 3, 16, 16)
    prepared = found.prepared(view)
    assert prepared.shape == (2, 1, 1, 16, 16)
    assert torch.allclose(prepared[:, 0, 0], view[:, 0].mean(1))
    assert found.taught(prepared)[0].shape == (2, 3)


def test_a_teacher_saved_in_train_mode_is_loaded_in_evaluation_mode(tmp_path, monkeypatch):
    video_model(hidden_dropout_prob=0.5).train().save_pretrained(tmp_path)
    assert not load_classifier(str(tmp_path), "teacher").model.training

    def own():
        return video_model(hidden_dropout_prob=0.5).train()

    monkeypatch.setattr("tests.distill.tiny.own", own, raising=False)
    assert not load_classifier("tests.distill.tiny:own", "teacher").model.training


def test_modules_of_the_users_own(monkeypatch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.last = nn.Conv3d(3, 4, 2), nn.Linear(4, 3)

        def forward(self, clip):
            return self.last(self.body(clip.transpose(1, 2)).mean((2, 3, 4)))

    def make():
        net = Net()
        return Classifier(net, net.last, LABELS, Look(argument="clip"))

    monkeypatch.setattr("tests.distill.tiny.make", make, raising=False)
    found = load_classifier("tests.distill.tiny:make", "student")
    logits, features = found.taught(torch.rand(2, 4, 3, 16, 16))
    assert (logits.shape, features.shape) == ((2, 3), (2, 4))
    monkeypatch.setattr("tests.distill.tiny.make", lambda: 3)
    with pytest.raises(UserError, match="gives a int; give a burnish"):
        load_classifier("tests.distill.tiny:make", "student")


def test_random_weights_of_a_configuration_for_the_classes_of_the_data(tmp_path):
    video_model().save_pretrained(tmp_path)
    torch.manual_seed(1)
    found = load_classifier(f"config:{tmp_path}", "student", ("a", "b", "c", "d"))
    assert found.labels == ("a", "b", "c", "d")
    assert found.taught(torch.rand(1, 4, 3, 16, 16))[0].shape == (1, 4)
    torch.manual_seed(2)
    other = load_classifier(f"config:{tmp_path}", "student", ("a", "b", "c", "d"))
    assert not torch.equal(found.head.weight, other.head.weight)


def test_a_new_head_leaves_the_body(tmp_path):
    video_model().save_pretrained(tmp_path)
    old = load_classifier(str(tmp_path), "student")
    new = load_classifier(str(tmp_path), "student", ("a", "b", "c", "d"), new_head=True)
    assert new.labels == ("a", "b", "c", "d")
    assert new.model.config.num_labels == 4  # type: ignore[union-attr]
    clip = torch.rand(1, 4, 3, 16, 16)
    assert torch.equal(new.taught(clip)[1], old.taught(clip)[1])


def test_a_body_without_a_head_is_refused_but_with_a_new_one(tmp_path):
    build("videomae").videomae.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"student: .* lacks the weights of `classifier.bias`"):
        load_classifier(str(tmp_path), "student")
    assert load_classifier(str(tmp_path), "student", ("a", "b", "c"), new_head=True).labels == ("a", "b", "c")


def test_what_is_no_classifier_is_refused(tmp_path):
    transformers.GPT2Config(n_layer=1, n_embd=8, n_head=1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="a gpt2 is no classifier of videos or pictures"):
        load_classifier(f"config:{tmp_path}", "teacher")


def test_labels_are_matched_by_name():
    assert match_labels(("down", "up", "round"), LABELS, "teacher").tolist() == [1, 0, 2]
    assert match_labels(("LABEL_0", "LABEL_1", "LABEL_2"), LABELS, "teacher").tolist() == [0, 1, 2]
    with pytest.raises(UserError, match=r"teacher: its classes .* it does not know `round`; train it on these classes"):
        match_labels(("up", "down", "left"), LABELS, "teacher")
    with pytest.raises(UserError, match=r"student: .* it knows `left`, which the data lack; `new_head: true`"):
        match_labels((*LABELS, "left"), LABELS, "student")


def test_a_misfit_names_the_setting():
    look = look_of(video_model())
    refuse_misfit(look, 4, (16, 16), "teacher", "teacher_clip")
    with pytest.raises(UserError, match=r"teacher: takes clips of 4 frames, not 8; set teacher_clip.frames: 4"):
        refuse_misfit(look, 8, (16, 16), "teacher", "teacher_clip")
    with pytest.raises(UserError, match=r"student: takes 16 x 16 px, not 16 x 32; set clip.size: \[16, 16\]"):
        refuse_misfit(look, 4, (16, 32), "student", "clip")
    with pytest.raises(UserError, match=r"student: takes pictures, 1 frames, not 4"):
        refuse_misfit(look_of(picture_model()), 4, (16, 16), "student", "clip")


def test_a_fingerprint_changes_with_any_weight_and_with_what_it_looks_at():
    one = classifier(video_model())
    assert fingerprint(one) == fingerprint(classifier(video_model()))
    other = classifier(video_model())
    with torch.no_grad():
        other.head.bias[1] += 1e-6
    grey = Classifier(one.model, one.head, one.labels, Look(mean=(0.5,)))
    assert len({fingerprint(each) for each in (one, other, grey)}) == 3


def test_an_outline_reads_no_weights(tmp_path):
    video_model().config.save_pretrained(tmp_path)
    found = load_classifier(str(tmp_path), "teacher", weights=False)
    assert found.head.weight.is_meta
    assert found.labels == LABELS
