"""Where the work on shards is done: in this process, in several of this machine, or on a Ray cluster. The results are the same.

A task is a name and an argument, its function a module's own (it travels by its name); both must be picklable.
"""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, Literal, TypeVar

from malmoi.core.errors import MalmoiError

A = TypeVar("A")
R = TypeVar("R")
Engine = Literal["local", "ray"]
Notice = Callable[[str], None]
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when there is no room."""
RETRIES = 3
"""Times that Ray runs a task again whose node or worker was lost."""
KNOCK = 10.0
"""Seconds in which the head of a cluster must answer."""


def run(
    function: Callable[[A], R],
    tasks: Iterable[tuple[str, A]],
    *,
    workers: int = 1,
    engine: Engine = "local",
    address: str | None = None,
    notice: Notice | None = None,
) -> Iterator[tuple[str, R]]:
    """(name, `function(argument)`) of every task, as they are finished. Tasks are drawn when there is somebody to do them.

    local: one worker is this process; several are processes of their own. One that dies is told to `notice`, and its task is done once
    more. ray: on the cluster at `address`, or on one of `workers` processes here; all machines must see the same files.
    What a function raises is raised here, and everything that runs is ended. Raises MalmoiError M141 for a task whose process died again,
    M005 without Ray.
    """
    heard = notice or (lambda text: None)
    if engine == "ray":
        return _on_ray(function, tasks, workers, address, heard)
    return _in_processes(function, tasks, workers, heard) if workers > 1 else ((name, function(argument)) for name, argument in tasks)


@dataclass
class _Worker:
    """A process, the way to it, and what it is doing."""

    process: Any
    connection: Connection
    name: str = ""
    argument: Any = None
    again: bool = False
    """Whether a process died at it before."""

    def take(self, name: str, argument: Any, *, again: bool = False) -> None:
        """Do that next."""
        self.name, self.argument, self.again = name, argument, again
        self.connection.send(argument)


def _in_processes(function: Callable[[A], R], tasks: Iterable[tuple[str, A]], workers: int, notice: Notice) -> Iterator[tuple[str, R]]:
    waiting, busy, idle = iter(tasks), dict[Any, _Worker](), list[_Worker]()
    try:
        while True:
            while len(busy) < workers and (task := next(waiting, None)) is not None:
                worker = idle.pop() if idle else _started(function)
                busy[worker.connection] = worker
                worker.take(*task)
            if not busy:
                return
            for connection in wait(list(busy)):
                worker = busy.pop(connection)
                done, result = _received(worker.connection)
                if done:
                    idle.append(worker)
                    yield worker.name, result
                elif isinstance(result, BaseException):
                    raise result
                else:
                    worker = _replaced(worker, function, notice)
                    busy[worker.connection] = worker
    finally:
        for left in (*busy.values(), *idle):
            left.process.kill()
        for left in (*busy.values(), *idle):
            left.process.join()


def _started(function: Callable[[A], R]) -> _Worker:
    context = _context(function.__module__)
    mine, its = context.Pipe()
    process = context.Process(target=_serve, args=(its, function), daemon=True)
    process.start()
    its.close()
    return _Worker(process, mine)


def _replaced(worker: _Worker, function: Callable[[A], R], notice: Notice) -> _Worker:
    """Another worker for what one died at. Raises MalmoiError M141 if it is the second time."""
    worker.process.join()
    how = _how(worker.process.exitcode)
    if worker.again:
        next = "with fewer --workers each has more memory."
        raise MalmoiError("M141", name=worker.name, problem=f"its process {how}, twice", next=next)
    notice(f"{worker.name}: its process {how}; it is done once more.")
    other = _started(function)
    other.take(worker.name, worker.argument, again=True)
    return other


def _context(module: str) -> Any:
    """Processes that share no memory with this one: forked from a server that knows the modules, where the system has that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def _received(connection: Connection) -> tuple[bool, Any]:
    """(True, result), (False, what was raised) or, from a process that died, (False, None)."""
    try:
        done, result = connection.recv()
    except (EOFError, ConnectionError):
        return False, None
    return done, result


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    """Task after task, in a process that ends with the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        connection.send(_outcome(function, connection.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _outcome(function: Callable[[Any], Any], argument: Any) -> tuple[bool, Any]:
    """(True, result) or (False, what was raised, in a form that travels)."""
    try:
        return True, function(argument)
    except Exception as failure:
        failure.add_note("".join(traceback.format_exception(failure)))
        try:
            ForkingPickler.loads(ForkingPickler.dumps(failure))
        except Exception:
            return False, MalmoiError("M099", kind=type(failure).__name__, problem=str(failure))
        return False, failure


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        killed = f"was killed ({signal.Signals(-status).name})"
        return killed + (", perhaps for want of memory" if -status == signal.SIGKILL else "")
    return f"ended with status {status}"


def _on_ray(
    function: Callable[[A], R], tasks: Iterable[tuple[str, A]], workers: int, address: str | None, notice: Notice
) -> Iterator[tuple[str, R]]:
    with _cluster(workers, address) as ray:
        most = max(workers, 2 * int(ray.cluster_resources().get("CPU", 1)))
        remote = ray.remote(_outcome).options(max_retries=RETRIES, num_cpus=1)
        waiting, running = iter(tasks), dict[Any, str]()
        try:
            while True:
                while len(running) < most and (task := next(waiting, None)) is not None:
                    running[remote.remote(function, task[1])] = task[0]
                if not running:
                    return
                (finished,), _ = ray.wait(list(running), num_returns=1)
                name = running.pop(finished)
                try:
                    done, result = ray.get(finished)
                except ray.exceptions.RayError as failure:
                    problem = f"Ray lost it {RETRIES + 1} times ({str(failure).splitlines()[0].rstrip('.')})"
                    raise MalmoiError("M141", name=name, problem=problem, next="look at the cluster's nodes and their memory.") from None
                if not done:
                    raise result
                yield name, result
        finally:
            for left in running:
                ray.cancel(left, force=True)


def _knock(address: str) -> None:
    """Raise OSError at once where nothing listens at `host:port`; Ray itself would try for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


@contextmanager
def _cluster(workers: int, address: str | None) -> Iterator[Any]:
    """Ray, connected. A cluster that is started here has no dashboard (it would take orders from anybody) and listens on loopback."""
    try:
        import ray
    except ImportError:
        raise MalmoiError("M005", what="--engine ray", package="ray", extra="ray") from None
    mine = not ray.is_initialized()
    if mine and address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
        ray.init(num_cpus=workers, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False, logging_level=logging.ERROR)
    elif mine:
        try:
            _knock(str(address))
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as failure:
            problem = f"no Ray cluster answers there ({str(failure).splitlines()[0].rstrip('.')})"
            next = "start one (`ray start --head`), or leave --address out."
            raise MalmoiError("M009", argument="--address", value=address, problem=problem, next=next) from None
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()
