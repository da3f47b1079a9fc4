"""Our trainer is TRL's: the same losses to the last digit, its reference a model or a table that is written down."""

import copy
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

pytest.importorskip("trl")

from burnish.align.collating import PairCollator
from burnish.align.pair_table import read_pairs, write_pairs
from burnish.align.preference import align_in_memory, build_trainer, quiet_arguments, vision_towers
from burnish.align.reference import ReferenceTable, read_reference, write_reference
from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question, open_picture
from tests.align.models import deepseek
from tests.align.pairs import llava, recipe, triplets
from tests.dialogue import tiny

ONE_BY_ONE = {"batch": 2, "micro_batch": 1, "epochs": 2}


def losses(trainer: Any) -> list[float]:
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def trained(folder: Path, chat: ChatModel, asked: Any, table: Path | None = None) -> Any:
    folder.mkdir(exist_ok=True)
    pairs = folder / "pairs.arrow"
    write_pairs(pairs, triplets(folder), chat)
    trainer = build_trainer(asked, chat, pairs, table, **quiet_arguments(folder, 0))
    trainer.train()
    return trainer


def plain_trl(folder: Path, chat: ChatModel, asked: Any) -> Any:
    """TRL's own trainer, collator and reference model on the same texts."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from burnish.dialogue.training import lora_config

    folder.mkdir(exist_ok=True)
    rows = []
    for each in triplets(folder):
        end = chat.tokenizer.eos_token
        prompt = f"user: <image>{each.question}\nassistant: "
        picture = open_picture(each.image)
        rows.append(
            {"images": [picture], "prompt": prompt, "chosen": each.chosen + end, "rejected": each.rejected + end}
        )
    training = asked.training
    config = DPOConfig(
        **quiet_arguments(folder, 0), beta=training.beta, loss_type=[training.loss], ld_alpha=training.ld_alpha,
        learning_rate=training.learning_rate, lr_scheduler_type=training.lr_scheduler, weight_decay=0.0,
        per_device_train_batch_size=1, gradient_accumulation_steps=2, num_train_epochs=2, max_length=None,
        logging_steps=1, use_cpu=True, bf16=False, gradient_checkpointing=False,
    )  # fmt: skip
    chat.model.get_submodule(vision_towers(chat.model)[0]).requires_grad_(False)
    reference = None if asked.adapter is not None else copy.deepcopy(chat.model)
    lora = lora_config(asked.adapter, exclude_modules=r".*vision_tower.*") if asked.adapter is not None else None
    trainer = DPOTrainer(chat.model, reference, config, train_dataset=Dataset.from_list(rows),
                         processing_class=chat.processor, peft_config=lora)  # fmt: skip
    trainer.train()
    return trainer


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: value for name, value in trainer.model.named_parameters() if value.requires_grad}


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [None, {"rank": 4}], ids=["all", "adapter"])
@pytest.mark.parametrize("ld_alpha", [None, 0.5], ids=["whole", "desensitised"])
@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "sigmoid_norm"])
def test_table_model_and_trl_learn_the_same_to_the_last_bit(
    tmp_path: Path, loss: str, ld_alpha: float | None, adapter: dict[str, int] | None
) -> None:
    """One pair a pass, so that no sum is rounded in another order."""
    training = {**ONE_BY_ONE, "loss": loss, "ld_alpha": ld_alpha}
    asked = {
        reference: recipe({**training, "reference": reference}, adapter=adapter) for reference in ("table", "model")
    }
    trl = plain_trl(tmp_path / "trl", llava(), asked["model"])
    model = trained(tmp_path / "model", llava(), asked["model"])
    table = trained(tmp_path / "table", llava(), asked["table"], tmp_path / "reference.safetensors")
    assert len(losses(trl)) == 6
    assert losses(trl)[0] == pytest.approx({"sigmoid": math.log(2), "ipo": 25.0, "sigmoid_norm": math.log(2)}[loss])
    assert losses(table) == losses(model) == losses(trl)
    assert losses(trl)[-1] < losses(trl)[0]
    theirs = weights(trl)
    for ours in (weights(model), weights(table)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_workers_open_the_pictures_to_the_same_end(tmp_path: Path) -> None:
    training = {"steps": 3, "batch": 2}
    alone = trained(tmp_path / "alone", llava(), recipe(training))
    helped = trained(tmp_path / "helped", llava(), recipe({**training, "trl": {"dataloader_num_workers": 2}}))
    assert losses(alone) == losses(helped)


def test_the_table_holds_no_second_model(tmp_path: Path) -> None:
    assert trained(tmp_path, llava(), recipe({"steps": 1, "batch": 2})).ref_model is None


def test_losses_of_a_hand_example(tmp_path: Path) -> None:
    """Policy -10 and -9, reference -12 and -8, beta .1: logit .3, loss .554355; swapped .854355; equal ln 2."""
    chat = llava()
    write_pairs(tmp_path / "pairs.arrow", triplets(tmp_path, 2), chat)
    trainer = build_trainer(recipe({"batch": 1, "steps": 1}), chat, tmp_path / "pairs.arrow", None,
                            **quiet_arguments(tmp_path, 0))  # fmt: skip
    row = trainer.train_dataset[0]
    batch = trainer.data_collator([row])
    learnt = batch["completion_mask"][:, 1:].bool()

    class Told(torch.nn.Module):
        """A model whose log-probabilities of the two answers are given: their sum, all on the first token."""

        def forward(self, **_: Any) -> Any:
            found = torch.zeros(learnt.shape, requires_grad=True)
            first = learnt.float().argmax(1)
            values = found.clone()
            values[torch.arange(2), first] = torch.tensor([-10.0, -9.0])
            nothing = torch.zeros(learnt.shape)
            return SimpleNamespace(
                log_probs=values, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool(), loss=None
            )

    def loss(chosen: float, rejected: float) -> float:
        batch["ref_chosen_logps"], batch["ref_rejected_logps"] = torch.tensor([chosen]), torch.tensor([rejected])
        return float(trainer.compute_loss(Told(), batch).detach())

    assert loss(-12.0, -8.0) == pytest.approx(0.554355, abs=1e-6)
    assert loss(-8.0, -10.0) == pytest.approx(0.854355, abs=1e-6)  # log-ratios -2 and 1
    assert loss(-10.0, -9.0) == pytest.approx(0.693147, abs=1e-6)


def test_a_table_is_read_again_and_never_by_another_model(tmp_path: Path) -> None:
    asked, table = recipe({"steps": 1, "batch": 2, "lr_scheduler": "constant"}), tmp_path / "reference.safetensors"
    first = trained(tmp_path / "run", llava(), asked, table)
    written = table.read_bytes()
    keys = first.train_dataset["key"][:]
    made_with = first._made_with
    assert read_reference(table, keys, made_with) is not None
    # a value that no model computes shows who reads it
    marked = ReferenceTable(torch.full((6,), -123.0), torch.full((6,), -321.0))
    write_reference(table, marked, keys, made_with)
    again = trained(tmp_path / "run", llava(), asked, table)
    assert set(again.train_dataset["ref_chosen_logps"][:]) == {-123.0}
    other = trained(tmp_path / "run", llava(seed=1), asked, table)
    assert -123.0 not in other.train_dataset["ref_chosen_logps"][:]
    write_reference(table, marked, keys, made_with)
    weighted = recipe({"steps": 1, "batch": 2, "ld_alpha": 0.5})
    assert -123.0 not in trained(tmp_path / "run", llava(), weighted, table).train_dataset["ref_chosen_logps"][:]
    trained(tmp_path / "run", llava(), asked, table)
    assert table.read_bytes() == written


def test_a_table_knows_its_rows_in_any_order_and_misses_new_ones(tmp_path: Path) -> None:
    keys = ["00" * 32, "ff" * 32, "0a" * 32]
    table = ReferenceTable(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
    file = write_reference(tmp_path / "r.safetensors", table, keys, "here")
    found = read_reference(file, [keys[2], keys[0]], "here")
    assert found is not None
    assert found.chosen.tolist() == [3.0, 1.0]
    assert found.rejected.tolist() == [6.0, 4.0]
    assert read_reference(file, [*keys, "bb" * 32], "here") is None
    assert read_reference(file, keys, "there") is None
    assert read_reference(tmp_path / "absent", keys, "here") is None
    file.write_bytes(file.read_bytes()[:40])
    assert read_reference(file, keys, "here") is None


@pytest.mark.parametrize("kind", [*tiny.KINDS, "deepseek"])
def test_every_kind_of_model_gets_what_its_prompts_hold(tmp_path: Path, kind: str) -> None:
    chat = deepseek() if kind == "deepseek" else tiny.build(kind)
    write_pairs(tmp_path / "pairs.arrow", triplets(tmp_path), chat)
    rows = [read_pairs(tmp_path / "pairs.arrow")[place] for place in range(4)]
    collate = PairCollator(chat, tmp_path)
    batch = collate(rows)
    collate.check(batch, rows)
    for place, row in enumerate(rows):
        for half, name in ((0, "chosen_ids"), (4, "rejected_ids")):
            learnt = batch["completion_mask"][half + place].bool()
            assert batch["input_ids"][half + place][learnt].tolist() == row[name]
    broken = {**batch, "input_ids": batch["input_ids"].clone()}
    broken["input_ids"][1, 1] += 1
    with pytest.raises(UserError, match="row 1: the model gets other tokens"):
        collate.check(broken, rows)
    with pytest.raises(UserError, match=r"row 3: .* tokens of its answer are learnt"):
        collate.check({**batch, "completion_mask": batch["completion_mask"] * (torch.arange(8) != 3)[:, None]}, rows)


def test_deepseek_learns_too(tmp_path: Path) -> None:
    """Its processor cannot say how many tokens a picture takes; its tower has another name than LLaVA's."""
    chat = deepseek()
    before = {name: value.clone() for name, value in chat.model.state_dict().items()}
    align_in_memory(recipe({"steps": 2, "batch": 2}, adapter={"rank": 2}), chat, triplets(tmp_path), tmp_path)
    moved = {name for name, value in chat.model.state_dict().items() if not torch.equal(value, before[name])}
    assert any("language_model" in name for name in moved)
    assert not any("vision" in name for name in moved)
    assert any(row < 80 for row in chat.prompt_lengths([Question("?", "", images=(Image.new("RGB", (9, 9)),))]))


