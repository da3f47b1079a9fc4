import copy
from typing import Any

import numpy as np
import pytest
import torch

from burnish.merge.rmm.agent import Episode, PublishedPPO, returns_and_advantages
from burnish.merge.rmm.architecture import Blocks, Scales
from burnish.merge.rmm.environment import BlockEnv
from burnish.merge.rmm.recipe import PPOSettings, SearchRecipe
from burnish.merge.rmm.searchers import GreedySearch, PolicySearch, Space, make_searcher

RECIPE: dict[str, Any] = {"base": "b", "experts": ["x", "y"], "tasks": [{"name": "t", "validation": "v", "test": "t"}]}
BLOCKS = Space((4,), 3, np.zeros((4, 1)), scales=False)
SCALES = Space((4,), 3, np.full((4, 2), 0.5), scales=True)
ARMS = [
    ("rmm_published", "blocks"),
    ("ppo", "blocks"),
    *[(search, actions) for search in ("cma", "greedy", "random") for actions in ("blocks", "scales")],
]


def toy(architecture):
    """Candidate 2 at every layer is best; or scales of 1 and 0."""
    if architecture is None:
        return -10.0
    if isinstance(architecture, Scales):
        return -float(np.square(np.array(architecture.values) - [1.0, 0.0]).sum())
    return float(sum(block.candidate == 2 for block in architecture.blocks)) - abs(len(architecture.blocks) - 4)


def make(search, actions, seed=0, **ppo):
    settings = {"epochs": 10, "entropy_weight": 0.01, **ppo}
    recipe = SearchRecipe(search=search, actions=actions, ppo=PPOSettings(**settings), **RECIPE)
    return make_searcher(recipe, BLOCKS if actions == "blocks" else SCALES, np.random.default_rng(seed))


def rounds(searcher, count):
    best = -np.inf
    for _ in range(count):
        rewards = [toy(each) for each in searcher.ask(searcher.batch)]
        searcher.tell(rewards)
        best = max(best, *rewards)
    return best


@pytest.mark.parametrize(("search", "actions"), ARMS)
def test_resumes_exactly(search, actions):
    rng = np.random.default_rng(0)
    space = BLOCKS if actions == "blocks" else SCALES
    recipe = SearchRecipe(search=search, actions=actions, ppo=PPOSettings(epochs=3), **RECIPE)
    first = make_searcher(recipe, space, rng)
    rounds(first, 3)
    saved, state = first.state_dict(), rng.bit_generator.state
    saved = torch.utils._pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, saved)
    expected = []
    for _ in range(3):
        expected.append(first.ask(first.batch))
        first.tell([toy(each) for each in expected[-1]])
    other_rng = np.random.default_rng(9)
    second = make_searcher(recipe, space, other_rng)
    second.load_state_dict(saved)
    other_rng.bit_generator.state = state
    for asked in expected:
        assert second.ask(second.batch) == asked
        second.tell([toy(each) for each in asked])


@pytest.mark.parametrize(("search", "actions"), [("greedy", "blocks"), ("greedy", "scales"), ("cma", "scales")])
def test_finds_the_best(search, actions):
    best = rounds(make(search, actions), 40)
    assert best >= (4.0 if actions == "blocks" else -0.5)


@pytest.mark.parametrize("search", ["ppo", "rmm_published"])
def test_agents_learn_which_blocks_are_best(search):
    searcher = make(search, "blocks", skip_and_back=search == "rmm_published", actor_lr=4e-3)
    rounds(searcher, 35)
    late = [toy(each) for _ in range(5) for each in searcher.ask(4)]
    assert np.mean(late) > 2.9, late  # 4 is the best, 4/3 what chance gives


def test_a_warm_start_mostly_repeats_the_best_merge():
    searcher = make("ppo", "blocks", warm_start=0.9, skip_and_back=False)
    taken = [block.candidate for each in searcher.ask(40) for block in each.blocks]
    assert 0.8 < np.mean(np.array(taken) == 0) < 0.97


def test_greedy_looks_at_the_start_first():
    searcher = GreedySearch(BLOCKS)
    assert searcher.ask(5) == [BLOCKS.architecture(BLOCKS.start())]
    searcher.tell([0.0])
    asked = searcher.ask(5)
    assert [each.blocks[0].candidate for each in asked if isinstance(each, Blocks)] == [1, 2]


