"""Serve a prompted classifier over encrypted texts, robust to small edits. Importing it costs nothing heavy.

The client keeps the encoder and the secret key, the server the heads of its prompts: ``bundle`` has both halves. Pure
parts: ``prompts``, ``heads``, ``selection``, ``attacks``, ``ensemble`` (the circuit), ``polynomials``, ``encryption``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.core.method import Method, Paper
from burnish.private.recipe import SecpeRecipe

if TYPE_CHECKING:
    from burnish.private.attacks.edits import EditKind
    from burnish.private.attacks.offline import Withstood
    from burnish.private.heads import Aggregate
    from burnish.private.planning import PlannedCircuit
    from burnish.private.service.keys import Keys
    from burnish.private.service.running import Answer, Settings

__all__ = ["METHOD", "SecpeRecipe", "ask", "attack", "keygen", "plan", "serve"]


def plan(
    classes: int, eps: float, prompts: int = 1, *, width: int = 384, aggregate: Aggregate = "logits", questions: int = 1
) -> PlannedCircuit:
    """What one question to a private classifier takes, before a key is made: levels, keys, memory, seconds.

    Examples:
        >>> found = plan(classes=2, eps=0.25, prompts=4)
        >>> found.parameters.ring, found.seconds < 10
        (16384, True)

    Args:
        classes: of the classifier.
        eps: smallest difference of two classes' scores to tell apart, in shares of the largest possible.
        prompts: of the ensemble.
        width: of the encoder's vectors.
        aggregate: mean of ``logits`` or ``probabilities``, ``weighted`` mean, or ``vote``.
        questions: answered at once; a power of two.

    Raises:
        UserError: no parameters of 128-bit security have the levels, or the room.
    """
    from burnish.private.planning import plan_service

    return plan_service(classes, eps, prompts, width=width, aggregate=aggregate, questions=questions)


def keygen(service: str | Path, out: str | Path, *, token: str | None = None) -> Keys:
    """Make keys for a private service: a secret one that stays here, and evaluation keys to send, once.

    Examples:
        >>> keys = keygen("service", "keys")
        >>> sorted(path.name for path in keys.folder.iterdir())
        ['evaluation.keys', 'manifest.json', 'secret.key', 'service.json']

    Args:
        service: address of a server, or the folder of a classifier that is served with default settings.
        out: folder to make; one that exists is left alone.
        token: of the server, where it has one.

    Raises:
        UserError: the folder exists, or there is no private service.
        BurnishError: no server answers, or the disk is full.
    """
    from burnish.private.service.running import new_keys

    return new_keys(service, Path(out), token)


def ask(
    texts: str | Sequence[str],
    service: str | Path,
    keys: str | Path,
    *,
    token: str | None = None,
    encoder: str | None = None,
) -> list[Answer]:
    """Classify texts without showing them: encoded and encrypted here, computed there, read here.

    Examples:
        >>> [answer] = ask("They loved it", "service", "keys")
        >>> answer.name in ("liked", "not liked", None)  # none: ambiguous
        True

    Args:
        texts: one, or several.
        service: address of a server; or the folder of a classifier, which is then served in this process to try it out.
        keys: folder that :func:`keygen` made.
        token: of the server, where it has one.
        encoder: folder or hub id to take in the place of the one that the service names.

    Raises:
        UserError: keys, texts or an encoder that do not fit.
        BurnishError: the server refuses or is gone.
    """
    from burnish.private.service.running import ask_service

    return ask_service([texts] if isinstance(texts, str) else texts, service, Path(keys), token, encoder=encoder)


def serve(
    service: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8330,
    token: str | None = None,
    store: str | Path = "registered",
    settings: Settings | None = None,
) -> None:
    """Serve a private classifier until stopped.

    Examples:
        >>> serve("service", host="0.0.0.0")
        Traceback (most recent call last):
        burnish.core.errors.UserError: host: 0.0.0.0: others could reach this address; give a token, ...

    Args:
        service: folder that a run of ``secpe`` left (``artifacts/service``).
        host: address to listen at.
        port: 0 takes any free one.
        token: what clients must know.
        store: folder of the clients' evaluation keys; they outlive the server.
        settings: ring, packing, limits, noise.

    Raises:
        UserError: no such classifier, or an address that cannot be had.
    """
    from burnish.private.service.running import Settings, serve_bundle

    serve_bundle(Path(service), Path(store), host, port, token, settings or Settings())


def attack(
    service: str | Path,
    texts: str | Path,
    *,
    count: int = 20,
    budget: int = 60,
    kinds: Sequence[EditKind] = ("swap", "delete", "typo", "homoglyph", "neighbour"),
    share: float = 0.2,
    seed: int = 0,
) -> Withstood:
    """Look for small edits that turn the answers of one's own classifier; offline, in the clear, by one who knows it.

    Examples:
        >>> found = attack("service", "texts.jsonl", count=3, budget=20)
        >>> found.after <= found.before, found.queries <= 20
        (True, True)

    Args:
        service: folder of a classifier with both halves.
        texts: labelled ones: a list (.jsonl, .parquet), a hub id, or ``module:function``, with `text` and `label`.
        count: of texts, drawn at random.
        budget: queries a text.
        kinds: of edits.
        share: of a text's words that may be changed, rounded up.
        seed: of all draws.

    Returns:
        Accuracy ``before`` and ``after``, mean ``queries``, and what became of each text.

    Raises:
        UserError: a folder or texts that cannot be read, or classes that do not fit.
    """
    from burnish.private.attacks.offline import attack_service
    from burnish.private.attacks.search import AttackPlan

    plan = AttackPlan(tuple(kinds), budget, share)
    return attack_service(Path(service), str(texts), count, plan, seed)


METHOD = Method(
    name="secpe",
    label="SecPE",
    capability="private",
    paper=Paper(
        "SecPE: Secure Prompt Ensembling for Private and Robust Large Language Models", "arXiv", 2025, "2502.00847"
    ),
    claim="encrypted answers that are robust to adversarial edits",
    recipe=SecpeRecipe,
    run="burnish.private.loop:make_classifier",
    check="burnish.private.preflight:check",
    report="burnish.private.report:run_sections",
    needs=("tenseal", "msgpack"),
    extra="private",
    study="burnish.studies.secpe.study:STUDY",
)