def test_a_picture_that_goes_missing_is_named(tmp_path: Path) -> None:
    chat = llava()
    write_pairs(tmp_path / "pairs.arrow", triplets(tmp_path), chat)
    (tmp_path / "2.png").unlink()
    with pytest.raises(UserError, match=r"2\.png: no such picture"):
        PairCollator(chat, tmp_path)([read_pairs(tmp_path / "pairs.arrow")[2]])


def test_the_vision_tower_learns_only_where_it_is_asked_to(tmp_path: Path) -> None:
    for vision in (False, True):
        for adapter in (None, {"rank": 2}):
            chat = llava()
            before = {name: value.clone() for name, value in chat.model.state_dict().items()}
            asked = recipe({"vision": vision, "steps": 2, "batch": 2}, adapter=adapter)
            align_in_memory(asked, chat, triplets(tmp_path / "in"), tmp_path)
            after = chat.model.state_dict()
            assert after.keys() == before.keys()  # an adapter is merged
            moved = {name for name in before if not torch.equal(before[name], after[name])}
            assert any("vision_tower" in name for name in moved) is vision
            assert any("language_model" in name for name in moved)


@pytest.mark.parametrize(
    ("kind", "towers"),
    [
        ("llava", ["model.vision_tower"]),
        ("idefics3", ["model.vision_model"]),
        ("qwen2_vl", ["model.visual"]),
        ("text", []),
    ],
)
def test_vision_towers_by_name(kind: str, towers: list[str]) -> None:
    assert vision_towers(tiny.build(kind).model) == towers


