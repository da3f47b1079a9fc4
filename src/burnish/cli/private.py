"""`burnish private ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from burnish.cli.shared import Commands, Json, print_json, print_table, working

private_app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="Example: burnish private plan --classes 2 --eps 0.1",
)

Token = Annotated[
    str | None, typer.Option(envvar="BURNISH_TOKEN", help="What the server wants; better in the variable than here.")
]
Service = Annotated[str, typer.Argument(help="Address of a server, or the folder of a classifier.")]


@private_app.command("plan")
def private_plan(
    classes: Annotated[int, typer.Option(help="Of the classifier.")],
    eps: Annotated[float, typer.Option(help="Smallest difference of scores to tell apart; the largest possible is 1.")],
    prompts: Annotated[int, typer.Option(help="Of the ensemble.")] = 1,
    width: Annotated[int, typer.Option(help="Of the encoder's vectors.")] = 384,
    aggregate: Annotated[
        Literal["logits", "probabilities", "weighted", "vote"], typer.Option(help="How prompts become one.")
    ] = "logits",
    questions: Annotated[int, typer.Option(help="Answered at once; a power of two.")] = 1,
    json_: Json = False,
) -> None:
    """Say what an encrypted question takes before a key is made: levels, keys, memory, seconds on this machine.

    Example: burnish private plan --classes 2 --eps 0.1 --prompts 5
    """
    from burnish.private import plan

    with working("private plan"):
        found = plan(classes, eps, prompts, width=width, aggregate=aggregate, questions=questions)
    if json_:
        print_json(_plain(found))
        return
    rows = [
        {"step": step.name, "levels": f"{step.first} to {step.last}", "seconds": f"{step.seconds:.2f}"}
        for step in found.steps
    ]
    print_table(rows, False)
    parameters = found.parameters
    print(
        f"ring {parameters.ring}, {parameters.levels} levels of {parameters.scale_bits} bits, 128-bit secure; "
        f"{len(found.rotations)} rotation keys"
    )
    print(
        f"keys {_size(found.sent_key_bytes)} sent once, {_size(found.key_bytes)} in the server's memory; a question "
        f"{_size(found.question_bytes)}, its answer {_size(found.answer_bytes)}"
    )
    print(f"about {found.seconds:.1f} s a question on one core; making the keys {found.key_seconds:.1f} s")


@private_app.command("keygen")
def private_keygen(
    service: Service,
    out: Annotated[Path, typer.Argument(help="Folder to make for the keys.")],
    token: Token = None,
    json_: Json = False,
) -> None:
    """Make keys for a service: a secret one that stays in the folder, and evaluation keys to send, once.

    Example: burnish private keygen service keys
    """
    from burnish.private import keygen

    with working("private keygen"):
        keys = keygen(service, out, token=token)
    size = keys.evaluation_keys.stat().st_size
    if json_:
        print_json({"keys": str(keys.folder), "evaluation_bytes": size})
    else:
        print(f"{keys.folder}: secret.key stays here; evaluation.keys ({_size(size)}) go to the server, once")


@private_app.command("serve")
def private_serve(
    service: Annotated[Path, typer.Argument(help="Folder of a classifier: artifacts/service of a run.")],
    port: Annotated[int, typer.Option(help="Port; 0 takes any free one.", min=0, max=65535)] = 8330,
    host: Annotated[str, typer.Option(help="Address to listen at; any but this machine's own needs a --token.")] = (
        "127.0.0.1"
    ),
    token: Token = None,
    store: Annotated[Path, typer.Option(help="Folder of the clients' evaluation keys.")] = Path("registered"),
    questions: Annotated[int, typer.Option(help="Texts that one question may bring; a power of two.")] = 1,
    parts: Annotated[int, typer.Option(help="Ciphertexts that a question comes in.")] = 1,
    backend: Annotated[Literal["seal", "openfhe"], typer.Option(help="The encryption's library.")] = "seal",
    workers: Annotated[int, typer.Option(help="Processes that compute.")] = 1,
    flood_bits: Annotated[
        float | None, typer.Option(help="Statistical security of the noise on answers; default: all that fits.")
    ] = None,
    clients: Annotated[int, typer.Option(help="Whose keys are kept.")] = 100,
    key_hours: Annotated[int, typer.Option(help="After which keys are removed and sent again.", min=1)] = 24,
    rate: Annotated[int, typer.Option(help="Questions a minute of a client.")] = 60,
) -> None:
    """Serve a classifier that never sees a text: it computes on ciphertexts with keys that cannot decrypt.

    Example: burnish private serve service
    """
    from burnish.private import serve
    from burnish.private.service.running import Settings
    from burnish.private.service.sessions import Limits

    limits = Limits(clients=clients, key_seconds=3600 * key_hours, questions_per_minute=rate)
    settings = Settings(
        backend=backend, questions=questions, parts=parts, workers=workers, flood_bits=flood_bits, limits=limits
    )
    serve(service, host=host, port=port, token=token, store=store, settings=settings)


@private_app.command("ask")
def private_ask(
    service: Service,
    texts: Annotated[list[str], typer.Argument(help="One text, or several.")],
    keys: Annotated[Path, typer.Option(help="Folder that `keygen` made.")] = Path("keys"),
    token: Token = None,
    encoder: Annotated[str | None, typer.Option(help="Folder or hub id, in the place of the service's.")] = None,
    json_: Json = False,
) -> None:
    """Classify texts without showing them: encrypted here, computed there, read here.

    Example: burnish private ask service "They loved it" --keys keys
    """
    from burnish.private import ask

    with working("private ask"):
        answers = list(ask(texts, service, keys, token=token, encoder=encoder))
    rows = []
    for text, answer in zip(texts, answers, strict=True):
        resolves = answer.label.resolves
        why = (
            "" if answer.name is not None else f"ambiguous; eps {resolves:.2g} would tell" if resolves else "ambiguous"
        )
        rows.append({"text": text[:60], "label": answer.name, "note": why or ("end not read" if answer.cut else "")})
    print_table(rows, json_)


@private_app.command("attack")
def private_attack(
    service: Annotated[Path, typer.Argument(help="Folder of a classifier of yours, with both halves.")],
    texts: Annotated[str, typer.Argument(help="Labelled texts: a .jsonl of text and label, or module:function.")],
    count: Annotated[int, typer.Option(help="Texts to attack.", min=1)] = 20,
    budget: Annotated[int, typer.Option(help="Queries a text.", min=1)] = 60,
    share: Annotated[float, typer.Option(help="Of a text's words that may be changed.", min=0.01, max=1)] = 0.2,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    json_: Json = False,
) -> None:
    """Look for small edits that turn the answers of your own classifier: offline, in the clear.

    Example: burnish private attack service texts.jsonl
    """
    from burnish.private import attack

    with working("private attack"):
        found = attack(service, texts, count=count, budget=budget, share=share, seed=seed)
    rows = [
        {
            "right": found.labels[label],
            "said": found.labels[int(each.after.argmax())],
            "changed": each.changed,
            "queries": each.queries,
            "text": each.text if json_ else each.text[:60],
        }
        for each, label in zip(found.attacked, found.right, strict=True)
    ]
    print_table(rows, json_)
    if not json_:
        print(f"right before {found.before:.2f}, after {found.after:.2f}; {found.queries:.0f} queries a text")


def _size(count: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count = round(count / 1000)
    return f"{count:.0f} GB"


def _plain(found: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(found)
