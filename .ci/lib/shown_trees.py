"""The trees of the documents, which are what programs have printed.

  shown_trees.py write KIND OUTPUT DOCUMENT   puts the tree of OUTPUT between the markers of DOCUMENT
  shown_trees.py check KIND OUTPUT DOCUMENT   fails if OUTPUT has no such tree, or no such commands in any of its trees
  shown_trees.py shape DOCUMENT               prints the shape of the tree there

OUTPUT is what a program has printed. With the KIND `demo` it is that of the demo, whose tree is shown with one of its workers, and
without the timeline. With `console` it is that of a proxy, of which the last tree of a report is shown as it is. The shape of a
tree is all but its times and ids: services, names, order and nesting.
"""

import difflib
import re
import sys
from itertools import groupby

BEGIN, END = "<!-- tree -->\n```text\n", "```\n<!-- /tree -->\n"

# A row: two times, the branch, the service, the rest, and the timeline if there is one.
ROW = re.compile(r" *(?P<start>[\d.]+ ms) +(?P<took>[\d.]+ ms)  (?P<branch>[ │├└─╌]*)(?P<service>[^ ]+) +(?P<what>.+?)( +━+)?$")

# A step of the branch is so many columns wide.
STEP = 3
# How deep the rows of the workers begin.
WORKER = 2
# The worker that is shown.
SHOWN = "worker-chart"
NUMBERS = {3: "three", 4: "four"}


def die(message):
    sys.exit(f"shown_trees.py: {message}")


def trees(output):
    """The trees in what was printed: lists of lines, each with the heading first."""
    found = []
    for line in output.splitlines():
        if re.search(r"  trace [0-9a-f]{32}  ", line):
            found.append([line])
        elif found and ROW.match(line):
            found[-1].append(line)
    return found


def of_demo(output):
    """The tree of the one report, with one of the workers."""
    tree = next((tree for tree in trees(output) if tree[0].startswith("Its trace  ")), None)
    if tree is None:
        die("the demo has printed no tree of one report")
    rows = [ROW.match(line).groupdict() for line in tree[1:]]
    kept, others = [], 0
    for is_within, part in groupby(rows, lambda row: len(row["branch"]) // STEP >= WORKER):
        part = list(part)
        if not is_within:
            kept += part
            continue
        workers = sum(len(row["branch"]) // STEP == WORKER for row in part)
        shown = of_worker(part)
        others += workers - 1
        kept += shown
        kept.append({"start": "", "took": "", "branch": "│  └─ ", "service": "…", "what": f"{NUMBERS.get(others, others)} other workers"})
    who = max(len(row["branch"] + row["service"]) for row in kept)
    return [tree[0]] + [
        f"{row['start']:>11}  {row['took']:>9}  {row['branch'] + row['service']:<{who}}  {row['what']}" for row in kept
    ]


def of_worker(rows):
    """The rows of the worker that is shown, drawn as those of one that others follow."""
    shown, is_shown = [], False
    for row in rows:
        branch = row["branch"]
        is_worker = len(branch) // STEP == WORKER
        if is_worker:
            is_shown = row["service"] == SHOWN
        if is_shown:
            before, after = branch[:STEP], branch[2 * STEP :]
            shown.append(row | {"branch": before + ("├─ " if is_worker else "│  ") + after})
    if not shown:
        die(f"the tree has no {SHOWN}")
    return shown


def of_console(output):
    """The last tree of a report, under the heading of its columns."""
    found = [tree for tree in trees(output) if "POST /reports" in tree[1]]
    if not found:
        die("the proxy has printed no tree of a report")
    return [found[-1][0], f"  {'start':>9}  {'took':>9}", *found[-1][1:]]


KINDS = {"demo": of_demo, "console": of_console}


def shape(lines):
    """Each line without its times and its timeline, and with the columns drawn together."""
    shapes = []
    for line in lines:
        line = re.sub(r"^\d{4}-\d\d-\d\dT\S+Z", "TIME", line)
        line = re.sub(r"\b[0-9a-f]{32}\b", "ID", line)
        line = re.sub(r"[\d.]+ ms", "TIME", line)
        line = re.sub(r" +━+$", "", line)
        shapes.append(re.sub(r" +", " ", line).strip())
    return shapes


def rows(lines):
    """Of each row how deep it stands, its service, what it shows, and whether it is of commands whose cause was inferred."""
    for match in filter(None, map(ROW.match, lines)):
        is_inferred = "╌" in match["branch"]
        yield len(match["branch"]), match["service"], match["what"], is_inferred and not match["what"].startswith("publish ")


def frame(lines):
    """What the trees of all runs share. Commands are left out: one whose cause is not certain has no cause."""
    return [f"{depth:2} {service} {what}" for depth, service, what, is_command in rows(lines) if not is_command]


def commands(lines):
    """The rows of commands, each once and without its place."""
    return sorted({f"{service} {what}" for _, service, what, is_command in rows(lines) if is_command})


def split(document):
    """The text before the tree of a document, the lines of the tree, and the text behind it."""
    with open(document, encoding="utf-8") as file:
        text = file.read()
    before, begin, rest = text.partition(BEGIN)
    tree, end, after = rest.partition(END)
    if not begin or not end:
        die(f"{document} has no markers of a tree")
    return before, tree.splitlines(), after


def main(command, *words):
    if command == "shape" and len(words) == 1:
        print("\n".join(shape(split(words[0])[1])))
        return
    if command not in ("write", "check") or len(words) != 3 or words[0] not in KINDS:
        die(__doc__)
    kind, output, document = words
    with open(output, encoding="utf-8") as file:
        text = file.read()
    printed = KINDS[kind](text)
    before, shown, after = split(document)
    if command == "write":
        with open(document, "w", encoding="utf-8") as file:
            file.write(before + BEGIN + "".join(f"{line}\n" for line in printed) + END + after)
        return
    differences = list(difflib.unified_diff(frame(shown), frame(printed), document, "what is printed now", lineterm=""))
    everywhere = commands(line for tree in trees(text) for line in tree)
    differences += [f"no tree has the row {row}" for row in commands(shown) if row not in everywhere]
    if differences:
        print("\n".join(differences), file=sys.stderr)
        die(f"{document} shows another tree than is printed now. `make pictures` writes it anew")


if __name__ == "__main__":
    main(*(sys.argv[1:] or [""]))
