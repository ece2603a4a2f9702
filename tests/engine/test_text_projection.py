"""What sentences say of sounds: mixed as it is read, of one length, part of a pack, loaded strictly."""

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
    """A projection of 8 components with two choices of three and two, and a flag; its meanings are unit vectors."""
    torch.manual_seed(0)
    projection = TextProjection(8, 4, (3, 2), 1, **{"length": 2.0, **settings})
    with torch.no_grad():
        projection.meanings.copy_(torch.eye(6, 8))
    return projection.eval().requires_grad_(False)


def reading(projection: TextProjection, logits: list[float]) -> TextProjection:
    """The same, reading the same in all words."""
    last = projection.reader[-1]
    last.weight.zero_()
    last.bias.copy_(torch.tensor(logits))
    return projection


def test_what_is_read_is_mixed() -> None:
    sure = reading(small(kept=0.0), [50, 0, 0, 0, 50, 50])
    out = sure(torch.randn(3, 8))
    wanted = torch.zeros(8)
    wanted[[0, 4, 5]] = 2 / 3**0.5
    torch.testing.assert_close(out, wanted.expand(3, -1))


def test_groups_sum_to_one_and_flags_stand_alone() -> None:
    projection = small()
    shares = projection.probabilities(torch.randn(5, 6))
    torch.testing.assert_close(shares[:, :3].sum(dim=1), torch.ones(5))
    torch.testing.assert_close(shares[:, 3:5].sum(dim=1), torch.ones(5))
    assert ((shares[:, 5] > 0) & (shares[:, 5] < 1)).all()


def test_sharpness_makes_the_likeliest_meaning_count_for_more() -> None:
    logits = torch.tensor([[1.0, 0, 0, 0, 0, 0]])
    blunt, sharp = (small(sharpness=value).probabilities(logits)[0, 0] for value in (1.0, 3.0))
    assert sharp > blunt + 0.2


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_every_prompt_has_one_length_whatever_the_sentences_have(scale: float) -> None:
    projection, sentences = small(), torch.randn(4, 8)
    out = projection(scale * sentences)
    torch.testing.assert_close(out.norm(dim=1), torch.full((4,), 2.0))
    torch.testing.assert_close(out, projection(sentences), rtol=1e-4, atol=1e-4)


def test_words_without_a_meaning_are_still_told_apart() -> None:
    same = reading(small(kept=0.25), [0, 0, 0, 0, 0, 0])
    one, other = same(torch.eye(8)[6:])
    assert (one - other).norm() > 0.2


@pytest.mark.parametrize(
    "settings",
    [{"choices": ()}, {"choices": (1, 2)}, {"flags": -1}, {"length": 0.0}, {"kept": 1.5}, {"sharpness": 0.0}],
)
def test_sizes_that_make_no_sense_are_refused(settings) -> None:
    with pytest.raises(ValueError, match="must be"):
        TextProjection(**settings)


def with_projection(pack: Path, folder: Path) -> Path:
    """A copy of a pack that has a projection too."""
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


def test_a_pack_with_a_projection_reads_its_prompts_through_it(tiny_pack: Path, tmp_path: Path) -> None:
    packed = with_projection(tiny_pack, tmp_path)
    assert read_pack(packed).components["text_projection"] == "TextProjection"
    bare, model = (ReWaS.from_pretrained(path, device="cpu") for path in (tiny_pack, packed))
    plain, projected = (one.sound_generator._embed_prompts(["rain", ""]) for one in (bare, model))
    projection = load_component(packed, "text_projection", "TextProjection")
    torch.testing.assert_close(projected, projection(plain))
    assert not torch.allclose(projected, plain, atol=1.0)


def test_a_projection_with_other_tensors_is_refused(tiny_pack: Path, tmp_path: Path) -> None:
    packed = with_projection(tiny_pack, tmp_path)
    path = packed / "text_projection" / "model.safetensors"
    save_file({"meanings": torch.zeros(7, 384)}, path)
    with pytest.raises(PackError, match="text_projection"):
        load_component(packed, "text_projection", "TextProjection")
