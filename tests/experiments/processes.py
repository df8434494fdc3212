"""Child processes that start at once: one server has imported torch, the children are its forks."""

import multiprocessing
from multiprocessing.context import ForkServerProcess

# torch imports torch._dynamo when the first optimiser is made, which takes seconds.
_PRELOAD = [
    "tests.experiments.tiny",
    "tests.experiments.tiny_codesign",
    "tests.experiments.tiny_distributed",
    "tests.experiments.two_designs",
    "torch._dynamo",
]


def start(target, *arguments) -> ForkServerProcess:
    """Run `target(*arguments)` in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    process = context.Process(target=target, args=arguments)
    process.start()
    return process
