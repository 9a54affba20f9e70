"""One run in several processes: torch's own DDP and FSDP2, started by torchrun (or Slurm) and known from the environment.

The rows of a batch are shared out by `rank` and `world` (the shards do that); here gradients become those of the whole batch, carries
are brought together and apart, and a process that ends or freezes ends the group within a bounded time, by its number. Without
WORLD_SIZE in the environment torch.distributed is not even imported.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from malmoi.core.errors import MalmoiError

LOST = 5
"""Exit status of a process that ended because another one did, or froze."""
BEAT = 1.0
"""Seconds between two signs of life."""
NEWS = "lost"
"""Where the store holds which processes were lost."""
TIMEOUT = timedelta(minutes=30)
"""Of one exchange between processes; frozen and dead ones are found much sooner, see `patience`."""


class Alone:
    """One process: what a group would have to agree on is known."""

    rank = 0
    world = 1

    def step(self, objective: nn.Module, micros: int) -> Callable[..., Any]:
        """A function (batch, carry) -> Loss whose backward pass gives the gradients of the group; a step calls it `micros` times."""
        return objective.loss  # type: ignore[return-value]

    def summed(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the processes."""
        return list(values)

    def told(self, value: float) -> float:
        """What the first process says."""
        return self.summed([value if self.rank == 0 else 0.0])[0]

    def reduce_rows(self) -> None:
        """Make gradients of a few rows those of the group."""

    def unsharded(self) -> AbstractContextManager[None]:
        """Inside, every process has all weights, to read."""
        return nullcontext()

    def gathered(self, carry: dict[str, Tensor]) -> dict[str, Tensor]:
        """The carries of all processes as that of one would be; rows come first in every tensor."""
        return carry

    def shared_out(self, carry: dict[str, Tensor]) -> dict[str, Tensor]:
        """This process's rows of what `gathered` gave."""
        return carry

    def wait(self) -> None:
        """Until all processes are here."""

    def reached(self, step: int) -> None:
        """Note where the run stands, for what is told of a lost process."""

    def first(self, name: str) -> AbstractContextManager[None]:
        """What stands inside is done by the first process, then by the others."""
        return nullcontext()

    def watched(self) -> AbstractContextManager[None]:
        """Inside, another process that ends or freezes ends this one with MalmoiError M044."""
        return nullcontext()


class _Step(nn.Module):
    """An objective whose loss is its forward pass, which is what DDP and FSDP2 wrap."""

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: Any, carry: Any) -> Any:
        return self.objective.loss(batch, carry)  # type: ignore[operator]


