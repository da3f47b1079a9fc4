"""Tiny models of every family, and the smallest problem that a search can improve on."""

import copy

import numpy as np
import pytest
import torch

from burnish.merge.rmm.data import causal_choices, images, seq2seq_choices
from burnish.merge.rmm.problem import Problem
from burnish.merge.rmm.recipe import SearchRecipe, TaskFiles

LAYERS = 3
PPO = {"epochs": 3}


def vit(seed=0, layers=LAYERS, hidden=16, labels=3, channels=1):
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(seed)
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 24}
    config = ViTConfig(image_size=8, patch_size=4, num_channels=channels, num_labels=labels, **sizes)
    return ViTForImageClassification(config).eval()


def bert(seed=0):
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 24}
    return BertForSequenceClassification(BertConfig(vocab_size=20, max_position_embeddings=16, **sizes)).eval()


def llama(seed=0):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 24}
    return LlamaForCausalLM(LlamaConfig(vocab_size=20, num_key_value_heads=1, **sizes)).eval()


def gpt2(seed=0):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=32, n_embd=16, n_layer=LAYERS, n_head=2)).eval()


def t5(seed=0):
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(seed)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2}
    config = T5Config(vocab_size=20, decoder_start_token_id=0, **sizes)
    return T5ForConditionalGeneration(config).eval()


def bart(seed=0):
    from transformers import BartConfig, BartForConditionalGeneration

    torch.manual_seed(seed)
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sizes = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
    config = BartConfig(vocab_size=20, max_position_embeddings=32, decoder_start_token_id=2, **sizes, **heads)
    return BartForConditionalGeneration(config).eval()


def drifted(model, seed, scale=0.05):
    """A 'fine-tune': the base plus noise of its own."""
    torch.manual_seed(seed)
    expert = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in expert.parameters():
            parameter += scale * torch.randn_like(parameter)
    return expert


def task_for(model, name="task", items=12, head=0, seed=5):
    """Random items of the kind that the model takes."""
    rng = np.random.default_rng(seed)
    kind = type(model).__name__
    if kind.startswith("ViT"):
        pixels = torch.tensor(rng.normal(size=(items, 1, 8, 8)), dtype=torch.float32)
        return images(name, pixels, torch.tensor(rng.integers(3, size=items)), head)
    prompts = [rng.integers(3, 20, size=rng.integers(2, 6)).tolist() for _ in range(items)]
    if kind.startswith("Bert"):
        from burnish.merge.rmm.data import TaskData, _padded

        ids, attention = _padded(prompts, 0)
        labels = torch.tensor(rng.integers(2, size=items))
        return TaskData(name, "classes", {"input_ids": ids, "attention_mask": attention}, labels, head)
    choices = [[rng.integers(3, 20, size=rng.integers(1, 4)).tolist() for _ in range(3)] for _ in range(items)]
    answers = rng.integers(3, size=items).tolist()
    if model.config.is_encoder_decoder:
        return seq2seq_choices(name, prompts, choices, answers, model.config.decoder_start_token_id)
    return causal_choices(name, prompts, choices, answers)


def problem_for(make, items=12, experts=2, tasks=1):
    base = make()
    models = [drifted(base, seed) for seed in range(1, experts + 1)]
    validation = [task_for(base, f"task {n}", items, head=n % experts, seed=n) for n in range(tasks)]
    test = [task_for(base, f"task {n}", items, head=n % experts, seed=100 + n) for n in range(tasks)]
    return Problem.from_models(base, models, validation, test)


@pytest.fixture(scope="session")
def vit_problem():
    return problem_for(vit, items=30, tasks=2)


def recipe(**settings):
    tasks = [{"name": f"task {n}", "validation": "v", "test": "t"} for n in range(2)]
    return SearchRecipe(**{"base": "b", "experts": ["x", "y"], "tasks": tasks, "tuning_budget": 0, **settings})


def save_run(tmp_path, **settings):
    """A recipe of two experts on two tasks, with all its files in ``tmp_path``."""
    base = vit()
    base.save_pretrained(tmp_path / "base")
    tasks = []
    for number in range(2):
        drifted(base, number + 1).save_pretrained(tmp_path / f"expert{number}")
        task = {"name": f"task {number}"}
        for part in ("validation", "test"):
            data = task_for(base, items=20, seed=number + 7 * (part == "test"))
            path = tmp_path / f"{part}{number}.npz"
            np.savez(path, images=data.inputs["pixel_values"].numpy(), labels=data.labels.numpy())
            task[part] = str(path)
        tasks.append(task)
    experts = [str(tmp_path / f"expert{number}") for number in range(2)]
    settings = {"tuning_budget": 6, **settings}
    return SearchRecipe(
        base=str(tmp_path / "base"),
        experts=experts,
        tasks=[TaskFiles.model_validate(task) for task in tasks],
        **settings,
    )


def wrong_recipe(**settings):
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as caught:
        recipe(**settings)
    return str(caught.value)
