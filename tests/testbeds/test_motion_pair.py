import numpy as np
import pytest
import torch

from burnish.testbeds import motion_pair
from burnish.testbeds.clips import DIRECTIONS, MOTIONS, SCALES, TURNS
from burnish.testbeds.motion_pair import CLASSES, OPPOSITE, new_model, train


def test_played_backwards_a_motion_is_the_one_against_it():
    for motion, other in zip(MOTIONS, OPPOSITE, strict=True):
        for table in (TURNS, SCALES):
            if motion in table:
                assert table[MOTIONS[other]] == -table[motion]
        if motion in DIRECTIONS:
            assert DIRECTIONS[MOTIONS[other]] == tuple(-each for each in DIRECTIONS[motion])


def test_training_is_decided_by_its_seed():
    clips = np.random.default_rng(0).integers(0, 255, (16, 8, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(16) % 8

    def head(seed):
        return train(new_model(16, 1, seed=0), clips, labels, steps=3, seed=seed).classifier.weight

    assert torch.equal(head(1), head(1))
    assert not torch.equal(head(1), head(2))
    assert not torch.equal(head(1), new_model(16, 1, seed=0).classifier.weight)


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_what_is_written_is_read(name, tmp_path, monkeypatch):
    from burnish.distill.models import load_classifier
    from burnish.distill.recipe import DataSettings
    from burnish.distill.samples import read_samples

    monkeypatch.setattr(motion_pair, "FILES", {"train": 8, "test": 8})
    monkeypatch.setattr(motion_pair, "OWN", 8)
    monkeypatch.setattr(motion_pair, "PAIR", ((name, 16, 1, 1),))
    motion_pair.write_pair(tmp_path)
    found = load_classifier(str(tmp_path / name), name)
    assert found.look.mean == (motion_pair.MEAN,) * 3
    assert found.look.frames == 8
    samples = read_samples(DataSettings(source=str(tmp_path / "train")))
    assert samples.labels == CLASSES == found.labels
    assert [samples.labels[each.label] for each in samples.items] == [each.path.parent.name for each in samples.items]
