"""The live page of a run: `server.py` serves it, `handlers.py` answers it, `page/` is what the browser gets."""
