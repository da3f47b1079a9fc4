"""Craftworld: a deterministic simulation of agents that gather, craft, fight and survive (``docs/craftworld.md``).

`rules.py` has the numbers, `terrain.py` the map, `processes.py` the order in which things happen, `simulation.py` the
state, `commands.py` and `exchange.py` what agents can do, `creatures.py` what hunts them, `sight.py` what they see,
`world.py` the interface to the runtime, `render.py` the pictures.
"""
