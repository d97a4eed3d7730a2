"""What a durable step costs in LangGraph with its SQLite checkpointer; the other side of `--bench steps`.

    python3 -m venv V
    V/bin/pip install langgraph==1.2.22 langgraph-checkpoint-sqlite==3.1.2
    V/bin/python crates/journal/benches/langgraph_steps.py                  # all cases that take seconds
    V/bin/python crates/journal/benches/langgraph_steps.py flat=100000      # one case, with so many steps

Cases (CASE=STEPS):

    chain   One node that runs again and again, each time appending a message of 1 KB to the list in the
            state (reducer: `operator.add`). The state grows, and every checkpoint holds all of it.
    delta   The same with LangGraph's `DeltaChannel` (beta in 1.2.22), which writes the whole list down
            only with every 100th step.
    flat    The same, but the state is the last message only, so every step costs the same.
    fanout  So many branches side by side (`Send`), each with a message of 1 KB, joined by a reducer.

It prints one JSON object a line. `cpu_ms` and `wall_ms` are those of the whole case, without imports and
without making the graph and the tables; `bytes` is database and write-ahead log with the connection open,
`bytes_closed` the database after closing it. The three kinds of chain are broken off by an exception in
the node after the last step; `resume_cpu_ms` and `resume_wall_ms` (means, where several are measured) are from opening
the file again to the node being entered for the next step. Each case has a fresh file in a temporary
folder inside the current one, so that it is on the same disk as the journal of the Rust side.

Settings: `durability="sync"`, `SqliteSaver` as it comes (write-ahead log, synchronous=FULL, like the
journal). Messages are random text in an alphabet of 64 characters: nothing repeats, and only the 2 bits
of each byte that text does not use could be squeezed out. They are plain strings, made beforehand; the
node does nothing else, so what is measured is LangGraph and SQLite.

(The file cannot be called `langgraph.py`: Python looks in the script's folder first, and the name would
hide the package.)
"""

import json
import operator
import os
import random
import sqlite3
import string
import sys
import tempfile
import time
from itertools import chain as flattened
from typing import Annotated, TypedDict

from langgraph.channels import DeltaChannel
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

ALPHABET = string.ascii_letters + string.digits + "+-"
MESSAGE_CHARACTERS = 1024
DEFAULT_CASES = ["chain=500", "chain=1000", "chain=2000", "delta=1000", "flat=1000", "flat=10000", "fanout=100"]
# Fan-outs are so short that many are measured, each in a file of its own.
FANOUTS = 10
# From so many steps on, one resume is measured instead of five.
MANY_STEPS = 10_000
# A case that would write more is left out, with a word about it.
LIMIT_BYTES = 8 * 10**9
THREAD = {"configurable": {"thread_id": "bench"}}


class Growing(TypedDict):
    messages: Annotated[list[str], operator.add]


class Delta(TypedDict):
    messages: Annotated[list[str], DeltaChannel(lambda state, writes: [*state, *flattened.from_iterable(writes)])]


class Flat(TypedDict):
    number: int
    message: str


class Branch(TypedDict):
    number: int


class BrokenOff(Exception):
    """Stands for the end of the process after the last step."""


class Clock:
    """CPU time of the process, all threads, and time on the wall, both in milliseconds."""

    def __init__(self):
        self.start()

    def start(self):
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def read(self):
        return (time.process_time() - self.cpu) * 1e3, (time.perf_counter() - self.wall) * 1e3


def random_messages(count):
    return ["".join(random.choices(ALPHABET, k=MESSAGE_CHARACTERS)) for _ in range(count)]


def open_saver(path):
    saver = SqliteSaver(sqlite3.connect(path, check_same_thread=False))
    saver.setup()
    return saver


def bytes_on_disk(path):
    return sum(os.path.getsize(path + end) for end in ("", "-wal") if os.path.exists(path + end))


