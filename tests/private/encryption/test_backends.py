"""What every back end must do, said once: results, levels, scales, what is refused, what a stranger's bytes do."""

import numpy as np
import pytest

from burnish.core.errors import BurnishError, UserError
from burnish.private.encryption.choose import client_from_secret, make_client, make_evaluator
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.seal import chain_of
from burnish.private.encryption.sealed_streams import pack, to_bytes, unpack
from burnish.private.encryption.steps import step
from tests.private.encryption.backends import ROTATIONS, SMALL, needs_openfhe, pair

CLOSE = 2.0**-15  # scale of 35 bits, ring 8,192: a rotation errs by about 2 ** -20

every = pytest.mark.parametrize("backend", ["clear", "seal", pytest.param("openfhe", marks=needs_openfhe)])


@pytest.fixture
def numbers():
    rng = np.random.default_rng(3)
    return rng.uniform(-1, 1, SMALL.slots), rng.uniform(-1, 1, SMALL.slots)


@every
def test_verbs(backend, numbers):
    client, evaluator = pair(backend)
    a, b = numbers
    x, y = client.encrypt(a), client.encrypt(b)

    def check(cipher, wanted, level, doubled=False, parts=2):
        assert np.abs(client.decrypt(cipher) - wanted).max() < CLOSE
        assert cipher.level == level
        assert abs(np.log2(cipher.scale) - (70 if doubled else 35)) < 0.01
        assert cipher.parts == parts

    check(x, a, 3)
    check(evaluator.add(x, y), a + b, 3)
    check(evaluator.subtract(x, y), a - b, 3)
    check(evaluator.negate(x), -a, 3)
    check(evaluator.add_plain(x, b), a + b, 3)
    check(evaluator.add_plain(x, 0.25), a + 0.25, 3)
    check(evaluator.multiply_plain(x, b), a * b, 3, doubled=True)
    check(evaluator.rescale(evaluator.multiply_plain(x, -0.3)), -0.3 * a, 2)
    product = evaluator.multiply(x, y, relinearise=False)
    check(product, a * b, 3, doubled=True, parts=3)
    check(evaluator.rescale(evaluator.relinearise(product)), a * b, 2)
    check(evaluator.rescale(evaluator.multiply(x, x)), a * a, 2)
    for turned, steps in zip(evaluator.rotate_many(x, ROTATIONS), ROTATIONS, strict=True):
        check(turned, np.roll(a, -steps), 3)
    check(evaluator.rotate(x, 0), a, 3)
    check(x, a, 3)  # arguments stay as they were


@every
def test_a_sum_of_products_is_relinearised_and_rescaled_once(backend, numbers):
    client, evaluator = pair(backend)
    a, b = numbers
    x, y = client.encrypt(a), client.encrypt(b)
    mixed = evaluator.add(evaluator.multiply(x, y, relinearise=False), evaluator.multiply_plain(x, 0.5))
    done = evaluator.rescale(evaluator.relinearise(mixed))
    assert np.abs(client.decrypt(done) - (a * b + a / 2)).max() < CLOSE


@every
def test_paths_of_different_lengths_meet_exactly(backend, numbers):
    """Without one scale a level, SEAL's primes would leave an error of up to 2 ** -15 a level: not noise, a bias."""
    client, evaluator = pair(backend)
    a, _ = numbers
    x = client.encrypt(a)
    deep = x
    for _ in range(3):
        deep = evaluator.rescale(evaluator.multiply_plain(deep, 1.0))
    assert deep.level == 0
    assert np.abs(client.decrypt(evaluator.subtract(evaluator.drop(x, 1), deep))).max() < CLOSE
    assert evaluator.drop(x, 0).scale == pytest.approx(deep.scale, rel=1e-12)
    assert np.abs(client.decrypt(evaluator.add(x, deep)) - 2 * a).max() < CLOSE
    once = evaluator.rescale(evaluator.multiply(evaluator.drop(x, 2), evaluator.drop(x, 1)))
    assert once.level == 0
    assert np.abs(client.decrypt(once) - a * a).max() < CLOSE


@every
def test_encrypting_low_is_dropping(backend, numbers):
    client, evaluator = pair(backend)
    low = client.encrypt(numbers[0], level=1)
    assert low.level == 1
    if backend != "clear":
        assert len(client.save(low)) < 0.6 * len(client.save(client.encrypt(numbers[0])))
    assert np.abs(client.decrypt(evaluator.rescale(evaluator.multiply(low, low))) - numbers[0] ** 2).max() < CLOSE
    with pytest.raises(BurnishError, match="level 4 asked for"):
        client.encrypt(numbers[0], level=4)