def test_deepseeks_two_towers_are_both_found() -> None:
    import transformers

    config = transformers.DeepseekVLHybridConfig(
        text_config={"model_type": "llama", **tiny.TEXT, "vocab_size": 32},
        vision_config={**HALF, "image_size": 16, "patch_size": 8},
        high_res_vision_config={**HALF, "image_size": 64, "patch_size": 16, "output_channels": 32},
    )
    with torch.device("meta"):
        model = transformers.DeepseekVLHybridForConditionalGeneration(config)
    assert {"model.vision_model", "model.high_res_vision_model"} <= set(vision_towers(model))
    assert not any("language" in name for name in vision_towers(model))


HALF = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


def test_a_passing_argument_of_trl_and_a_taken_one(tmp_path: Path) -> None:
    chat = llava()
    write_pairs(tmp_path / "pairs.arrow", triplets(tmp_path), chat)
    with pytest.raises(UserError, match=r"trl.labelsmoothing: not an argument of TRL's DPOConfig"):
        build_trainer(recipe({"trl": {"labelsmoothing": 1}}), chat, tmp_path / "pairs.arrow", None,
                      **quiet_arguments(tmp_path, 0))  # fmt: skip
    with pytest.raises(ValueError, match=r"trl\.max_length is decided by a setting"):
        recipe({"trl": {"max_length": 512}})
