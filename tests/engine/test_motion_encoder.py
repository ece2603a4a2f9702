"""The motion encoder: its receptive field in space and time, and its looks."""

import pytest
import torch

from rewas_engine.models.motion import MotionEncoder, _augment, _SpatialAttentionPool


def test_there_is_one_token_per_frame_at_its_time() -> None:
    encoder = MotionEncoder(widths=(8, 8), features=16, dilations=(1, 2)).eval()
    frames = torch.full((1, 60, 32, 32), 0.5)
    frames[:, :, 20:28, 20:28] = 1.0
    moved = frames.clone()
    # Moved but not brighter, so that the contrast of the clip, by which frames are normalised, stays.
    moved[0, 30] = frames[0, 30].flip(0)
    with torch.no_grad():
        change = (encoder(moved) - encoder(frames))[0].abs().amax(dim=1)
    assert change.shape == (60,)
    touched = (change > 1e-5).nonzero().flatten().tolist()
    # To each side: neighbouring frames (2), one block (1), and 2·(1 + 2) frames of the convolutions over time.
    assert (min(touched), max(touched)) == (21, 39)


def test_looks_average_mirrored_and_shifted_frames() -> None:
    torch.manual_seed(0)
    once = MotionEncoder(widths=(8, 8), features=16, dilations=(1,)).eval()
    often = MotionEncoder(widths=(8, 8), features=16, dilations=(1,), looks=2).eval()
    often.load_state_dict(once.state_dict())
    frames = torch.rand(1, 12, 32, 32)
    with torch.no_grad():
        both = (once(frames) + once(frames.flip(3))) / 2
        torch.testing.assert_close(often(frames), both)
        # A video and its mirror image have the same sound.
        torch.testing.assert_close(often(frames.flip(3)), both)
    # Training uses one look.
    torch.testing.assert_close(often.train()(frames), once.train()(frames))


def test_a_shifted_look_repeats_its_edges() -> None:
    frames = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.equal(_augment(frames, False, 0, 0), frames)
    assert torch.equal(_augment(frames, True, 0, 0), frames.flip(3))
    assert _augment(frames, False, -1, 1)[0, 0].tolist() == [
        [4, 4, 5, 6],
        [8, 8, 9, 10],
        [12, 12, 13, 14],
        [12, 12, 13, 14],
    ]
    assert torch.equal(_augment(frames, True, -1, 1), _augment(frames, False, -1, 1).flip(3))


@pytest.mark.parametrize("looks", [0, 5])
def test_an_invalid_number_of_looks_is_refused(looks: int) -> None:
    with pytest.raises(ValueError, match="looks are not 1 to 4"):
        MotionEncoder(widths=(8, 8), features=16, looks=looks)


def test_untrained_places_change_nothing() -> None:
    torch.manual_seed(0)
    plain = MotionEncoder(widths=(8, 8), features=16, dilations=(1,)).eval()
    placed = MotionEncoder(widths=(8, 8), features=16, dilations=(1,), place_dilations=(1, 3)).eval()
    placed.load_state_dict({**placed.state_dict(), **plain.state_dict()})
    frames = torch.rand(2, 40, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(placed(frames), plain(frames), rtol=0, atol=0)


def test_each_place_is_processed_separately_over_time() -> None:
    torch.manual_seed(0)
    places = _SpatialAttentionPool(8, 16, (1, 3)).eval()
    torch.nn.init.normal_(places.out.weight)
    maps = torch.randn(1, 60, 8, 4, 4)
    struck = maps.clone()
    struck[0, 30, :, 2, 1] = 5 * torch.randn(8)
    with torch.no_grad():
        change = (places(struck) - places(maps))[0].abs().amax(dim=1)
        turned = places(maps.flip(3, 4))
    touched = (change > 1e-5).nonzero().flatten().tolist()
    # 4·(1 + 3) frames to each side.
    assert (min(touched), max(touched)) == (14, 46)
    # The position in the frame does not matter.
    torch.testing.assert_close(turned, places(maps), atol=1e-4, rtol=1e-4)
