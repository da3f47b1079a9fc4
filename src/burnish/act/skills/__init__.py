"""What agents can do: the skill library, and the planner that decomposes a goal into steps."""
