# Runs one program in CPython: a line of JSON with the program in, lines with its calls and its end out.
import ast, contextlib, io, json, os, resource, signal, sys, traceback

told, heard = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(0))
program = json.loads(heard.readline())
bounds = program["bounds"]
resource.setrlimit(resource.RLIMIT_AS, (bounds["memory_bytes"],) * 2)
seconds = bounds["time_ms"] / 1000
resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 3,) * 2)


def late(*_):
    raise TimeoutError(f"it took longer than {seconds} s")


signal.signal(signal.SIGPROF, late)
signal.setitimer(signal.ITIMER_PROF, seconds)
sys.setrecursionlimit(max(50, bounds["recursion"]))


class Printed(io.StringIO):
    def write(self, text):
        if self.tell() + len(text) > bounds["printed_bytes"]:
            raise MemoryError("it printed too much")
        return super().write(text)


def plain(value):
    # What JSON has no form for is told as Python writes it.
    if isinstance(value, (set, frozenset)):
        return list(value)
    return repr(value)


def tell(**what):
    told.write(json.dumps(what, default=plain) + "\n")
    told.flush()


def function(name):
    def call(*arguments, **named):
        tell(call={"name": name, "arguments": arguments, "named": named})
        reply = json.loads(heard.readline())
        if "raise" in reply:
            raise RuntimeError(reply["raise"])
        return reply["answer"]

    return call


FILE = "program.py"
printed, value, trouble = Printed(), None, None
names = {name: function(name) for name in program["functions"]}
with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
    try:
        tree = ast.parse(program["text"], FILE)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, FILE, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), FILE, "eval"), names)
    except BaseException as error:
        frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == FILE]
        line = error.lineno if isinstance(error, SyntaxError) else (frames or [None])[-1]
        trouble = {"message": f"{type(error).__name__}: {error}", "line": line}
signal.setitimer(signal.ITIMER_PROF, 0)
tell(ended={"printed": printed.getvalue(), "value": value, "trouble": trouble})