def test_random_covers_every_candidate():
    taken = {block for each in make("random", "blocks").ask(50) for block in each.blocks}
    assert len(taken) == 12
    assert all(isinstance(each, Blocks) and len(each.blocks) == 4 for each in make("random", "blocks").ask(3))


def test_task_scales_are_one_row():
    space = Space((3,), 2, np.full((3, 2), 0.5), scales=True, per_model=True)
    recipe = SearchRecipe(search="random", scale_per="model", **RECIPE)
    [architecture] = make_searcher(recipe, space, np.random.default_rng(0)).ask(1)
    assert isinstance(architecture, Scales)
    assert len(set(architecture.values)) == 1
    assert len(architecture.values) == 3


def test_published_returns_are_normalised_and_the_advantage_is_return_minus_value():
    values = torch.tensor([0.5, 0.0, 0.0])
    returns, advantages = returns_and_advantages([[0.0, 0.0, 80.0]], values, 0.99)
    raw = torch.tensor([78.408, 79.2, 80.0])
    torch.testing.assert_close(returns, (raw - raw.mean()) / (raw.std() + 1e-7))
    torch.testing.assert_close(advantages, returns - values)


def test_published_networks_and_learning_rates():
    env = BlockEnv((2,), 2, corrected=False)
    agent = PublishedPPO(env, PPOSettings(), np.random.default_rng(0))
    assert [layer.out_features for layer in list(agent.actor)[::2]] == [64, 64, 4]
    assert [group["lr"] for group in agent.optimizer.param_groups] == [3e-4, 1e-3]
    episode = Episode()
    agent.act(env.reset()[0], env.action_masks(), episode)
    assert len(episode.actions) == len(episode.values) == 1


def reference_update(agent, episodes, rewards, settings):
    """RMM's PPO update written out: one full-batch Adam step an epoch. Returns the parameters after it, in order."""
    seen = torch.tensor(np.array([o for e in episodes for o in e.observations]))
    taken = [int(a) for e in episodes for a in e.actions]
    old = [p for e in episodes for p in e.log_probs]
    value = torch.tensor([v for e in episodes for v in e.values])
    returns = []
    for episode, reward in zip(episodes, rewards, strict=True):
        steps = len(episode.actions)
        returns += [settings.gamma ** (steps - 1 - t) * reward for t in range(steps)]
    raw = torch.tensor(returns)
    scaled = (raw - raw.mean()) / (raw.std() + 1e-7)
    actor, critic = copy.deepcopy(agent.actor), copy.deepcopy(agent.critic)
    learners = [
        torch.optim.Adam(actor.parameters(), lr=settings.actor_lr),
        torch.optim.Adam(critic.parameters(), lr=settings.critic_lr),
    ]
    clipped = 0
    for _ in range(settings.epochs):
        total = torch.zeros(())
        for t in range(len(taken)):
            probabilities = actor(seen[t]).softmax(-1)
            advantage = float(scaled[t] - value[t])
            ratio = probabilities[taken[t]] / np.exp(old[t])
            low, high = 1 - settings.clip, 1 + settings.clip
            here = ratio.item()
            clipped += not low <= here <= high
            bounded = ratio if low <= here <= high else torch.tensor(low if here < low else high)
            surrogate = (ratio if here * advantage < bounded.item() * advantage else bounded) * advantage
            entropy = -sum(p * p.log() for p in probabilities)
            error = (critic(seen[t])[0] - scaled[t]) ** 2
            total = total - surrogate + settings.value_weight * error - settings.entropy_weight * entropy
        for learner in learners:
            learner.zero_grad()
        (total / len(taken)).backward()
        for learner in learners:
            learner.step()
    assert clipped, "nothing was clipped: this cannot tell whether clipping works"
    return [*actor.parameters(), *critic.parameters()]


def test_one_update_of_the_published_agent_by_hand():
    settings = PPOSettings(actor_lr=0.01, critic_lr=0.02, clip=0.05, epochs=6, value_weight=0.3, entropy_weight=0.2)
    env = BlockEnv((3,), 2, corrected=False)
    agent = PublishedPPO(env, settings, np.random.default_rng(4))
    search = PolicySearch(env, agent, 4)
    search.ask(4)
    episodes, rewards = search._episodes, [10.0, 60.0, 80.0, 30.0]
    expected = reference_update(agent, episodes, rewards, settings)
    search.tell(rewards)
    found = [*agent.actor.parameters(), *agent.critic.parameters()]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-4)