@every
def test_what_cannot_be_done_names_the_step(backend, numbers):
    client, evaluator = pair(backend)
    x, floor = client.encrypt(numbers[0]), client.encrypt(numbers[0], level=0)
    product = evaluator.multiply(x, x, relinearise=False)
    doubled = evaluator.relinearise(product)
    for work, complaint in [
        (lambda: evaluator.multiply(floor, x), "multiply: no level is left"),
        (lambda: evaluator.multiply_plain(floor, 0.5), "multiply_plain: no level is left"),
        (lambda: evaluator.multiply(doubled, doubled), "not rescaled"),
        (lambda: evaluator.multiply_plain(doubled, 0.5), "not rescaled"),
        (lambda: evaluator.multiply(product, x), "not relinearised"),
        (lambda: evaluator.rotate(product, 1), "not relinearised"),
        (lambda: evaluator.rotate(x, 7), "no key for a rotation by 7"),
        (lambda: evaluator.add(x, doubled), "not rescaled"),
        (lambda: evaluator.rescale(x), "nothing was multiplied"),
        (lambda: evaluator.drop(doubled, 1), "rescale the product"),
        (lambda: evaluator.drop(floor, 1), "level 1 asked for, 0 left"),
        (lambda: evaluator.drop(x, -1), "level -1"),
        (lambda: evaluator.multiply_plain(x, np.zeros(3)), "every number is zero"),
    ]:
        with step("argmax"), step("sign"), pytest.raises(BurnishError, match=complaint) as caught:
            work()
        assert str(caught.value).endswith("(step: argmax, sign)")
    with pytest.raises(BurnishError, match="rescaled") as caught:
        evaluator.add(x, doubled)
    assert "step" not in str(caught.value)


@every
def test_numbers_that_do_not_fit_are_refused(backend):
    client, evaluator = pair(backend)
    x = client.encrypt(np.array([0.5]))
    assert np.abs(client.decrypt(x)[:2] - [0.5, 0.0]).max() < CLOSE
    for bad in (
        np.array([np.nan]),
        np.array([np.inf]),
        np.zeros(SMALL.slots + 1),
        np.array([2.0**30]),
    ):
        with pytest.raises(UserError, match="slots"):
            client.encrypt(bad)
        with pytest.raises(UserError, match="slots"):
            evaluator.add_plain(x, bad)


@every
def test_over_the_wire(backend, numbers):
    client, evaluator = pair(backend)
    x = evaluator.load(client.save(client.encrypt(numbers[0])))
    back = client.load(evaluator.save(evaluator.rescale(evaluator.multiply(x, x))))
    assert back.level == 2
    assert np.abs(client.decrypt(back) - numbers[0] ** 2).max() < CLOSE


@every
def test_damaged_ciphertexts_are_refused(backend, numbers):
    client, evaluator = pair(backend)
    whole = client.save(client.encrypt(numbers[0], level=0))
    bad = [b"", b"x", whole[:50], whole[:-1], b"\0" * len(whole), whole * 40]
    rng = np.random.default_rng(1)
    for place in rng.integers(0, 120, 40):
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 255))
        bad.append(bytes(changed))
    refused = 0
    for data in bad:
        try:
            loaded = evaluator.load(data)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert loaded.level == 0  # the changed byte was one that means nothing, or a coefficient
            assert loaded.parts in (2, 3)
    assert refused >= 15  # of the clear back end, most bytes are numbers, and another number is sound


def test_what_is_whole_and_no_encryption_is_refused(numbers):
    client, evaluator = pair("seal")
    chain, whole = chain_of(SMALL), client.encrypt(numbers[0])
    other, nothing = (chain.api.Ciphertext(chain.context, chain.ids[3], 2) for _ in range(2))
    chain.api.Evaluator(chain.context).transform_from_ntt(whole.inner, other)
    with pytest.raises(UserError, match="ciphertext: its polynomials are written as coefficients"):
        evaluator.load(to_bytes(other))
    chain.api.Evaluator(chain.context).transform_to_ntt(other, other)
    assert evaluator.load(to_bytes(other)).level == 3
    nothing.resize(chain.context, chain.ids[3], 2)
    nothing.scale = chain.scales[3]
    with pytest.raises(UserError, match="ciphertext: it hides nothing"):
        evaluator.load(to_bytes(nothing))


