"""FLOPs against closed forms, whatever attention a model asks for."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from burnish.core.errors import UserError
from burnish.distill.cost import Cost, Costs, ModelFlops, model_flops


def plain(model: nn.Module, sample: Tensor) -> Tensor:
    found: Tensor = model(sample)
    return found


def hugging(model: nn.Module, sample: Tensor) -> Tensor:
    found: Tensor = model(pixel_values=sample).logits
    return found


class Attention(nn.Module):
    """One layer: queries, keys, values, scores, sums, output."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inwards, self.outwards = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        split = self.inwards(tokens).reshape(batch, length, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        return self.outwards(mixed.transpose(1, 2).reshape(batch, length, width))


def test_an_attention_layer_is_its_closed_form() -> None:
    length, width = 12, 16
    products, scores = 8 * length * width**2, 4 * length**2 * width
    found = model_flops(Attention(width, heads=4), plain, (length, width))
    assert found.forward == products + scores
    # each product has two gradients; that of the input of the first, three quarters of the projections, is not needed
    assert found.training == 3 * (products + scores) - 6 * length * width**2


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_video_transformer_is_its_closed_form(attention: str) -> None:
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    width, inner, patches, labels = 32, 64, 4 * 4 * 4, 5
    config = VideoMAEConfig(
        image_size=32, patch_size=8, num_frames=8, tubelet_size=2, hidden_size=width, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=inner, num_labels=labels, attn_implementation=attention,
    )  # fmt: skip
    model = VideoMAEForVideoClassification(config).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = model_flops(model, hugging, (8, 3, 32, 32))
    embedding = 2 * patches * (2 * 8 * 8 * 3) * width
    layer = 8 * patches * width**2 + 4 * patches**2 * width + 4 * patches * width * inner
    assert found.forward == embedding + layer + 2 * width * labels
    assert 2.3 * found.forward < found.training < 3 * found.forward
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all((before[name] == value).all() for name, value in model.state_dict().items())


def test_training_counts_the_trained_parameters_alone() -> None:
    first, second = 2 * 6 * 5, 2 * 5 * 4
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    assert model_flops(model, plain, (6,)) == ModelFlops(first + second, 2 * first + 3 * second)
    model[0].requires_grad_(False)
    assert model_flops(model, plain, (6,)) == ModelFlops(first + second, first + 2 * second)
    model.requires_grad_(False)
    assert model_flops(model, plain, (6,)) == ModelFlops(first + second, first + second)


def test_torchs_own_transformer_has_no_uncounted_short_cut() -> None:
    model = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).requires_grad_(False)
    found = model_flops(model, plain, (12, 16))
    assert found.forward == 8 * 12 * 16**2 + 4 * 12**2 * 16 + 4 * 12 * 16 * 32
    assert torch.backends.mha.get_fastpath_enabled()


class Looking(nn.Module):
    """Asks for a value, which nothing without storage has; and keeps statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(6), nn.Linear(6, 4)

    def forward(self, sample: Tensor) -> Tensor:
        found: Tensor = self.layer(self.norm(sample) + torch.rand(1, device=sample.device))
        return found * 2 if found.detach().sum().item() > 0 else found


def test_a_model_that_looks_at_values_runs_as_a_copy() -> None:
    model = Looking()
    seed = torch.get_rng_state()
    assert model_flops(model, plain, (6,)) == ModelFlops(48, 144)
    assert (torch.get_rng_state() == seed).all()
    assert model.layer.weight.grad is None
    assert model.norm.num_batches_tracked == 0


def test_half_precision_and_a_wrong_shape() -> None:
    assert model_flops(nn.Linear(6, 5).bfloat16(), plain, (6,)).forward == 60
    with pytest.raises(UserError, match=r"FLOPs: Linear does not run on a sample of shape \[7\] \("):
        model_flops(nn.Linear(6, 5), plain, (7,))


def test_costs_add_up_and_come_back_from_numbers() -> None:
    costs = Costs(teacher=Cost(10, 1), student=Cost(20, 2)) + Costs(student=Cost(5, 0.5), decoding=Cost(seconds=4))
    assert costs == Costs(decoding=Cost(0, 4), teacher=Cost(10, 1), student=Cost(25, 2.5))
    assert costs.total == Cost(35, 7.5)
    assert costs.numbers()["student_flops"] == 25
    assert costs.numbers()["total_seconds"] == 7.5
    assert Costs.from_numbers(costs.numbers()) == costs
