"""One side of a library, as a service of its own: sends as many jobs as it is told and prints their results, or works on them.

  program.py LIBRARY send COUNT
  program.py LIBRARY work
"""

import importlib
import json
import os
import sys

from jobs import texts

library, role, *rest = sys.argv[1:]
module = importlib.import_module(f"of_{library}")
if role == "send":
    print(json.dumps(module.send(texts(int(rest[0])))))
else:
    os.execv(module.WORKER[0], module.WORKER)