@every
def test_keys_that_lack_one_say_which(backend):
    client, evaluator = pair(backend)
    assert evaluator.lacking([*ROTATIONS, 0, SMALL.slots - 3]) == []
    assert evaluator.lacking([5, 4, -1]) == ["a rotation by 4", f"a rotation by {SMALL.slots - 1}"]
    assert make_evaluator(SMALL, client.evaluation_keys([]), backend).lacking([2]) == ["a rotation by 2"]


def test_keys_without_a_relinearisation_key():
    client, _ = pair("seal")
    found = unpack(client.evaluation_keys([1]), {"parameters", "relinearise", "rotate"}, "keys")
    chain = chain_of(SMALL)
    none = to_bytes(chain.api.RelinKeys())
    for stream in (none, found["rotate"]):  # rotation keys in its place: of the same kind to SEAL
        try:
            evaluator = make_evaluator(SMALL, pack({**found, "relinearise": stream}), "seal")
        except UserError as error:
            assert "relinearisation key" in str(error)
        else:
            assert evaluator.lacking([1]) == ["relinearisation"]


@every
def test_other_parameters_are_refused(backend, numbers):
    other = Parameters(ring=8192, scale_bits=30, levels=3, end_bits=50)
    stranger = make_client(other, backend)
    _, evaluator = pair(backend)
    with pytest.raises(UserError, match="ciphertext"):
        evaluator.load(stranger.save(stranger.encrypt(numbers[0])))
    with pytest.raises(UserError, match="other parameters"):
        make_evaluator(SMALL, stranger.evaluation_keys([1]), backend)
    for garbage in (b"", b"\xc1", b"\x80", b"{}", b"[1]", b"\x93\x01\x02\x03"):
        with pytest.raises(UserError, match="keys"):
            make_evaluator(SMALL, garbage, backend)
        with pytest.raises(UserError, match="secret key"):
            client_from_secret(garbage, backend)


@every
def test_the_secret_key_comes_back(backend, numbers):
    client, _ = pair(backend)
    again = client_from_secret(client.save_secret(), backend)
    assert again.parameters == SMALL
    assert np.abs(again.decrypt(client.encrypt(numbers[0])) - numbers[0]).max() < CLOSE


def test_keys_hold_nothing_secret_and_only_what_was_asked_for(numbers):
    client, _ = pair("seal")
    none, two = client.evaluation_keys([]), client.evaluation_keys([1, 2, 1, 0, SMALL.slots])
    one = client.evaluation_keys([1])
    assert len(two) - len(one) == pytest.approx(len(one) - len(none), rel=0.02)
    assert len(one) == pytest.approx(2 * SMALL.sent_key_bytes, rel=0.2)
    assert len(one) < 0.5 * 2 * SMALL.key_bytes
    assert len(client.save(client.encrypt(numbers[0]))) == pytest.approx(SMALL.sent_bytes(3), rel=0.2)
    from burnish.private.encryption.sealed_streams import unpack

    secret = unpack(client.save_secret(), {"parameters", "secret"}, "")["secret"]
    body = secret[len(secret) // 2 :][:64]
    assert body in secret
    assert body not in two


def test_a_fresh_ciphertext_is_sent_as_half_of_one(numbers):
    client, evaluator = pair("seal")
    fresh = client.encrypt(numbers[0])
    assert len(client.save(fresh)) < 0.55 * len(evaluator.save(fresh))


def test_a_servers_numbers_are_encoded_once_and_forgotten_when_too_many(monkeypatch):
    from burnish.private.encryption import seal

    chain = seal.Chain(SMALL)
    made: list[int] = []
    encode = chain._encoded

    def counted(*given):
        made.append(1)
        return encode(*given)

    monkeypatch.setattr(chain, "_encoded", counted)
    numbers = np.linspace(-1, 1, SMALL.slots)
    for _ in range(3):
        chain.encoded(numbers, 2, chain.scales[2])
    assert len(made) == 1
    chain.encoded(numbers, 1, chain.scales[1])
    chain.encoded(-numbers, 2, chain.scales[2])
    assert len(made) == 3
    monkeypatch.setattr(seal, "REMEMBERED_BYTES", 2 * SMALL.ciphertext_bytes(3, 1))
    chain.encoded(numbers / 2, 2, chain.scales[2])
    chain.encoded(numbers, 2, chain.scales[2])
    assert len(made) == 5  # the first were forgotten
    assert len(chain._remembered) == 2
