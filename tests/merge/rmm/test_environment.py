import pytest
from gymnasium.utils.env_checker import check_env

from burnish.merge.rmm.architecture import Architecture, Block, Blocks, Scales, from_plain, uniform
from burnish.merge.rmm.environment import BlockEnv


def play(env, actions):
    env.reset()
    for action in actions:
        result = env.step(action)
    return result


@pytest.mark.parametrize(
    "env",
    [
        BlockEnv((3,), 4),
        BlockEnv((2, 2), 3, corrected=False),
        BlockEnv((3,), 2, skip_and_back=False),
    ],
    ids=["corrected", "published", "take only"],
)
def test_gymnasiums_checker(env):
    check_env(env, skip_render_check=True)


def test_back_takes_a_layer_again():
    env = BlockEnv((2,), 2, corrected=False)  # K = 2: actions take0, take1, skip 2, back 3
    play(env, [1, 3, 0, 1])
    first = env.architecture()
    assert first.blocks == (Block(0, 0, 1), Block(0, 0, 0), Block(0, 1, 1))
    assert env.counts.flatten().tolist() == [1, 1, 0, 1]
    play(env, [0, 3, 1, 1])
    assert env.counts.flatten().tolist() == [1, 1, 0, 1], "same state"
    assert env.architecture() != first, "another model"


def test_blocks_stay_on_their_side():
    env = BlockEnv((2, 2), 2)
    play(env, [0, 0, 1, 3, 0, 0])
    assert env.architecture().of_side(1) == (Block(1, 0, 1), Block(1, 0, 0), Block(1, 1, 0))


def test_back_over_the_boundary_adds_to_the_encoder():
    env = BlockEnv((2, 2), 2)
    play(env, [0, 0, 1, 3, 3, 1, 0, 0])
    assert env.architecture().of_side(0) == (Block(0, 0, 0), Block(0, 1, 0), Block(0, 1, 1))
    assert env.architecture().blocks == env.architecture().ordered()


def test_back_before_the_first_layer_fails():
    env = BlockEnv((2,), 2, corrected=False)
    _, reward, terminated, truncated, _ = play(env, [3])
    assert (reward, terminated, truncated, env.failed) == (-10.0, True, False, True)


def test_masks():
    env = BlockEnv((2,), 2)
    env.reset()
    assert env.action_masks().tolist() == [True, True, True, False]
    env.step(0)
    assert env.action_masks().all()
    assert BlockEnv((2,), 2, corrected=False).action_masks().all(), "published: nothing masked"


def test_only_the_corrected_agent_sees_a_skip():
    published, corrected = BlockEnv((2,), 2, corrected=False), BlockEnv((2,), 2)
    for env, visible in ((published, False), (corrected, True)):
        before, _ = env.reset()
        after = env.step(env.skip)[0]
        assert (before != after).any() == visible


def test_endless_episodes_are_cut_and_completed():
    scored: list[Architecture] = []

    def score(architecture: Architecture) -> float:
        scored.append(architecture)
        return 7.0

    env = BlockEnv((2,), 2, score)
    _, reward, terminated, truncated, _ = play(env, [1, 3] * 4)  # 4 L = 8 steps
    assert (reward, terminated, truncated) == (7.0, False, True)
    assert isinstance(scored[0], Blocks)
    assert scored[0].blocks[-2:] == (Block(0, 0, 1), Block(0, 1, 1))


def test_an_empty_model_is_legal():
    env = BlockEnv((2,), 2)
    terminated = play(env, [2, 2])[2]
    assert terminated
    assert env.architecture() == Blocks(())


@pytest.mark.parametrize("architecture", [uniform((2, 1), 3), Scales(((0.1, 0.2),)), Blocks(())])
def test_architectures_to_plain_data_and_back(architecture):
    again = from_plain(architecture.to_plain())
    assert again == architecture
    assert hash(again) == hash(architecture)
