from pathlib import Path

import pytest
import torch

from burnish.core.errors import UserError
from burnish.core.intervals import share_interval
from burnish.core.method import all_methods
from burnish.core.report import write_report
from burnish.studies import tour, tour_merge
from burnish.studies.catalogue import judged
from burnish.testbeds.models import prepare_model
from tests.once import shared_cache


def test_the_table_names_all_ten() -> None:
    rows = tour.method_rows()
    assert len(rows) == 10
    assert {row["state"] for row in rows} == {"built"}
    assert all(row["claim"] and row["paper"] != "-" for row in rows)


def test_same_weights_means_every_bit(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    monkeypatch.setenv("BURNISH_CACHE", str(shared_cache(tmp_path_factory, "tiny-llama")))
    one, other = prepare_model("tiny-llama", tmp_path / "a"), prepare_model("tiny-llama", tmp_path / "b")
    assert tour_merge.same_weights(one, other)
    tensors = load_file(other / "model.safetensors")
    name = sorted(tensors)[0]
    tensors[name].view(torch.int32).flatten()[0] ^= 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    assert not tour_merge.same_weights(one, other)


def test_without_a_registry_the_tour_says_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> Path:
        raise UserError("no registry")

    monkeypatch.setattr("burnish.testbeds.models.prepare_model", refuse)
    shown = tour_merge.show_merges("tour", tmp_path)
    assert "Left out: two fine-tunes of SmolLM2-135M-Instruct could not be made (no registry)" in shown.section.text
    assert shown.glance.words == shown.section.text
    assert shown.glance.figure is None


def test_what_came_of_a_merge_is_said_as_it_came(tmp_path: Path) -> None:
    """Also where the merged model does neither task."""
    right = {"SmolLM2, as it came": (1, 2), "fine-tune on a": (9, 1), "fine-tune on b": (0, 8), "merged": (0, 4)}
    found = {
        task: {name: share_interval(counts[place], 10) for name, counts in right.items()}
        for place, task in enumerate(("a", "b"))
    }
    shown = tour_merge.shown_merge(found, {"a": "to add", "b": "to spell"}, 3.0, 10)
    assert "The one model solves 0% of a (the fine-tune 90%, the base 10%) and 40% of b" in shown.glance.words
    assert shown.section.table is not None
    assert [row["model"] for row in shown.section.table] == list(right)
    assert shown.section.table[1] == {"model": "fine-tune on a", "a": "90% [55, 100]", "b": "10% [0, 45]"}
    html = write_report(tmp_path / "a.html", "T", "lead", [shown.section]).read_text()
    assert "merged 0% [0%, 31%]" in html


def test_the_summary_counts_what_was_judged() -> None:
    stored = [one for one in (judged(method.name) for method in all_methods()[0]) if one is not None]
    assert stored
    claims = sum(len(one.claims) for one in stored)
    said = tour.summary("Merged.", 9, stored)
    assert said.startswith("Merged. 9 published methods ran on this machine")
    assert f"judged {claims} claims" in said
    assert "judged" not in tour.summary("Merged.", 9, [])


@pytest.mark.slow
def test_smollm2_merged_with_itself_is_smollm2(smollm2: Path, tmp_path: Path) -> None:
    """Through the whole engine, then loaded with plain transformers: same bits, same answer, same chat template."""
    section = tour_merge.merge_itself("smollm2", tmp_path)
    assert section.table is not None
    came, merged, shorter = section.table
    assert merged["same weights"] is True
    assert merged["loss"] == came["loss"]
    assert (merged["layers"], shorter["layers"]) == (30, 29)
    (answer,) = {row[key] for row in (came, merged) for key in row if key.startswith("answer")}
    assert answer == "The capital of France is Paris."
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (tmp_path / "merged-0" / name).exists()
