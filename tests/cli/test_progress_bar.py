"""The progress bar of commands that generate or analyse sound."""

from rewas_api import enum_names
from rewas_cli.console import MEDIA_STAGES, STAGE_LABELS


def test_every_stage_has_a_label() -> None:
    assert STAGE_LABELS.keys() == {*MEDIA_STAGES, *enum_names.STAGE.all}
