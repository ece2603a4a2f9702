"""Prove TAVDiffusion at full size with synthetic weights: one training step and one sampling run, with peak memory.

    python scripts/measure/full_size_audible_video.py --frames 20

It writes a UNet in the shape of Stable Diffusion 1.5 and an autoencoder in the shape of AudioLDM's with diffusers,
reads them again, starts both streams from them and prints sizes, seconds and the peak memory of this process.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from rewas_engine.audible_video import full_size
from rewas_engine.audible_video.loss import training_loss
from rewas_engine.audible_video.sampling import sample_streams
from rewas_engine.audible_video.two_stream import TwoStreamDenoiser


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=full_size.FRAMES)
    parser.add_argument("--steps", type=int, default=2, help="steps of DDIM")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    figures: dict[str, object] = {"frames": arguments.frames}

    model = _start_from_checkpoint(arguments.frames)
    model.enable_gradient_checkpointing()
    figures["parameters"] = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    figures["peak_gb_built"] = _peak_gb()

    height, width = full_size.HEIGHT // full_size.PICTURE_FACTOR, full_size.WIDTH // full_size.PICTURE_FACTOR
    picture_shape, sound_shape = (arguments.frames, 4, height, width), (full_size.SOUND_CHANNELS, 256, 16)
    text = torch.randn(1, full_size.TEXT_TOKENS, full_size.TEXT_WIDTH, dtype=torch.bfloat16)
    schedule = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)

    started = time.monotonic()
    model.train()
    clips = [torch.randn(1, *shape, dtype=torch.bfloat16) for shape in (picture_shape, sound_shape)]
    loss = training_loss(model, schedule, *clips, text, torch.Generator().manual_seed(1))
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 1e-4 * parameter.grad
                parameter.grad = None
    figures["training_step"] = {"loss": round(float(loss.detach()), 4), "seconds": round(time.monotonic() - started, 1)}
    figures["peak_gb_trained"] = _peak_gb()
    print(json.dumps(figures), flush=True)

    started = time.monotonic()
    picture, sound = sample_streams(
        model.eval(),
        schedule,
        text,
        None,
        picture_shape=picture_shape,
        sound_shape=sound_shape,
        num_steps=arguments.steps,
        generator=torch.Generator().manual_seed(2),
    )
    figures["sampling"] = {
        "steps": arguments.steps,
        "seconds": round(time.monotonic() - started, 1),
        "picture": list(picture.shape),
        "sound": list(sound.shape),
        "finite": bool(picture.isfinite().all() and sound.isfinite().all()),
    }
    figures["decoded"] = _decoded_shapes(picture, sound)
    figures["peak_gb"] = _peak_gb()
    print(json.dumps(figures, indent=1))


def _start_from_checkpoint(frames: int) -> TwoStreamDenoiser:
    """Write a synthetic checkpoint, read it with diffusers and build the denoiser from it, in bfloat16."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        with tempfile.TemporaryDirectory() as folder:
            full_size.stable_diffusion_unet().save_pretrained(folder)
            unet = UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.bfloat16, local_files_only=True)
        return TwoStreamDenoiser.from_unet(unet, frames, full_size.SOUND_CHANNELS)
    finally:
        torch.set_default_dtype(torch.float32)


def _decoded_shapes(picture: torch.Tensor, sound: torch.Tensor) -> dict[str, list[int]]:
    """Shapes of the first frame and of the log-mel, decoded by autoencoders in the released shapes."""
    down, up = "DownEncoderBlock2D", "UpDecoderBlock2D"
    widths = {"picture": (3, 4, (128, 256, 512, 512)), "sound": (1, full_size.SOUND_CHANNELS, (128, 256, 512))}
    shapes = {}
    for name, latents in (("picture", picture[:, 0]), ("sound", sound)):
        channels, latent_channels, blocks = widths[name]
        with tempfile.TemporaryDirectory() as folder:
            AutoencoderKL(
                in_channels=channels,
                out_channels=channels,
                latent_channels=latent_channels,
                block_out_channels=blocks,
                down_block_types=(down,) * len(blocks),
                up_block_types=(up,) * len(blocks),
                layers_per_block=2,
            ).save_pretrained(folder)
            codec = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.bfloat16, local_files_only=True)
        with torch.inference_mode():
            shapes[name] = list(codec.decode(latents).sample.shape)
    return shapes


def _peak_gb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    main()
