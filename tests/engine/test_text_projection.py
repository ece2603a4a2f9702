"""The text projection: mixing of meanings, unit length, use in a pack, and strict loading."""

import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w
import torch
from safetensors.torch import save_file

from rewas_engine import PackError, ReWaS
from rewas_engine.models.text_projection import TextProjection
from rewas_engine.packs.components import load_component, save_component
from rewas_engine.packs.description import DESCRIPTION_FILE, read_pack, write_description


def small(**settings) -> TextProjection:
    """A projection to 8 dimensions with choices of three and two and one flag. Its meanings are unit vectors."""
    torch.manual_seed(0)
    projection = TextProjection(8, 4, (3, 2), 1, **{"length": 2.0, **settings})
    with torch.no_grad():
        projection.meanings.copy_(torch.eye(6, 8))
    return projection.eval().requires_grad_(False)


def set_logits(projection: TextProjection, logits: list[float]) -> TextProjection:
    """Set the projection to return these logits for any prompt."""
    last = projection.reader[-1]
    last.weight.zero_()
    last.bias.copy_(torch.tensor(logits))
    return projection


def test_meanings_are_mixed_by_their_logits() -> None:
    sure = set_logits(small(kept=0.0), [50, 0, 0, 0, 50, 50])
    out = sure(torch.randn(3, 8))
    expected = torch.zeros(8)
    expected[[0, 4, 5]] = 2 / 3**0.5
    torch.testing.assert_close(out, expected.expand(3, -1))


def test_choices_sum_to_1_and_flags_are_independent() -> None:
    projection = small()
    shares = projection.probabilities(torch.randn(5, 6))
    torch.testing.assert_close(shares[:, :3].sum(dim=1), torch.ones(5))
    torch.testing.assert_close(shares[:, 3:5].sum(dim=1), torch.ones(5))
    assert ((shares[:, 5] > 0) & (shares[:, 5] < 1)).all()


def test_sharpness_raises_the_weight_of_the_likeliest_meaning() -> None:
    logits = torch.tensor([[1.0, 0, 0, 0, 0, 0]])
    blunt, sharp = (small(sharpness=value).probabilities(logits)[0, 0] for value in (1.0, 3.0))
    assert sharp > blunt + 0.2


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_prompt_embeddings_have_unit_length_for_any_input(scale: float) -> None:
    projection, sentences = small(), torch.randn(4, 8)
    out = projection(scale * sentences)
    torch.testing.assert_close(out.norm(dim=1), torch.full((4,), 2.0))
    torch.testing.assert_close(out, projection(sentences), rtol=1e-4, atol=1e-4)


def test_prompts_without_a_meaning_differ() -> None:
    same = set_logits(small(kept=0.25), [0, 0, 0, 0, 0, 0])
    one, other = same(torch.eye(8)[6:])
    assert (one - other).norm() > 0.2


@pytest.mark.parametrize(
    "settings",
    [{"choices": ()}, {"choices": (1, 2)}, {"flags": -1}, {"length": 0.0}, {"kept": 1.5}, {"sharpness": 0.0}],
)
def test_invalid_sizes_are_refused(settings) -> None:
    with pytest.raises(ValueError, match="must be"):
        TextProjection(**settings)


def add_projection(pack: Path, folder: Path) -> Path:
    """Copy a pack and add a text projection."""
    copied = folder / "reading"
    shutil.copytree(pack, copied)
    torch.manual_seed(1)
    projection = TextProjection(384, 8, (3, 2), 2)
    with torch.no_grad():
        projection.meanings.normal_()
    save_component(projection, copied, "text_projection")
    document = tomllib.loads((copied / DESCRIPTION_FILE).read_text("utf-8"))
    del document["files"], document["format"]
    document["name"] = "reading"
    document["components"]["text_projection"] = "TextProjection"
    (copied / DESCRIPTION_FILE).write_text(tomli_w.dumps(document), "utf-8")
    write_description(copied, document)
    return copied


def test_a_pack_uses_its_projection(tiny_pack: Path, tmp_path: Path) -> None:
    packed = add_projection(tiny_pack, tmp_path)
    assert read_pack(packed).components["text_projection"] == "TextProjection"
    bare, model = (ReWaS.from_pretrained(path, device="cpu") for path in (tiny_pack, packed))
    plain, projected = (one.sound_generator._embed_prompts(["rain", ""]) for one in (bare, model))
    projection = load_component(packed, "text_projection", "TextProjection")
    torch.testing.assert_close(projected, projection(plain))
    assert not torch.allclose(projected, plain, atol=1.0)


def test_a_projection_with_wrong_tensors_is_refused(tiny_pack: Path, tmp_path: Path) -> None:
    packed = add_projection(tiny_pack, tmp_path)
    path = packed / "text_projection" / "model.safetensors"
    save_file({"meanings": torch.zeros(7, 384)}, path)
    with pytest.raises(PackError, match="text_projection"):
        load_component(packed, "text_projection", "TextProjection")
