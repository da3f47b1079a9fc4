"""A BERT of a few thousand random weights with the words of the procedural texts: for trying things."""

from __future__ import annotations

from pathlib import Path


def write_encoder(folder: Path, width: int = 16, seed: int = 0) -> Path:
    """A model folder with its tokenizer."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    from burnish.testbeds.phrases import requests, reviews, triage

    rows = [row for task in (requests, reviews, triage) for row in task()[:400]]
    words = sorted({word for row in rows for word in row["text"].lower().replace(".", " ").split()})
    letters = [chr(code) for code in range(97, 123)]
    marks = [*'.,:"?!', *map(str, range(10))]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters), *marks]
    vocabulary = {token: place for place, token in enumerate(dict.fromkeys([*tokens, *words]))}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    inner.decoder = decoders.WordPiece()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **names)
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
