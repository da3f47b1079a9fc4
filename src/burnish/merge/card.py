"""What was merged from what: `burnish_merge.json` for machines, `README.md` for people."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xxhash

from burnish.merge.journal import Journal, content_digest
from burnish.merge.steps import MergePlan

_CARD = """---
{head}
---
# {name}

A merge of {models_merged} by `{method}` ({reference}), made with Burnish {version}.

## Models

{models}

The hash is XXH3-128 over the name and content of every tensor that was read.

## How

{tensors} tensors, {layers}result in {dtype}. Arithmetic in float32, rounded once.

{fence}yaml
{yaml}
{fence}

## Repeat

```sh
burnish merge mergekit_config.yml {name}
```

The result is the same, byte for byte, at any number of threads; its hash is `{digest}`.
"""


def record(plan: MergePlan, journal: Journal) -> dict[str, Any]:
    """Fingerprint, inputs with content hashes, and the result's hash."""
    inputs = []
    for index, checkpoint in enumerate(plan.checkpoints):
        digest, count, seen = xxhash.xxh3_128(), 0, set()
        for step in plan.steps:
            for model, source in zip(step.models, step.sources, strict=True):
                halves = source.lora.halves if source.lora else ()
                if model == index:
                    seen |= {(str(info.path), info.name) for info in (source.info, *halves)}
        for key in sorted(seen, key=lambda key: (key[1], key[0])):
            digest.update(f"{key[1]} {journal.inputs[key]}\n".encode())
            count += 1
        inputs.append({"model": str(checkpoint.reference), "tensors": count, "xxh3_128": digest.hexdigest()})
    shards: dict[str, dict[str, str]] = {}
    for step in plan.steps:
        shards.setdefault(plan.shards[step.shard].name, {})[step.name] = journal.outputs[step.name]
    return {
        "burnish": version("burnish"),
        "fingerprint": plan.fingerprint,
        "method": plan.method.name,
        "reference": plan.method.reference,
        "inputs": inputs,
        "result": {"tensors": len(plan.steps), "bytes": plan.writes, "xxh3_128": content_digest(journal.outputs)},
        "shards": {name: content_digest(digests) for name, digests in shards.items()},
    }


def card(plan: MergePlan, written: dict[str, Any], name: str) -> str:
    """The model card."""
    base = plan.config.base_model
    bases = [str(checkpoint.reference.model) for checkpoint in plan.checkpoints]
    # The hub takes ids only; a local path, which `org/name` may be as well, would be refused on upload.
    ids = [text for text in bases if text.count("/") == 1 and not text.startswith(("/", ".", "~"))]
    ids = [text for text in dict.fromkeys(ids) if not Path(text).is_dir()]
    head = f"base_model: {json.dumps(ids)}\nlibrary_name: transformers\ntags: [merge, burnish]"
    models = "\n".join(
        f"- `{entry['model']}`{' (base)' if base is not None and entry['model'] == str(base) else ''}: "
        f"{entry['tensors']} tensors, `{entry['xxh3_128']}`"
        for entry in written["inputs"]
    )
    layers = "".join(f"{len(part.layers)} layers in `{part.stack.prefix}`, " for part in plan.selection.parts)
    dtypes = Counter(step.dtype for step in plan.steps)
    text = plan.config.yaml.rstrip()
    count = len(plan.checkpoints)
    return _CARD.format(
        head=head,
        name=name,
        models_merged=f"{count} model{'s' * (count != 1)}",
        method=plan.method.name,
        reference=plan.method.reference,
        version=written["burnish"],
        models=models,
        tensors=len(plan.steps),
        layers=layers,
        dtype=dtypes.most_common(1)[0][0],
        yaml=text,
        fence="`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0)),
        digest=written["result"]["xxh3_128"],
    )
