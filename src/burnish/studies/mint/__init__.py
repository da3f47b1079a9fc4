"""Drawing with a plan and without, and experts apart or together, at equal CPU time."""
