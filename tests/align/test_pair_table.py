"""Triplets become rows that say what the model would have to write; nothing is cut, what is left out is counted."""

import json
from pathlib import Path

import pytest
from PIL import Image

from burnish.align.pair_table import answer_ids, read_pairs, read_triplets, write_pairs
from burnish.align.records import Triplet
from burnish.core.errors import UserError
from burnish.dialogue.rows import Question
from tests.align.pairs import llava, triplets


def test_a_row_holds_prompt_and_answers_with_their_end(tmp_path: Path) -> None:
    chat = llava()
    assert write_pairs(tmp_path / "pairs.arrow", triplets(tmp_path), chat) == 6
    row = read_pairs(tmp_path / "pairs.arrow")[1]
    assert row["where"] == "row 1"
    assert row["prompt"] == "user: <image>what is it? ?\nassistant: "
    assert row["picture"] == "1.png"
    *letters, end = row["chosen_ids"]
    assert chat.tokenizer.decode(letters) == "there is 1 there is 1"
    assert end == chat.tokenizer.eos_token_id


def test_a_picture_elsewhere_keeps_its_whole_path(tmp_path: Path) -> None:
    write_pairs(tmp_path / "table/pairs.arrow", triplets(tmp_path / "pictures", 2), llava())
    assert read_pairs(tmp_path / "table/pairs.arrow")[1]["picture"] == str(tmp_path / "pictures/1.png")


def test_an_end_that_the_template_writes_is_kept_and_what_follows_it_is_not(tmp_path: Path) -> None:
    chat = llava()
    chat.processor.chat_template = chat.processor.chat_template.replace("{{ '\\n' }}", "{{ '<eos>\\n' }}")
    chat.processor.chat_template = chat.processor.chat_template.replace("<eos>", chat.tokenizer.eos_token)
    (ids,) = answer_ids(chat, [Question("a", "")], ["yes"])
    assert ids == [*chat.tokenizer("yes", add_special_tokens=False)["input_ids"], chat.tokenizer.eos_token_id]


def test_a_token_never_reaches_over_the_end_of_the_prompt() -> None:
    """Where prompt and answer would merge into one token, the prompt keeps the tokens that generation begins with."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    chat = llava()
    words = {"<unk>": 0, "<eos>": 1, "a": 2, "b": 3, "ab": 4, ":": 5, "<image>": 6}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", unk_token="<unk>")
    chat.processor.tokenizer = tokenizer
    chat.processor.chat_template = "{% for m in messages %}{{ m['content'][0]['text'] }}{% endfor %}"
    (ids,) = answer_ids(chat, [Question("a", "")], ["b"])
    assert ids == [3, 1]


def test_pairs_that_are_too_long_are_left_out_and_counted(tmp_path: Path) -> None:
    chat, told = llava(), list[str]()
    # prompt: 16 tokens of the picture and 33 letters and up; answers of up to 31 letters and an end
    kept = write_pairs(tmp_path / "pairs.arrow", triplets(tmp_path), chat, longest=80, note=told.append)
    lengths = [len(chat.tokenizer(row["prompt"])["input_ids"]) for row in read_pairs(tmp_path / "pairs.arrow")]
    assert 0 < kept < 6
    assert kept == len(lengths)
    assert len(told) == 1
    assert f"{6 - kept} longer than 80 tokens (the first: row " in told[0]
    with pytest.raises(UserError, match=r"not one pair to learn from \(6 longer than 20 tokens"):
        write_pairs(tmp_path / "none.arrow", triplets(tmp_path), chat, longest=20)
    assert not (tmp_path / "none.arrow").exists()


def test_a_pair_whose_answers_are_the_same_tokens_is_left_out(tmp_path: Path) -> None:
    first, *rest = triplets(tmp_path, 2)
    same = Triplet("same", first.image, "what?", "yes", "yes ")
    told = list[str]()
    assert write_pairs(tmp_path / "pairs.arrow", [first, same, *rest], llava(), note=told.append) == 2
    assert told == ["pairs left out: 1 whose answers are the same tokens (the first: same)"]


def test_a_text_with_the_mark_of_an_image_is_left_out_and_named(tmp_path: Path) -> None:
    """Hours of answers are not lost for one text that a model, or the data, wrote so."""
    first, second = triplets(tmp_path, 2)
    marked = [
        Triplet("line 7", first.image, "what?", "an <image> of it", "no"),
        Triplet("line 8", first.image, "what?", "yes", "<image>"),
        Triplet("line 9", first.image, "what <image> is it?", "yes", "no"),
    ]
    told = list[str]()
    assert write_pairs(tmp_path / "pairs.arrow", [first, *marked, second], llava(), note=told.append) == 2
    assert told == ["pairs left out: 3 with <image>, the mark of an image, in a text (the first: line 7)"]
    with pytest.raises(UserError, match=r"not one pair to learn from \(3 with <image>"):
        write_pairs(tmp_path / "none.arrow", marked, llava())


def test_a_triplet_that_anyone_wrote_is_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "in/one.png")
    user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]}
    row = {"images": ["in/one.png"], "prompt": [user], "chosen": [{"role": "assistant", "content": "yes"}]}
    lines = [row | {"rejected": [{"role": "assistant", "content": [{"type": "text", "text": "no"}]}]}]
    file = tmp_path / "triplets.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    (found,) = read_triplets(file)
    assert found == Triplet(f"{file}:1", tmp_path / "in/one.png", "what?", "yes", "no")
    with pytest.raises(UserError, match=r"triplets.jsonl:1: its system turn is not"):
        list(read_triplets(file, "Be brief."))
    file.write_text(json.dumps(row))
    with pytest.raises(UserError, match=r"triplets.jsonl:1: no triplet in TRL's layout \(KeyError: 'rejected'\)"):
        list(read_triplets(file))
    with pytest.raises(UserError, match="cannot be read"):
        list(read_triplets(tmp_path / "absent.jsonl"))
