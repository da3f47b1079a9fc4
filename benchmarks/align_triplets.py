"""Triplets a minute against a loop that asks one view at a time, and probes that share their picture.

    python benchmarks/align_triplets.py [--size small|7b] [--records 32] [--batch 64] [--repeats 3] [--device cpu]
        [--json FILE]

Four views of each picture are answered, a summary is written, and a pair is formed:
  factory      the product: all views of a shard in batches, each picture read once, shared beginnings once
  rows alone   the product with a batch of one row: what its own code costs
  one by one   a naive loop: each view made, encoded and answered by transformers' generate, then the summary
All three must write the same words, token for token. Then POPE's probes, 18 a picture, in the same way: there the
picture and the beginning of the question are read once for all of them. `small` is a LLaVA with a CLIP tower (256 x 4,
96 px in patches of 12: 64 places) and a Llama (256 x 4), random weights, pictures of 64 to 100 px; its answers end at
one word in thirty, or after 64, so that some rows are done long before others. The shorter answers are the more of the
time is spent on reading pictures, which no batch spares on a CPU. One thread, and on a CPU its own seconds rather than
the wall's, which neighbours disturb; medians over repeats, and the ratio of each pair.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from burnish.align.factory import FactoryPlan, make_triplets, show_views
from burnish.align.gate import Candidates, Pair, form_pair
from burnish.align.generators.transformers import TransformersGenerator
from burnish.align.recipe import GeneratorSettings
from burnish.align.records import Ask, Record, Sampling, make_record
from burnish.align.settings import PairSettings, ViewSettings
from burnish.align.summary import summary_prompt, wants_summary
from burnish.align.truths import allowed_families
from burnish.align.views import plan_views
from burnish.align.vocabularies import load_vocabulary
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question

SIZES: dict[str, dict[str, Any]] = {
    "small": {
        "text": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4},
        "vision": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4},
        "side": 96, "patch": 12, "tokens": 64, "spread": 5.0, "pictures": (64, 100),
    },
    "7b": {
        "text": {
            "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        },
        "vision": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
        "side": 336, "patch": 14, "tokens": 128, "spread": 1.0, "pictures": (336, 640),
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--records", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    clock = time.process_time if options.device == "cpu" else _synchronized
    chat = new_model(options.size, options.device)
    weights = sum(weight.numel() for weight in chat.model.parameters())
    print(f"{options.size}, {weights / 1e6:.1f} M weights; {options.device}, torch {torch.__version__}", flush=True)
    rows = [triplets(chat, options, clock), probes(chat, options, clock)]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def new_model(size: str, device: str) -> ChatModel:
    """A LLaVA with random weights that writes words of COCO's vocabulary; one in thirty ends a text."""
    shape = SIZES[size]
    vocabulary = load_vocabulary("coco")
    words = dict.fromkeys(word for phrase in vocabulary.phrases for word in phrase)
    specials = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
    known = [*specials, *words]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config = transformers.LlavaConfig(
        text_config={
            "model_type": "llama", "vocab_size": len(tokenizer), "max_position_embeddings": 4096, **shape["text"],
        },
        vision_config={
            "model_type": "clip_vision_model", "image_size": shape["side"], "patch_size": shape["patch"],
            **shape["vision"],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    with torch.device(device):
        network = transformers.LlavaForConditionalGeneration(config).to(dtype).eval().requires_grad_(False)
    for weight in network.parameters():  # so that a word depends on what came before
        if weight.ndim > 1:
            weight.mul_(shape["spread"])
    never = torch.tensor(tokenizer.convert_tokens_to_ids(specials), device=device)
    network.get_output_embeddings().register_forward_hook(
        lambda _module, _inputs, logits: logits.index_fill(-1, never, -1e4)
    )
    network.generation_config.pad_token_id = tokenizer.pad_token_id
    network.generation_config.eos_token_id = list(range(len(specials), len(tokenizer), 30))
    processor = transformers.LlavaProcessor(
        CLIPImageProcessorPil(
            size={"shortest_edge": shape["side"]}, crop_size={"height": shape["side"], "width": shape["side"]}
        ),
        tokenizer,
        patch_size=shape["patch"],
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template="{% for m in messages %}{{ m.role }}: {% for c in m.content %}"
        "{{ '<image> ' if c.type == 'image' else c.text }}{% endfor %} {% endfor %}assistant: ",
    )
    return ChatModel(network, processor, "benchmark")


def triplets(chat: ChatModel, options: argparse.Namespace, clock: Callable[[], float]) -> dict[str, Any]:
    """Seconds of each way for the same records, by which words are equal."""
    tokens = SIZES[options.size]["tokens"]
    plan = FactoryPlan(
        ViewSettings(),
        PairSettings(margin=None, shortest=0, most_invented=99),
        GeneratorSettings(temperature=0, tokens=tokens, records=options.records),
        load_vocabulary("coco"),
    )
    seconds: dict[str, list[float]] = {"factory": [], "rows alone": [], "one by one": []}
    counts: dict[str, Any] = {}
    kept: list[int] = []
    for repeat in range(options.repeats + 1):
        records = records_of(options.records if repeat else 4, repeat, SIZES[options.size]["pictures"])
        written = {}
        for way, batch in (("factory", options.batch), ("rows alone", 1)):
            generator = TransformersGenerator(chat, batch=batch)
            if generator.why_not_shared:
                raise SystemExit(generator.why_not_shared)
            with tempfile.TemporaryDirectory() as folder:
                begun = clock()
                made = make_triplets(records, generator, plan, Path(folder))
                spent = clock() - begun
                written[way] = [(tuple(each.answer.text for each in case.heard), case.result) for case in made.cases()]
            if repeat:  # the first warms up
                seconds[way].append(spent)
                counts[way] = asdict(generator.counts)
        begun = clock()
        written["one by one"] = one_by_one(chat, records, plan, tokens)
        if repeat:
            seconds["one by one"].append(clock() - begun)
        check(written, options.device)
        if repeat:
            kept.append(sum(isinstance(found, Pair) for _, found in written["factory"]))
    a_minute = {f"pairs a minute, {way}": round(60 * sum(kept) / sum(each)) for way, each in seconds.items()}
    return {"records": options.records, "pairs": kept} | compared(seconds) | a_minute | counts["factory"]


def one_by_one(chat: ChatModel, records: Sequence[Record], plan: FactoryPlan, tokens: int) -> list[tuple[Any, Any]]:
    """What anyone would write first."""
    found = []
    for record in records:
        families = allowed_families(record.question, record.text, plan.views).families
        answers = []
        for view in plan_views(record.sample, families, plan.views, plan.seed):
            ((image,),) = show_views([(record.image, [view])])
            answers.append(generated(chat, record.question, image, tokens)[0])
        case = Candidates(record.sample, record.question, record.text, tuple(answers))
        if wants_summary(case, plan.vocabulary, plan.pairs):
            prompt = summary_prompt(plan.generator.summary, record.question, answers)
            text, cut = generated(chat, prompt, None, tokens)
            case = replace(case, summary=text, summary_cut=cut)
        found.append((case.answers, form_pair(case, plan.vocabulary, plan.pairs)))
    return found


@torch.no_grad()
def generated(chat: ChatModel, question: str, image: Image.Image | None, tokens: int) -> tuple[str, bool]:
    """One answer by transformers' own generate, and whether the limit cut it."""
    images = () if image is None else (image,)
    inputs = chat.encode(chat.render([Question(question, "", images=images)]), [images] if images else None)
    ids = chat.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    cut = int(ids[-1]) not in chat.model.generation_config.eos_token_id
    return str(chat.tokenizer.decode(ids, skip_special_tokens=True)).strip(), cut


def probes(chat: ChatModel, options: argparse.Namespace, clock: Callable[[], float]) -> dict[str, Any]:
    """POPE's probes of some pictures: 18 of each, answers of four words."""
    names = list(load_vocabulary("coco").entities)
    seconds: dict[str, list[float]] = {"factory": [], "rows alone": [], "one by one": []}
    counts: dict[str, Any] = {}
    pictures = max(2, options.records // 4)
    for repeat in range(options.repeats + 1):
        records = records_of(pictures if repeat else 2, 50 + repeat, SIZES[options.size]["pictures"])
        asks = [
            Ask(f"Is there a {names[(7 * place + probe) % len(names)]} in the image?", record.image)
            for probe in range(18)
            for place, record in enumerate(records)
        ]
        written: dict[str, Any] = {}
        for way, batch in (("factory", options.batch), ("rows alone", 1)):
            generator = TransformersGenerator(chat, batch=batch)
            begun = clock()
            written[way] = [answer.text for answer in generator.answer(asks, Sampling(4))]
            if repeat:
                seconds[way].append(clock() - begun)
                counts[way] = asdict(generator.counts)
        begun = clock()
        written["one by one"] = [generated(chat, ask.question, ask.image, 4)[0] for ask in asks]
        if repeat:
            seconds["one by one"].append(clock() - begun)
        check(written, options.device)
    return {"probes": 18 * pictures} | compared(seconds) | counts["factory"]


def records_of(count: int, seed: int, sizes: tuple[int, int]) -> list[Record]:
    """Pictures of a few sizes, smooth enough to be compressed, with a caption each."""
    draw = torch.Generator().manual_seed(seed)
    found = []
    for number in range(count):
        low, high = sizes
        width, height = (low + (high - low) * ((number + turn) % 3) // 2 for turn in (0, 1))
        coarse = torch.rand((1, 3, 6, 6), generator=draw)
        pixels = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0)
        image = Image.fromarray((255 * pixels).byte().numpy())
        found.append(make_record(image, "What does the picture show?", f"A dog and thing {number}."))
    return found


def check(written: dict[str, Any], device: str) -> None:
    """Stop if two ways wrote different words; half precision may tip one now and then."""
    first = written["factory"]
    for way, others in written.items():
        same = sum(one == other for one, other in zip(first, others, strict=True)) / len(first)
        if same < (1 if device == "cpu" else 0.8):
            raise SystemExit(f"factory and {way} write the same for {100 * same:.0f} % of the records only")


def compared(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and the ratio of each pair."""
    medians = {f"{way} s": round(statistics.median(each), 2) for way, each in seconds.items()}
    ratios = {
        f"{way} / factory": round(
            statistics.median(own / best for own, best in zip(seconds[way], seconds["factory"], strict=True)), 2
        )
        for way in ("rows alone", "one by one")
    }
    return medians | ratios


def _synchronized() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
