"""Rows of networks: the machine's limits, training steps in every form, inference."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from floors import Limits, Work, work_of
from material import CLASSES, as_conv3d, load, shape_of, with_norms_on_images
from session import Bench
from torch import Tensor, nn

from ptl_skel.cost.folding import fold_batch_norm

PYSKL = "slowonly, Conv3d, NCDHW, tf32"
"""Key of SlowOnly as PYSKL runs it: what everything is compared with."""
OTHERS = ("r2plus1d", "full3d", "narrow", "slowonly", "c3d_light", "x3d_shallow", "stgcnpp")


def limits(bench: Bench) -> None:
    """What the machine reaches: a copy in memory, and matrix products."""
    numbers, side = (2**16, 64) if bench.quick else (2**29, 8192)
    copied, zeroed = memory(bench, numbers)
    flops = {}
    for dtype in ("bf16", "tf32", "fp32"):
        set_tf32(dtype == "tf32")
        kind = torch.bfloat16 if dtype == "bf16" else torch.float32
        left, right = (torch.randn(side, side, device=bench.device, dtype=kind) for _ in range(2))

        def product(left: Tensor = left, right: Tensor = right) -> Tensor:
            return left @ right

        seconds, = bench.medians(product)
        flops[dtype] = 2 * side**3 / seconds
    bench.set_limits(Limits(2 * 4 * numbers / copied, flops))
    bench.fact("machine: copy", f"{8 * numbers / copied / 1e12:.2f} TB/s read and written")
    bench.fact("machine: fill", f"{4 * numbers / zeroed / 1e12:.2f} TB/s written")
    for dtype, reached in flops.items():
        bench.fact(f"machine: {dtype} product of {side}^3", f"{reached / 1e12:.0f} TFLOP/s")


def memory(bench: Bench, numbers: int) -> list[float]:
    """Seconds of copying, and of filling, so many numbers of four bytes."""
    source = torch.rand(numbers, device=bench.device)
    target = torch.empty_like(source)
    return bench.medians(lambda: target.copy_(source), lambda: target.zero_())


class Step:
    """A training step: forward, loss, backward, clipping, SGD.

    Args:
        network: On its device.
        inputs: Of a batch.
        dtype: ``bf16`` through autocast, ``tf32`` or ``fp32``.
        fused: Whether SGD runs as one kernel.
    """

    def __init__(self, network: nn.Module, inputs: Tensor, dtype: str, *, fused: bool = False
                 ) -> None:
        self.network = network.train()
        self.inputs = inputs
        self.dtype = dtype
        self.label = torch.arange(len(inputs), device=inputs.device) % CLASSES
        self.optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9,
                                         fused=fused or None)

    def __call__(self) -> None:
        """Runs it."""
        set_tf32(self.dtype != "fp32")
        self.optimizer.zero_grad()
        with precision(self.inputs.device, self.dtype):
            loss = F.cross_entropy(self.network(self.inputs), self.label)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 40)
        self.optimizer.step()


def precision(device: torch.device, dtype: str) -> AbstractContextManager[object]:
    """Where bfloat16 is computed in, if that is the dtype."""
    return torch.autocast(device.type, torch.bfloat16) if dtype == "bf16" else nullcontext()


def set_tf32(allowed: bool) -> None:
    """Whether products of single precision may round their factors to TF32."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def volume(bench: Bench, name: str, batch: int, dtype: str) -> Tensor:
    """Inputs of a backbone, channels-last, in the dtype they are rendered in."""
    shape = shape_of(name, bench.frames, bench.size)
    inputs = torch.rand(batch, *shape, device=bench.device)
    inputs = inputs.to(torch.bfloat16 if dtype == "bf16" and name != "stgcnpp" else torch.float32)
    return inputs.contiguous(memory_format=torch.channels_last_3d)


