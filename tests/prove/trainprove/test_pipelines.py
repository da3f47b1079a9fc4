"""A tiny Stable Diffusion pipeline from a local folder draws an audit's pictures; pickled weights are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.prove.trainprove.generators import Pipeline
from burnish.prove.trainprove.prompts import Strategy
from burnish.prove.trainprove.recipe import AuditRecipe, SourceSettings
from tests.prove.trainprove.test_audit import recipe


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    root = tmp_path_factory.mktemp("pipeline")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = [*letters, *(f"{each}</w>" for each in letters), "<|startoftext|>", "<|endoftext|>"]
    (root / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(vocabulary)}))
    (root / "merges.txt").write_text("#version: 0.2\n")
    torch.manual_seed(0)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=len(vocabulary) - 2,
            eos_token_id=len(vocabulary) - 1,
        )
    )
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4, sample_size=8),
        text_encoder=text,
        tokenizer=CLIPTokenizer(str(root / "vocab.json"), str(root / "merges.txt"), model_max_length=77),
        unet=UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
        ),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(root / "tiny", safe_serialization=True)
    return root / "tiny"


def painted(folder: Path, **source: Any) -> tuple[Pipeline, AuditRecipe]:
    asked = recipe(size=10)
    settings = SourceSettings(name="sd", pipeline=str(folder), steps=2, batch=3, **source)
    return Pipeline(settings, asked), asked


def test_a_pipeline_draws_the_classes(tiny: Path) -> None:
    labels = np.array([0, 0, 1, 1, 2, 3])
    pipeline, _ = painted(tiny)
    drawn = pipeline.draw(labels, 4, 1.0, "class")
    assert drawn.shape == (6, 10, 10, 1)
    assert drawn.dtype == np.uint8
    assert len(np.unique(drawn.reshape(6, -1), axis=0)) == 6
    # a stream a picture: how many are drawn at a time changes nothing but the last bit
    alone = painted(tiny)[0]
    alone._source = alone._source.model_copy(update={"batch": 1})
    assert np.abs(alone.draw(labels, 4, 1.0, "class").astype(int) - drawn).max() <= 1


def test_guidance_comes_from_source_or_prompt(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def batch(texts: Any, guidance: Any, _seed: Any, rows: Any) -> np.ndarray:
        seen.append((texts, guidance))
        return np.zeros((len(rows), 10, 10, 1), np.uint8)

    cases: list[tuple[dict[str, Any], Strategy]] = [
        ({"guidance": 3.0}, "class"),
        ({}, "random_guidance"),
        ({}, "class"),
    ]
    for source, strategy in cases:
        pipeline, _ = painted(tiny, **source)
        monkeypatch.setattr(pipeline, "_batch", batch)
        pipeline.draw(np.array([0, 0]), 0, 1.0, strategy)
    assert seen[0] == (["a a", "a a"], 3.0)
    assert seen[1][0] == ["an image of a a"] * 2
    assert seen[1][1] in (1.0, 2.0, 3.0, 4.0, 5.0)
    assert seen[2][1] is None


def test_one_guidance_a_class_in_whatever_parts_it_is_drawn(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, Any]] = []
    pipeline, _ = painted(tiny)

    def batch(texts: Any, guidance: Any, _seed: Any, rows: Any) -> np.ndarray:
        seen.extend((text, guidance) for text in texts)
        return np.zeros((len(rows), 10, 10, 1), np.uint8)

    monkeypatch.setattr(pipeline, "_batch", batch)
    for part in range(6):
        pipeline.draw(np.array([0, 1, 2, 3]), part, 1.0, "random_guidance")
    assert len(set(seen)) == 4  # one for each of the four classes
    assert len({guidance for _, guidance in seen}) > 1


def test_pickled_weights_are_refused(tiny: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    with pytest.raises(UserError, match="cannot be loaded as a safetensors pipeline"):
        painted(folder)[0].draw(np.array([0]), 0, 1.0, "class")


def test_something_else_than_a_pipeline_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "NoSuchPipeline"}')
    with pytest.raises(UserError, match=r"sd: .*cannot be loaded"):
        painted(tmp_path)[0].draw(np.array([0]), 0, 1.0, "class")
