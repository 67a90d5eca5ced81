"""The demo model's training: its clips, its arithmetic, and that it resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from film.demo_world import read_prompt  # noqa: E402
from training.demo import captions, network, train, world  # noqa: E402
from training.demo.batches import Batch, BatchMaker  # noqa: E402
from training.demo.vae import BlockEncoder, build_vae  # noqa: E402

# On CUDA and with the compiler the norms fuse; here torch warns that they do not.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Mismatch dtype:UserWarning")]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vae():
    return build_vae(clips=64)


@pytest.fixture(scope="module")
def maker(vae) -> BatchMaker:
    return BatchMaker(captions.build_tokenizer(), BlockEncoder(vae), CPU, seed=3)


def clips_of(batch: Batch, what: torch.Tensor) -> list[torch.Tensor]:
    """`what` of the clips of each scene, stacked."""
    scene = torch.tensor(batch.scene)
    return [what[scene == number] for number in range(batch.scene[-1] + 1)]


def test_the_same_step_gives_the_same_batch(maker: BatchMaker) -> None:
    one, again, other = maker.draw(5, 16), maker.draw(5, 16), maker.draw(6, 16)
    assert torch.equal(one.noisy, again.noisy)
    assert torch.equal(one.words, again.words)
    assert not torch.equal(one.noisy, other.noisy)


def test_clips_of_a_scene_differ_by_their_shape_alone(maker: BatchMaker) -> None:
    batch = maker.draw(0, 48)
    noise = batch.velocity + batch.latents
    for attributes, noises, sigma in zip(
        clips_of(batch, batch.attributes),
        clips_of(batch, noise),
        clips_of(batch, batch.sigma),
        strict=True,
    ):
        assert len(set(attributes[:, 0].tolist())) == len(attributes)
        assert (attributes[:, 1:] == attributes[0, 1:]).all()
        assert torch.allclose(noises, noises[:1].expand_as(noises), atol=1e-5)
        assert (sigma == sigma[0]).all()


def test_captions_say_what_is_shown_and_held_out_clips_are_never_shown(maker: BatchMaker) -> None:
    tokenizer = captions.build_tokenizer()
    shown = set()
    for step in range(40):
        batch = maker.draw(step, 24)
        for numbers, words, kept in zip(
            batch.attributes.tolist(), batch.words, batch.captioned, strict=True
        ):
            kinds = (world.SHAPES, world.COLOURS, world.SKIES, world.FLOORS, world.MOTIONS)
            names = ("shape", "colour", "sky", "floor", "motion")
            said = {n: k[i] for n, k, i in zip(names, kinds, numbers, strict=True)}
            combination = world.Combination(**said)  # type: ignore[arg-type]
            shown.add(combination)
            text = tokenizer.decode(words, skip_special_tokens=False).split("</s>")[0]
            if kept and "<unk>" not in text:
                assert read_prompt(text).shown.shape == combination.shape
    assert len(shown) > 500
    assert shown.isdisjoint(world.held_out_combinations())


def test_conditioning_frames_have_no_noise_level_and_no_weight(maker: BatchMaker) -> None:
    batch = maker.draw(1, 64)
    given = batch.sigma == 0
    assert given.any()
    assert not given.all(dim=1).any()
    weight = batch.weight.view(len(given), network.LATENT_FRAMES, -1)
    assert (weight[given] == 0).all()
    assert (weight[~given] >= 1).all()


def test_latents_by_matrix_are_those_of_the_autoencoder(vae, maker: BatchMaker) -> None:
    combination = world.training_combinations()[100]
    rng = np.random.default_rng(0)
    track = world.tracks([combination.motion], rng)
    clip = torch.from_numpy(world.render(combination, track[0])).permute(3, 0, 1, 2)[None]
    with torch.no_grad():
        latents = vae.encode(clip.float() / 127.5 - 1).latent_dist.mode()
    scaled = (latents - vae.latents_mean.view(1, -1, 1, 1, 1)) / vae.latents_std.view(
        1, -1, 1, 1, 1
    )
    alpha = maker._coverage([combination], torch.from_numpy(track))
    ours = maker.encoder(alpha, *maker._colours([combination]))
    assert torch.allclose(ours, scaled.permute(0, 2, 3, 4, 1).flatten(1, 3), atol=0.03)


def test_the_fast_pass_computes_what_the_library_does(maker: BatchMaker) -> None:
    torch.manual_seed(0)
    model = network.new_transformer().eval()
    batch = maker.draw(2, 4)
    text = torch.randn(4, batch.words.shape[1], network.TEXT_WIDTH)
    with torch.no_grad():
        ours = network.predict_velocity(
            model, batch.noisy, text, batch.word_mask, batch.sigma, network.rotary_tables(model)
        )
        per_token = batch.sigma.repeat_interleave(network.FRAME_TOKENS, dim=1)
        theirs = model(
            hidden_states=batch.noisy,
            encoder_hidden_states=text,
            timestep=per_token * 1000,
            encoder_attention_mask=batch.word_mask,
            video_coords=network.token_coordinates(),
            return_dict=False,
        )[0]
    assert torch.allclose(ours, theirs, atol=1e-4)


def trained(folder: Path, vae, *, stop_at: int) -> dict[str, torch.Tensor]:
    """The transformer after `stop_at` of 48 clips, trained in `folder` with an autoencoder."""
    (folder / "work").mkdir(parents=True, exist_ok=True)
    torch.save(vae.state_dict(), folder / "work" / "vae.pt")
    options = ["--clips", "48", "--stop-at", str(stop_at), "--batch", "8", "--threads", "1"]
    out, work = str(folder / "model"), str(folder / "work")
    train.main(["--out", out, "--work", work, "--no-compile", "--device", "cpu", *options])
    state = torch.load(folder / "work" / "checkpoint.pt", weights_only=True)
    return dict(state["transformer"])


def test_training_that_was_interrupted_ends_where_it_would_have(tmp_path: Path, vae) -> None:
    threads = torch.get_num_threads()
    try:
        whole = trained(tmp_path / "whole", vae, stop_at=32)
        trained(tmp_path / "parts", vae, stop_at=16)
        parts = trained(tmp_path / "parts", vae, stop_at=32)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert (tmp_path / "parts" / "model" / "model_index.json").is_file()
