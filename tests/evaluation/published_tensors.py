"""Names and shapes of the tensors in published weights, written down from the files and not from our networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

Shapes = dict[str, tuple[int, ...]]


def vggish_shapes(
    channels: Sequence[int] = (64, 128, 256, 256, 512, 512), widths: Sequence[int] = (4096, 4096, 128)
) -> Shapes:
    """vggish-10086976.pth with the principal components of vggish_pca_params."""
    shapes: Shapes = {}
    inputs = 1
    for place, outputs in zip((0, 3, 6, 8, 11, 13), channels, strict=True):
        shapes |= {f"features.{place}.weight": (outputs, inputs, 3, 3), f"features.{place}.bias": (outputs,)}
        inputs = outputs
    inputs = channels[-1] * 6 * 4
    for place, outputs in zip((0, 2, 4), widths, strict=True):
        shapes |= {f"embeddings.{place}.weight": (outputs, inputs), f"embeddings.{place}.bias": (outputs,)}
        inputs = outputs
    return shapes | {"pproc.pca_eigen_vectors": (inputs, inputs), "pproc.pca_means": (inputs, 1)}


def panns_shapes(
    widths: Sequence[int] = (64, 128, 256, 512, 1024, 2048), window: int = 1024, bins: int = 64, classes: int = 527
) -> Shapes:
    """Cnn14_mAP=0.431.pth and its variants for other rates."""
    shapes: Shapes = {
        "spectrogram_extractor.stft.conv_real.weight": (window // 2 + 1, 1, window),
        "spectrogram_extractor.stft.conv_imag.weight": (window // 2 + 1, 1, window),
        "logmel_extractor.melW": (window // 2 + 1, bins),
        **_norm("bn0", bins, counts=True),
    }
    inputs = 1
    for number, outputs in enumerate(widths, 1):
        block = f"conv_block{number}"
        shapes |= {
            f"{block}.conv1.weight": (outputs, inputs, 3, 3),
            f"{block}.conv2.weight": (outputs, outputs, 3, 3),
            **_norm(f"{block}.bn1", outputs, counts=True),
            **_norm(f"{block}.bn2", outputs, counts=True),
        }
        inputs = outputs
    return shapes | {
        "fc1.weight": (inputs, inputs),
        "fc1.bias": (inputs,),
        "fc_audioset.weight": (classes, inputs),
        "fc_audioset.bias": (classes,),
    }


def passt_shapes(width: int = 768, blocks: int = 12, time_places: int = 99, classes: int = 527) -> Shapes:
    """passt-s-f128-p16-s10-ap.476-swa.pt."""
    shapes: Shapes = {
        "cls_token": (1, 1, width),
        "dist_token": (1, 1, width),
        "new_pos_embed": (1, 2, width),
        "freq_new_pos_embed": (1, width, 12, 1),
        "time_new_pos_embed": (1, width, 1, time_places),
        "patch_embed.proj.weight": (width, 1, 16, 16),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.0.weight": (width,),
        "head.0.bias": (width,),
        "head.1.weight": (classes, width),
        "head.1.bias": (classes,),
        "head_dist.weight": (classes, width),
        "head_dist.bias": (classes,),
    }
    for number in range(blocks):
        block = f"blocks.{number}"
        shapes |= {
            f"{block}.norm1.weight": (width,),
            f"{block}.norm1.bias": (width,),
            f"{block}.attn.qkv.weight": (3 * width, width),
            f"{block}.attn.qkv.bias": (3 * width,),
            f"{block}.attn.proj.weight": (width, width),
            f"{block}.attn.proj.bias": (width,),
            f"{block}.norm2.weight": (width,),
            f"{block}.norm2.bias": (width,),
            f"{block}.mlp.fc1.weight": (4 * width, width),
            f"{block}.mlp.fc1.bias": (4 * width,),
            f"{block}.mlp.fc2.weight": (width, 4 * width),
            f"{block}.mlp.fc2.bias": (width,),
        }
    return shapes


def i3d_shapes(classes: int = 400, narrowing: int = 1) -> Shapes:
    """rgb_imagenet.pt, which was written before PyTorch counted batches."""
    shapes: Shapes = {}

    def unit(name: str, inputs: int, outputs: int, size: int) -> None:
        narrow_inputs = inputs if inputs == 3 else inputs // narrowing
        shapes[f"{name}.conv3d.weight"] = (outputs // narrowing, narrow_inputs, size, size, size)
        shapes.update(_norm(f"{name}.bn", outputs // narrowing))

    unit("Conv3d_1a_7x7", 3, 64, 7)
    unit("Conv3d_2b_1x1", 64, 64, 1)
    unit("Conv3d_2c_3x3", 64, 192, 3)
    inputs = 192
    for name, branches in {
        "Mixed_3b": (64, 96, 128, 16, 32, 32),
        "Mixed_3c": (128, 128, 192, 32, 96, 64),
        "Mixed_4b": (192, 96, 208, 16, 48, 64),
        "Mixed_4c": (160, 112, 224, 24, 64, 64),
        "Mixed_4d": (128, 128, 256, 24, 64, 64),
        "Mixed_4e": (112, 144, 288, 32, 64, 64),
        "Mixed_4f": (256, 160, 320, 32, 128, 128),
        "Mixed_5b": (256, 160, 320, 32, 128, 128),
        "Mixed_5c": (384, 192, 384, 48, 128, 128),
    }.items():
        unit(f"{name}.b0", inputs, branches[0], 1)
        unit(f"{name}.b1a", inputs, branches[1], 1)
        unit(f"{name}.b1b", branches[1], branches[2], 3)
        unit(f"{name}.b2a", inputs, branches[3], 1)
        unit(f"{name}.b2b", branches[3], branches[4], 3)
        unit(f"{name}.b3b", inputs, branches[5], 1)
        inputs = branches[0] + branches[2] + branches[4] + branches[5]
    return shapes | {
        "logits.conv3d.weight": (classes, inputs // narrowing, 1, 1, 1),
        "logits.conv3d.bias": (classes,),
    }


def imagebind_shapes(
    vision: tuple[int, int, int] = (1280, 32, 256), audio: tuple[int, int, int] = (768, 12, 228), joint: int = 1024
) -> Shapes:
    """imagebind_huge.pth, with some tensors of the other encoders. Each tower: width, blocks, number of patches."""
    shapes: Shapes = {
        "modality_preprocessors.vision.cls_token": (1, 1, vision[0]),
        "modality_preprocessors.vision.rgbt_stem.proj.1.weight": (vision[0], 3, 2, 14, 14),
        "modality_preprocessors.vision.pos_embedding_helper.pos_embed": (1, 1 + vision[2], vision[0]),
        "modality_preprocessors.audio.cls_token": (1, 1, audio[0]),
        "modality_preprocessors.audio.rgbt_stem.proj.weight": (audio[0], 1, 16, 16),
        "modality_preprocessors.audio.rgbt_stem.norm_layer.weight": (audio[0],),
        "modality_preprocessors.audio.rgbt_stem.norm_layer.bias": (audio[0],),
        "modality_preprocessors.audio.pos_embedding_helper.pos_embed": (1, 1 + audio[2], audio[0]),
        "modality_trunks.vision.pre_transformer_layer.0.weight": (vision[0],),
        "modality_trunks.vision.pre_transformer_layer.0.bias": (vision[0],),
        "modality_postprocessors.audio.1.log_logit_scale": (),
        "modality_preprocessors.text.pos_embed": (1, 77, 8),
        "modality_trunks.imu.blocks.0.norm_1.weight": (8,),
        "modality_heads.depth.2.weight": (8, 8),
        "modality_postprocessors.thermal.1.log_logit_scale": (),
    }
    for modality, (width, blocks, _) in {"vision": vision, "audio": audio}.items():
        head = f"modality_heads.{modality}"
        shapes |= {f"{head}.0.weight": (width,), f"{head}.0.bias": (width,), f"{head}.2.weight": (joint, width)}
        for number in range(blocks):
            block = f"modality_trunks.{modality}.blocks.{number}"
            shapes |= {
                f"{block}.attn.in_proj_weight": (3 * width, width),
                f"{block}.attn.in_proj_bias": (3 * width,),
                f"{block}.attn.out_proj.weight": (width, width),
                f"{block}.attn.out_proj.bias": (width,),
                f"{block}.norm_1.weight": (width,),
                f"{block}.norm_1.bias": (width,),
                f"{block}.mlp.fc1.weight": (4 * width, width),
                f"{block}.mlp.fc1.bias": (4 * width,),
                f"{block}.mlp.fc2.weight": (width, 4 * width),
                f"{block}.mlp.fc2.bias": (width,),
                f"{block}.norm_2.weight": (width,),
                f"{block}.norm_2.bias": (width,),
            }
            if modality == "audio":
                shapes |= {f"{block}.attn.bias_k": (1, 1, width), f"{block}.attn.bias_v": (1, 1, width)}
    return shapes


def random_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random values that keep the activations of a network in range."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            tensors[name] = torch.rand(shape, generator=generator) + 0.5
        elif name.endswith(".weight") and len(shape) == 1:
            tensors[name] = 1 + 0.1 * torch.randn(shape, generator=generator)
        else:
            inputs = max(1, torch.Size(shape[1:]).numel()) if len(shape) > 1 else 1
            scale = 0.1 if len(shape) < 2 else (2 / inputs) ** 0.5
            tensors[name] = scale * torch.randn(shape, generator=generator)
    return tensors


def write_folder(folder: Path, tensors: Mapping[str, torch.Tensor], config: Mapping[str, object]) -> Path:
    """Write weights and configuration in the documented layout."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _norm(name: str, width: int, *, counts: bool = False) -> Shapes:
    shapes: Shapes = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes | ({f"{name}.num_batches_tracked": ()} if counts else {})
