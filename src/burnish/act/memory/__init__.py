"""What a team knows: an append-only log of events with sequence numbers, and snapshots folded from it."""
