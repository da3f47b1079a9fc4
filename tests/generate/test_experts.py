"""Static routing: which expert a token goes to, that equal experts are a dense model, and what the parameters count."""

from typing import Any

import pytest
import torch
from torch import nn

from burnish.core.errors import UserError
from burnish.generate.experts import (
    MINT,
    MOT,
    StackedLinear,
    by_expert,
    copy_expert,
    equal_parameters,
    expert_count,
    expert_sizes,
)
from burnish.generate.records import KINDS, Batch, Kind, Layout, Segment
from burnish.generate.sequence import storage
from tests.generate.small import different_experts, layout, random_batch, small_model

MIXED = layout(
    ("text", 2), ("clean", 4, 0), ("text", 2), ("noisy", 4, 1), ("noisy", 4, 1), ("clean", 4, 1), ("text", 1)
)


def test_the_routing_example() -> None:
    known = layout(("text", 2), ("clean", 2, 0), ("noisy", 2, 1), ("text", 1))
    kinds = [segment.kind for segment in known.segments for _ in range(segment.length)]
    assert [MINT[kind] for kind in kinds] == [0, 0, 1, 1, 2, 2, 0]
    sizes = expert_sizes(MINT, {kind: known.tokens(kind) for kind in MINT})
    assert sizes == [3, 2, 2]
    in_memory = [MINT[kinds[place]] for place in storage(known, ("text", "clean", "noisy")).tolist()]
    assert in_memory == [0, 0, 0, 1, 1, 2, 2]
    assert expert_sizes(MOT, {"text": 3, "clean": 2, "noisy": 2}) == [3, 4]


@pytest.mark.parametrize("routing", ["mot", "bagel", "mint", {"text": 0, "noisy": 0, "clean": 1}])
def test_equal_experts_are_a_dense_model(routing: str) -> None:
    dense = small_model("dense").double()
    routed = small_model(routing).double()
    batch = random_batch(MIXED, dtype=torch.float64)
    one, other = dense(batch), routed(batch)
    for name in ("text_logits", "estimates", "heat"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-12, rtol=0)
    assert one.estimates.std() > 0.1  # and it is not all nothing


def test_the_gradient_of_equal_experts_is_shared_out() -> None:
    dense, routed = small_model("dense").double(), small_model("mint").double()
    batch = random_batch(MIXED, dtype=torch.float64)
    for model in (dense, routed):
        said = model(batch)
        (said.text_logits.square().mean() + said.estimates.square().mean() + said.heat.square().mean()).backward()
    for (name, one), other in zip(dense.named_parameters(), routed.parameters(), strict=True):
        assert one.grad is not None, name
        assert other.grad is not None, name
        whole = by_expert(other.grad, 3).sum(0) if other.shape != one.shape else other.grad
        torch.testing.assert_close(whole, one.grad, atol=1e-12, rtol=1e-9)


