"""Craftworld: a deterministic simulation of agents that gather, craft, fight and survive (``docs/craftworld.md``).

`rules.py` has the numbers, `terrain.py` the map, `simulation.py` the order in which things happen, `commands.py` what
agents can do, `creatures.py` what hunts them, `sight.py` what they see, `world.py` the interface to the runtime,
`render.py` the pictures.
"""
