"""What `circuits.record` adds to a plain PyTorch loop that keeps the parameters of each step."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from floors import Work
from timing import REPETITIONS, Pairs, Row

import circuits
from circuits.threads import one_torch_thread

N_INPUTS, WIDTH, BATCH = 40, 185, 512
N_PARAMETERS = WIDTH * (N_INPUTS + 1) + WIDTH * (WIDTH + 1) + WIDTH + 1  # 42,181
BUFFER, BLOCKS = 32, 12
STEPS = BUFFER * BLOCKS


def plain_loop() -> tuple[torch.nn.Module, torch.optim.Optimizer, Callable[[], None]]:
    """A network, its optimizer, and the function that makes one update."""
    torch.manual_seed(0)
    first, second, last = torch.nn.Linear(N_INPUTS, WIDTH), torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, 1)
    model = torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.ReLU(), last)
    optimizer = torch.optim.AdamW(model.parameters())
    inputs = torch.randn(BATCH, N_INPUTS).sign()
    targets = inputs[:, :3].prod(1, keepdim=True)

    def update() -> None:
        loss = torch.nn.functional.soft_margin_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return model, optimizer, update


def each_step(keep_state: bool) -> Callable[[Path], Pairs]:
    """Pairs of seconds: a loop recorded at each step, and the same loop unrecorded.

    The loops take turns of 32 updates, one commit of the recorder, so that drift of the machine's speed cancels.
    """

    def measure(folder: Path) -> Pairs:
        model, optimizer, update = plain_loop()
        _, _, update_alone = plain_loop()
        path, pairs = folder / "recorded.h5", []
        options = {"every_steps": 1, "buffer": BUFFER, "keep_state": keep_state, "overwrite": True}
        with one_torch_thread(), circuits.record(path, model, optimizer=optimizer, **options) as recorder:

            def turn(update: Callable[[], None], step: Callable[[], None] | None) -> float:
                begun = time.perf_counter()
                for _ in range(BUFFER):
                    update()
                    if step is not None:
                        step()
                return time.perf_counter() - begun

            for repetition in range(REPETITIONS + 1):  # the first one warms up
                turns = [(turn(update, recorder.step), turn(update_alone, None)) for _ in range(BLOCKS)]
                if repetition:
                    pairs.append((sum(a for a, _ in turns), sum(b for _, b in turns)))
        added = median(a - b for a, b in pairs) / STEPS
        alone = median(b for _, b in pairs) / STEPS
        print(f"  adds {1e6 * added:.0f} µs to a step of {1e6 * alone:.0f} µs", file=sys.stderr)
        return pairs

    return measure


# The same parameters, written to a file; and the products of an update: outputs and gradients of the weights.
LEAST = (Work(stored=4 * N_PARAMETERS * STEPS), Work(multiply_adds=2 * BATCH * WIDTH * (N_INPUTS + WIDTH) * STEPS))
RECORDED = "a plain loop recorded at each step"
ROWS = (
    Row(f"{RECORDED}, parameters only", "recorded", "plain", "≤ 1.2", each_step(keep_state=False), LEAST),
    Row(f"{RECORDED}, with the state to resume from", "recorded", "plain", "≤ 1.3", each_step(keep_state=True), LEAST),
)