def test_the_last_feed_forward_of_another_expert_changes_nothing_its_keys_do() -> None:
    model = different_experts(small_model("mint"))
    batch = random_batch(layout(("text", 2), ("clean", 4, 0), ("noisy", 4, 1), ("text", 1)))
    before = model(batch).estimates
    last: Any = model.layers[-1]
    with torch.no_grad():
        by_expert(last.feed.up.weight, 3)[MINT["text"]] += 1
    assert torch.equal(model(batch).estimates, before)
    with torch.no_grad():
        by_expert(last.attention.qkv.weight, 3)[MINT["text"]] += 1
    assert not torch.allclose(model(batch).estimates, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_a_rank_lacks_still_has_its_gradient(kind: Kind) -> None:
    """Else ranks wait for each other for ever: every parameter has one, of zeros where nothing was seen."""
    segments = [segment for segment in MIXED.segments if segment.kind != kind]
    model = small_model("mint")
    said = model(random_batch(Layout(tuple(segments))))
    (said.text_logits.square().sum() + said.estimates.square().sum() + said.heat.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    last: Any = model.layers[-1]
    assert not by_expert(last.feed.down.weight.grad, 3)[MINT[kind]].any()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("routing", "expected"), [("dense", 443_328), ("mot", 886_464), ("mint", 1_329_600)])
def test_parameter_counts(routing: str, expected: int) -> None:
    """d = 96, f = 384, plain feed-forward: 4 d^2 + 2 d f + 2 d = 110 784 a layer and expert. The notes count one
    QK-norm of 48 for all experts; ours is an expert's own."""
    from burnish.generate.config import UnifiedConfig
    from burnish.generate.experts import ROUTINGS
    from burnish.generate.model import UnifiedModel

    sizes = {
        "model_type": "qwen3",
        "hidden_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 24,
        "intermediate_size": 384,
        "hidden_act": "gelu",
        "vocab_size": 33,
    }
    model = UnifiedModel(UnifiedConfig(text=sizes, routing=ROUTINGS[routing], gated=False))
    experts = model.config.experts
    assert parameters(model.layers) - 4 * 48 * experts == experts * 4 * 110_784
    assert parameters(model.layers) - 4 * 48 * experts + 4 * 48 == expected


def test_equal_parameters() -> None:
    assert equal_parameters(96, 384, 2, matrices=2) == 960  # 2 f + 2 d
    assert equal_parameters(96, 384, 2) == 896  # 2 f + 4 d / 3
    assert equal_parameters(96, 384, 1) == 384


def test_copying_an_expert_touches_no_other() -> None:
    model = different_experts(small_model("mint"))
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    copy_expert(model, source=2, target=1)
    for name, parameter in model.named_parameters():
        if name.startswith(("layers.", "norm.")):
            now, old = by_expert(parameter, 3), by_expert(before[name], 3)
            assert torch.equal(now[1], old[2])
            assert torch.equal(now[[0, 2]], old[[0, 2]])
        else:
            assert torch.equal(parameter, before[name])


def test_routing_tables_that_cannot_be() -> None:
    with pytest.raises(UserError, match="it names text, clean, noisy"):
        expert_count({"text": 0, "noisy": 1})
    with pytest.raises(UserError, match="without a gap"):
        expert_count({"text": 0, "clean": 2, "noisy": 2})


def test_stacked_weights_are_the_layers_that_they_stack() -> None:
    layer = StackedLinear(2, 3, 5, bias=True)
    with torch.no_grad():
        layer.weight.normal_()
        assert layer.bias is not None
        layer.bias.normal_()
    parts = [torch.randn(4, 2, 3), torch.randn(1, 2, 3)]
    for expert, (part, said) in enumerate(zip(parts, layer(parts), strict=True)):
        torch.testing.assert_close(said, part @ by_expert(layer.weight, 2)[expert].T + by_expert(layer.bias, 2)[expert])


def test_masked_patches_are_not_seen() -> None:
    model = small_model("mint")
    known = Layout((Segment("clean", 4, 0), Segment("text", 1)))
    masked = torch.tensor([[[True, False, False, False]]])
    batch = random_batch(known, 1, masked=masked)
    other = Batch(known, batch.tokens, batch.clean.clone(), batch.noisy, batch.times, masked=masked)
    other.clean[0, 0, 0] += 5
    assert torch.equal(model(batch).text_logits, model(other).text_logits)
    other.clean[0, 0, 1] += 5
    assert not torch.equal(model(batch).text_logits, model(other).text_logits)


def test_a_copied_expert_goes_on_with_the_moments_of_the_other_by_hand() -> None:
    layer = StackedLinear(3, 1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [2.0], [3.0]]))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1.0, betas=(0.9, 0.999), weight_decay=0.0)
    layer.weight.grad = torch.tensor([[1.0], [0.0], [2.0]])  # the second expert has seen nothing yet
    optimizer.step()
    state = optimizer.state[layer.weight]
    torch.testing.assert_close(state["exp_avg"].flatten(), torch.tensor([0.1, 0.0, 0.2]))
    torch.testing.assert_close(state["exp_avg_sq"].flatten(), torch.tensor([0.001, 0.0, 0.004]))
    copy_expert(layer, source=2, target=1, moments=optimizer.state)
    torch.testing.assert_close(state["exp_avg"].flatten(), torch.tensor([0.1, 0.2, 0.2]))
    torch.testing.assert_close(state["exp_avg_sq"].flatten(), torch.tensor([0.001, 0.004, 0.004]))
    layer.weight.grad = torch.tensor([[0.0], [2.0], [2.0]])
    optimizer.step()
    # 3 - 1 of the first step, and 1 more: with the same gradient the corrected moments stay 2 and 4
    torch.testing.assert_close(layer.weight.detach()[1:].flatten(), torch.tensor([1.0, 1.0]))
