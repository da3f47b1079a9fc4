"""The factory: what a record becomes, shards that resume bit for bit, and triplets that other trainers read."""

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish.align.cases import from_line, to_line
from burnish.align.factory import FactoryPlan, make_cases, make_triplets, show_views
from burnish.align.gate import Drop, Pair, tally
from burnish.align.generators.counts import TokenCounts
from burnish.align.generators.transformers import TransformersGenerator
from burnish.align.recipe import GeneratorSettings
from burnish.align.records import Answer, Ask, make_record, picture_hash
from burnish.align.settings import PairSettings, ViewSettings
from burnish.align.store import TripletSet, open_triplets
from burnish.align.views import make_views, plan_views
from burnish.core.errors import BurnishError, UserError
from tests.align.fakes import Scripted, plan, records
from tests.align.models import llava, picture
from tests.align.words import VOCABULARY
from tests.forked import CONTEXT


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def drops(found: TripletSet) -> dict[str, int]:
    return {str(reason): count for reason, count in found.tally.dropped.items()}


def test_a_record_becomes_a_pair_that_says_which_view_said_what(tmp_path: Path) -> None:
    generator = Scripted()
    found = make_triplets(records(7), generator, plan(), tmp_path)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [
        "00000.jsonl",
        "00001.jsonl",
        "00002.jsonl",
    ]
    assert found.tally.kept + sum(found.tally.dropped.values()) == 7
    assert found.tally.kept > 3
    assert found.counts == generator.counts == TokenCounts(found.counts.generated, 28, 0, 28)
    for (case, pair), record in zip(found.pairs(), records(7), strict=False):
        assert (case.sample, case.picture, case.row, case.original) == (
            record.sample, record.picture, record.row, record.text,
        )  # fmt: skip
        asked = [ask for ask in generator.asked if ask.question == record.question]
        shown = show_views([(record.image, plan_views(record.sample, _families(case), ViewSettings(), 5))])[0]
        assert [picture_hash(ask.image) for ask in asked if ask.image] == [picture_hash(image) for image in shown]
        assert len({ask.seed for ask in asked}) == 4
        assert [heard.answer.text for heard in case.heard] == [generator.script(ask) for ask in asked]
        assert pair.vote.counts
        with Image.open(tmp_path / "pictures" / f"{case.picture}.png") as kept:
            assert picture_hash(kept) == record.picture
    assert [from_line(to_line(case)) for case in found.cases()] == list(found.cases())
    assert tally(case.result for case in found.cases()) == found.tally
    assert open_triplets(tmp_path) == found


def _families(case: Any) -> tuple[Any, ...]:
    return tuple(family for family in ViewSettings().families if family not in case.excluded)


def test_a_shard_does_not_depend_on_batches_or_on_the_order_of_sizes(tmp_path: Path) -> None:
    chat = llava()
    some = [make_record(picture(number, 20 + number % 2, 16), f"What is {number}?", "A dog.") for number in range(5)]
    settings = FactoryPlan(
        ViewSettings(), PairSettings(margin=None, shortest=0), GeneratorSettings(records=5, tokens=8), VOCABULARY
    )
    alone, together = (list(make_cases(some, TransformersGenerator(chat, batch=size), settings)) for size in (1, 64))
    assert alone == together
    assert len({heard.answer.text for case in alone for heard in case.heard}) > 10


def test_every_kill_point_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some, settings = records(9), plan(records=2)
    make_triplets(some, Scripted(), settings, tmp_path / "whole")
    whole = files(tmp_path / "whole")
    assert len(whole) >= 12
    replace = os.replace
    for number, late in [(number, late) for number in range(12) for late in (False, True)]:
        folder = tmp_path / f"killed-{number}-{late}"
        left = number

        def killed(source: Path, target: Path, late: bool = late) -> None:
            nonlocal left
            if left == 0 and not late:
                # what a kill leaves, and an exception does not
                source.with_name(f".{target.name}.0123abcd").write_bytes(source.read_bytes()[:9])
                raise KeyboardInterrupt
            replace(source, target)
            if left == 0:
                raise KeyboardInterrupt
            left -= 1

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                make_triplets(some, Scripted(), settings, folder)
        before = {path.name for path in (folder / "shards").glob("[0-9]*")}
        again = Scripted()
        make_triplets(some, again, settings, folder)
        assert files(folder) == whole
        made = sum(ask.question.startswith("What") for ask in again.asked)
        assert made == 4 * sum(min(2, 9 - 2 * shard) for shard in range(5) if f"{shard:05}.jsonl" not in before)


