"""Imported last by the process that tests fork children from: no garbage collection of theirs goes through its modules.

TRL's trainers alone collect twice a run, 0.4 seconds each among so many objects.
"""

import gc

from burnish.act.clock import COLLECT

gc.collect()
gc.freeze()
gc.set_threshold(*COLLECT)
