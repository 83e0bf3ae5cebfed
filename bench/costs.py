#!/usr/bin/env python3
"""Who spends the instructions in a callgrind output file: self and, with -i, inclusive cost per function.

callgrind_annotate gives up on threads that never return from clone(); this reads the same format line by line.

    bench/costs.py callgrind.out.123.4 [-n REQUESTS] [-i] [-c FUNCTION] [--top 60]
"""
import argparse, collections, re

NAME = re.compile(r"^(c?fn|c?ob|c?fi|c?fl|fe)=\((\d+)\)(?: (.*))?$")


def read(path):
    """Returns {function: self}, {function: inclusive}, {(caller, callee): [calls, inclusive]}, total."""
    names = {"fn": {}, "ob": {}, "fl": {}}
    own, calls = collections.Counter(), collections.defaultdict(lambda: [0, 0])
    function = callee = None
    call_count = None
    total = 0
    for line in open(path, errors="replace"):
        line = line.rstrip("\n")
        match = NAME.match(line)
        if match:
            kind = match[1].removeprefix("c")
            table = names["fn" if kind == "fn" else "ob" if kind == "ob" else "fl"]
            if match[3]:
                table[match[2]] = match[3]
            if match[1] == "fn":
                function = table.get(match[2], "?")
            elif match[1] == "cfn":
                callee = table.get(match[2], "?")
        elif line.startswith("calls="):
            call_count = int(line[6:].split()[0])
        elif line[:1] in "0123456789+-*" and line and function:
            cost = int(line.split()[1]) if len(line.split()) > 1 else 0
            if call_count is not None:
                edge = calls[(function, callee)]
                edge[0] += call_count
                edge[1] += cost
                call_count = None
            else:
                own[function] += cost
                total += cost
    inclusive = collections.Counter(own)
    for (caller, callee), (_, cost) in calls.items():
        if caller != callee:
            inclusive[caller] += cost
    return own, inclusive, calls, total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("-n", type=int, default=1, help="divide by so many requests")
    parser.add_argument("-i", action="store_true", help="inclusive")
    parser.add_argument("-c", default=None, help="callers and callees of this function")
    parser.add_argument("--top", type=int, default=60)
    options = parser.parse_args()
    own, inclusive, calls, total = read(options.file)
    n = options.n
    print(f"{total / n:12.0f}  total")
    if options.c:
        for (caller, callee), (count, cost) in sorted(calls.items(), key=lambda e: -e[1][1]):
            if options.c in (caller, callee):
                print(f"{cost / n:12.0f} {count / n:9.2f}x  {caller} -> {callee}")
        return
    for function, cost in (inclusive if options.i else own).most_common(options.top):
        print(f"{cost / n:12.0f} {100 * cost / total:5.1f}%  {function}")


if __name__ == "__main__":
    main()