def _until_killed(folder: Path) -> None:
    count = 0

    def after() -> None:
        nonlocal count
        count += 1
        if count == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    make_triplets(records(9), Scripted(), plan(records=2), folder, after_shard=after)


def test_a_killed_process_is_resumed(tmp_path: Path) -> None:
    child = CONTEXT.Process(target=_until_killed, args=(tmp_path / "killed",))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert len(list((tmp_path / "killed" / "shards").iterdir())) == 2
    with pytest.raises(UserError, match=r"no triplets\.jsonl in it"):
        open_triplets(tmp_path / "killed")
    make_triplets(records(9), Scripted(), plan(records=2), tmp_path / "killed")
    make_triplets(records(9), Scripted(), plan(records=2), tmp_path / "whole")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_stop_after_a_shard_keeps_it(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_triplets(records(9), Scripted(), plan(records=2), tmp_path, after_shard=stop)
    assert len(list((tmp_path / "shards").iterdir())) == 1


def test_shards_of_other_records_or_settings_are_never_taken_for_these(tmp_path: Path) -> None:
    some = records(6)
    make_triplets(some, Scripted(), plan(), tmp_path)
    with pytest.raises(UserError, match="made with other settings"):
        make_triplets(some, Scripted(), plan(threshold=1), tmp_path)
    with pytest.raises(UserError, match="made of other records"):
        make_triplets(some[::-1], Scripted(), plan(), tmp_path)
    with pytest.raises(UserError, match=r"00001\.jsonl: made of other records"):
        make_triplets(some[:3], Scripted(), plan(), tmp_path)
    silent = Scripted()
    make_triplets(some, silent, plan(), tmp_path)
    assert not silent.asked
    (tmp_path / "shards" / "00001.jsonl").write_text('{"format": 0}\n')
    with pytest.raises(UserError, match="not a shard of triplets"):
        make_triplets(some, Scripted(), plan(), tmp_path)
    shard = tmp_path / "shards" / "00000.jsonl"
    shard.write_text(shard.read_text()[:-30])
    (tmp_path / "shards" / "00001.jsonl").unlink()
    with pytest.raises(BurnishError, match="damaged"):
        list(TripletSet(tmp_path, tally([]), TokenCounts()).cases())


@pytest.mark.parametrize("file", ["png", "jsonl"])
def test_a_full_disk_is_one_line_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if str(target).endswith(file):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(BurnishError, match="the disk is full") as caught:
            make_triplets(records(4), Scripted(), plan(), tmp_path)
    assert "\n" not in str(caught.value)
    assert {name.rpartition(".")[2] for name in files(tmp_path)} <= {"png"}
    assert not [name for name in files(tmp_path) if "/." in name]
    assert make_triplets(records(4), Scripted(), plan(), tmp_path).tally.kept


def test_triplets_load_in_the_datasets_library_and_as_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = make_triplets(records(6), Scripted(), plan(), tmp_path / "set")
    pairs = list(found.pairs())
    rows = [json.loads(line) for line in (tmp_path / "set" / "triplets.jsonl").read_text().splitlines()]
    case, pair = pairs[0]
    assert rows[0] == {
        "images": [f"pictures/{case.picture}.png"],
        "prompt": [{"role": "user", "content": case.question}],
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }
    own = found.dataset()
    with monkeypatch.context() as patched:  # the paths are relative to the file
        patched.chdir(tmp_path / "set")
        plain = datasets.load_dataset("json", data_files="triplets.jsonl", split="train", cache_dir=tmp_path / "cache")
        plain = plain.cast_column("images", datasets.List(datasets.Image()))
        packed = found.write_parquet(tmp_path / "out" / "triplets.parquet")
        (tmp_path / "out").rename(tmp_path / "elsewhere")
        inside = datasets.load_dataset(
            "parquet", data_files=str(tmp_path / "elsewhere" / packed.name), split="train", cache_dir=tmp_path / "cache"
        )
        for rows in (own, plain, inside):
            assert len(rows) == len(pairs)
            for row, (case, pair) in zip(rows, pairs, strict=True):
                assert [picture_hash(image) for image in row["images"]] == [case.picture]
                assert row["chosen"] == [{"role": "assistant", "content": pair.chosen}]
                assert row["prompt"] == [{"role": "user", "content": case.question}]
    assert [(each.sample, each.chosen, each.rejected) for each in found.triplets()] == [
        (case.sample, pair.chosen, pair.rejected) for case, pair in pairs
    ]
    assert all(each.image.is_file() for each in found.triplets())


def test_triplets_train_in_trl(tmp_path: Path) -> None:
    import trl

    found = make_triplets(records(6), Scripted(), plan(), tmp_path / "set")
    chat, reference = llava(spread=1.0), llava(spread=1.0)
    before = chat.model.lm_head.weight.clone()
    trainer = trl.DPOTrainer(
        model=chat.model,
        ref_model=reference.model,
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "run"), max_steps=2, per_device_train_batch_size=2, use_cpu=True, bf16=False,
            report_to="none", max_length=None, save_strategy="no", disable_tqdm=True, learning_rate=1e-3,
            gradient_checkpointing=False,
        ),
        train_dataset=found.dataset(),
        processing_class=chat.processor,
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 2
    assert np.isfinite([each["loss"] for each in trainer.state.log_history if "loss" in each]).all()
    assert not chat.model.lm_head.weight.equal(before)


