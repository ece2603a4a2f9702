"""The painters of each class: every class has several looks, chosen at random."""

from __future__ import annotations

from rewas_engine.world import performer_painters as performers
from rewas_engine.world import tool_painters as tools
from rewas_engine.world import weather_painters as weather
from rewas_engine.world.flow_painters import APPLAUSE_PAINTERS, CAR_PAINTERS, STREAM_PAINTERS
from rewas_engine.world.gun_painters import GUN_PAINTERS
from rewas_engine.world.painting import StruckPainter, SustainedPainter
from rewas_engine.world.step_painters import STEP_PAINTERS
from rewas_engine.world.struck_painters import CLOSE_UPS
from rewas_engine.world.sustained_painters import PLAIN_LOOKS

STRUCK_PAINTERS: dict[str, tuple[StruckPainter, ...]] = {
    "ball_bounce": (CLOSE_UPS["ball_bounce"], performers.dribbler),
    "wood_knock": (CLOSE_UPS["wood_knock"], tools.knife, tools.fist_on_door, tools.knife),
    "metal_hit": (CLOSE_UPS["metal_hit"], tools.sledge),
    "glass_clink": (CLOSE_UPS["glass_clink"], performers.spoon_on_glass),
    # A punching bag sounds most like a dull drum.
    "drum_hit": (CLOSE_UPS["drum_hit"], performers.drummer, performers.drummer, performers.punching_bag),
    "hand_clap": (CLOSE_UPS["hand_clap"], performers.clapping_person),
    "typing": (CLOSE_UPS["typing"],),
    "bell": (CLOSE_UPS["bell"], performers.hand_bell),
    "clock_tick": (CLOSE_UPS["clock_tick"], performers.metronome),
    "door": tools.DOOR_PAINTERS,
    "hammer": (CLOSE_UPS["wood_knock"], *tools.HAMMER_PAINTERS),
    "gunshot": GUN_PAINTERS,
    **STEP_PAINTERS,
}
"""Looks of each struck class."""

SUSTAINED_PAINTERS: dict[str, tuple[SustainedPainter, ...]] = {
    "dog_bark": (PLAIN_LOOKS["dog_bark"], weather.whole_dog),
    "rain": (PLAIN_LOOKS["rain"], weather.puddle),
    "wind": (PLAIN_LOOKS["wind"], weather.flag, weather.field_of_grass),
    "sea_waves": (PLAIN_LOOKS["sea_waves"], weather.surf, weather.swell),
    "fire": (PLAIN_LOOKS["fire"], weather.flames),
    "engine": (PLAIN_LOOKS["engine"], weather.shaking_machine),
    "helicopter": (PLAIN_LOOKS["helicopter"], weather.overhead_rotor),
    "alarm_beep": (PLAIN_LOOKS["alarm_beep"], weather.beacon),
    "bird_song": (PLAIN_LOOKS["bird_song"], weather.bird_in_a_tree),
    "stream": STREAM_PAINTERS,
    "car_passing": CAR_PAINTERS,
    "applause": APPLAUSE_PAINTERS,
}
"""Looks of each sustained class."""
