"""Answers what HTCondor's ClassAd library makes of an expression or a pair of ads.

One JSON request a line on standard input, one JSON answer a line on standard
output:

  {"expr": "...", "my": "[...]", "target": "[...]" or null}
      -> {"type": "...", "text": "..."} and, for a list, "items": [...]
      -> {"refused": true} if the text is not an expression
  {"left": "[...]", "right": "[...]"}
      -> {"left_accepts": bool, "right_accepts": bool, "match": bool,
          "left_rank": {...}, "right_rank": {...}}
"""

import datetime
import json
import sys

import htcondor2  # registers the functions that HTCondor adds to the library
import classad2

TYPES = {bool: "boolean", int: "integer", str: "string"}
DEPTH_MAX = 6


def is_expression(text):
    try:
        # The bindings put the text into an ad, which it must not end.
        ad = classad2.ClassAd(f"[ a = {text}\n; b = 1 ]")
    except classad2.ClassAdException:
        return False
    return list(ad.keys()) == ["a", "b"]


def literal(tree):
    """A tree in one line, as the library prints it inside of an ad."""
    ad = classad2.ClassAd()
    ad["v"] = tree
    return repr(ad)[len("[ v = ") : -len(" ]")]


def value(text, my, target, depth=0):
    tree = classad2.ExprTree(text)
    found = tree.eval(my, target)
    if isinstance(found, classad2.Value):
        kind = "undefined" if found == classad2.Value.Undefined else "error"
        return {"type": kind, "text": kind}
    if isinstance(found, list):
        items = []
        if depth < DEPTH_MAX:
            # Lists are lazy: an item has its value in its own scope only.
            items = [
                value(f"({text})[{i}]", my, target, depth + 1)
                for i in range(len(found))
            ]
        return {"type": "list", "text": "", "items": items}
    if isinstance(found, classad2.ClassAd):
        return {"type": "classad", "text": repr(found)}
    if isinstance(found, datetime.datetime):
        return {"type": "abstime", "text": literal(tree.simplify(my, target))}
    if isinstance(found, float):
        printed = literal(tree.simplify(my, target))
        kind = "reltime" if printed.startswith("relTime") else "real"
        return {"type": kind, "text": printed, "number": found.hex()}
    if isinstance(found, str):
        return {"type": "string", "text": found}
    return {"type": TYPES[type(found)], "text": str(found).lower()}


def answer(request):
    if "left" in request:
        left = classad2.ClassAd(request["left"])
        right = classad2.ClassAd(request["right"])
        return {
            "left_accepts": right.matches(left),
            "right_accepts": left.matches(right),
            "match": left.symmetricMatch(right),
            "left_rank": value("Rank", left, right),
            "right_rank": value("Rank", right, left),
        }
    if not is_expression(request["expr"]):
        return {"refused": True}
    my = classad2.ClassAd(request["my"])
    target = classad2.ClassAd(request["target"]) if request["target"] else None
    try:
        return value(request["expr"], my, target)
    except (classad2.ClassAdException, ValueError) as failure:
        return {"type": "failure", "text": str(failure)}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
