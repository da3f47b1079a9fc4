"""Video and image classifiers as one thing: what they look at, what they say, and what goes into their last layer.

Knows transformers' classifiers and modules of the user's own. Features are caught where they enter the last linear
layer, so that any architecture gives them. What a model looks at (frames, size, mean, deviation) is read from its
configuration and its image processor's file; no processor is run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from burnish.core.errors import UserError
from burnish.core.method import import_object
from burnish.core.models import load_reported, read_config, resolve, split_reference
from burnish.distill.looks import Look, Processor, classifiers, look_of

FRESH = "config:"
"""Before a folder: its configuration with random weights."""


@dataclass(frozen=True)
class Classifier:
    """A model, its last layer and what it looks at. Your own: give this, with a head that makes the logits.

    Attributes:
        model: takes pixels by the look's argument; gives logits, or something that has ``logits``.
        head: the linear layer that makes them.
        labels: names of the classes, in the order of the logits.
        look: what it takes.
        folder: where it was read from, if it was.
    """

    model: nn.Module
    head: nn.Linear
    labels: tuple[str, ...]
    look: Look
    folder: Path | None = None

    @property
    def width(self) -> int:
        """Numbers in a feature."""
        return self.head.in_features

    def prepared(
        self, view: Float[Tensor, "batch time colours height width"]
    ) -> Float[Tensor, "batch time channels height width"]:
        """Pixels in [0, 1] with the model's channels, mean and deviation; time is kept, for interruption."""
        if self.look.channels == 1:
            view = view.mean(2, keepdim=True)
        mean, std = (
            torch.tensor(values, device=view.device).reshape(-1, 1, 1) for values in (self.look.mean, self.look.std)
        )
        return (view - mean).div_(std)

    def taught(
        self,
        pixels: Float[Tensor, "batch time channels height width"],
        through: nn.Module | None = None,
        *,
        half: bool = False,
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch features"]]:
        """Logits and features, in single precision.

        Args:
            pixels: of :meth:`prepared`.
            through: the model wrapped for training, which is called instead.
            half: compute in bfloat16 (autocast).
        """
        caught: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _head, given: caught.append(given[0]))
        first = next(self.model.parameters())
        given = (pixels if self.look.video else pixels.squeeze(1)).to(first.dtype)
        try:
            with torch.autocast(given.device.type, torch.bfloat16, enabled=half):
                logits = self.logits_of(through or self.model, given)
        finally:
            hook.remove()
        return logits.float(), caught[-1].float()

    def logits_of(self, model: nn.Module, pixels: Tensor) -> Float[Tensor, "batch classes"]:
        """What a copy or a wrapper of its model says of pixels, as the model takes them."""
        said = model(**{self.look.argument: pixels})
        logits: Tensor = getattr(said, "logits", said)
        return logits

    def kept_processor(self) -> Processor:
        """What is saved beside its weights."""
        kind = getattr(getattr(self.model, "config", None), "model_type", "")
        return Processor(self.look, str(kind), self.folder)


def load_classifier(
    reference: str,
    setting: str,
    labels: Sequence[str] = (),
    *,
    new_head: bool = False,
    dtype: str = "float32",
    weights: bool = True,
) -> Classifier:
    """A classifier by name, in evaluation mode.

    Args:
        reference: a folder, a hub id, `model+adapter`, ``config:FOLDER`` for random weights of that configuration, or
            ``module:function``: a function without arguments that gives a :class:`Classifier`, or one of transformers'
            models.
        setting: the name of the setting, for messages.
        labels: the classes that ``config:`` and a new head get.
        new_head: put a last layer for ``labels`` in the place of its own.
        dtype: of the weights.
        weights: without them the model lies on torch's ``meta`` device: its sizes are known, and nothing is read. A
            function of the user's own is called all the same.

    Raises:
        UserError: no such model, no classifier, or one whose head cannot be found.
    """
    folder = None
    if reference.startswith(FRESH):
        folder = resolve(reference.removeprefix(FRESH))
        model = _from_config(folder, labels) if weights else _outlined(folder, labels)
    elif ":" in reference and not Path(split_reference(reference)[0]).is_dir():
        found = _own(reference, setting)
        if isinstance(found, Classifier):
            found.model.eval()
            return replace(found, labels=tuple(found.labels))
        model = found
    else:
        folder = resolve(split_reference(reference)[0])
        model = _trained(reference, folder, setting, dtype, new_head=new_head) if weights else _outlined(folder)
    if new_head:
        _renew_head(model, labels, reference)
    return classifier_of(model, reference, folder)


def classifier_of(model: Any, name: str = "model", folder: Path | None = None) -> Classifier:
    """One of transformers' classifiers, put in evaluation mode.

    Args:
        model: the model.
        name: what messages call it.
        folder: where it was read from; its image processor's file lies there.

    Raises:
        UserError: its last layer cannot be found.
    """
    head = find_head(model, name)
    return Classifier(model.eval(), head, names_of(model.config), look_of(model, folder), folder)


