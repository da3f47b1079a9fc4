"""Which tensors of which models make each tensor of the result: `models`, `slices` and `modules` laid out flat.

Knows layouts and names; no arithmetic, no file offsets. What does not fit together is refused here, by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from burnish.core.errors import UserError
from burnish.core.yaml_marks import KeyPath
from burnish.merge.architecture import BUFFERS, Layout, Stack, comes_before
from burnish.merge.config import InputModel, InputSlice, MergeConfig, OutputModule, OutputSlice
from burnish.merge.reference import Reference
from burnish.merge.setting import Setting
from burnish.merge.sources import Checkpoint, Source

Settings = Mapping[str, Setting]


@dataclass(frozen=True)
class Member:
    """One model's part in an output tensor.

    Attributes:
        model: index of the checkpoint.
        name: the input tensor's name, which per-model filters look into.
        source: its bytes.
        settings: this model's parameters, nearest first.
        statistics: the model's statistics file, if it brings one.
        base: whether it is the base model.
    """

    model: int
    name: str
    source: Source
    settings: tuple[Settings, ...]
    statistics: str | None
    base: bool


@dataclass(frozen=True)
class Group:
    """Everything that makes one output tensor.

    Attributes:
        name: of the output tensor.
        t: its depth, from 0 (first layer, and outside the layers) to 1, where gradients are read.
        members: the models' tensors, in the order of the file.
        settings: parameters for all models, nearest first.
        vocabulary: whether the first axis is the vocabulary.
        base: the base model, whether it is among the members or not.
        where: `file:line` of the models, to begin an error with.
        kept: only the reference takes part: the tensor belongs to a head that the others lack, and is copied.
    """

    name: str
    t: float
    members: tuple[Member, ...]
    settings: tuple[Settings, ...]
    vocabulary: bool
    base: Reference | None
    where: str
    kept: bool = False


@dataclass(frozen=True)
class Part:
    """A stack of the result: its slices, and for each layer where it comes from.

    Attributes:
        stack: the reference model's.
        module: the module's own parameters.
        slices: in order.
        path: where in the file they stand.
    """

    stack: Stack
    module: OutputModule
    slices: tuple[OutputSlice, ...]
    path: KeyPath

    @property
    def layers(self) -> list[int]:
        """For each layer of the result the layer of the first source that it comes from."""
        return [layer for piece in self.slices for layer in range(*piece.sources[0].layer_range)]


class Selection:
    """The result as a list of groups.

    Models that are one network under different heads (`architectures` differs: BertModel, BertForMaskedLM) are aligned
    by this rule: the network's tensors are mixed, with the prefix or without; what comes after the layers and not every
    model has is the reference's, as it is, and is left out where the reference lacks it. Under one class a tensor that
    a model lacks is refused.

    Attributes:
        left_out: tensors of other heads that the result does not have; known once `groups` has run.

    Args:
        config: the merge.
        checkpoints: every model, the reference (base or first) first.

    Raises:
        UserError: stacks, layers or tensors that do not fit together.
    """

    def __init__(self, config: MergeConfig, checkpoints: Sequence[Checkpoint]) -> None:
        self.config = config
        self.checkpoints = checkpoints
        self._index = {checkpoint.reference: index for index, checkpoint in enumerate(checkpoints)}
        self.layout: Layout = checkpoints[0].layout
        self.left_out: set[str] = set()
        self.parts = self._parts()

    def groups(self) -> Iterator[Group]:
        """The output's tensors: what comes before the layers, the layers, what comes after."""
        whole = self.parts or (self._whole(),)
        before: list[str] = []
        after: list[str] = []
        for name in self.layout.loose:
            (before if name in self.layout.before else after).append(name)
        extra = sorted({name for part in whole for name in self._extra_heads(part)})
        for name in before:
            yield from self._loose(name, whole, first=True)
        for part in self.parts:
            yield from self._layers(part)
        for name in [*after, *extra]:
            yield from self._loose(name, whole, first=False)

    def _parts(self) -> tuple[Part, ...]:
        config, stacks = self.config, self.layout.stacks
        if config.models is not None:
            return tuple(Part(stack, config, (self._full(config.models, stack, ()),), ("models",)) for stack in stacks)
        if config.slices is not None:
            counted = [stack for stack in stacks if stack.count_key] or list(stacks)
            if len(stacks) != 1 and (len(counted) != 1 or len(stacks) > len(counted)):
                have = ", ".join(stack.prefix for stack in stacks) or "none"
                raise UserError(
                    f"{config.where('slices')}: `slices` needs a model with one stack of layers, this has "
                    f"{len(stacks)} "
                    f"({have}); name them under `modules`"
                )
            self._check_ranges(config.slices, counted[0], ("slices",))
            return (Part(counted[0], config, tuple(config.slices), ("slices",)),)
        parts = {}
        for name, module in (config.modules or {}).items():
            try:
                stack = self.layout.stack(name)
            except UserError as error:
                raise UserError(f"{config.where('modules', name)}: {error}") from None
            path = ("modules", name)
            if module.slices is not None:
                self._check_ranges(module.slices, stack, (*path, "slices"))
            slices = tuple(module.slices or [self._full(module.models or [], stack, path)])
            parts[stack.prefix] = Part(stack, module, slices, (*path, "slices" if module.slices else "models"))
        missing = [stack.prefix for stack in stacks if stack.prefix not in parts]
        if missing:
            raise UserError(f"{config.where('modules')}: `modules` leaves out {', '.join(missing)}; name every stack")
        return tuple(parts[stack.prefix] for stack in stacks)

    def _whole(self) -> Part:
        """A model without layers (a linear classifier) is one slice of none."""
        stack = Stack("", (), None)
        models = self.config.models
        if models is None:
            raise UserError(f"{self.config.where()}: no stack of layers was found in {self.checkpoints[0].folder}")
        return Part(stack, self.config, (self._full(models, stack, ()),), ("models",))

    def _full(self, models: Sequence[InputModel], stack: Stack, path: KeyPath) -> OutputSlice:
        """Whole models as one slice over all layers; a base that is not among them joins, as in mergekit."""
        entries = list(models)
        base = self.config.base_model
        if base is not None and all(entry.model != base for entry in entries):
            entries.append(InputModel(model=base))
        sources = []
        for entry in entries:
            count = len(self._stack_of(self._index[entry.model], stack)) if len(stack) else 0
            given = {key: getattr(entry, key) for key in ("model", "parameters", "statistics")}
            sources.append(InputSlice.model_construct(layer_range=(0, count), **given))
        counts = {source.layer_range[1]: source.model for source in reversed(sources)}
        if len(counts) > 1:
            (few, one), (many, other) = sorted(counts.items())[:2]
            raise UserError(
                f"{self.config.where(*path, 'models')}: {one} has {few} layers in {stack.prefix!r}, {other} has "
                f"{many}: "
                "different architectures; pick layers with `slices`"
            )
        return OutputSlice.model_construct(sources=sources, base_model=None, parameters={})

    def _check_ranges(self, slices: Sequence[OutputSlice], stack: Stack, path: KeyPath) -> None:
        for number, piece in enumerate(slices):
            for position, source in enumerate(piece.sources):
                count = len(self._stack_of(self._index[source.model], stack))
                if source.layer_range[1] > count:
                    where = self.config.where(*path, number, "sources", position, "layer_range")
                    raise UserError(
                        f"{where}: layer_range {list(source.layer_range)}: {source.model} has {count} layers"
                    )

    def _stack_of(self, model: int, stack: Stack) -> Stack:
        """A model's stack that corresponds to the reference's."""
        stacks = self.checkpoints[model].layout.stacks
        bare = stack.prefix.partition(".")[2]
        for candidate in stacks:
            if candidate.prefix in (stack.prefix, bare) or candidate.prefix.partition(".")[2] == stack.prefix:
                return candidate
        raise UserError(
            f"{self.checkpoints[model].reference}: no layers {stack.prefix!r} as in {self.checkpoints[0].reference}: "
            "different architectures cannot be merged"
        )

    def _layers(self, part: Part) -> Iterator[Group]:
        number = 0
        for piece in part.slices:
            count = piece.sources[0].layer_range[1] - piece.sources[0].layer_range[0]
            for offset in range(count):
                t = offset / (count - 1) if count > 1 else 1.0
                yield from self._layer(part, piece, offset, number, t)
                number += 1

    def _layer(self, part: Part, piece: OutputSlice, offset: int, number: int, t: float) -> Iterator[Group]:
        names = []
        for source in piece.sources:
            stack = self._stack_of(self._index[source.model], part.stack)
            layer = source.layer_range[0] + offset
            names.append({suffix: f"{stack.prefix}.{layer}.{suffix}" for suffix in stack.suffixes[layer]})
        everywhere = set(names[0]).intersection(*names)
        order = [*names[0], *sorted(set().union(*names).difference(names[0]))]
        for suffix in order:
            if suffix not in everywhere:
                if BUFFERS.search(suffix):
                    continue
                absent = next(index for index, have in enumerate(names) if suffix not in have)
                present = next(index for index, have in enumerate(names) if suffix in have)
                raise self._missing(piece, present, absent, names[present][suffix])
            inputs = [self.checkpoints[self._index[source.model]] for source in piece.sources]
            found = [_source(have, checkpoint[suffix]) for have, checkpoint in zip(inputs, names, strict=True)]
            output = f"{part.stack.prefix}.{number}.{suffix}"
            yield self._group(output, t, part, piece, [have[suffix] for have in names], found)

    def _loose(self, name: str, parts: Sequence[Part], *, first: bool) -> Iterator[Group]:
        part = _nearest(name, parts)
        piece = part.slices[0 if first else -1]
        found = [self.checkpoints[self._index[source.model]].find(name) for source in piece.sources]
        if None in found:
            if BUFFERS.search(name) or not any(found):
                return
            kept = next((index for index, entry in enumerate(piece.sources) if self._index[entry.model] == 0), None)
            lack = [entry for entry, source in zip(piece.sources, found, strict=True) if source is None]
            if kept is not None and all(self._other_head(self._index[entry.model], name) for entry in lack):
                own = found[kept]
                if own is not None:
                    alone = piece.model_copy(update={"sources": [piece.sources[kept]]})
                    yield replace(self._group(name, 0.0, part, alone, [name], [own]), kept=True)
                return
            absent = found.index(None)
            present = next(index for index, source in enumerate(found) if source is not None)
            raise self._missing(piece, present, absent, name)
        names = [name] * len(found)
        yield self._group(name, 0.0, part, piece, names, [source for source in found if source is not None])

    def _extra_heads(self, part: Part) -> Iterator[str]:
        """Loose tensors that the reference lacks: an untied head is merged with the reference's tied one."""
        reference = self.checkpoints[0]
        for piece in part.slices:
            for position, source in enumerate(piece.sources):
                checkpoint = self.checkpoints[self._index[source.model]]
                for name in checkpoint.layout.loose:
                    if name in self.layout.loose or BUFFERS.search(name):
                        continue
                    if name in checkpoint.layout.heads and reference.find(name) is not None:
                        yield name
                    elif not any(
                        name in (other.partition(".")[2], f"{_first(other, name)}") for other in self.layout.loose
                    ):
                        if self._other_head(self._index[source.model], name):
                            self.left_out.add(name)
                            continue
                        raise UserError(
                            f"{self.config.where(*part.path)}: tensor {name!r} is in {piece.sources[position].model} "
                            "but "
                            f"not in {reference.reference}: different architectures cannot be merged"
                        )

    def _other_head(self, model: int, name: str) -> bool:
        """Whether a tensor comes after the layers, and the model is of another class than the reference."""
        ours, theirs = (self.checkpoints[index].config.get("architectures") for index in (0, model))
        return bool(ours and theirs and ours != theirs) and not comes_before(name)

    def _missing(self, piece: OutputSlice, present: int, absent: int, name: str) -> UserError:
        return UserError(
            f"{self.config.where('merge_method')}: tensor {name!r} is in {piece.sources[present].model} but not in "
            f"{piece.sources[absent].model}: different architectures cannot be merged"
        )

    def _group(
        self, name: str, t: float, part: Part, piece: OutputSlice, names: Sequence[str], sources: Sequence[Source]
    ) -> Group:
        base = piece.base_model or self.config.base_model
        common = (piece.parameters, *([part.module.parameters] if part.module is not self.config else []))
        common = (*common, self.config.parameters)
        members = []
        base_seen = False
        for entry, have, source in zip(piece.sources, names, sources, strict=True):
            # A model listed twice takes part twice; only its first place is the base's.
            is_base = entry.model == base and not base_seen
            base_seen |= is_base
            statistics = str(entry.statistics) if entry.statistics else None
            settings = (entry.parameters, *common)
            members.append(Member(self._index[entry.model], have, source, settings, statistics, is_base))
        vocabulary = name in self.layout.vocabulary or any(
            name in self.checkpoints[member.model].layout.heads for member in members
        )
        where = self.config.where(*part.path)
        return Group(name, t, tuple(members), common, vocabulary, base, where)


def _first(other: str, name: str) -> str:
    """`name` without its first part if that gives `other`: the two differ by a prefix only."""
    return name if name.partition(".")[2] == other else ""


def _source(checkpoint: Checkpoint, name: str) -> Source:
    return Source(checkpoint.tensors[name], checkpoint.deltas.get(name))


def _nearest(name: str, parts: Sequence[Part]) -> Part:
    """The part that a tensor outside the layers goes with: the one that shares most of its name, else the last."""

    def shared(part: Part) -> int:
        count = 0
        for ours, theirs in zip(name.split("."), part.stack.prefix.split("."), strict=False):
            if ours != theirs:
                break
            count += 1
        return count

    best = max(shared(part) for part in parts)
    return [part for part in parts if shared(part) == best][-1]
