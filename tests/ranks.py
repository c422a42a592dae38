"""Functions that run on several processes of this host, connected as a launcher would connect them."""

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, NamedTuple

import torch

FORK = multiprocessing.get_context('fork')  # what the test has imported need not be imported again


class Rank(NamedTuple):
    """A process, and where its result comes from."""

    process: Any
    results: Any

    def result(self, timeout: float) -> Any:
        """What its function has returned, or the error that it has raised; None if it ended without."""
        if not wait([self.results, self.process.sentinel], timeout):
            raise TimeoutError(f'no result within {timeout} s')
        try:
            return self.results.recv() if self.results.poll() else None
        except EOFError:
            return None


@contextmanager
def ranks(number: int, function: Callable, *arguments: Any) -> Iterator[list[Rank]]:
    """Call a function on some processes; those that are left at the end are killed."""
    if torch.cuda.is_available():
        raise RuntimeError('processes are forked, which CUDA does not allow: hide the GPUs (CUDA_VISIBLE_DEVICES=)')
    port, started = free_port(), []
    for rank in range(number):
        receiver, sender = FORK.Pipe(duplex=False)
        process = FORK.Process(target=_call, args=(sender, rank, number, port, function, arguments))
        process.start()
        sender.close()
        started.append(Rank(process, receiver))
    try:
        yield started
    finally:
        for rank in started:
            rank.process.kill()
            rank.process.join()


def on_ranks(number: int, function: Callable, *arguments: Any, timeout: float = 100) -> list[Any]:
    """Results of a function on some processes; raises the error of the first process that has one."""
    with ranks(number, function, *arguments) as started:
        results = [rank.result(timeout) for rank in started]
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def free_port() -> int:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def _call(sender: Any, rank: int, number: int, port: int, function: Callable, arguments: tuple) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(number), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    try:
        result = function(*arguments)
    except BaseException as error:
        result = error
    try:
        sender.send(result)
    except Exception:  # an error that cannot be pickled
        sender.send(RuntimeError(f'{type(result).__name__}: {result}'))