def test_a_summary_is_asked_for_only_where_it_is_all_that_lacks() -> None:
    def script(ask: Ask) -> str:
        return "A dog." if ask.question == "What is 0?" else "" if ask.question == "What is 1?" else seen_dog(ask)

    def seen_dog(ask: Ask) -> str:
        return f"A dog {ask.seed % 9}."

    generator = Scripted(script)
    cases = list(make_cases(records(3), generator, plan(winner="summary")))
    assert [case.result.reason for case in cases if isinstance(case.result, Drop)][:2] == [
        "identical answers", "no answer",
    ]  # fmt: skip
    (prompt,) = [ask.question for ask in generator.asked if ask.image is None]
    assert "What is 2?" in prompt
    assert prompt.count("\nAnswer ") == 4
    assert [case.summary is None for case in cases] == [True, True, False]
    voting = Scripted(script)
    list(make_cases(records(3), voting, plan(winner="summary", original_votes=True)))
    assert "\nAnswer 5: A thing." in voting.asked[-1].question
    merging = Scripted(script)
    list(make_cases(records(3), merging, plan()))
    assert all(ask.image is not None for ask in merging.asked)


Script = Callable[[Ask], str | Answer]


def answers_by_view(*texts: str | Answer) -> Script:
    def script(ask: Ask) -> str | Answer:
        turns.append(1)
        return texts[(len(turns) - 1) % len(texts)]

    turns: list[int] = []
    return script


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("", " ", "...", ""), "no answer"),
        (("A dog.", "a dog", "A dog.", "A dog!"), "identical answers"),
        (("Yes.", "No.", "Yes.", "No."), "yes and no in equal parts"),
        (("red red red red red red", "a dog " * 9, "red red red red", "dog dog dog"), "winner loops"),
        (("A dog.", "A cross.", "A square.", "A circle."), "summary cut off"),
    ],
)
def test_bad_answers_are_dropped_and_counted(tmp_path: Path, texts: tuple[str, ...], reason: str) -> None:
    generator = Scripted(answers_by_view(*texts), cut=True)
    kind = {"winner loops": "longest", "summary cut off": "summary"}.get(reason, "merger")
    found = make_triplets(records(2), generator, plan(winner=kind), tmp_path)
    assert drops(found) == {reason: 2}
    assert found.tally.kept == 0
    assert not found.tally.winners_better
    assert (tmp_path / "triplets.jsonl").read_bytes() == b""
    assert not (tmp_path / "pictures").exists()
    with pytest.raises(UserError, match=f"no pair in it \\(2 dropped: {reason}\\)"):
        found.dataset()


