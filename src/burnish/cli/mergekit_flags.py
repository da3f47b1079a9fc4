"""The flags of `mergekit-yaml`, typed to `burnish merge`: honoured under our names, or answered in a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from burnish.core.errors import UserError

HONOURED: Mapping[str, str] = {
    "--out-shard-size": "--shard-size",
    "--num-threads": "--threads",
    "-j": "--threads",
    "--random-seed": "--set seed=",
}
"""Flags with a value that have a counterpart; the last is a setting of the merge."""
WITHOUT_VALUE: Mapping[str, Sequence[str]] = {"--cuda": ("--device", "cuda"), "--gpu-rich": ("--device", "cuda")}
"""Flags without a value, and what they mean here."""
NEEDLESS: Mapping[str, str] = {
    "--copy-tokenizer": "the tokenizer is always written; `tokenizer_source` in the YAML chooses which",
    "--lazy-unpickle": "models are always read piece by piece, and never unpickled",
    "--low-cpu-memory": "memory is bounded already; `burnish check` says by how much",
    "--read-to-gpu": "models are read piece by piece to where the arithmetic runs",
    "--multi-gpu": "one device does the arithmetic, and the disk is what it waits for",
    "--async-write": "writing goes on beside the arithmetic anyway",
    "--clone-tensors": "a layer that occurs twice is written twice anyway",
    "--write-model-card": "the model card is always written",
    "--safe-serialization": "only safetensors are written",
    "--no-trust-remote-code": "code of a model repository is never run",
    "--no-allow-crimes": "architectures that do not go together are always refused",
}
"""Flags that change nothing here, and why. Their opposites are here too where those ask for what is done anyway."""
NEEDLESS_WITH_VALUE: Mapping[str, str] = {
    "--lora-merge-cache": "adapters are added while they are read, nothing is kept",
    "--lora-merge-dtype": "adapters are added in float32, and rounded once",
    "--write-threads": "writing takes what it needs",
}
REFUSED: Mapping[str, str] = {
    "--allow-crimes": "architectures that do not go together are refused; `slices` or `modules` say what fits",
    "--trust-remote-code": "code of a model repository is never run; the merge needs the weights alone, leave it out",
    "--unsafe-truncate-embeddings": "give `tokenizer: {source: union}` (or base) in the YAML, which matches by token",
    "--transformers-cache": "set the variable HF_HOME",
    "--no-copy-tokenizer": "the tokenizer is always written; delete its files if they are not wanted",
    "--no-write-model-card": "the model card is always written; delete README.md if it is not wanted",
    "--no-safe-serialization": "only safetensors are written",
}


def translate(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments of ``burnish merge`` for those that may hold flags of mergekit's, and a line about each needless one.

    Raises:
        UserError: a flag that asks for what is not done here; says what takes its place.
    """
    found: list[str] = []
    notes: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if name in REFUSED:
            raise UserError(f"{name}: {REFUSED[name]}")
        if name in WITHOUT_VALUE and not equals:
            found += WITHOUT_VALUE[name]
        elif name in NEEDLESS and not equals:
            notes.append(f"{name} changes nothing: {NEEDLESS[name]}")
        elif name in NEEDLESS_WITH_VALUE:
            if not equals and left:
                left.pop(0)
            notes.append(f"{name} changes nothing: {NEEDLESS_WITH_VALUE[name]}")
        elif name.startswith("--no-") and (f"--{name[5:]}" in WITHOUT_VALUE or f"--{name[5:]}" in NEEDLESS):
            notes.append(f"{name} changes nothing")
        elif name in HONOURED and (equals or left):
            given = value if equals else left.pop(0)
            flag, setting, key = HONOURED[name].partition(" ")
            found += [flag, f"{key}{given}"] if setting else [flag, given]
        else:
            found.append(word)
    return found, notes
