"""Slices of keys and values, joined into what the model computes anew."""

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from burnish.dialogue.prefixes import Batch, CacheShape, Room, Slice


def test_gathered_slices_give_the_logits_of_the_whole_text() -> None:
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    texts = [torch.randint(50, (length,)).tolist() for length in (9, 4, 7)]

    def slices(text: list[int], *cuts: int) -> list[Slice]:
        cache = DynamicCache(config=config)
        model(torch.tensor([text]), cache=cache)
        keys, values = (torch.stack([getattr(layer, name)[0] for layer in cache.layers]) for name in ("keys", "values"))
        ends = (*cuts, len(text))
        return [
            Slice(tuple(text[start:end]), keys[:, :, start:end], values[:, :, start:end])
            for start, end in zip((0, *cuts), ends, strict=False)
        ]

    paths = [slices(texts[0], 2, 5), slices(texts[1]), slices(texts[2], 3)]
    memory = Room()
    memory.take([(3, 9, 2, 99, 8)] * 2, torch.zeros(0))[0].fill_(7.0)  # what another batch left must not shine through
    batch = Batch(paths, 5, CacheShape(3, 2, 8, 8), memory, torch.zeros(0))
    more = torch.tensor([[4, 5, 6], [0, 7, 8], [0, 0, 9]])
    logits = model(**batch.inputs(more, torch.tensor([0, 1, 2]))).logits[:, -1]
    whole = [[*texts[0], 4, 5, 6], [*texts[1], 7, 8], [*texts[2], 9]]
    for row, ids in enumerate(whole):
        assert torch.allclose(logits[row], model(torch.tensor([ids])).logits[0, -1], atol=1e-5)
    assert batch.lengths.tolist() == [12, 6, 8]

    batch.only(torch.tensor([0, 2]))
    logits = model(**batch.inputs(torch.tensor([[3], [3]]))).logits[:, -1]
    for row, ids in enumerate((whole[0], whole[2])):
        assert torch.allclose(logits[row], model(torch.tensor([[*ids, 3]])).logits[0, -1], atol=1e-5)
    made = batch.cut(0, 9, (4, 5, 6, 3))
    (rest,) = slices([*whole[0], 3], 9)[1:]
    assert torch.allclose(made.keys, rest.keys, atol=1e-5)
    assert torch.allclose(made.values, rest.values, atol=1e-5)


def test_room_is_used_again_and_grows() -> None:
    memory = Room()
    first = memory.take([(4, 5), (2,)], torch.zeros(0))
    again = memory.take([(3, 2), (2,)], torch.zeros(0))
    assert first[0].data_ptr() == again[0].data_ptr()
    assert memory.take([(400,), (2,)], torch.zeros(0))[0].shape == (400,)
    assert again[0].shape == (3, 2)