class Processes(Alone):
    """The group that torchrun started. sharded: weights, gradients and optimizer are divided among the processes (FSDP2) instead of
    each having a copy (DDP)."""

    def __init__(self, device: torch.device, *, sharded: bool = False) -> None:
        import torch.distributed as dist

        self.dist, self.device, self.sharded = dist, device, sharded
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self._rows: list[nn.Parameter] = []
        self._engine: Any = None
        self.watch = Watch(dist.distributed_c10d._get_default_store(), self.rank, self.world)
        dist.barrier()
        self.watch.start()

    def step(self, objective: nn.Module, micros: int) -> Callable[..., Any]:
        """See Alone. Rows of a sparse gradient (`module.sparse`) are exchanged by themselves: neither engine takes them."""
        step = _Step(objective)
        sparse = {id(module.weight): module.weight for module in objective.modules() if getattr(module, "sparse", False)}
        self._rows = [weight for weight in sparse.values() if isinstance(weight, nn.Parameter)]
        self._engine = self._shard(step) if self.sharded else self._copy(step)
        done = 0

        def loss(batch: Any, carry: Any) -> Any:
            nonlocal done
            done += 1
            self._exchange(done % micros == 0)
            return self._engine(batch, carry)

        return loss

    def _copy(self, step: _Step) -> Any:
        from torch.nn.parallel import DistributedDataParallel

        ignored = [name for name, parameter in step.named_parameters() if any(parameter is each for each in self._rows)]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(step, ignored)
        return DistributedDataParallel(step, broadcast_buffers=False, find_unused_parameters=True)

    def _shard(self, step: _Step) -> Any:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.world,))
        for block in _blocks(step, self._rows):
            fully_shard(block, mesh=mesh)
        return fully_shard(step, mesh=mesh, ignored_params=set(self._rows))

    def _exchange(self, wanted: bool) -> None:
        """Whether the next backward pass exchanges gradients: only that of a step's last micro-batch does."""
        if self.sharded:
            self._engine.set_requires_gradient_sync(wanted)
        else:
            self._engine.require_backward_grad_sync = wanted  # what DDP.no_sync sets

    def summed(self, values: Sequence[float]) -> list[float]:
        """See Alone; exact enough to count with (float64)."""
        tensor = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        self.dist.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def reduce_rows(self) -> None:
        """See Alone. The mean over the processes, as DDP takes it; summed in the order of ranks, so that all have the same."""
        for parameter in self._rows:
            gradient = parameter.grad
            if gradient is None:
                gradient = torch.sparse_coo_tensor(
                    torch.empty(1, 0, dtype=torch.int64), torch.empty(0, *parameter.shape[1:]), parameter.shape
                )
                gradient = gradient.to(self.device)
            if not gradient.is_sparse:
                self.dist.all_reduce(gradient)
                parameter.grad = gradient / self.world
                continue
            gradient = gradient.coalesce()
            rows, values = self._every(gradient._indices()[0]), self._every(gradient._values())
            parameter.grad = torch.sparse_coo_tensor(rows[None], values / self.world, parameter.shape).coalesce()

    def _every(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, which may differ in their first dimension, one after another."""
        lengths = self._lengths(tensor)
        padded = tensor.new_zeros(max(lengths), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in lengths]
        self.dist.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    @contextmanager
    def unsharded(self) -> Iterator[None]:
        """See Alone."""
        modules = [module for module in self._engine.modules() if hasattr(module, "unshard")] if self.sharded else []
        for module in modules:
            module.unshard()
        try:
            yield
        finally:
            for module in modules:
                module.reshard()

    def gathered(self, carry: dict[str, Tensor]) -> dict[str, Tensor]:
        """See Alone. Row r of the whole belongs to process r % world."""
        whole = {}
        for name, tensor in carry.items():
            lengths, every = self._lengths(tensor), self._every(tensor)
            place = [rank + self.world * nth for rank, length in enumerate(lengths) for nth in range(length)]
            whole[name] = torch.empty_like(every).index_copy_(0, torch.tensor(place, device=every.device), every)
        return whole

    def _lengths(self, tensor: Tensor) -> list[int]:
        """Of the first dimension, in every process."""
        return [int(length) for length in self.summed([float(rank == self.rank) * len(tensor) for rank in range(self.world)])]

    def shared_out(self, carry: dict[str, Tensor]) -> dict[str, Tensor]:
        """See Alone."""
        return {name: tensor[self.rank :: self.world].clone() for name, tensor in carry.items()}

    def reached(self, step: int) -> None:
        """See Alone."""
        self.watch.step = step

    def wait(self) -> None:
        """See Alone."""
        self.dist.barrier()

    @contextmanager
    def first(self, name: str) -> Iterator[None]:
        """See Alone. The others wait as long as it takes; if the first one fails, torchrun ends them."""
        if self.rank:
            self.watch.store.wait([name], timedelta(days=30))
        yield
        if not self.rank:
            self.watch.store.set(name, "done")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """See Alone. What freezes inside torch is ended by the watch, with status LOST."""
        try:
            yield
        except RuntimeError as failure:
            lost = self.watch.lost()
            if not lost and not isinstance(failure, self.dist.DistError):
                raise
            raise self.watch.error(lost) from failure

    def close(self) -> None:
        """Leave the group."""
        self.watch.stop()
        self.dist.destroy_process_group()


class Watch:
    """A sign of life every second, and an eye on those of the others.

    A process without one for `patience` seconds (MALMOI_PATIENCE, default 60) is lost. As the main thread may stand in an exchange that
    nothing interrupts, a thread then says so on standard error and ends the process with status LOST.
    """

    def __init__(self, store: Any, rank: int, world: int) -> None:
        self.store, self.rank, self.world, self.step = store.clone(), rank, world, 0
        self.patience = float(os.environ.get("MALMOI_PATIENCE", "60"))
        self._heard = {other: ("", time.monotonic()) for other in range(world) if other != rank}
        self._answered = time.monotonic()
        self._stopping = threading.Event()
        self._beats = 0
        self._beat()
        if rank == 0:
            self.store.set(NEWS, "")

    def start(self) -> None:
        """Begin. Two threads: the one that asks the store may be kept waiting by it."""
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._ask, self._judge)]
        for thread in self._threads:
            thread.start()

    def lost(self) -> list[int]:
        """Which processes give no signs of life, when an exchange with them has just failed."""
        deadline = time.monotonic() + 6 * BEAT
        while time.monotonic() < deadline and not self._silent(3 * BEAT):
            time.sleep(BEAT / 5)
        lost = self._silent(3 * BEAT)
        self._spread(lost)
        return lost

    def error(self, lost: list[int]) -> MalmoiError:
        """What to tell."""
        names = " and ".join(map(str, lost)) or "(one)"
        return MalmoiError("M044", rank=names, world=self.world, problem="has ended or gives no sign of life", step=self.step)

    def stop(self) -> None:
        """This process ends as it should: the others need not wait for it."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self.store.set(f"beat/{self.rank}", "done")

    def _ask(self) -> None:
        while not self._stopping.wait(BEAT):
            try:
                self._beat()
                self._listen()
            except RuntimeError:  # the keeper of the store has gone
                self._end([0])

    def _judge(self) -> None:
        while not self._stopping.wait(BEAT):
            if silent := self._silent(self.patience):
                self._end(silent)

    def _beat(self) -> None:
        self._beats += 1
        self.store.set(f"beat/{self.rank}", str(self._beats))

    def _listen(self) -> None:
        for other, (before, _) in list(self._heard.items()):
            said = self.store.get(f"beat/{other}").decode()
            if said == "done":
                del self._heard[other]
            elif said != before:
                self._heard[other] = (said, time.monotonic())
        if news := self.store.get(NEWS).decode():
            self._end([int(rank) for rank in news.split()])
        self._answered = time.monotonic()

    def _silent(self, seconds: float) -> list[int]:
        now = time.monotonic()
        if now - self._answered > seconds:  # the first process, or what torchrun has in its place, keeps the store
            return [0]
        looked = self._answered  # what nobody could have heard of since then is not held against the others
        return [other for other, (_, heard) in list(self._heard.items()) if looked - heard > seconds]

    def _spread(self, lost: list[int]) -> None:
        """Tell the others, who may not have found out; the keeper of the store gives them time to hear of it. A keeper that froze a moment
        ago never answers, and is not waited for."""
        if lost and lost != [0]:
            telling = threading.Thread(target=self._tell, args=(lost,), daemon=True)
            telling.start()
            telling.join(3 * BEAT)
            if self.rank == 0:
                time.sleep(3 * BEAT)

    def _tell(self, lost: list[int]) -> None:
        with suppress(RuntimeError):  # the keeper of the store has gone: the others know
            self.store.set(NEWS, " ".join(map(str, lost)))

    def _end(self, lost: list[int]) -> None:
        if not self._stopping.is_set():
            sys.stderr.write(f"malmoi: {self.error(lost)}\n")
            sys.stderr.flush()
            self._spread(lost)
            os._exit(LOST)


def own_device(device: torch.device) -> torch.device:
    """Of several GPUs the one that is this process's, by LOCAL_RANK."""
    if device.type != "cuda" or device.index is not None or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(own)
    return own


@contextmanager
def processes(device: torch.device, *, sharded: bool = False) -> Iterator[Alone]:
    """The group that the environment speaks of (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, as torchrun sets them), or one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Alone()
        return
    group = Processes(device, sharded=sharded)
    yield group
    group.close()


def _blocks(step: nn.Module, whole: Sequence[nn.Parameter]) -> Iterator[nn.Module]:
    """The layers that can be divided by themselves: members of module lists that share no weight with anything else."""
    owners: dict[int, set[int]] = {}
    members = {id(each): each for module in step.modules() if isinstance(module, nn.ModuleList) for each in module}
    for module in step.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners.setdefault(id(parameter), set()).add(id(module))
    for member in members.values():
        inside = {id(module) for module in member.modules()}
        own = list(member.parameters())
        nested = any(id(module) in members for module in member.modules() if module is not member)
        if own and not nested and all(owners[id(each)] <= inside and not any(each is other for other in whole) for each in own):
            yield member


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; every process of the group has to ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def placed(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, divided among the processes as `like` is."""
    if not hasattr(like, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)  # type: ignore[attr-defined]
