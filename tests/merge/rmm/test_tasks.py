"""The data that a search is scored on: scorers of one's own, files of language and pictures, and bad ones."""

import json

import numpy as np
import pytest
import torch

from burnish.core.errors import UserError
from burnish.merge.rmm.data import TaskData, images, load_task
from burnish.merge.rmm.problem import Problem
from burnish.merge.rmm.session import Session
from tests.merge.rmm.conftest import bert, drifted, llama, problem_for, recipe, t5, vit


def text_task(tmp_path, columns, name="data"):
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in columns))
    return str(path)


def score_rows(model, rows):
    """A user's scorer: the model can be called like any other."""
    ids = torch.tensor([[row["n"]] for row in rows])
    return (model(input_ids=ids).logits[:, -1].softmax(-1).max(-1).values).tolist()


def test_a_scorer_of_ones_own(tmp_path):
    base = llama()
    path = text_task(tmp_path, [{"n": n} for n in range(3, 9)])
    score = f"{__name__}:score_rows"
    task = load_task("own", path, score, None, base, tmp_path, 16)
    problem = Problem.from_models(base, [drifted(base, 1), drifted(base, 2)], [task], [task])
    outcome = Session(recipe(objective="score", budget=4), problem, np.random.default_rng(0)).run()
    assert 0 < outcome.test.scores[0] < 1
    with pytest.raises(UserError, match="a module:function has a score only"):
        Session(recipe(budget=4), problem, np.random.default_rng(0))


def test_bad_data_is_one_line(tmp_path):
    base = vit()

    def message(call):
        with pytest.raises(UserError) as caught:
            call()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def read(path, score="auto", model=base):
        return load_task("t", str(path), score, 0, model, tmp_path, 16)

    assert "no such file" in message(lambda: read(tmp_path / "absent.npz"))
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\nnot json\n')
    assert "bad.jsonl:2: not JSON" in message(lambda: read(tmp_path / "bad.jsonl"))
    (tmp_path / "empty.jsonl").write_text("")
    assert "no examples" in message(lambda: read(tmp_path / "empty.jsonl"))
    np.savez(tmp_path / "half.npz", images=np.zeros((2, 1, 8, 8), np.float32))
    assert "expected arrays `images` and `labels`" in message(lambda: read(tmp_path / "half.npz"))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut")
    assert "broken.npz: cannot be read" in message(lambda: read(tmp_path / "broken.npz"))
    empty = TaskData("t", "classes", {}, torch.zeros(0, dtype=torch.long), 0)
    experts = [drifted(base, 1), drifted(base, 2)]
    assert "no validation" in message(lambda: Problem.from_models(base, experts, [empty], [empty]))
    high = images("t", torch.zeros(2, 1, 8, 8), torch.tensor([0, 9]), 0)
    assert "label 9, but its head has 3 classes" in message(lambda: Problem.from_models(base, experts, [high], [high]))
    unknown = recipe(candidates=[{"method": "tise"}])
    problem = problem_for(vit)
    assert "did you mean `ties`" in message(lambda: Session(unknown, problem, np.random.default_rng(0)))
    tiny = recipe(subset="same", subset_fraction=0.01)
    assert "no whole item" in message(lambda: Session(tiny, problem, np.random.default_rng(0)))


def test_images_and_labels_that_no_model_can_take_are_one_line(tmp_path):
    pixels, labels = np.zeros((3, 1, 8, 8), np.float32), np.array([0, 1, 2])
    hole = pixels.copy()
    hole[1, 0, 0, 0] = np.nan
    bad = [
        (hole, labels, "NaN or infinity in pixel_values"),
        (pixels, labels - 3, "label -3; classes count from 0"),
        (pixels, labels / 2, "labels are float64; expected whole numbers"),
        (pixels, labels[:, None], r"labels of shape \[3, 1\]; expected one number an example"),
        (np.zeros((3, 1, 9, 9), np.float32), labels, "the model cannot take the first example"),
        (np.zeros((3, 2, 8, 8), np.float32), labels, "the model cannot take the first example"),
    ]
    for images_, labels_, expected in bad:
        np.savez(tmp_path / "bad.npz", images=images_, labels=labels_)
        with pytest.raises(UserError, match=rf"tasks: t: .*bad.npz: {expected}") as caught:
            load_task("t", str(tmp_path / "bad.npz"), "auto", 0, vit(), tmp_path, 16)
        assert "\n" not in str(caught.value)
    word_tokenizer(tmp_path)
    path = text_task(tmp_path, [{"text": "two", "label": 0.5}])
    with pytest.raises(UserError, match=r"example 1: label 0\.5; expected a whole number"):
        load_task("t", path, "auto", 0, bert(), tmp_path, 16)
    negative = images("t", torch.zeros(2, 1, 8, 8), torch.tensor([-1, -1]), 0)
    with pytest.raises(UserError, match="label -1; classes count from 0"):
        Problem.from_models(vit(), [vit(1), vit(2)], [negative], [negative])


def word_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["<pad>", "<unk>", "two", "plus", "is", "four", "five"])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)


def test_language_files(tmp_path):
    word_tokenizer(tmp_path)
    base = llama()

    def read(rows, score="auto", model=base):
        return load_task("t", text_task(tmp_path, rows), score, None, model, tmp_path, 16)

    text = read([{"text": "two plus two"}, {"text": "five"}])
    assert text.kind == "text"
    assert text.targets.tolist() == [[3, 2, -100], [-100, -100, -100]]
    question = {"prompt": "two plus two is", "choices": ["four", "five five"], "answer": 0}
    asked = read([question, {**question, "answer": "five five"}])
    assert (asked.labels.tolist(), asked.offsets) == ([0, 1], (0, 2, 4))
    assert asked.targets.tolist()[1] == [-100, -100, -100, 6, 6, -100]
    shuffled = asked.reordered(np.array([1, 0]))
    assert shuffled.targets.tolist() == [asked.targets.tolist()[row] for row in (2, 3, 0, 1)]
    encoded = read([question], model=t5())
    assert encoded.inputs["decoder_input_ids"].tolist() == [[0, 5], [0, 6]]
    assert encoded.targets.tolist() == [[5, -100], [6, 6]]
    with pytest.raises(UserError, match="answer 7 is none of its 2 choices"):
        read([{**question, "answer": 7}])
    with pytest.raises(UserError, match="columns prompt do not fit"):
        read([{"prompt": "two"}])
    problem = Problem.from_models(base, [drifted(base, 1), drifted(base, 2)], [text, asked], [text, asked])
    outcome = Session(recipe(budget=3), problem, np.random.default_rng(0)).run()
    assert outcome.test.scores[0] == pytest.approx(np.exp(-outcome.test.cross_entropies[0]))


def test_a_folder_of_pictures(tmp_path):
    from PIL import Image
    from transformers import ViTImageProcessor

    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    for label, name in enumerate(["cat", "dog"]):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (10, 10), (label * 255, 0, 0)).save(tmp_path / "pictures" / name / "1.png")
    task = load_task("t", str(tmp_path / "pictures"), "auto", 0, vit(channels=3), tmp_path, 16)
    assert task.inputs["pixel_values"].shape == (2, 3, 8, 8)
    assert task.labels.tolist() == [0, 1]
    (tmp_path / "pictures" / "dog" / "2.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"2\.png: not an image"):
        load_task("t", str(tmp_path / "pictures"), "auto", 0, vit(channels=3), tmp_path, 16)
