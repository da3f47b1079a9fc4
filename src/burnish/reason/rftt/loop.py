"""RFTT from a recipe in a run folder: search, rows, fine-tuning, reinforcement, and the accuracy after each.

What a phase leaves is an artifact, and what is there is not made again: trees, rows, the model of phase 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from burnish.core.errors import Interrupted, UserError
from burnish.core.files import read_json
from burnish.core.models import save_model
from burnish.core.run import Run
from burnish.core.trainer import keep_to_themselves, train, trainer_arguments, wait_for
from burnish.dialogue.models import ChatModel
from burnish.dialogue.readers import read_questions
from burnish.dialogue.rows import Question
from burnish.dialogue.saving import Gathered, is_spread
from burnish.dialogue.training import device_settings, lora_config
from burnish.dialogue.verify import Verifier
from burnish.reason.rftt.evaluate import make_prompts, plain_accuracy
from burnish.reason.rftt.generators.protocol import Prompt
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.preflight import validate
from burnish.reason.rftt.prm import ProcessScores
from burnish.reason.rftt.recipe import RFTTRecipe, WarmupSettings
from burnish.reason.rftt.reinforcement import make_trainer, refuse_spread_adapter
from burnish.reason.rftt.rewards import Judge
from burnish.reason.rftt.search import Saving, search
from burnish.reason.rftt.setup import (
    answer_finder,
    make_asking,
    make_engine,
    make_grammar,
    make_judge,
    make_scores,
    open_model,
    phase_one_grammar,
    phase_one_rules,
    with_caps,
)
from burnish.reason.rftt.sft import make_examples, sft_trainer
from burnish.reason.rftt.trace import Step
from burnish.reason.rftt.tree import Tree
from burnish.reason.rftt.tree_files import read_folder
from burnish.reason.rftt.vocabulary import Vocabulary, extend, trainable_tokens, vocabulary_of
from burnish.reason.rftt.voting import GREEDY, search_answers
from burnish.reason.rftt.warmup import Row, Verify, name_first_wrong, rows_of_trees, verify_by

CARD = """---
library_name: transformers
tags: [rftt, functional-tokens, trl]
---
{name}, taught functional tokens by RFTT (`burnish run`), seed {seed}: {what}.
"""


def teach(recipe: RFTTRecipe, run: Run) -> Path:
    """Teach a model functional tokens. Returns the folder of the trained model, or the rows of a search alone.

    Raises:
        UserError: a model, data or settings that do not go together.
        Interrupted: a stop signal came; the state is saved.
    """
    if run.finished:
        rows_alone = recipe.warmup is not None and not recipe.warmup.train
        return run.path / "artifacts" / ("rows.jsonl" if rows_alone else "model")
    keep_to_themselves()
    validate(recipe)
    questions = _numbered(list(read_questions(recipe.data, run.note)))
    tests = [] if recipe.test is None else _numbered(list(read_questions(recipe.test, run.note)))
    with Verifier(recipe.verify_seconds, recipe.workers) as verifier:
        judge = make_judge(recipe, verifier)
        name: str | Path = recipe.model
        if recipe.warmup is not None:
            rows = _rows(recipe, recipe.warmup, run, questions, tests, judge)
            if not recipe.warmup.train:
                return rows
            name = run.path / "artifacts" / ("model" if recipe.rl is None else "warmed-up")
            if not (name / "config.json").exists():
                _warm_up(recipe, recipe.warmup, run, rows, name, questions)
            _measure(recipe, run, "warmed-up", name, tests, judge)
        if recipe.rl is not None:
            trained = run.path / "artifacts" / "model"
            if not (trained / "config.json").exists():
                _reinforce(recipe, run, name, trained, questions, tests, judge)
            name = trained
            _measure(recipe, run, "after", name, tests, judge)
        outcome = {
            **{file.stem: read_json(file) for file in sorted((run.path / "artifacts").glob("accuracy-*.json"))},
            "timeouts": verifier.timeouts,
        }
    run.artifact("outcome.json", outcome)
    return Path(name)


# Phase 1


def _rows(
    recipe: RFTTRecipe,
    settings: WarmupSettings,
    run: Run,
    questions: Sequence[Question],
    tests: Sequence[Question],
    judge: Judge,
) -> Path:
    """The file of rows to learn from: given, written before, or made by a search with the untuned model."""
    if settings.rows is not None:
        return Path(settings.rows)
    file = run.path / "artifacts" / "rows.jsonl"
    _measure(recipe, run, "before", recipe.model, tests, judge, plain=True)
    if run.is_main and not file.exists():
        _write_rows(recipe, settings, run, questions[: settings.search.questions], judge)
    wait_for(file, run)
    return file


def _warm_up(
    recipe: RFTTRecipe,
    settings: WarmupSettings,
    run: Run,
    file: Path,
    folder: Path,
    questions: Sequence[Question],
) -> None:
    """A model trained on the rows of a file, in ``folder``."""
    chat = open_model(recipe, recipe.model)
    grammar = make_grammar(recipe.grammar)
    rows = read_rows(file)
    vocabulary = extend(chat.model, chat.tokenizer, grammar, recipe.seed)
    prompts = {prompt.id: prompt.ids for prompt in make_prompts(chat, vocabulary, questions, recipe.system)}
    examples, counts = make_examples(
        rows,
        prompts,
        chat.tokenizer,
        vocabulary,
        learn_wrong=settings.wrong == "learn",
        max_length=settings.max_length,
    )
    run.note(f"phase 1: {counts.examples:,} rows, {counts.learnt:,} of {counts.tokens:,} tokens learnt")
    trainer = sft_trainer(
        chat.model,
        chat.tokenizer,
        examples,
        lora_config(recipe.adapter, trainable_token_indices=trainable_tokens(chat.model, vocabulary)),
        **trainer_arguments(run, "sft"),
        **device_settings(recipe.device, recipe.bf16),
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.lr_scheduler,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        num_train_epochs=settings.epochs,
        max_steps=settings.steps or -1,
        per_device_train_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulate,
        activation_checkpointing=recipe.activation_checkpointing,
        logging_steps=1,
        **settings.trl,
    )
    refuse_spread_adapter(recipe, trainer)
    train(trainer, run, stage="sft")
    _save(recipe, run, trainer, chat, folder, f"{counts.examples:,} traces")


def _write_rows(
    recipe: RFTTRecipe,
    settings: WarmupSettings,
    run: Run,
    questions: Sequence[Question],
    judge: Judge,
) -> None:
    """Search every question by prompts, and turn the trees into rows."""
    # A server writes: the model is not needed here, and its device may be the server's.
    chat = None if settings.search.endpoint is not None else open_model(recipe, recipe.model)
    asking = make_asking(recipe, settings.search, chat)
    scores = make_scores(recipe)
    grammar = phase_one_grammar(recipe, settings.search)
    references = {prompt.id: question.answer for prompt, question in _named(questions)}
    rules = phase_one_rules(settings.search)
    bar = run.progress(range(len(questions) * rules.rollouts), "walks of the search")
    shown = 0
    done: dict[str, int] = {}

    def saved(trees: Sequence[Tree]) -> None:
        nonlocal shown
        done.update({tree.prompt.id: len(tree.rollouts) for tree in trees})
        while shown < sum(done.values()):
            next(bar, None)
            shown += 1
        if run.stop_requested:
            raise Interrupted(f"{run.path}: stopped in the search; the same command goes on", run.stop_signal)

    trees = search(
        [prompt for prompt, _ in _named(questions)],
        asking.generator,
        grammar,
        lambda paths: [
            float(verdict.correct)
            for verdict in judge.judge(
                [path.nodes[-1].text for path in paths], [references[path.prompt.id] for path in paths]
            )
        ],
        rules,
        seed=recipe.seed,
        width=settings.search.trees,
        saving=Saving(run.path / "artifacts" / "trees", every=1, then=saved, note=run.note),
    )
    _, spent = read_folder(run.path / "artifacts" / "trees")
    before = asking.writer.counts
    if scores is not None:
        score_trees(trees, scores)

    table = with_caps(make_grammar(recipe.grammar), settings.search.tokens)
    verify: Verify = name_first_wrong
    if settings.verify == "model":
        verify = verify_by(asking.writer, table, rules.sampling, recipe.seed, asking.prompts)
    rows, counts = rows_of_trees(trees, table, scores=None if scores is None else "prm", verify=verify)
    rows = [row for row in rows if settings.splice or row.kind == "path"]
    spent = spent + (asking.writer.counts - before)  # the verify steps are written in this session alone
    run.artifact("warmup.json", {**asdict(counts), **asdict(spent)})
    for problem, count in getattr(asking.writer, "problems", {}).items():
        run.note(f"phase 1: {count:,} requests failed and were sent again ({problem})")
    run.note(
        f"phase 1: {counts.used:,} of {counts.trees:,} questions solved by the search, {counts.path_rows:,} paths and "
        f"{counts.splice_rows:,} splices"
    )
    if not rows:
        raise UserError(
            f"warmup: not one of {counts.trees:,} searched questions was solved ({counts.wrong:,} paths with a wrong "
            f"answer, {counts.unfinished:,} without one); give easier questions, more rollouts, or check `answer`"
        )
    run.artifact("rows.jsonl", "".join(json.dumps(_row_to_json(row)) + "\n" for row in rows))


def score_trees(trees: Sequence[Tree], scores: ProcessScores) -> None:
    """Give every written step of every path its process score, under the name ``prm``; each is asked for once."""
    paths = [(tree, tree.lineage(leaf)[1:]) for tree in trees for leaf in tree.distinct_leaves()]
    solutions = [[node.text or "" for node in row] for _, row in paths]
    found = scores.score([tree.prompt.text for tree, _ in paths], solutions)
    for (_, row), values in zip(paths, found, strict=True):
        for node, value in zip(row, values, strict=True):
            node.scores["prm"] = value


# Phase 2


def _reinforce(
    recipe: RFTTRecipe,
    run: Run,
    name: str | Path,
    folder: Path,
    questions: Sequence[Question],
    tests: Sequence[Question],
    judge: Judge,
) -> None:
    """Reinforcement learning from the model of phase 1; the trained one goes to ``folder``."""
    if recipe.warmup is None:
        _measure(recipe, run, "before", name, tests, judge)
    chat = open_model(recipe, name)
    grammar = make_grammar(recipe.grammar)
    vocabulary = _vocabulary(chat, grammar)
    trainer = make_trainer(
        recipe,
        chat,
        vocabulary,
        grammar,
        questions,
        judge,
        make_scores(recipe),
        run.note,
        **trainer_arguments(run, "rl"),
    )
    train(trainer, run, stage="rl")
    tokens = trainer.generated["tokens"]
    _save(recipe, run, trainer, chat, folder, f"{trainer.state.global_step} steps on {tokens:,.0f} generated tokens")


# Around them


def _measure(
    recipe: RFTTRecipe,
    run: Run,
    when: str,
    model: str | Path,
    tests: Sequence[Question],
    judge: Judge,
    *,
    plain: bool = False,
) -> None:
    """Test a model, greedily and (unless it is ``plain``) by search; what was measured before is not again."""
    name = f"accuracy-{when}.json"
    if not tests or (run.path / "artifacts" / name).exists():
        return
    if not run.is_main:
        wait_for(run.path / "artifacts" / name, run)
        return
    chat, grammar = open_model(recipe, model), make_grammar(recipe.grammar)
    vocabulary = None if plain else _vocabulary(chat, grammar)
    prompts = make_prompts(chat, vocabulary, tests, recipe.system)
    answers = [question.answer for question in tests]
    found: dict[str, Any] = asdict(
        plain_accuracy(
            chat,
            vocabulary,
            grammar,
            prompts,
            answers,
            judge,
            tokens=recipe.test_tokens,
            batch=recipe.test_batch,
        )
    )
    if vocabulary is not None and recipe.test_rollouts > 1:
        engine = make_engine(chat, vocabulary, grammar, run.note, engine=recipe.engine, cache=recipe.cache)
        rules = replace(GREEDY, rollouts=recipe.test_rollouts)
        find = answer_finder(recipe.answer)
        voted = search_answers(prompts, engine, grammar, rules, find=find, seed=recipe.seed)
        found["by_search"] = sum(judge.equal([each.answer for each in voted], answers)) / len(tests)
        found["search_tokens"] = engine.counts.generated / len(tests)
    run.artifact(name, found)
    run.note(f"accuracy {when}: {found['accuracy']:.3f}")


def _vocabulary(chat: ChatModel, grammar: Grammar) -> Vocabulary:
    return vocabulary_of(chat.tokenizer, grammar, len(chat.model.get_input_embeddings().weight))


def _save(recipe: RFTTRecipe, run: Run, trainer: Any, chat: ChatModel, folder: Path, what: str) -> None:
    """The trained model, an adapter merged into it, with its tokenizer."""
    spread = is_spread(trainer)
    if recipe.adapter is not None:
        if spread:
            raise UserError("adapter: cannot be merged while its weights are spread over processes; use plain DDP")
        model: Any = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
    else:
        model = Gathered(trainer, spread=spread)
    if run.is_main:
        save_model(model, folder, chat.tokenizer, CARD.format(name=recipe.model, seed=recipe.seed, what=what))
    wait_for(folder / "config.json", run)


def _numbered(questions: Sequence[Question]) -> list[Question]:
    """Questions that have a name each: their row, made unique."""
    seen: dict[str, int] = {}
    found = []
    for number, question in enumerate(questions):
        name = question.row or f"question {number}"
        seen[name] = seen.get(name, 0) + 1
        found.append(replace(question, row=name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return found


def _named(questions: Sequence[Question]) -> list[tuple[Prompt, Question]]:
    """Questions as an engine of prompts sees them: text only."""
    return [(Prompt(question.row, question.question), question) for question in questions]


def _row_to_json(row: Row) -> dict[str, Any]:
    steps = [[step.action, step.text] for step in row.trace]
    return {"question": row.question, "text": row.text, "kind": row.kind, "wrong": list(row.wrong), "steps": steps}


def read_rows(file: Path) -> list[Row]:
    """Rows as a search wrote them.

    Raises:
        UserError: there is no such file, or a line that is no row.
    """
    found = []
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"warmup.rows: {file}: cannot be read ({error}); give the rows.jsonl of a run") from None
    for number, line in enumerate(lines, 1):
        try:
            data = json.loads(line)
            trace = tuple(Step(str(action), str(text)) for action, text in data["steps"])
            start, stop = data["wrong"]
            found.append(Row(data["question"], data["text"], trace, data["kind"], (int(start), int(stop))))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{file}:{number}: no row of a search ({type(error).__name__}: {error})") from None
    return found