def test_an_instruction_in_another_language_gets_only_views_that_leave_any_text_true() -> None:
    record = make_record(picture(0), "Was ist links neben dem roten Kreis auf dem Bild zu sehen?", "Ein Hund.")
    (case,) = make_cases([record], Scripted(), plan())
    assert {heard.family for heard in case.heard} == {"contrast", "blur", "noise"}


def test_where_no_family_is_left_the_clean_picture_is_sampled() -> None:
    record = make_record(picture(0), "What is left of the red sign, at the top, brightly lit and tilted?", "Two words.")
    generator = Scripted(answers_by_view("A dog.", "A red dog.", "A dog.", "A circle."))
    (case,) = make_cases([record], generator, plan())
    assert {heard.family for heard in case.heard} == {"clean"}
    assert {picture_hash(ask.image) for ask in generator.asked if ask.image} == {record.picture}
    assert len({ask.seed for ask in generator.asked}) == 4


def test_pictures_of_one_pixel_and_of_twenty_thousand_become_views() -> None:
    pixel = make_record(Image.new("RGB", (1, 1), "red"), "What is it?", "A dot.")
    wide = make_record(Image.new("RGB", (20000, 20), "blue"), "What is it?", "A line.")
    cases = list(make_cases([pixel, wide, pixel], Scripted(), plan()))
    assert len(cases) == 3
    assert all(len(case.heard) == 4 for case in cases)
    assert cases[0].heard == cases[2].heard


def test_views_are_made_a_few_at_a_time_and_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from burnish.align import factory

    pictures = [
        (picture(number, 16, 12), plan_views(str(number), ("crop", "blur"), ViewSettings())) for number in range(5)
    ]
    whole = show_views(pictures)
    asked: list[int] = []
    monkeypatch.setattr(factory, "MOST_FLOATS", 3 * 16 * 12 * 4 * 2)

    def counted(images: Any, *rest: Any, **more: Any) -> Any:
        asked.append(len(images))
        return make_views(images, *rest, **more)

    monkeypatch.setattr(factory, "make_views", counted)
    again = show_views(pictures)
    assert asked == [2, 2, 1]
    for one, other in zip(whole, again, strict=True):
        for first, second in zip(one, other, strict=True):
            difference = np.abs(np.asarray(first).astype(int) - np.asarray(second))
            assert difference.max() <= 1
    monkeypatch.setattr(factory, "MOST_BYTES", 20 * 16 * 3 * 4)
    generator = Scripted()
    calls: list[int] = []
    answer = generator.answer

    def told(asks: Any, sampling: Any) -> list[Answer]:
        calls.append(len(asks))
        return answer(asks, sampling)

    monkeypatch.setattr(generator, "answer", told)
    list(make_cases(records(3), generator, plan()))
    assert calls == [4, 4, 4]


def test_records_stream(tmp_path: Path) -> None:
    taken: list[int] = []

    def stream() -> Iterator[Any]:
        for number, record in enumerate(records(9)):
            taken.append(number)
            yield record

    seen: list[int] = []
    make_triplets(stream(), Scripted(), plan(records=2), tmp_path, after_shard=lambda: seen.append(len(taken)))
    assert seen == [2, 4, 6, 8, 9]


def test_a_pair_keeps_its_winner_and_loser_apart(tmp_path: Path) -> None:
    found = make_triplets(records(5), Scripted(), plan(loser="view"), tmp_path)
    for case, pair in found.pairs():
        assert isinstance(case.result, Pair)
        assert pair.loser_view is not None
        assert pair.rejected == case.heard[pair.loser_view].answer.text
