"""What writes the steps of a search: one protocol, several engines. The search knows the protocol only."""
