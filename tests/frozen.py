"""Imported last by the process that tests fork children from: no garbage collection of theirs goes through its modules.

TRL's trainers alone collect twice a run, 0.4 seconds each among so many objects.
"""

import gc

gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 50)  # as at the command line
