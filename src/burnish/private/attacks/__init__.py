"""Small edits of a text that a reader would hardly mind, looked for until a classifier errs. Offline, for one's own."""
