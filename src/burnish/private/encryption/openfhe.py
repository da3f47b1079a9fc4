"""CKKS by OpenFHE, through `openfhe`, where its wheel loads. Slower to start than SEAL; another library's word.

Its own bookkeeping is fixed and manual: it believes every level to have the scale 2^scale_bits. Here the scales are
chosen as SEAL's are (see `seal.py`), S(l) = sqrt(S(l - 1) q(l)), and kept beside the ciphertext: what is encoded is
multiplied, and what is decoded divided, by what the true scale has more. Keys are switched a prime at a time with one
prime of 60 bits, so the modulus is the one that :class:`Parameters` checks. The primes that OpenFHE then takes are
multiplied and checked against the same table: its own check guesses their bits before it has them, and refuses more.

OpenFHE keeps relinearisation keys in one map of the process, which is only ever emptied as a whole: each evaluator puts
its own in before it is used. Encodings of numbers are not remembered.
"""

from __future__ import annotations

import hashlib
import math
import sys
import threading
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.core.errors import UserError
from burnish.core.packages import Need, not_installed
from burnish.private.encryption.openfhe_streams import Frame
from burnish.private.encryption.parameters import STANDARD, Parameters
from burnish.private.encryption.sealed_streams import pack, unpack
from burnish.private.encryption.slots import as_slots

Numbers = Float[np.ndarray, " numbers"]

PYTHON = (3, 12)
"""That the newest wheels are for."""

_GENERATOR = 5  # of the rotations' Galois group, as OpenFHE has it
TAG = "burnish"  # OpenFHE finds a ciphertext's keys by it
KEYS = threading.Lock()
"""Over OpenFHE's maps of keys."""


class OpenfheCipher:
    """OpenFHE's ciphertext with what it is not told.

    Attributes:
        inner: OpenFHE's.
        level: multiplications left.
        scale: the true one.
    """

    def __init__(self, inner: Any, level: int, scale: float) -> None:
        self.inner, self.level, self.scale = inner, level, scale
        inner.SetKeyTag(TAG)

    @property
    def parts(self) -> int:
        return int(self.inner.NumberCiphertextElements())


