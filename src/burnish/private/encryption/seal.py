"""CKKS by Microsoft SEAL, through TenSEAL's `sealapi`. The default.

Every level has one scale. SEAL's primes are not quite powers of two, so a product's scale drifts from level to level,
and twice as far each time. Here the scales are chosen from the bottom up, S(l) = sqrt(S(l - 1) q(l)): a product of two
ciphertexts of level l, rescaled, then has exactly the scale of level l - 1, and sums of any two paths are exact.
SEAL offers no hoisted rotations, so `rotate_many` shares nothing here.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import xxhash
from jaxtyping import Float

from burnish.core.errors import BurnishError, UserError
from burnish.core.packages import Need, not_installed
from burnish.private.encryption.clear import check_drop, check_room
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.sealed_streams import into, pack, pack_secret, to_bytes, unpack, unpack_secret
from burnish.private.encryption.slots import as_slots
from burnish.private.encryption.steps import at_step

Slots = Float[np.ndarray, " slots"]
Numbers = Float[np.ndarray, " numbers"]

REMEMBERED_BYTES = 1 << 29
"""Of encoded plaintexts that the evaluators of one set of parameters keep, at most; those not used longest go first."""

_GENERATOR = 3  # of the rotations' Galois group, as SEAL has it


class SealCipher:
    """SEAL's ciphertext, and what it does not say of itself.

    Attributes:
        inner: SEAL's.
        level: multiplications left.
        stream: its bytes where they were written already; half as many for a fresh one, whose random part is a seed.
    """

    def __init__(self, inner: Any, level: int, stream: bytes | None = None) -> None:
        self.inner, self.level, self.stream = inner, level, stream

    @property
    def scale(self) -> float:
        return float(self.inner.scale)

    @property
    def parts(self) -> int:
        return int(self.inner.size())


class Chain:
    """The context of a set of parameters: its levels, and the scale of each.

    Attributes:
        api: the module `tenseal.sealapi`.
        context: SEAL's.
        ids: SEAL's name of each level.
        scales: of each level.

    Raises:
        UserError: TenSEAL is not installed, or SEAL refuses the parameters.
    """

    def __init__(self, parameters: Parameters) -> None:
        try:
            import tenseal.sealapi as api
        except ImportError:
            raise not_installed("seal", Need(("tenseal",), "private")) from None
        self.api, self.parameters = api, parameters
        wanted = api.EncryptionParameters(api.SCHEME_TYPE.CKKS)
        wanted.set_poly_modulus_degree(parameters.ring)
        try:
            wanted.set_coeff_modulus(api.CoeffModulus.Create(parameters.ring, list(parameters.prime_bits)))
        except (RuntimeError, ValueError) as error:
            raise UserError(f"scale_bits: {parameters.scale_bits}: SEAL finds no such primes: {error}") from None
        self.context = api.SEALContext(wanted, True, api.SEC_LEVEL_TYPE.TC128)
        if not self.context.parameters_set():
            raise UserError(f"parameters: SEAL refuses them: {self.context.parameters_error_name()}")
        primes = [prime.value() for prime in self.context.first_context_data().parms().coeff_modulus()]
        self.scales = [2.0**parameters.scale_bits]
        for prime in primes[1:]:
            self.scales.append(math.sqrt(self.scales[-1] * prime))
        self.ids: list[list[int]] = []
        data = self.context.last_context_data()
        while len(self.ids) <= parameters.levels:
            self.ids.append(data.parms_id())
            data = data.prev_context_data()
        self.encoder = api.CKKSEncoder(self.context)
        self._remembered: OrderedDict[tuple[bytes, int, float], Any] = OrderedDict()
        self._lock = threading.Lock()

    def element(self, steps: int) -> int:
        """The Galois element of a rotation to the left; keys are made and found by it."""
        return pow(_GENERATOR, steps % self.parameters.slots, 2 * self.parameters.ring)

    def encoded(self, values: Numbers | float, level: int, scale: float) -> Any:
        """Numbers as a plaintext. One number is a constant polynomial, which costs next to nothing. Many cost as much
        as three products with them, and a server's own come again with each question: they are remembered.
        """
        checked = as_slots(self.parameters, values)
        if not np.ndim(values):
            return self._encoded(float(values), level, scale)
        key = (xxhash.xxh3_128_digest(checked.tobytes()), level, scale)
        with self._lock:
            plain = self._remembered.pop(key, None)
        if plain is None:
            plain = self._encoded(checked.tolist(), level, scale)
        size = self.parameters.ciphertext_bytes(self.parameters.levels, 1)
        with self._lock:
            self._remembered[key] = plain
            while len(self._remembered) * size > REMEMBERED_BYTES:
                self._remembered.popitem(last=False)
        return plain

    def encoded_once(self, values: Numbers, level: int) -> Any:
        """Numbers that are nobody's business afterwards: a client's."""
        return self._encoded(as_slots(self.parameters, values).tolist(), level, self.scales[level])

    def _encoded(self, values: list[float] | float, level: int, scale: float) -> Any:
        plain = self.api.Plaintext()
        self.encoder.encode(values, self.ids[level], scale, plain)
        return plain

    def load(self, data: bytes) -> SealCipher:
        """A ciphertext from bytes that nobody vouches for.

        Raises:
            UserError: damaged, of other parameters, or of a scale or size that no circuit here sends.
        """
        if len(data) > 2 * self.parameters.ciphertext_bytes(self.parameters.levels, 3):
            raise UserError(f"ciphertext: {len(data)} bytes are more than these parameters can make")
        inner = into(self.api.Ciphertext(), self.context, data, "ciphertext")
        try:
            level = self.ids.index(inner.parms_id())
        except ValueError:
            raise UserError("ciphertext: of no level of these parameters; encrypt it again") from None
        single = math.isclose(inner.scale, self.scales[level], rel_tol=1e-9)
        if not (single or math.isclose(inner.scale, self.scales[level] ** 2, rel_tol=1e-9)):
            raise UserError(f"ciphertext: its scale is {inner.scale:.6g}; encrypt it again with these parameters")
        if inner.size() not in (2, 3):
            raise UserError(f"ciphertext: it has {inner.size()} parts; 2 or 3 are expected")
        if inner.is_transparent():
            raise UserError("ciphertext: it hides nothing: anybody can read it; encrypt it again")
        if not inner.is_ntt_form():
            raise UserError("ciphertext: its polynomials are written as coefficients; encrypt it again")
        return SealCipher(inner, level)


@lru_cache(maxsize=2)
def chain_of(parameters: Parameters) -> Chain:
    """One context a set of parameters: the evaluators of all clients share it, and what it remembers.

    Raises:
        UserError: TenSEAL is not installed, or SEAL refuses the parameters.
    """
    return Chain(parameters)


class SealEvaluator:
    """Computes on ciphertexts with a client's public keys.

    Args:
        parameters: what the keys were made for.
        keys: what :meth:`SealClient.evaluation_keys` made.

    Raises:
        UserError: keys of other parameters, damaged, or not keys at all.
    """

    def __init__(self, parameters: Parameters, keys: bytes) -> None:
        self.parameters = parameters
        self._chain = chain = chain_of(parameters)
        found = unpack(keys, {"parameters", "relinearise", "rotate"}, "keys")
        if found["parameters"] != parameters.to_json():
            raise UserError("keys: made for other parameters; make them again for these")
        if not isinstance(found["relinearise"], bytes) or not isinstance(found["rotate"], bytes):
            raise UserError("keys: not what this version writes; make it again")
        self._relinearise = into(chain.api.RelinKeys(), chain.context, found["relinearise"], "relinearisation key")
        self._rotations = chain.api.GaloisKeys()
        if found["rotate"]:
            into(self._rotations, chain.context, found["rotate"], "rotation keys")
        self._seal = chain.api.Evaluator(chain.context)

    def lacking(self, rotations: Sequence[int]) -> list[str]:
        absent = [] if self._relinearise.has_key(2) else ["relinearisation"]
        steps = sorted({number % self.parameters.slots for number in rotations} - {0})
        return absent + [
            f"a rotation by {number}" for number in steps if not self._rotations.has_key(self._chain.element(number))
        ]

    def add(self, left: SealCipher, right: SealCipher) -> SealCipher:
        return self._sum(self._seal.add, left, right)

    def subtract(self, left: SealCipher, right: SealCipher) -> SealCipher:
        return self._sum(self._seal.sub, left, right)

    def _sum(self, verb: Any, left: SealCipher, right: SealCipher) -> SealCipher:
        level = min(left.level, right.level)
        left, right = self.drop(left, level), self.drop(right, level)
        if not math.isclose(left.scale, right.scale, rel_tol=1e-9):
            raise BurnishError(at_step("add: one side was multiplied and not rescaled, the other was not"))
        return self._made(verb, level, left.inner, right.inner)

    def negate(self, cipher: SealCipher) -> SealCipher:
        return self._made(self._seal.negate, cipher.level, cipher.inner)

    def add_plain(self, cipher: SealCipher, values: Numbers | float) -> SealCipher:
        plain = self._chain.encoded(values, cipher.level, cipher.scale)
        return self._made(self._seal.add_plain, cipher.level, cipher.inner, plain)

    def multiply_plain(self, cipher: SealCipher, values: Numbers | float) -> SealCipher:
        self._check_room("multiply_plain", cipher)
        plain = self._chain.encoded(values, cipher.level, cipher.scale)
        if plain.is_zero():
            raise BurnishError(at_step("multiply_plain: every number is zero: the result would hide nothing"))
        return self._made(self._seal.multiply_plain, cipher.level, cipher.inner, plain)

    def multiply(self, left: SealCipher, right: SealCipher, *, relinearise: bool = True) -> SealCipher:
        level = min(left.level, right.level)
        square = left is right
        left, right = self.drop(left, level), self.drop(right, level)
        if left.parts != 2 or right.parts != 2:
            raise BurnishError(at_step("multiply: a product was not relinearised; relinearise it first"))
        self._check_room("multiply", left)
        self._check_room("multiply", right)
        if square:
            product = self._made(self._seal.square, level, left.inner)
        else:
            product = self._made(self._seal.multiply, level, left.inner, right.inner)
        return self.relinearise(product) if relinearise else product

    def relinearise(self, cipher: SealCipher) -> SealCipher:
        if cipher.parts == 2:
            return cipher
        return self._made(self._seal.relinearize, cipher.level, cipher.inner, self._relinearise)

    def rescale(self, cipher: SealCipher) -> SealCipher:
        if not self._doubled(cipher):
            raise BurnishError(at_step("rescale: nothing was multiplied since the last time"))
        made = self._made(self._seal.rescale_to_next, cipher.level - 1, cipher.inner)
        made.inner.scale = self._chain.scales[made.level]  # equal but for the last bit of a double
        return made

    def drop(self, cipher: SealCipher, level: int) -> SealCipher:
        check_drop(cipher.level, level)
        if level == cipher.level:
            return cipher
        if self._doubled(cipher):
            raise BurnishError(at_step("drop: rescale the product first"))
        scales, target = self._chain.scales, level + 1
        if cipher.level > target:
            cipher = self._made(self._seal.mod_switch_to, target, cipher.inner, self._chain.ids[target])
        # Times one, written at the scale that lands on the new level's own.
        prime = scales[target] ** 2 / scales[level]
        one = self._chain.encoded(1.0, target, scales[level] * prime / cipher.scale)
        made = self._made(self._seal.rescale_to_next, level, self._fresh(self._seal.multiply_plain, cipher.inner, one))
        made.inner.scale = scales[level]
        return made

    def rotate(self, cipher: SealCipher, steps: int) -> SealCipher:
        if cipher.parts != 2:
            raise BurnishError(at_step("rotate: a product was not relinearised; relinearise it first"))
        if steps % self.parameters.slots == 0:
            return cipher
        element = self._chain.element(steps)
        if not self._rotations.has_key(element):
            raise BurnishError(at_step(f"rotate: there is no key for a rotation by {steps % self.parameters.slots}"))
        return self._made(self._seal.apply_galois, cipher.level, cipher.inner, element, self._rotations)

    def rotate_many(self, cipher: SealCipher, steps: Sequence[int]) -> list[SealCipher]:
        return [self.rotate(cipher, number) for number in steps]

    def save(self, cipher: SealCipher) -> bytes:
        return to_bytes(cipher.inner)

    def load(self, data: bytes) -> SealCipher:
        return self._chain.load(data)

    def _doubled(self, cipher: SealCipher) -> bool:
        return cipher.scale > 2 * self._chain.scales[cipher.level]

    def _check_room(self, verb: str, cipher: SealCipher) -> None:
        check_room(verb, cipher.level, doubled=self._doubled(cipher))

    def _fresh(self, verb: Any, *arguments: Any) -> Any:
        result = self._chain.api.Ciphertext()
        verb(*arguments, result)
        return result

    def _made(self, verb: Any, level: int, *arguments: Any) -> SealCipher:
        try:
            return SealCipher(self._fresh(verb, *arguments), level)
        except (RuntimeError, ValueError) as error:
            raise BurnishError(at_step(f"seal: {error}")) from None


class SealClient:
    """Holds the secret key; makes the public ones.

    Args:
        parameters: to encrypt with.
        secret: SEAL's secret key; made anew by :meth:`make`.
    """

    def __init__(self, parameters: Parameters, chain: Chain, secret: Any) -> None:
        self.parameters = parameters
        self._chain, self._secret = chain, secret
        self._encryptor = chain.api.Encryptor(chain.context, secret)
        self._decryptor = chain.api.Decryptor(chain.context, secret)

    @classmethod
    def make(cls, parameters: Parameters) -> SealClient:
        """With a new secret key.

        Raises:
            UserError: TenSEAL is not installed.
        """
        chain = chain_of(parameters)
        return cls(parameters, chain, chain.api.KeyGenerator(chain.context).secret_key())

    @classmethod
    def from_secret(cls, secret: bytes) -> SealClient:
        """What :meth:`save_secret` wrote.

        Raises:
            UserError: not a secret key, or damaged.
        """
        parameters, key = unpack_secret(secret)
        chain = chain_of(parameters)
        return cls(parameters, chain, into(chain.api.SecretKey(), chain.context, key, "secret key"))

    def encrypt(self, values: Numbers, level: int | None = None) -> SealCipher:
        level = self.parameters.levels if level is None else level
        check_drop(self.parameters.levels, level)
        plain = self._chain.encoded_once(values, level)
        stream = to_bytes(self._encryptor.encrypt_symmetric(plain))
        return SealCipher(self._chain.load(stream).inner, level, stream)

    def decrypt(self, cipher: SealCipher) -> Slots:
        plain = self._chain.api.Plaintext()
        self._decryptor.decrypt(cipher.inner, plain)
        return np.asarray(self._chain.encoder.decode_double(plain))

    def evaluation_keys(self, rotations: Sequence[int]) -> bytes:
        maker = self._chain.api.KeyGenerator(self._chain.context, self._secret)
        steps = sorted({number % self.parameters.slots for number in rotations} - {0})
        elements = [self._chain.element(number) for number in steps]
        return pack(
            {
                "parameters": self.parameters.to_json(),
                "relinearise": to_bytes(maker.create_relin_keys()),
                "rotate": to_bytes(maker.create_galois_keys(elements)) if elements else b"",
            }
        )

    def save(self, cipher: SealCipher) -> bytes:
        return to_bytes(cipher.inner) if cipher.stream is None else cipher.stream

    def load(self, data: bytes) -> SealCipher:
        return self._chain.load(data)

    def save_secret(self) -> bytes:
        return pack_secret(self.parameters, to_bytes(self._secret))
