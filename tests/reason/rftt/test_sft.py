"""Labels by hand, adapters that leave old rows alone, a training that is killed and goes on to the same bits."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.core.errors import UserError
from burnish.core.recipe import Recipe
from burnish.core.run import Run
from burnish.core.trainer import train, trainer_arguments
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.rftt.grammar import rftt_grammar
from burnish.reason.rftt.sft import Example, make_example, make_examples, sft_trainer
from burnish.reason.rftt.trace import Step, Trace
from burnish.reason.rftt.vocabulary import extend, prompt_ids, trainable_tokens
from burnish.reason.rftt.warmup import Row
from tests.reason.rftt.tiny import tiny_llama, tiny_tokenizer

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch._dynamo", "trl.trainer.sft_trainer", "burnish.core.trainer"])
GRAMMAR = rftt_grammar()
SPLICED: Trace = (
    Step("next_step", "a"),
    Step("next_step", "b"),
    Step("verify", "c"),
    Step("refine", "d"),
    Step("output", "e"),
)
QUIET = {
    "output_dir": "unused",
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "disable_tqdm": True,
    "save_strategy": "no",
    "activation_checkpointing": False,
}


def small(pad: bool = True, tied: bool = False) -> tuple[Any, Any, Any]:
    model, tokenizer = tiny_llama(tied=tied), tiny_tokenizer(pad=pad)
    return model, tokenizer, extend(model, tokenizer, GRAMMAR, seed=0)


def rows() -> list[Row]:
    path = Row("q2", "2?", (Step("analysis", "xyz"), Step("next_step", "w"), Step("output", "7")), "path")
    return [Row("q1", "1?", SPLICED, "splice", (1, 2)), path]


@pytest.mark.parametrize("learn_wrong", [True, False])
def test_labels_of_a_row_by_hand(learn_wrong: bool) -> None:
    _, tokenizer, vocabulary = small()
    a, b, c, d, e = (tokenizer(letter)["input_ids"][0] for letter in "abcde")
    n, v, r, o = (vocabulary.opens[name] for name in ("next_step", "verify", "refine", "output"))
    cn, cv, cr, co = (vocabulary.closes[name] for name in ("next_step", "verify", "refine", "output"))
    found = make_example(rows()[0], [2, 50, 3], tokenizer, vocabulary, 1, learn_wrong=learn_wrong)
    assert found.input_ids == (2, 50, 3, n, a, cn, n, b, cn, v, c, cv, r, d, cr, o, e, co, 1)
    wrong = (n, b, cn) if learn_wrong else (-100, -100, -100)
    assert found.labels == (-100, -100, -100, n, a, cn, *wrong, v, c, cv, r, d, cr, o, e, co, 1)


@pytest.mark.parametrize("pad", [True, False])
def test_the_collated_batch_and_its_loss_by_hand(pad: bool) -> None:
    """What the model gets, also where the end-of-sequence token has to serve as padding; and no side effect."""
    model, tokenizer, vocabulary = small(pad)
    prompts = {"q1": [2, 50, 3], "q2": [2, 51, 52, 53, 3]}
    examples, counts = make_examples(rows(), prompts, tokenizer, vocabulary, learn_wrong=False)
    short, long = sorted(examples, key=lambda each: len(each.input_ids))
    assert counts.examples == 2
    assert counts.tokens == len(short.input_ids) + len(long.input_ids) == 19 + 17
    assert counts.learnt == (16 - 3) + 12
    trainer = sft_trainer(model, tokenizer, examples, **QUIET, per_device_train_batch_size=2)
    assert (tokenizer.pad_token is None) is not pad
    batch = next(iter(trainer.get_train_dataloader()))
    by_length = batch["attention_mask"].sum(1).argsort()
    filler = 0 if pad else 1
    for row, each in zip(by_length.tolist(), (short, long), strict=True):
        missing = 19 - len(each.input_ids)
        extra = batch["input_ids"].shape[1] - 19
        assert batch["input_ids"][row].tolist() == [*each.input_ids, *[filler] * (missing + extra)]
        assert batch["labels"][row].tolist() == [*each.labels, *[-100] * (missing + extra)]
        assert batch["attention_mask"][row].sum() == len(each.input_ids)
    loss = trainer.compute_loss(trainer.model.eval(), batch)
    losses = []
    for each in examples:
        log_probs = model(torch.tensor([each.input_ids])).logits[0, :-1].log_softmax(-1)
        losses += [-log_probs[at, label] for at, label in enumerate(each.labels[1:]) if label != -100]
    assert loss.item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_learns_the_new_rows_and_leaves_the_old_ones(tied: bool) -> None:
    import peft

    model, tokenizer, vocabulary = small(tied=tied)
    old = {name: value.clone() for name, value in model.state_dict().items()}
    examples, _ = make_examples(rows(), {"q1": [2], "q2": [3]}, tokenizer, vocabulary)
    adapter = peft.LoraConfig(
        r=2, target_modules="all-linear", task_type="CAUSAL_LM",
        trainable_token_indices=trainable_tokens(model, vocabulary),
    )  # fmt: skip
    trainer = sft_trainer(
        model, tokenizer, examples, adapter, **QUIET, learning_rate=1e-2, warmup_steps=0, max_steps=3,
        gradient_accumulation_steps=2,
    )  # fmt: skip
    trainer.train()
    batch = next(iter(trainer.get_train_dataloader()))
    plain = trainer.model.eval()(**{name: value for name, value in batch.items() if name != "labels"}).logits[:, :-1]
    by_hand = torch.nn.functional.cross_entropy(plain.flatten(0, 1), batch["labels"][:, 1:].flatten())
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(by_hand.item(), abs=1e-5)
    merged = trainer.model.merge_and_unload()
    learnt = {vocabulary.opens[step.action] for row in rows() for step in row.trace}
    for name in ("model.embed_tokens.weight", *(() if tied else ("lm_head.weight",))):
        changed = set((merged.state_dict()[name] != old[name]).any(1).nonzero()[:, 0].tolist())
        assert changed <= set(vocabulary.ids)
        assert learnt <= changed
    assert not torch.equal(merged.model.layers[0].mlp.up_proj.weight, old["model.layers.0.mlp.up_proj.weight"])


def test_settings_of_the_paper_and_faults_in_one_line() -> None:
    model, tokenizer, vocabulary = small()
    example = Example((2, 3, 1), (-100, 3, 1))
    args = sft_trainer(model, tokenizer, [example], **QUIET).args
    assert (args.learning_rate, args.num_train_epochs, args.gradient_accumulation_steps) == (7e-6, 10, 32)
    assert (args.adam_beta1, args.adam_beta2, args.weight_decay, args.warmup_steps) == (0.9, 0.95, 0.1, 10)
    assert args.lr_scheduler_type == "constant_with_warmup"
    with pytest.raises(UserError, match=r"trl.learning_rat: not an argument .* did you mean `learning_rate`"):
        sft_trainer(model, tokenizer, [example], **QUIET, learning_rat=1.0)
    with pytest.raises(UserError, match="TRL refuses these settings"):
        sft_trainer(model, tokenizer, [example], **QUIET, lr_scheduler_type="nonsense")
    prompts = {"q1": [2], "q2": [3]}
    found, counts = make_examples(rows(), prompts, tokenizer, vocabulary, max_length=14)
    assert (len(found), counts.too_long) == (1, 1)
    with pytest.raises(UserError, match="all 2 are longer than 5 tokens"):
        make_examples(rows(), prompts, tokenizer, vocabulary, max_length=5)
    with pytest.raises(UserError, match="no question had a right path"):
        make_examples([], prompts, tokenizer, vocabulary)
    with pytest.raises(UserError, match="no prompt for the question `q2`"):
        make_examples(rows(), {"q1": [2]}, tokenizer, vocabulary)
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no end-of-sequence token"):
        make_examples(rows(), prompts, tokenizer, vocabulary)


def fine_tune(path: str, die_at: int = 0) -> None:
    """Eight steps over more than one epoch of accumulated batches; SIGKILL after the ``die_at``-th."""
    import transformers

    torch.set_num_threads(1)

    class Dies(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    model, tokenizer, vocabulary = small()
    questions = [Question(f"{number} + 1 = ?", str(number + 1)) for number in range(12)]
    prompts = dict(
        zip(map(str, range(12)), prompt_ids(ChatModel(model, tokenizer), vocabulary, questions), strict=True)
    )
    table = [
        Row(str(number), "", (Step("next_step", "n" * number), *SPLICED), "splice", (2, 3)) for number in range(12)
    ]
    examples, _ = make_examples(table, prompts, tokenizer, vocabulary, learn_wrong=False)
    with Run(Recipe(method="sft", checkpoint_every=0), path, quiet=True) as run:
        settings = {**QUIET, **trainer_arguments(run, "sft")}
        trainer = sft_trainer(
            model, tokenizer, examples, **settings, max_steps=8, learning_rate=1e-3, warmup_steps=2,
            per_device_train_batch_size=2, gradient_accumulation_steps=2, logging_steps=1,
        )  # fmt: skip
        trainer.add_callback(Dies())
        train(trainer, run, stage="sft")
        run.save_model(trainer.model, tokenizer)


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    fine_tune(str(tmp_path / "whole"))
    process = CONTEXT.Process(target=fine_tune, args=(str(tmp_path / "killed"), 6))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    kept = sorted(path.name for path in (tmp_path / "killed/checkpoints/sft").glob("checkpoint-*"))
    assert kept[-1] == "checkpoint-5"
    fine_tune(str(tmp_path / "killed"))
    names = [path / "artifacts/model/model.safetensors" for path in (tmp_path / "whole", tmp_path / "killed")]
    assert names[0].read_bytes() == names[1].read_bytes()
    losses = [
        [line for line in (path / "metrics.jsonl").read_text().splitlines() if '"sft/loss"' in line]
        for path in (tmp_path / "whole", tmp_path / "killed")
    ]
    assert len(losses[0]) == len(losses[1]) == 8