def find_head(model: nn.Module, name: str) -> nn.Linear:
    """The last linear layer with as many outputs as the model has classes.

    Raises:
        UserError: there is none.
    """
    return _head(model, name)[1]


def names_of(config: Any) -> tuple[str, ...]:
    """The classes of a configuration, in the order of the logits."""
    return tuple(str(config.id2label[place]) for place in sorted(config.id2label))


def match_labels(of_model: Sequence[str], of_data: Sequence[str], setting: str) -> Int64[Tensor, " classes"]:
    """For each class of the data the place of the model's logit of that name.

    A model that has no names, only ``LABEL_0`` and so on, has the data's classes in their order.

    Raises:
        UserError: classes that one has and the other lacks; they are named.
    """
    if len(of_model) == len(of_data) and all(name == f"LABEL_{place}" for place, name in enumerate(of_model)):
        return torch.arange(len(of_data))
    places = {name: place for place, name in enumerate(of_model)}
    unknown = [name for name in of_data if name not in places]
    over = [name for name in of_model if name not in set(of_data)]
    if unknown or over:
        said = f"does not know {_some(unknown)}" if unknown else f"knows {_some(over)}, which the data lack"
        cure = (
            "`new_head: true` gives it a last layer for them" if setting == "student" else "train it on these classes"
        )
        raise UserError(f"{setting}: its classes are not those of the data: it {said}; {cure}")
    return torch.tensor([places[name] for name in of_data])


def fingerprint(classifier: Classifier) -> str:
    """Hex digest of a model: its class, its weights and what it looks at. Two that differ in any differ here."""
    from xxhash import xxh3_128

    digest = xxh3_128(f"{type(classifier.model).__qualname__} {classifier.look} {classifier.labels}".encode())
    for name, weights in sorted(classifier.model.state_dict().items()):
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        flat = weights.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return str(digest.hexdigest())


def _own(reference: str, setting: str) -> Any:
    function: Callable[[], Any] = import_object(reference, setting)
    if not callable(function):
        raise UserError(f"{setting}: `{reference}` cannot be called; give a function that makes the model")
    found = function()
    if isinstance(found, Classifier):
        return found
    if not (isinstance(found, nn.Module) and hasattr(found, "config") and hasattr(found.config, "id2label")):
        raise UserError(
            f"{setting}: `{reference}` gives a {type(found).__name__}; give a burnish.distill.models.Classifier, or a "
            "classifier of transformers"
        )
    return found


def _config(folder: Path) -> Any:
    import transformers

    read_config(folder)
    try:
        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: its config cannot be read ({' '.join(str(error).split())[:200]})") from error


def _auto(config: Any, name: str) -> str:
    for kind in ("VIDEO", "IMAGE"):
        if type(config) in classifiers(kind):
            return f"{kind.capitalize()}Classification"
    raise UserError(f"{name}: a {config.model_type} is no classifier of videos or pictures in transformers")


def _from_config(folder: Path, labels: Sequence[str]) -> Any:
    import transformers

    config = _config(folder)
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: place for place, name in enumerate(labels)}
    return getattr(transformers, f"AutoModelFor{_auto(config, str(folder))}").from_config(config)


def _outlined(folder: Path, labels: Sequence[str] = ()) -> Any:
    with torch.device("meta"):
        return _from_config(folder, labels)


def _trained(reference: str, folder: Path, setting: str, dtype: str, *, new_head: bool) -> Any:
    model, missing = load_reported(reference, _auto(_config(folder), reference), dtype=dtype)
    name, _ = _head(model, reference)
    made_up = [key for key in missing if not (new_head and key.startswith(f"{name}."))]
    if new_head and all(key.count(".") == 1 for key in made_up):
        return model  # a norm before the head, which a pre-trained encoder lacks as well
    if made_up:
        raise UserError(f"{setting}: {reference} lacks the weights of {_some(made_up)}: it was not trained to classify")
    return model


def _head(model: nn.Module, name: str) -> tuple[str, nn.Linear]:
    classes = int(model.config.num_labels)  # type: ignore[union-attr, arg-type]
    found = [(place, layer) for place, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    heads = [(place, layer) for place, layer in found if layer.out_features == classes]
    if not heads:
        raise UserError(f"{name}: no linear layer with {classes} outputs, one a class; give a Classifier of your own")
    return heads[-1]


def _renew_head(model: Any, labels: Sequence[str], name: str) -> None:
    place, old = _head(model, name)
    new = nn.Linear(old.in_features, len(labels), device=old.weight.device, dtype=old.weight.dtype)
    nn.init.normal_(new.weight, std=0.02)
    nn.init.zeros_(new.bias)
    model.set_submodule(place, new)
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: number for number, label in enumerate(labels)}
    model.num_labels = len(labels)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