def shipped_step(bench: Bench, name: str, batch: int, *, fused: bool = False,
                 form: Callable[[nn.Module], nn.Module] = nn.Sequential) -> Step:
    """Our form: on views, channels-last, bf16."""
    return Step(form(load(name)).to(bench.device), volume(bench, name, batch, "bf16"), "bf16",
                fused=fused)


def plain_step(bench: Bench, name: str, batch: int, dtype: str = "tf32") -> Step:
    """PYSKL's form: Conv3d in the default memory format, single precision."""
    network = as_conv3d(load(name)).to(bench.device)
    # torch declares no overload that takes only a memory format.
    network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return Step(network, volume(bench, name, batch, dtype).contiguous(), dtype)


def best_batch(bench: Bench, make: Callable[[int], Step], sizes: tuple[int, ...]) -> int:
    """The batch size of most clips per second; larger ones that do not fit are not tried."""
    reached: dict[int, float] = {}
    for size in bench.batches(*sizes):
        try:
            reached[size] = size / bench.glance(make(size))
        except torch.OutOfMemoryError:
            break
        finally:
            bench.free()
    if not reached:
        raise RuntimeError(f"not even a batch of {sizes[0]} fits")
    return max(reached, key=lambda size: reached[size])


def graphed(step: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """The step as a CUDA graph, which is launched as a whole; the step itself elsewhere."""
    if device.type != "cuda":
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def compiled(step: Step, bench: Bench) -> Step:
    """The step with its network compiled, in place."""
    step.network.compile(dynamic=False, backend="eager" if bench.quick else "inductor")
    return step


def step_work(bench: Bench, name: str, batch: int, *, training: bool = True) -> Work:
    """What a batch of a backbone costs at least."""
    return work_of(load(name), shape_of(name, bench.frames, bench.size), batch, training=training)


def peak_gigabytes(bench: Bench, step: Callable[[], object]) -> float:
    """Most memory that a step holds, with everything else that lies on the device."""
    if bench.device.type != "cuda":
        return 0.0
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() / 1e9


def against_pyskl(bench: Bench) -> None:
    """`reduced` and SlowOnly in our form beside SlowOnly as PYSKL runs it, each at its best."""
    sizes = {"reduced": best_batch(bench, lambda n: shipped_step(bench, "reduced", n),
                                   (32, 128, 256, 512)),
             "slowonly": best_batch(bench, lambda n: shipped_step(bench, "slowonly", n),
                                    (16, 32, 64, 128)),
             PYSKL: best_batch(bench, lambda n: plain_step(bench, "slowonly", n), (16, 32, 64))}
    steps = [shipped_step(bench, name, sizes[name]) for name in ("reduced", "slowonly")]
    steps.append(plain_step(bench, "slowonly", sizes[PYSKL]))
    times = bench.medians(*steps)
    rates = [size / seconds for size, seconds in zip(sizes.values(), times, strict=True)]
    for (name, size), seconds, rate, step in zip(sizes.items(), times, rates, steps, strict=True):
        plain = name == PYSKL
        bench.row(f"training step: {name}", seconds, size,
                  work=step_work(bench, "slowonly" if plain else name, size),
                  dtype="tf32" if plain else "bf16", ratio=rate / rates[2],
                  gigabytes=peak_gigabytes(bench, step),
                  note=f"{rate / rates[2]:.1f}x SlowOnly as PYSKL runs it")


def forms(bench: Bench) -> None:
    """`reduced` in every form, at a batch size at which all of them fit side by side."""
    batch = batch_of_forms(bench)
    candidates: dict[str, Callable[[], object]] = {}
    candidates["Conv3d, NCDHW, fp32"] = plain_step(bench, "reduced", batch, "fp32")
    candidates["Conv3d, NCDHW, tf32"] = plain_step(bench, "reduced", batch)
    candidates["views, channels-last, tf32"] = Step(
        load("reduced").to(bench.device), volume(bench, "reduced", batch, "tf32"), "tf32")
    candidates["views, channels-last, bf16"] = shipped_step(bench, "reduced", batch)
    candidates["bf16, batch norm as 2D"] = shipped_step(
        bench, "reduced", batch, form=with_norms_on_images)
    candidates["bf16, Conv3d, channels-last"] = shipped_step(
        bench, "reduced", batch, form=as_conv3d)
    candidates["bf16, fused SGD"] = shipped_step(bench, "reduced", batch, fused=True)
    candidates["bf16, CUDA graph"] = graphed(shipped_step(bench, "reduced", batch), bench.device)
    report_forms(bench, "reduced", batch, candidates)


def compiled_forms(bench: Bench) -> None:
    """`reduced` compiled, with and without a CUDA graph, beside the eager step."""
    batch = batch_of_forms(bench)
    eager = shipped_step(bench, "reduced", batch)
    through = compiled(shipped_step(bench, "reduced", batch), bench)
    whole = graphed(compiled(shipped_step(bench, "reduced", batch), bench), bench.device)
    report_forms(bench, "reduced", batch, {
        "bf16, eager": eager, "bf16, compiled": through, "bf16, compiled, CUDA graph": whole})


def batch_of_forms(bench: Bench) -> int:
    """The best batch size of our form, or less: graphs and single precision take more memory."""
    return min(256, int(bench.find("training step: reduced")["clips"]))


def report_forms(bench: Bench, name: str, batch: int,
                 candidates: dict[str, Callable[[], object]]) -> None:
    """Runs candidates in turn, and adds a row for each."""
    times = bench.medians(*candidates.values())
    work = step_work(bench, name, batch)
    for form, seconds in zip(candidates, times, strict=True):
        dtype = next((kind for kind in ("fp32", "tf32") if kind in form), "bf16")
        bench.row(f"{name}: {form}", seconds, batch, work=work, dtype=dtype,
                  ratio=times[0] / seconds, note=f"{times[0] / seconds:.2f}x the first")


def other_backbones(bench: Bench) -> None:
    """Training steps of the other backbones at their best batch sizes."""
    for name in OTHERS:
        def make(batch: int, name: str = name) -> Step:
            return shipped_step(bench, name, batch)
        size = best_batch(bench, make, (32, 128, 256))
        step = make(size)
        seconds, = bench.medians(step)
        bench.row(f"training step, alone: {name}", seconds, size,
                  work=step_work(bench, name, size), gigabytes=peak_gigabytes(bench, step))
        del step
        bench.free()


def inference(bench: Bench) -> None:
    """Latency of one clip, and throughput of many; batch norms folded except in PYSKL's form."""
    many = bench.batches(256)[0]
    for name in ("reduced", "slowonly"):
        for batch in (1, many):
            inputs = volume(bench, name, batch, "bf16")
            shape = shape_of(name, bench.frames, bench.size)
            folded = fold_batch_norm(load(name), torch.rand(1, *shape)).to(bench.device)
            half = copy.deepcopy(folded).to(torch.bfloat16)
            plain = as_conv3d(load(name)).eval().to(bench.device)
            candidates: dict[str, Callable[[], object]] = {
                "Conv3d, NCDHW, tf32": Forward(plain, inputs.float().contiguous()),
                "tf32": Forward(folded, inputs.float()), "bf16": Forward(half, inputs),
                "bf16, CUDA graph": graphed(Forward(half, inputs), bench.device)}
            times = bench.medians(*candidates.values())
            work = step_work(bench, name, batch, training=False)
            for form, seconds in zip(candidates, times, strict=True):
                bench.row(f"inference, batch {batch}: {name}, {form}", seconds, batch, work=work,
                          dtype="tf32" if "tf32" in form else "bf16")


class Forward:
    """A forward pass in evaluation mode."""

    def __init__(self, network: nn.Module, inputs: Tensor) -> None:
        self.network = network.eval()
        self.inputs = inputs

    def __call__(self) -> Tensor:
        """Runs it."""
        set_tf32(True)
        with torch.no_grad():
            logits: Tensor = self.network(self.inputs)
        return logits
