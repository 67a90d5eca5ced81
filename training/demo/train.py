"""Train the demo model: ``python -m training.demo.train --out renderer/demo/model``.

Everything is made here: the autoencoder by linear algebra, the data by drawing it. What is learned
depends on the seed and on ``--clips``, the total number of clips shown, not on the machine's speed:
the learning rate falls over the last part of them. The same command again continues from the last
checkpoint in ``--work``, and with more clips trains further.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.demo import captions, network
from training.demo.batches import KINDS, LEARNING, SETTLING, Batch, BatchMaker
from training.demo.optimizer import MovingAverage, build_optimizers, set_rate
from training.demo.vae import BlockEncoder, build_vae, new_vae

CLIPS = 130_000
WARMUP_STEPS = 100
FALLING_PART = 0.45  # share of all clips, the last ones
SETTLING_PART = 0.11  # likewise
LOG_EVERY = 50  # steps
AVERAGE_DECAY = 0.997
READING_WEIGHT = 0.05
MEASURED_BATCH = 2**31  # a step no training reaches
DECIDING_LEVEL = 0.95  # noise level: position shows through it, shape does not


@dataclass
class Progress:
    """How far training has come; kept in the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    samples: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """All that training changes, with saving and loading of it."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Build the models, or load them from the checkpoint in ``args.work``."""
        torch.manual_seed(args.seed)
        self.args, self.device = args, torch.device(args.device)
        self.work = Path(args.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.tokenizer = captions.build_tokenizer()
        self.vae = self._load_vae()
        self.transformer = network.new_transformer().to(self.device)
        self.text_encoder = network.new_text_encoder(len(self.tokenizer)).to(self.device)
        self.reader = network.AttributeReader([len(kinds) for kinds in KINDS]).to(self.device)
        self.optimizers = build_optimizers(self.transformer, self.text_encoder, self.reader)
        self.average = MovingAverage([self.transformer, self.text_encoder], AVERAGE_DECAY)
        self.progress = Progress()
        self._load()
        cos, sin = network.rotary_tables(self.transformer)
        self.rotary = (cos.to(self.device), sin.to(self.device))
        self.predict = (
            torch.compile(network.predict_velocity) if args.compile else network.predict_velocity
        )
        encoder = BlockEncoder(self.vae.to(self.device))
        self.batches = BatchMaker(self.tokenizer, encoder, self.device, args.seed)

    def _load_vae(self) -> Any:
        path = self.work / "vae.pt"
        if not path.exists():
            torch.save(build_vae(self.args.seed).state_dict(), path)
        vae = new_vae().eval()
        vae.load_state_dict(torch.load(path, weights_only=True))
        return vae

    @property
    def checkpoint(self) -> Path:
        """Folder of the state."""
        return self.work / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint and the training curve; a crash leaves the old ones whole."""
        aside = self.checkpoint.with_suffix(".new")
        state = {
            "transformer": self.transformer.state_dict(),
            "text_encoder": self.text_encoder.state_dict(),
            "reader": self.reader.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "average": self.average.shadow,
            "progress": vars(self.progress),
        }
        torch.save(state, aside)
        aside.replace(self.checkpoint)
        if self.progress.curve:
            with (self.work / "curve.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(self.progress.curve[0]))
                writer.writeheader()
                writer.writerows(self.progress.curve)

    def _load(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.transformer.load_state_dict(state["transformer"])
        self.text_encoder.load_state_dict(state["text_encoder"])
        self.reader.load_state_dict(state["reader"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for shadow, saved in zip(self.average.shadow, state["average"], strict=True):
            shadow.copy_(saved)
        self.progress = Progress(**state["progress"])

    def rate(self) -> float:
        """Learning rate as a part of its nominal value, at the present step."""
        left = 1 - self.progress.samples / float(self.args.clips)
        warm = (self.progress.step + 1) / WARMUP_STEPS
        return min(1.0, warm, max(left, 0.02) / FALLING_PART)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Weighted squared error of the predicted velocity, and the reading loss."""
        with torch.autocast(self.device.type, torch.bfloat16):
            text = self.text_encoder(batch.words, attention_mask=batch.word_mask)[0]
            predicted = self.predict(
                self.transformer, batch.noisy, text, batch.word_mask, batch.sigma, self.rotary
            )
        error = (predicted.float() - batch.velocity).square().mean(dim=-1)
        denoising = (error * batch.weight).sum() / batch.weight.sum()
        return denoising, self._reading_loss(text.float(), batch)

    def _reading_loss(self, text: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of the attributes read from the text, mean over captioned clips."""
        logits = self.reader(text, batch.word_mask)
        lost = sum(
            nn.functional.cross_entropy(values, batch.attributes[:, i], reduction="none")
            for i, values in enumerate(logits)
        )
        return (lost * batch.captioned).sum() / batch.captioned.sum().clamp(min=1)

    @torch.no_grad()
    def shape_gain(self, size: int = 48) -> float:
        """How much worse the prediction gets when the caption names another shape, in per cent.

        On one fixed batch at noise level `DECIDING_LEVEL`, which shows position but not shape.
        """
        batch = self.batches.draw(MEASURED_BATCH, size, level=DECIDING_LEVEL)
        right = float(self.loss(batch)[0])
        other = _next_in_scene(batch.scene)
        swapped = replace(batch, words=batch.words[other], word_mask=batch.word_mask[other])
        return 100 * (float(self.loss(swapped)[0]) / right - 1)

    def step(self) -> float:
        """Train on one batch and return its denoising loss."""
        began = time.monotonic()
        set_rate(self.optimizers, self.rate())
        settling = self.progress.samples >= (1 - SETTLING_PART) * self.args.clips
        emphasis = SETTLING if settling else LEARNING
        loss, reading = self.loss(
            self.batches.draw(self.progress.step, self.args.batch, emphasis=emphasis)
        )
        (loss + READING_WEIGHT * reading).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.average.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.average.update(self.progress.step)
        value = float(loss.detach())
        self.progress.step += 1
        self.progress.samples += self.args.batch
        self.progress.seconds += time.monotonic() - began
        return value

    def export(self, out: Path) -> None:
        """Write the averaged model as a stock pipeline directory, in place of ``out``."""
        from diffusers import FlowMatchEulerDiscreteScheduler, LTXConditionPipeline

        self.average.swap()
        pipeline = LTXConditionPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=self.vae,
            text_encoder=self.text_encoder.eval(),
            tokenizer=self.tokenizer,
            transformer=self.transformer,
        )
        aside = out.with_name(out.name + ".new")
        shutil.rmtree(aside, ignore_errors=True)
        pipeline.save_pretrained(aside)
        self.average.swap()
        swap_directory(aside, out)


def swap_directory(new: Path, out: Path) -> None:
    """Put ``new`` in the place of ``out`` with two renames, so that readers see either whole."""
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _next_in_scene(scene: list[int]) -> list[int]:
    """For every clip the number of the next clip of its scene; the last one's is the first."""
    return [
        i + 1 if scene[i + 1 : i + 2] == [number] else scene.index(number)
        for i, number in enumerate(scene)
    ]


def train(trainer: Trainer) -> None:
    """Train until all clips were shown, saving every ``save_minutes``."""
    args, progress = trainer.args, trainer.progress
    saved, recent = time.monotonic(), []
    since = (progress.seconds, progress.samples)
    stop = min(args.clips, args.stop_at or args.clips)
    while progress.samples < stop:
        recent.append(trainer.step())
        if progress.step % LOG_EVERY == 0:
            elapsed, seen = progress.seconds - since[0], progress.samples - since[1]
            row = {
                "step": progress.step,
                "samples": progress.samples,
                "minutes": round(progress.seconds / 60, 2),
                "loss": round(sum(recent) / len(recent), 4),
                "shape_gain": round(trainer.shape_gain(), 2),
                "rate": round(trainer.rate(), 3),
                "samples_per_second": round(seen / max(elapsed, 1e-9), 1),
            }
            progress.curve.append(row)
            print(row, flush=True)
            recent, since = [], (progress.seconds, progress.samples)
        if time.monotonic() - saved > 60 * args.save_minutes:
            trainer.save()
            saved = time.monotonic()
    trainer.save()


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="pipeline directory to write")
    parser.add_argument("--work", type=Path, default=Path("demo-train"), help="checkpoints")
    parser.add_argument("--clips", type=int, default=CLIPS, help="clips to show in all")
    parser.add_argument("--stop-at", type=int, help="stop early, after so many; go on later")
    parser.add_argument("--batch", type=int, default=32, help="clips per step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 is torch's choice")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--export-only", action="store_true", help="write the checkpoint and stop")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train and write the pipeline directory."""
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    trainer = Trainer(args)
    if not args.export_only:
        train(trainer)
    trainer.export(args.out)


if __name__ == "__main__":
    main()
