"""The live page of a run: `server.py` reads the run's log and writes what people say; `page/` is what the browser gets."""
