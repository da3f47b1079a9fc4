"""GenEval and T2I-CompBench: their files as they are, their rules by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.generate.evaluation import compbench, geneval
from burnish.generate.evaluation.drawn import draw_compbench, draw_geneval
from burnish.generate.evaluation.geneval import Detection
from burnish.generate.steps.chain import Policy
from tests.generate.test_steps import Scripted

BENCH = {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"}
CLOCKS = {
    "tag": "counting",
    "include": [{"class": "clock", "count": 2}],
    "exclude": [{"class": "clock", "count": 3}],
    "prompt": "a photo of two clocks",
}
DOG = {
    "tag": "position",
    "include": [{"class": "tie", "count": 1}, {"class": "dog", "count": 1, "position": ["right of", 0]}],
    "prompt": "a photo of a dog right of a tie",
}
RED = {
    "tag": "colors",
    "include": [{"class": "apple", "count": 1, "color": "red"}],
    "prompt": "a photo of a red apple",
}
LEFT, RIGHT, BELOW = (0.0, 0.0, 2.0, 2.0), (8.0, 0.0, 10.0, 2.0), (0.0, 8.0, 2.0, 10.0)
PICTURE = np.zeros((4, 4, 3), dtype=np.uint8)


def test_the_published_scores_have_the_published_mean() -> None:
    shares = dict(zip(geneval.TAGS, (0.99, 0.86, 0.71, 0.82, 0.60, 0.64), strict=True))
    assert geneval.overall(shares) == pytest.approx(0.770)


def test_relations_of_boxes() -> None:
    assert geneval.relations(LEFT, RIGHT) == {"left of"}
    assert geneval.relations(RIGHT, LEFT) == {"right of"}
    assert geneval.relations(LEFT, BELOW) == {"above"}
    assert geneval.relations(RIGHT, BELOW) == {"right of", "above"}
    assert geneval.relations(LEFT, (0.3, 0.0, 2.3, 2.0)) == set()  # .3 apart, and .4 = .1 (2 + 2) is needed


@pytest.mark.parametrize(
    ("prompt", "detections", "reason"),
    [
        (BENCH, [Detection("bench", LEFT, 0.31)], ""),
        (BENCH, [Detection("bench", LEFT, 0.3)], "1 bench expected, 0 found"),
        (BENCH, [Detection("bench", LEFT), Detection("bench", RIGHT), Detection("cat", BELOW)], ""),  # more is right
        (CLOCKS, [Detection("clock", LEFT, 0.95)] * 2, ""),
        (CLOCKS, [Detection("clock", LEFT, 0.95), Detection("clock", RIGHT, 0.8)], "2 clock expected, 1 found"),
        (CLOCKS, [Detection("clock", LEFT, 0.95)] * 3, "fewer than 3 clock expected, 3 found"),
        (DOG, [Detection("tie", LEFT), Detection("dog", RIGHT)], ""),
        (DOG, [Detection("tie", RIGHT), Detection("dog", LEFT)], "dog right of tie expected, left of found"),
        (DOG, [Detection("dog", LEFT)], "1 tie expected, 0 found\nnothing that dog could be right of"),
        (RED, [Detection("apple", LEFT, colour="red")], ""),
        # Of two apples the more confident stands for the class.
        (
            RED,
            [Detection("apple", LEFT, 0.5, "red"), Detection("apple", RIGHT, 0.9, "green")],
            "1 red apple expected, green found",
        ),
    ],
)
def test_geneval_s_rule(prompt: dict[str, object], detections: list[Detection], reason: str) -> None:
    assert geneval.judge(prompt, detections) == (not reason, reason)


def test_pictures_go_where_geneval_looks_and_are_judged_there(tmp_path: Path) -> None:
    metadata = tmp_path / "evaluation_metadata.jsonl"
    metadata.write_text("".join(json.dumps(row) + "\n" for row in (BENCH, CLOCKS)))
    for number, prompt in enumerate(geneval.read_prompts(metadata)):
        geneval.write_pictures(tmp_path / "drawn", number, prompt, [PICTURE, PICTURE + 255])
    assert (tmp_path / "drawn" / "00001" / "samples" / "0001.png").is_file()
    assert json.loads((tmp_path / "drawn" / "00000" / "metadata.jsonl").read_text()) == BENCH
    # A detector that sees a bench in what is white.
    results = geneval.evaluate(
        tmp_path / "drawn", lambda picture, _: [Detection("bench", LEFT)] if picture.max() else []
    )
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [row["correct"] for row in rows] == [False, True, False, False]
    assert json.loads(rows[1]["details"]) == {"bench": [[0.0, 0.0, 2.0, 2.0, 1.0]]}
    assert geneval.scores(results) == {"single_object": 0.5, "counting": 0.0, "overall": 0.25}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"prompt": "x"}',
        json.dumps({**BENCH, "tag": "colour"}),
        json.dumps({**BENCH, "include": [{"class": "bench"}]}),
        json.dumps({**DOG, "include": DOG["include"][1:]}),
    ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(f"{json.dumps(BENCH)}\n\n{line}\n")
    with pytest.raises(UserError, match=r"prompts.jsonl:3: not a prompt of GenEval"):
        geneval.read_prompts(path)


def test_missing_pictures_prompts_and_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="evaluation_metadata"):
        geneval.read_prompts(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="no pictures in GenEval's layout"):
        geneval.evaluate(tmp_path, lambda *_: [])
    with pytest.raises(UserError, match="not GenEval's results"):
        geneval.scores(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="no pictures in T2I-CompBench's layout"):
        compbench.evaluate(tmp_path, "blip", lambda *_: 1.0)
    with pytest.raises(UserError, match="give T2I-CompBench's"):
        compbench.read_prompts(tmp_path, "color")
    with pytest.raises(UserError, match="`colour` is unknown; did you mean `color`"):
        compbench.read_prompts(tmp_path, "colour")


def test_compbench_is_numbered_through_and_scored_in_that_order(tmp_path: Path) -> None:
    (tmp_path / "color_val.txt").write_text("a green bench and a blue bowl.\n\na brown horse\n")
    prompts = compbench.read_prompts(tmp_path, "color")
    assert prompts == ["a green bench and a blue bowl", "a brown horse"]
    number = 0
    for prompt in prompts:
        number = compbench.write_pictures(tmp_path, number, prompt, [PICTURE, PICTURE + 255])
    assert (tmp_path / "samples" / "a brown horse_000003.png").is_file()
    path = compbench.evaluate(tmp_path, "blip", lambda picture, prompt: picture.max() / 255 * ("horse" in prompt))
    assert json.loads(path.read_text())[3] == {"question_id": 3, "answer": "1.0000"}
    assert compbench.score(path) == 0.25
    with pytest.raises(UserError, match=r"says 2.0; answers lie in 0..1"):
        compbench.evaluate(tmp_path, "clip", lambda *_: 2.0)
    with pytest.raises(UserError, match="cannot be a file's name"):
        compbench.write_pictures(tmp_path, 0, "a/b", [PICTURE])


def test_complex_prompts_are_scored_by_what_they_need(tmp_path: Path) -> None:
    number = 0
    for prompt in ("s", "a", "both"):
        number = compbench.write_pictures(tmp_path, number, prompt, [PICTURE])
    for name, value in (("blip", 0.3), ("obj_detection", 0.6), ("clip", 0.9)):
        compbench.evaluate(tmp_path, name, lambda *_, value=value: value)
    # (.3 + .6) / 2, (.3 + .9) / 2 and (.3 + .6 + .9) / 3
    assert compbench.three_in_one(tmp_path, {"s": "spatial", "a": "action"}) == pytest.approx((0.45 + 0.6 + 0.6) / 3)
    compbench.write_pictures(tmp_path, 3, "new", [PICTURE])
    with pytest.raises(UserError, match="4 pictures, and results of"):
        compbench.three_in_one(tmp_path, {})


def test_a_benchmark_s_drawing_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(number: int) -> None:
        if number == 0:
            raise Stopped

    policy = Policy(think=())
    rows: list[tuple[Any, list[Any]]] = [(draw_geneval, [BENCH, CLOCKS]), (draw_compbench, ["a bench", "a clock"])]
    for draw, prompts in rows:
        folder, artist = tmp_path / draw.__name__, Scripted()
        with pytest.raises(Stopped):
            draw(folder, prompts, artist, policy, each=2, watch=stop)
        draw(folder, prompts, artist, policy, each=2)
        seeds = [seed for _, each in artist.calls for seed in each]
        assert len(artist.calls) == 2
        assert len(set(seeds)) == 4
    assert len(list((tmp_path / "draw_geneval").glob("*/samples/*.png"))) == 4
    assert [prompt for _, prompt in compbench.samples(tmp_path / "draw_compbench")] == ["a bench"] * 2 + ["a clock"] * 2
