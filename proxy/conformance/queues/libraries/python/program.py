"""One side of a library, as a service of its own: sends as many jobs as it is told and prints their results, or works on them.

  program.py LIBRARY send COUNT
  program.py LIBRARY work
"""

import importlib
import json
import os
import sys

library, role, *rest = sys.argv[1:]
module = importlib.import_module(f"of_{library}")
if role == "send":
    # Each job has another length, by which its two ends can be told from those of others.
    print(json.dumps(module.send(["x" * number for number in range(1, int(rest[0]) + 1)])))
else:
    os.execv(module.WORKER[0], module.WORKER)