def build_chain(state_type, messages, entered):
    """A graph whose only node runs until the messages are used up, and then breaks off.

    `entered` is called when the node is entered for the step after the last.
    """

    def step(state):
        number = state["number"] if state_type is Flat else len(state["messages"])
        if number == len(messages):
            entered()
            raise BrokenOff
        message = messages[number]
        return {"number": number + 1, "message": message} if state_type is Flat else {"messages": [message]}

    def route(state):
        number = state["number"] if state_type is Flat else len(state["messages"])
        return "step" if number <= len(messages) else END

    graph = StateGraph(state_type)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", route, {"step": "step", END: END})
    return graph


def run_chain(state_type, path, steps):
    messages = random_messages(steps)
    clock, ended = Clock(), []
    graph = build_chain(state_type, messages, lambda: ended.append(clock.read()))
    config = {**THREAD, "recursion_limit": steps + 10}

    def invoke(saver, state):
        try:
            compiled = graph.compile(checkpointer=saver)
            compiled.invoke(state, config, durability="sync")
        except BrokenOff:
            return
        raise AssertionError("the chain ended of its own accord")

    saver = open_saver(path)
    clock.start()
    invoke(saver, {"number": 0, "message": ""} if state_type is Flat else {"messages": []})
    (cpu_ms, wall_ms) = ended.pop()
    used = bytes_on_disk(path)
    saver.conn.close()
    closed = bytes_on_disk(path)
    resumes = 5 if steps < MANY_STEPS else 1
    for _ in range(resumes):
        clock.start()
        saver = open_saver(path)
        invoke(saver, None)
        saver.conn.close()
    resume_cpu_ms, resume_wall_ms = (sum(column) / resumes for column in zip(*ended))
    return {
        "cpu_ms": cpu_ms,
        "wall_ms": wall_ms,
        "bytes": used,
        "bytes_closed": closed,
        "resume_cpu_ms": resume_cpu_ms,
        "resume_wall_ms": resume_wall_ms,
    }


def run_fanout(path, branches):
    messages = random_messages(branches)
    graph = StateGraph(Growing)
    graph.add_node("branch", lambda branch: {"messages": [messages[branch["number"]]]}, input_schema=Branch)
    graph.add_node("join", lambda state: {"messages": []})
    graph.add_conditional_edges(
        START, lambda state: [Send("branch", {"number": number}) for number in range(branches)], ["branch"]
    )
    graph.add_edge("branch", "join")
    graph.add_edge("join", END)
    measured = []
    for number in range(FANOUTS):
        name = f"{path}-{number}"
        saver = open_saver(name)
        compiled = graph.compile(checkpointer=saver)
        clock = Clock()
        result = compiled.invoke({"messages": []}, THREAD, durability="sync")
        times = clock.read()
        assert result["messages"] == messages, "branches are joined in their order"
        used = bytes_on_disk(name)
        saver.conn.close()
        measured.append((*times, used, bytes_on_disk(name)))
    means = [sum(column) / FANOUTS for column in zip(*measured)]
    return dict(zip(("cpu_ms", "wall_ms", "bytes", "bytes_closed"), means))


def too_much(case, steps):
    """Why a case is left out, or None."""
    whole_lists = {"chain": steps, "delta": steps // 100}.get(case, 0)
    expected = whole_lists * steps // 2 * MESSAGE_CHARACTERS
    if expected <= LIMIT_BYTES:
        return None
    return f"it would write about {expected / 1e9:.0f} GB: {whole_lists} times the list, {steps // 2} KB in the mean"


def measure(case, steps):
    """One case; what it cost as a dictionary."""
    if reason := too_much(case, steps):
        return {"case": case, "steps": steps, "left_out": reason}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = os.path.join(folder, "checkpoints.sqlite")
        if case == "fanout":
            costs = run_fanout(path, steps)
        else:
            costs = run_chain({"chain": Growing, "delta": Delta, "flat": Flat}[case], path, steps)
    return {"case": case, "steps": steps, **costs}


def main():
    for argument in sys.argv[1:] or DEFAULT_CASES:
        case, steps = argument.split("=")
        # What LangGraph loads and works out at the first use is not the cost of a step.
        measure(case, 3)
        print(json.dumps(measure(case, int(steps))), flush=True)


if __name__ == "__main__":
    main()
