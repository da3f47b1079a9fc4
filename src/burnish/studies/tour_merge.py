"""The tour's merges: two real fine-tunes into one model that does both tasks, and a model with itself, bit for bit."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import UserError
from burnish.core.files import write_atomic
from burnish.core.intervals import Interval, share_interval
from burnish.core.metrics import Progress
from burnish.core.report import Section
from burnish.core.study import Glance
from burnish.core.study_picture import BLUE, GREY, Dots, draw_dots, small_bars

QUESTION = "What is the capital of France?"
TEXT = (
    "The sea was calm that morning, and the fishermen had gone out before the light. When the fog came in from the "
    "west they turned their boats toward the harbour bell, because they knew that no net was worth a night on the "
    "rocks. By noon the market was full of people who asked one another what had been caught, and who had not yet "
    "come home."
)
PROBLEMS = 60
"""Of each task, asked of each model."""
METHOD = {"merge_method": "task_arithmetic", "parameters": {"lambda": 1.0}, "dtype": "bfloat16"}
"""Both task vectors are added to the base as they are: nothing is tuned, so nothing is tuned on what is then asked."""


@dataclass(frozen=True)
class MergeShown:
    """A merge in the tour: what stands in its row, and its section."""

    glance: Glance
    section: Section


def show_merges(size: str, out: Path) -> MergeShown:
    """What the tour merges at ``size``: two fine-tunes of SmolLM2 and SmolLM2 with itself; at ``smoke`` a tiny Llama.

    Without SmolLM2 or reasoning-gym the words and the section say what is left out.
    """
    if size != "tour":
        section = merge_itself("tiny-llama", out)
        assert section.table is not None
        return MergeShown(Glance(_same(section), section.figure, "a tiny Llama with random weights"), section)
    try:
        shown = merge_fine_tunes(out)
    except UserError as error:
        words = f"Left out: two fine-tunes of SmolLM2-135M-Instruct could not be made ({error})."
        return MergeShown(Glance(words, None), Section("Two real fine-tunes merged", words))
    itself = merge_itself("smollm2", out)
    section = Section(shown.section.title, parts=[shown.section, itself])
    return MergeShown(shown.glance, section)


def merge_fine_tunes(out: Path, count: int = PROBLEMS) -> MergeShown:
    """Merge the two fine-tunes and count what the base, each of them and the merged model solve of either task.

    Args:
        out: folder of the merged model (``merged``) and its recipe (``merge.yaml``).
        count: problems of each task.

    Raises:
        UserError: SmolLM2 or reasoning-gym is not there and cannot be fetched.
    """
    from burnish.merge import merge
    from burnish.testbeds.fine_tunes import FINE_TUNES, count_right
    from burnish.testbeds.models import prepare_model

    base, folder = prepare_model("smollm2"), prepare_model("fine-tunes")
    models = [{"model": str(folder / tune.name), "parameters": {"weight": 1.0}} for tune in FINE_TUNES]
    recipe = {**METHOD, "base_model": str(base), "models": models}
    started = time.monotonic()
    merged = merge(write_atomic(out / "merge.yaml", json.dumps(recipe, indent=1)), out / "merged", fresh=True)
    seconds = time.monotonic() - started
    asked = {
        "SmolLM2, as it came": base,
        **{f"fine-tune on {tune.name}": folder / tune.name for tune in FINE_TUNES},
        "merged": Path(merged),
    }
    right = {
        name: count_right(path, FINE_TUNES, count)
        for name, path in Progress().track(asked.items(), f"asks each model {2 * count} problems", len(asked))
    }
    found = {
        tune.name: {name: share_interval(each[tune.name], count) for name, each in right.items()} for tune in FINE_TUNES
    }
    return shown_merge(found, {tune.name: tune.what for tune in FINE_TUNES}, seconds, count)


def shown_merge(
    found: Mapping[str, Mapping[str, Interval]], what: Mapping[str, str], seconds: float, count: int
) -> MergeShown:
    """From the shares of each task that each model solves: what came out, whatever it is."""
    parts = []
    for task, models in found.items():
        base, own, merged = (models[name].mean for name in ("SmolLM2, as it came", f"fine-tune on {task}", "merged"))
        parts.append(f"{merged:.0%} of {task} (the fine-tune {own:.0%}, the base {base:.0%})")
    words = f"Two fine-tunes merged in {seconds:.0f} s, without training. The one model solves {' and '.join(parts)}."
    bars = {
        f"{task}, {label}": models[name].mean
        for task, models in found.items()
        for label, name in (("merged", "merged"), ("fine-tune", f"fine-tune on {task}"))
    }
    rows = [
        {"model": name, **{task: f"{models[name].mean:.0%} {_bounds(models[name])}" for task, models in found.items()}}
        for name in next(iter(found.values()))
    ]
    tasks = "; ".join(f"{task}: {words_of}" for task, words_of in what.items())
    text = (
        f"SmolLM2-135M-Instruct was fine-tuned twice by LoRA, a minute each, on problems of reasoning-gym ({tasks}). "
        "Both differences from the base were added to it (`task_arithmetic`, weights 1, nothing tuned; `merge.yaml` "
        f"beside this report). Solved of {count} new problems of each task, exact answers only, with 95 % "
        "Clopper-Pearson intervals."
    )
    title = "Two real fine-tunes merged: SmolLM2-135M-Instruct"
    section = Section(title, text, table=rows, figure=task_figure(found))
    return MergeShown(Glance(words, small_bars(bars), "SmolLM2-135M-Instruct, 2 LoRA fine-tunes"), section)


def task_figure(found: Mapping[str, Mapping[str, Interval]]) -> Any:
    """One below the other: a task each, a row a model."""
    from burnish.core.report import subplots

    figure, grid = subplots(len(found), 1, height=2.3 * len(found))
    for axes, (task, models) in zip(grid.flat, found.items(), strict=True):
        rows = [Dots(name, each, colour=BLUE if name == "merged" else GREY) for name, each in models.items()]
        draw_dots(axes, rows, "{:.0%}")
        axes.set_xlim(-0.02, 1.02)
        axes.set_title(task, fontsize=9)
    grid[-1, 0].set_xlabel("share of problems solved")
    return figure


def _bounds(found: Interval) -> str:
    return f"[{100 * found.low:.0f}, {100 * found.high:.0f}]"


def merge_itself(name: str, out: Path) -> Section:
    """Merge a model with itself, and a shorter one out of its layers; say what each answers and how well it predicts.

    A merge of a model with itself must give the model: the weights are compared bit for bit.

    Raises:
        UserError: the model is not there and cannot be fetched.
    """
    from burnish.merge import merge
    from burnish.testbeds.models import prepare_model

    source = prepare_model(name)
    real = name == "smollm2"
    layers = json.loads((source / "config.json").read_text())["num_hidden_layers"]
    drop = layers * 2 // 3
    dtype = "bfloat16" if real else "float32"
    recipes: dict[str, dict[str, Any]] = {
        "with itself (linear)": {
            "merge_method": "linear",
            "models": [{"model": str(source), "parameters": {"weight": weight}} for weight in (0.25, 0.75)],
            "dtype": dtype,
        },
        f"without layer {drop} (passthrough)": {
            "merge_method": "passthrough",
            "slices": [
                {"sources": [{"model": str(source), "layer_range": [0, drop]}]},
                {"sources": [{"model": str(source), "layer_range": [drop + 1, layers]}]},
            ],
            "dtype": dtype,
        },
    }
    rows = [_measured("as it came", source, source, 0.0)]
    work = Progress().track(recipes.items(), "merges a model with itself, and without a layer")
    for number, (label, recipe) in enumerate(work):
        config = write_atomic(out / f"merge-{number}.yaml", json.dumps(recipe, indent=1))
        started = time.monotonic()
        merge(config, out / f"merged-{number}", fresh=True)
        rows.append(_measured(label, out / f"merged-{number}", source, time.monotonic() - started))
    figure = small_bars({row["merge"]: row["loss"] for row in rows}, "{:.3f}")
    shown = [{**row, "loss": f"{row['loss']:.4f}"} for row in rows]
    return Section(
        f"A model merged with itself: {'SmolLM2-135M-Instruct' if real else 'a tiny Llama with random weights'}",
        "The engine reads mergekit's YAML and streams tensor by tensor. A model merged with itself must be the same "
        "model; one layer less is a quick look at what that layer was worth. The loss is per token, on a paragraph.",
        table=shown,
        figure=figure,
    )


def _same(section: Section) -> str:
    rows = section.table or []
    same = "the same model again, bit for bit" if rows[1]["same weights"] else "not the same model"
    return f"Merged with itself, a model is {same}."


def _measured(label: str, folder: Path, source: Path, seconds: float) -> dict[str, Any]:
    import torch

    from burnish.core.models import load_model, load_tokenizer

    model, tokenizer = load_model(folder, dtype="float32"), load_tokenizer(folder)
    chat = [{"role": "user", "content": QUESTION}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        answer = model.generate(**ids, max_new_tokens=16, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        text = tokenizer(TEXT, return_tensors="pt", truncation=True, max_length=200)["input_ids"]
        loss = float(model(text, labels=text).loss)
    said = tokenizer.decode(answer[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    return {
        "merge": label,
        "layers": model.config.num_hidden_layers,
        "same weights": same_weights(folder, source),
        "loss": loss,
        f"answer to “{QUESTION}”": " ".join(said.split()) or "-",
        "seconds to merge": f"{seconds:.1f}" if seconds else "-",
    }


def same_weights(one: Path, other: Path) -> bool:
    """Whether two model folders hold the same tensors, bit for bit."""
    a, b = _bits(one), _bits(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _bits(folder: Path) -> Mapping[str, np.ndarray]:
    import torch
    from safetensors.torch import load_file

    merged: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            merged[name] = tensor.contiguous().view(torch.uint8).numpy()
    return merged
