"""The tour: every study that is built, a merge of a real model, and one report a person may want to show."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import UserError
from burnish.core.files import write_atomic
from burnish.core.hardware import environment
from burnish.core.method import Method, all_methods
from burnish.core.metrics import Progress, activity, duration
from burnish.core.report import Section, write_report
from burnish.core.run import run_record
from burnish.core.study import StudyRecipe, claim_rows
from burnish.core.study_picture import small_bars
from burnish.studies.catalogue import find_study, judged, perform

SIZES = ("smoke", "tour")
QUESTION = "What is the capital of France?"
LEAD = (
    "Every method that is built, shown on this machine with one seed. Verdicts are not a tour's to give: where one "
    "stands, it is quoted from a stored study over several seeds. Details unfold below."
)
METHODS_TEXT = (
    "What each paper claims. A verdict comes from the stored result of `burnish study NAME --size quick|full --store`, "
    "over several seeds with intervals; a tour runs one seed to show how a method works and judges nothing."
)
TEXT = (
    "The sea was calm that morning, and the fishermen had gone out before the light. When the fog came in from the "
    "west they turned their boats toward the harbour bell, because they knew that no net was worth a night on the "
    "rocks. By noon the market was full of people who asked one another what had been caught, and who had not yet "
    "come home."
)


def run_tour(size: str = "tour", out: Path = Path("runs/tour"), *, fresh: bool = False) -> Path:
    """Run the studies at ``size`` and merge a real model; studies that finished before are not run again.

    Args:
        size: ``smoke`` (every line runs) or ``tour`` (shows how it works).
        out: folder of the report; each study is a run below it.
        fresh: repeat what was finished.

    Returns:
        The report, ``out/report.html``.

    Raises:
        UserError: an unknown size.
    """
    if size not in SIZES:
        raise UserError(
            f"size: a tour is {' or '.join(SIZES)}, not `{size}`; judged sizes belong to a study", arguments=("size",)
        )
    say = Progress().note
    shown: list[_Shown] = []
    for method in all_methods()[0]:
        if method.study is not None:
            say(f"{method.shown}: {find_study(method.name).title}")
            shown.append(_study(method, size, out, fresh))
    say("merging a real model" if size == "tour" else "merging a small model")
    with activity("merging"):
        shown.append(_merge(size, out))
    found = environment()
    machine = [{"what": what, "value": value} for what, value in {**found["hardware"], **found["versions"]}.items()]
    machine.append({"what": "git revision", "value": found["git_revision"] or "installed package"})
    table = Section("What it did here", table=[each.row for each in shown])
    planned = Section("All methods, built and planned", METHODS_TEXT, table=method_rows(), folded=True)
    rest = [*(each.details for each in shown), planned, Section("Where it ran", table=machine, folded=True)]
    return write_report(
        out / "report.html", "A tour of Burnish", LEAD, [table, *rest], f"burnish tour --size {size} --fresh"
    )


@dataclass(frozen=True)
class _Shown:
    """One method in the tour: its row of the table on top, and all the rest, folded."""

    row: dict[str, Any]
    details: Section


def method_rows() -> list[dict[str, Any]]:
    """All methods as a table: claim and state."""
    return [
        {
            "method": method.shown,
            "capability": method.capability,
            "claim": method.claim,
            "paper": str(method.paper or "-"),
            "state": "built" if method.built else "planned",
        }
        for method in all_methods()[0]
    ]


def _study(method: Method, size: str, out: Path, fresh: bool) -> _Shown:
    study, path = find_study(method.name), out / method.name
    recipe = StudyRecipe.load({"method": f"study:{method.name}", "size": size, "seeds": 1, "workers": 2})
    found = perform(study, recipe, path, fresh=fresh)
    stored = judged(method.name)
    if stored is None:
        verdict, claims = (
            "not judged yet",
            Section("One seed, to look at", study.title, table=claim_rows(found.claims)),
        )
    else:
        verdict = f"{stored.verdicts} ({stored.seeds} seeds, {stored.date})"
        words = f"Judged with {stored.seeds} seeds at size {stored.size} on {stored.date}: `{stored.command}`."
        claims = Section("What was claimed, what came out", words, table=claim_rows(stored.claims))
    row = {
        "method": method.shown,
        "here": found.outcome.glance.words,
        "": found.outcome.glance.figure,
        "its claims, judged": verdict,
        "took": duration(run_record(path)["wall_seconds"]),
    }
    details = Section(
        f"{method.shown}: {method.claim}", str(method.paper), parts=[claims, *found.outcome.sections], folded=True
    )
    return _Shown(row, details)


def _merge(size: str, out: Path) -> _Shown:
    started = time.monotonic()
    section = merge_section(size, out)
    rows = section.table or []
    same = "the same model again, bit for bit" if rows and rows[1]["same weights"] == "yes" else "not the same model"
    row = {
        "method": "merge engine",
        "here": f"{section.title}: with itself it is {same}." if rows else section.text,
        "": section.figure if section.figure is not None else "-",
        "its claims, judged": "-",
        "took": duration(time.monotonic() - started),
    }
    return _Shown(row, dataclasses.replace(section, folded=True))


def merge_section(size: str, out: Path) -> Section:
    """Merge a model with itself, and a shorter one out of its layers; say what each answers and how well it predicts.

    A merge of a model with itself must give the model: the weights are compared bit for bit.
    """
    from burnish.merge import merge
    from burnish.testbeds.models import prepare_model

    name = "smollm2" if size == "tour" else "tiny-llama"
    try:
        source = prepare_model(name)
    except UserError as error:
        return Section("A real model merged", f"Left out: SmolLM2-135M-Instruct could not be fetched ({error}).")
    layers = json.loads((source / "config.json").read_text())["num_hidden_layers"]
    drop = layers * 2 // 3
    recipes: dict[str, dict[str, Any]] = {
        "with itself (linear)": {
            "merge_method": "linear",
            "models": [{"model": str(source), "parameters": {"weight": weight}} for weight in (0.25, 0.75)],
            "dtype": "bfloat16" if size == "tour" else "float32",
        },
        f"without layer {drop} (passthrough)": {
            "merge_method": "passthrough",
            "slices": [
                {"sources": [{"model": str(source), "layer_range": [0, drop]}]},
                {"sources": [{"model": str(source), "layer_range": [drop + 1, layers]}]},
            ],
            "dtype": "bfloat16" if size == "tour" else "float32",
        },
    }
    rows = [_measured("as it came", source, source, 0.0)]
    for number, (label, recipe) in enumerate(recipes.items()):
        folder = out / f"merged-{number}"
        config = write_atomic(out / f"merge-{number}.yaml", json.dumps(recipe, indent=1))
        started = time.monotonic()
        merge(config, folder, fresh=True)
        rows.append(_measured(label, folder, source, time.monotonic() - started))
    figure = small_bars({row["merge"]: row["loss"] for row in rows}, "{:.3f}")
    shown = [{**row, "loss": f"{row['loss']:.4f}"} for row in rows]
    return Section(
        f"A real model merged: {'SmolLM2-135M-Instruct' if size == 'tour' else 'a tiny Llama with random weights'}",
        "The engine reads mergekit's YAML and streams tensor by tensor. A model merged with itself must be the same "
        "model; one layer less is a quick look at what that layer was worth.",
        table=shown,
        figure=figure,
    )


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
        "same weights": "yes" if same_weights(folder, source) else "no",
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
