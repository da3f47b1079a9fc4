"""From a classifier on disk to a server that answers, and from a text to its label: what the commands do."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from burnish.core.errors import UserError
from burnish.core.metrics import Progress, activity
from burnish.core.packages import Need, require
from burnish.private.argmax.records import Label
from burnish.private.bundle import load_client, load_heads
from burnish.private.encryption.choose import Backend
from burnish.private.encryption.openfhe import library
from burnish.private.ensemble.circuit import EnsembleCircuit
from burnish.private.service.client import ServiceClient, connect, read_offer
from burnish.private.service.flooding import answer_error, plan_flood
from burnish.private.service.keys import Keys, load_keys, make_keys
from burnish.private.service.offer import Offer
from burnish.private.service.sessions import Limits
from burnish.private.service.workers import Job


@dataclass(frozen=True)
class Settings:
    """How a classifier is served.

    Attributes:
        backend: `seal`, or `openfhe` where it loads; `clear` encrypts nothing and is for tests.
        questions: texts that one question may bring; a power of two.
        parts: ciphertexts that a question comes in: more to send, fewer rotations to compute.
        ring: at least this one.
        flood_bits: of statistical security of the noise on answers; without, all that a label bears.
        workers: processes that compute.
        key_memory: bytes of keys that each of them may hold; where those of all clients do not fit, they are read from
            the disk again and again.
        limits: of what clients may do.
    """

    backend: Backend = "seal"
    questions: int = 1
    parts: int = 1
    ring: int | None = None
    flood_bits: float | None = None
    workers: int = 1
    key_memory: float = 4e9
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(f"workers: {self.workers}; at least 1")


def prepare(bundle: Path, settings: Settings) -> tuple[Offer, Job]:
    """What is told to everybody, and what the workers get.

    Args:
        bundle: folder that a run left (`artifacts/service`).
        settings: see there.

    Raises:
        UserError: no such folder, damaged, a circuit that no ring has the levels or slots for, or a back end that does
            not load.
    """
    if settings.backend == "openfhe":
        library()
    heads, eps = load_heads(bundle)
    model = load_client(bundle)
    if model.labels != heads.labels or len(model.templates) != len(heads.weights):
        raise UserError(f"{bundle}: its halves do not belong together; make them again")
    circuit = EnsembleCircuit.make(heads, eps, questions=settings.questions, parts=settings.parts, ring=settings.ring)
    error = answer_error(circuit)
    flood = plan_flood(error, circuit.plan.parameters.slots, settings.limits.session_questions, settings.flood_bits)
    limits = settings.limits
    offer = Offer(model, circuit.plan, settings.backend, flood.bits, limits.session_seconds, limits.session_questions)
    return offer, Job(circuit, settings.backend, flood, settings.key_memory)


def serve_bundle(bundle: Path, store: Path, host: str, port: int, token: str | None, settings: Settings) -> None:
    """Serve until stopped.

    Args:
        bundle: folder that a run left.
        store: folder of registered keys.
        host, port, token: see :func:`burnish.core.serving.listen`.
        settings: see there.

    Raises:
        UserError: see :func:`prepare` and :func:`burnish.core.serving.listen`.
    """
    # before anything is read for nothing
    require("private: a server", Need(("fastapi", "uvicorn", "msgpack", "tenseal"), "private"))
    from burnish.core.metrics import activity
    from burnish.core.serving import address, listen, serve

    bound = listen(host, port, token)
    with bound:
        with activity(f"{bundle}: preparing"):
            from burnish.private.service.server import open_service
            from burnish.private.service.workers import Workers

            offer, job = prepare(bundle, settings)
            app = open_service(offer, store, Workers(job, settings.workers), settings.limits)
        print(f"{bundle} answers at {address(bound)} (stop with Ctrl-C)", flush=True)
        serve(app, bound, token)


def new_keys(service: str | Path, folder: Path, token: str | None = None, *, unencrypted: bool = False) -> Keys:
    """Keys for a service.

    Args:
        service: address of a server; or a bundle, as it is served with default settings.
        folder: to make.
        token: of the server's guard.
        unencrypted: take a service that encrypts nothing; for tests.

    Raises:
        UserError: the folder exists, or it is no private service.
        BurnishError: no server answers.
    """
    if is_bundle(service):
        offer = prepare(Path(service), Settings())[0]
    else:
        with connect(str(service), token) as http:
            offer = read_offer(http)
    return make_keys(folder, offer, unencrypted=unencrypted)


def is_bundle(service: str | Path) -> bool:
    """Whether it is a folder and not an address."""
    return isinstance(service, Path) or ("://" not in service and Path(service).is_dir())


@contextlib.contextmanager
def served_here(bundle: Path, settings: Settings) -> Iterator[str]:
    """A server of this process, on loopback, while the block lasts; its address. For trying out: all goes over loopback
    as it would over a network, but heads and texts are one user's.

    Raises:
        UserError: see :func:`prepare`.
    """
    import uvicorn

    from burnish.core.serving import Guarded, address, listen
    from burnish.private.service.server import open_service
    from burnish.private.service.workers import Workers

    offer, job = prepare(bundle, settings)
    workers = Workers(job, settings.workers, threads=True)
    with tempfile.TemporaryDirectory() as store, listen("127.0.0.1", 0, None) as bound:
        app = Guarded(open_service(offer, Path(store), workers, settings.limits), "127.0.0.1", None)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            yield address(bound)
        finally:
            server.should_exit = True
            thread.join()
            workers.close()


def ask_service(
    texts: Sequence[str],
    service: str | Path,
    keys: Path,
    token: str | None = None,
    *,
    encoder: str | None = None,
    unencrypted: bool = False,
) -> list[Answer]:
    """The label of each text. The texts and what the encoder makes of them stay here.

    Args:
        texts: to classify.
        service: address of the server; or a bundle, to be served in this process.
        keys: folder of :func:`new_keys`.
        token: of the server's guard.
        encoder: folder or hub id to take in the place of the one that the service names.
        unencrypted: take a service that encrypts nothing; for tests.

    Raises:
        UserError: keys, texts or an encoder that do not fit.
        BurnishError: the server refuses or is gone.
    """
    opened = load_keys(keys, unencrypted=unencrypted)
    known = opened.offer.model
    model = known if encoder is None else replace(known, encoder=encoder)
    # Before anything is sent: an encoder that is missing, or a text that is none, needs no server.
    with activity("encoder"):
        represented = model.represent(model.load(), list(texts))
    here = served_here(Path(service), Settings()) if is_bundle(service) else contextlib.nullcontext(str(service))
    with here as url, ServiceClient(url, opened, token=token) as client:
        with activity("evaluation keys: sent, if the server does not have them"):
            client.register()
        labels, lanes = list[Label](), client.offer.plan.packing.questions
        for start in Progress().track(range(0, len(texts), lanes), "questions"):
            labels += client.ask(represented.vectors[start : start + lanes].astype(float))
        if is_bundle(service):
            client.forget()
    return [
        Answer(None if label.index is None else model.labels[label.index], label, bool(cut))
        for label, cut in zip(labels, represented.cut, strict=True)
    ]


@dataclass(frozen=True)
class Answer:
    """What a service says of a text.

    Attributes:
        name: of the class; none where the answer is ambiguous.
        label: what was read; with the eps that would have told, where it is ambiguous.
        cut: whether the text was longer than the encoder takes and its end was not read.
    """

    name: str | None
    label: Label
    cut: bool
