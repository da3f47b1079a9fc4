"""The encrypted service: what goes over the wire, the server that never sees a text, the client that keeps the key."""