class Chain:
    """The context of a set of parameters: its levels, and the scale of each.

    Attributes:
        api: the module `openfhe`.
        context: OpenFHE's.
        scales: of each level.

    Raises:
        UserError: OpenFHE is not installed or does not load, or refuses the parameters.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.api = api = library()
        self.parameters = parameters
        wanted = api.CCParamsCKKSRNS()
        wanted.SetSecurityLevel(api.HEStd_NotSet)  # its own check guesses more bits than it takes: see below
        wanted.SetSecretKeyDist(api.UNIFORM_TERNARY)
        wanted.SetRingDim(parameters.ring)
        wanted.SetBatchSize(parameters.slots)
        wanted.SetMultiplicativeDepth(parameters.levels)
        wanted.SetScalingModSize(parameters.scale_bits)
        wanted.SetFirstModSize(parameters.end_bits)
        wanted.SetScalingTechnique(api.FIXEDMANUAL)
        wanted.SetKeySwitchTechnique(api.HYBRID)
        wanted.SetNumLargeDigits(parameters.levels + 1)
        # Real numbers OpenFHE would decode with noise of its own, and refuse what a circuit beyond its bounds leaves.
        wanted.SetCKKSDataType(api.COMPLEX)
        try:
            self.context = api.GenCryptoContext(wanted)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"parameters: OpenFHE refuses them: {_line(error)}") from None
        for feature in (api.PKE, api.KEYSWITCH, api.LEVELEDSHE):
            self.context.Enable(feature)
        self._own = self.context.KeyGen().secretKey  # of nobody: for objects that others' numbers are put into
        primes = self.frame(self._own).primes
        product = math.prod(primes) * self.key_frame(self.relinearisation_key()).primes[-1]
        most = STANDARD[parameters.ring]
        if product > 2**most:
            raise UserError(
                f"parameters: the primes that OpenFHE finds have {math.log2(product):.4f} bits together; ring "
                f"{parameters.ring} is 128-bit secure up to {most}; take fewer levels or the next ring"
            )
        self.scales = [2.0**parameters.scale_bits]
        for prime in primes[1:]:
            self.scales.append(math.sqrt(self.scales[-1] * prime))

    def element(self, steps: int) -> int:
        """The Galois element of a rotation to the left; keys are made and found by it."""
        return pow(_GENERATOR, steps % self.parameters.slots, 2 * self.parameters.ring)

    def encoded(self, values: Numbers, level: int, scale: float, degree: int = 1) -> Any:
        """Numbers as a plaintext of a true scale; `degree` is how many scales OpenFHE believes in it."""
        believed = 2.0 ** (degree * self.parameters.scale_bits)
        numbers = as_slots(self.parameters, values) * (scale / believed)
        return self.context.MakeCKKSPackedPlaintext(numbers, degree, self.parameters.levels - level)

    def encrypt(self, secret: Any, values: Numbers, level: int) -> OpenfheCipher:
        """With the secret key."""
        plain = self.encoded(values, level, self.scales[level])
        return OpenfheCipher(self.context.Encrypt(secret, plain), level, self.scales[level])

    def frame(self, thing: Any, polynomials: int | None = None) -> Frame:
        """What OpenFHE writes of a secret key, or of another thing with so many polynomials, each prime counted."""
        count = self.parameters.levels + 1 if polynomials is None else polynomials
        return Frame(self.api.Serialize(thing, self.api.BINARY), self.parameters.ring, count)

    def key_frame(self, key: Any) -> Frame:
        """Of a key that switches: for each prime a pair, over all primes and the one that switches."""
        levels = self.parameters.levels
        return self.frame(key, 2 * (levels + 1) * (levels + 2))

    def relinearisation_key(self, secret: Any | None = None) -> Any:
        """Of a secret key; of nobody's, without one."""
        secret = self._own if secret is None else secret
        with KEYS:
            self.api.ClearEvalMultKeys()
            self.context.EvalMultKeyGen(secret)
            (key,) = self.context.GetEvalMultKeyVector(secret.GetKeyTag())
            self.api.ClearEvalMultKeys()
        return key

    def rotation_key(self, element: int, secret: Any | None = None) -> Any:
        """A map with the one key."""
        with KEYS:
            self.context.ClearEvalAutomorphismKeys()  # of a key that is there already it makes none
            key = self.context.EvalAutomorphismKeyGen(self._own if secret is None else secret, [element])
            self.context.ClearEvalAutomorphismKeys()
        return key

    def secret_from(self, data: bytes) -> Any:
        """A secret key that was written.

        Raises:
            UserError: of other parameters, or damaged.
        """
        return self.api.DeserializePrivateKeyString(self.frame(self._own).filled(data, "secret key"), self.api.BINARY)

    def doubled(self, cipher: OpenfheCipher) -> bool:
        """Whether it is a product that was not rescaled."""
        return cipher.scale > 2 * self.scales[cipher.level]

    def save(self, cipher: OpenfheCipher) -> bytes:
        """Its coefficients, and what they belong to."""
        doubled = self.doubled(cipher)
        words = self.frame(cipher.inner, cipher.parts * (cipher.level + 1)).narrow()
        told = {"parameters": self.parameters.digest, "level": cipher.level, "parts": cipher.parts, "doubled": doubled}
        return pack({**told, "words": words, "check": hashlib.sha256(words).digest()[:8]})

    def load(self, data: bytes) -> OpenfheCipher:
        """A ciphertext from bytes that nobody vouches for.

        Raises:
            UserError: damaged, of other parameters, or none that a circuit here sends.
        """
        if len(data) > 2 * self.parameters.ciphertext_bytes(self.parameters.levels, 3):
            raise UserError(f"ciphertext: {len(data)} bytes are more than these parameters can make")
        found = unpack(data, {"parameters", "level", "parts", "doubled", "words", "check"}, "ciphertext")
        level, parts, doubled, words = (found[name] for name in ("level", "parts", "doubled", "words"))
        if found["parameters"] != self.parameters.digest:
            raise UserError("ciphertext: made for other parameters; encrypt it again with these")
        kinds = [(2, False)] + [(2, True), (3, True)] * (type(level) is int and level > 0)
        sound = type(level) is int and 0 <= level <= self.parameters.levels and isinstance(words, bytes)
        if not sound or type(doubled) is not bool or (parts, doubled) not in kinds:
            raise UserError("ciphertext: not of a level or size that a circuit here sends; encrypt it again")
        if hashlib.sha256(words).digest()[:8] != found["check"]:
            raise UserError("ciphertext: damaged; send it again")
        if not any(words[len(words) // parts :]):
            raise UserError("ciphertext: it hides nothing: anybody can read it; encrypt it again")
        like = self.encrypt(self._own, np.zeros(1), level).inner
        if doubled:
            like = self.context.EvalMultNoRelin(like, like) if parts == 3 else self.context.EvalMult(like, 1.0)
        like.SetKeyTag(TAG)
        whole = self.frame(like, parts * (level + 1)).filled(words, "ciphertext")
        inner = self.api.DeserializeCiphertextString(whole, self.api.BINARY)
        return OpenfheCipher(inner, level, self.scales[level] ** (2 if doubled else 1))


def library() -> Any:
    """The module `openfhe`.

    Raises:
        UserError: it is not installed, or does not load in this interpreter or on this system.
    """
    try:
        import openfhe
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "openfhe"
        if missing and sys.version_info[:2] == PYTHON:
            raise not_installed("openfhe", Need(("openfhe",), "private-openfhe")) from None
        found = "is not installed" if missing else f"is installed, but does not load: {_line(error)}"
        raise UserError(
            f"openfhe: {found}; its wheels are each for one Python and one system: take CPython "
            f"{PYTHON[0]}.{PYTHON[1]} with glibc 2.38 or newer, or the back end `seal`"
        ) from None
    return openfhe


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


@lru_cache(maxsize=2)
def chain_of(parameters: Parameters) -> Chain:
    """One context a set of parameters.

    Raises:
        UserError: OpenFHE is not installed or does not load, or refuses the parameters.
    """
    return Chain(parameters)
