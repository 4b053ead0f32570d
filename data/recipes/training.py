"""What the three training recipes share: resuming, logging, moving averages, batches."""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from tqdm.auto import tqdm

from fairgen_utils._files import whole_file, write_whole


def parser(description, steps, batch_size, learning_rate):
    """An argument parser with the options every recipe understands."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--faces", type=Path, required=True, help="heads folder or UTKFace zip")
    arguments.add_argument("--split", default="train", help="split of the faces to train on")
    arguments.add_argument("--run", type=Path, required=True, help="folder for checkpoints and log")
    arguments.add_argument("--steps", type=int, default=steps, help="optimizer steps in all")
    arguments.add_argument("--batch-size", type=int, default=batch_size)
    arguments.add_argument("--learning-rate", type=float, default=learning_rate)
    arguments.add_argument(
        "--half-life", type=float, default=90_000, help="of the weights' moving average, in samples"
    )
    arguments.add_argument("--compile", action="store_true", help="pays in a run of an hour")
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as set")
    arguments.add_argument("--seed", type=int, default=0)
    return arguments


def to_unit_range(images):
    """uint8 (n, h, w, 3) pixels -> float32 (n, 3, h, w) in [-1, 1], channels last in memory."""
    # [:] for photographs, which are read when asked for
    return torch.as_tensor(images[:]).permute(0, 3, 1, 2).float() / 127.5 - 1


def batch_indices(n, batch_size, step, seed, weights=None):
    """The faces of one step: a function of (seed, step) alone, so a resumed run sees the same."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    if weights is None:
        return torch.randint(0, n, (batch_size,), generator=generator), generator
    return torch.multinomial(weights, batch_size, replacement=True, generator=generator), generator


def warmup_cosine(step, steps, warmup=200, floor=0.02):
    """Learning-rate factor: linear warm-up, then half a cosine down to `floor`."""
    progress = torch.tensor(min(1.0, step / steps) * torch.pi)
    return min(1.0, (step + 1) / warmup) * max(floor, 0.5 * (1 + torch.cos(progress).item()))


def train(
    model,
    loss_of_step,
    options,
    evaluate=None,
    keep_lowest=None,
    checkpoint_seconds=120,
    log_every=100,
):
    """Run `options.steps` optimizer steps, resuming from the run folder's checkpoint if any.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place; afterwards it holds the exponential moving average of its weights.
    loss_of_step : callable
        ``loss_of_step(step)`` returns the scalar loss of that step.
    options : argparse.Namespace
        What `parser` read. The learning rate falls over all its `steps`, however often the run is
        broken off.
    evaluate : callable, optional
        ``evaluate(average_model)`` returns a dict of numbers for the log.
    keep_lowest : str, optional
        One of those numbers: the moving average is returned as it was when this was lowest.

    Returns
    -------
    torch.nn.Module
        The moving average, in evaluation mode.
    """
    options.run.mkdir(parents=True, exist_ok=True)
    checkpoint_path, log_path = options.run / "checkpoint.pt", options.run / "log.jsonl"
    best_path = options.run / "best.pt"
    optimizer = torch.optim.AdamW(
        model.parameters(), options.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    memory = moving_average(options.batch_size / options.half_life)
    average = torch.optim.swa_utils.AveragedModel(model, use_buffers=True, multi_avg_fn=memory)
    first = 0
    if checkpoint_path.exists():
        state = torch.load(checkpoint_path, map_location=options.device, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())  # dropout goes on where it was
        first = state["step"]
        print(f"resuming at step {first}")
    forget_rows(log_path, first)
    if not first and getattr(options, "init", None):
        write_whole(log_path, json.dumps({"step": 0, "init": str(options.init)}) + "\n")
    before = latest_in(log_path, "seconds", 0.0)
    if options.compile:
        model.compile()

    def save(step):
        state = {"step": step, "model": model.state_dict(), "average": average.state_dict()}
        state |= {"optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
        save_whole(state, checkpoint_path)

    started = saved = time.time()
    losses = []
    bar = tqdm(range(first, options.steps), initial=first, total=options.steps, mininterval=5)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * warmup_cosine(step, options.steps)
        loss = loss_of_step(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        losses.append(loss.detach())
        last = step + 1 == options.steps
        if (step + 1) % log_every == 0 or last:
            row = {"step": step + 1, "samples": (step + 1) * options.batch_size}
            row["loss"] = torch.stack(losses).mean().item()
            row["seconds"] = round(before + time.time() - started, 1)
            losses = []
            if evaluate and ((step + 1) % (10 * log_every) == 0 or last):
                row |= evaluate(average.module.eval())
                if keep_lowest and row[keep_lowest] < lowest_in(log_path, keep_lowest):
                    save_whole(average.module.state_dict(), best_path)
            with log_path.open("a") as log:
                log.write(json.dumps(row) + "\n")
            bar.set_postfix(loss=f"{row['loss']:.4f}")
        if time.time() - saved > checkpoint_seconds or last:
            save(step + 1)
            saved = time.time()
    if keep_lowest:
        average.module.load_state_dict(torch.load(best_path, weights_only=True))
    return average.module.eval()


def save_whole(state, path):
    """Written beside and renamed: a kill leaves either the old file or the new one."""
    with whole_file(path) as temporary:
        torch.save(state, temporary)


def forget_rows(log_path, step):
    """Take rows later than `step` from a training log: those steps will be made again."""
    if log_path.exists():
        # a line that a kill cut off is not followed by another
        whole = [line for line in log_path.read_text().splitlines() if line.endswith("}")]
        kept = [line + "\n" for line in whole if json.loads(line)["step"] <= step]
        write_whole(log_path, "".join(kept))


def lowest_in(log_path, name):
    """The lowest value so far of one of the numbers in a training log."""
    return min((row.get(name, math.inf) for row in rows_of(log_path)), default=math.inf)


def latest_in(log_path, name, otherwise):
    """The latest value of one of the numbers in a training log."""
    return next((row[name] for row in rows_of(log_path)[::-1] if name in row), otherwise)


def rows_of(log_path):
    """A training log's rows, none where there is no log."""
    lines = log_path.read_text().splitlines() if log_path.exists() else []
    return [json.loads(line) for line in lines]


def joined_log(run, earlier=()):
    """Rows of a run's log, after those of the run whose network it started from, and so on.

    Parameters
    ----------
    run : Path
        Folder of a training recipe.
    earlier : sequence of dict
        Rows to put before the first of those runs where it started from a network without a log;
        all there is to tell of a part that was not trained again.

    Returns
    -------
    list of dict
        Steps, samples and seconds are counted on from run to run.
    """
    rows = rows_of(run / "log.jsonl")
    if not rows:
        return list(earlier)
    if "init" not in rows[0]:
        return rows
    first, *rows = rows
    # RUN/generator/unet or RUN/autoencoder
    source = next((p for p in Path(first["init"]).parents[:2] if (p / "log.jsonl").exists()), None)
    before = joined_log(source, earlier) if source else list(earlier)
    counted = {name: before[-1].get(name, 0) for name in ("step", "samples", "seconds") if before}
    return before + [
        {name: value + counted.get(name, 0) for name, value in row.items()} for row in rows
    ]


def moving_average(half_lives):
    """How an average follows the weights that are `half_lives` of its memory further each step."""

    def follow(averages, currents, n_averaged):
        # short memory at first, so that the untrained weights are soon forgotten
        decay = min(0.5**half_lives, (int(n_averaged) + 1) / (int(n_averaged) + 20))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(current)

    return follow
