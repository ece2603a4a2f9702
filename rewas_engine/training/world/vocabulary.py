"""Words for what is heard: phrasings for training, others held out for judging, and modifiers that must be true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rewas_engine.errors import SettingsError


@dataclass(frozen=True)
class ClassWords:
    """Words of one class.

    thing: the thing that moves, with its article.
    training: phrasings that training uses, all lower case and without a full stop.
    held_out: phrasings that training never uses.
    """

    thing: str
    training: tuple[str, ...]
    held_out: tuple[str, ...]


_WORDS: dict[str, ClassWords] = {
    "ball_bounce": ClassWords(
        "a ball",
        (
            "a ball bouncing",
            "a bouncing ball",
            "a rubber ball bounces on the floor",
            "ball bounce",
            "a basketball bouncing",
            "dribbling a ball",
            "the thud of a ball on the ground",
            "a ball hits the floor and bounces",
            "a ball falls and bounces",
        ),
        ("a football thumping the pavement", "someone dribbles a basketball", "soccer ball dropped", "ball thuds"),
    ),
    "wood_knock": ClassWords(
        "a hammer above wood",
        (
            "knocking on wood",
            "a wooden knock",
            "hammering on a wooden block",
            "a hammer hits wood",
            "tapping on wood",
            "someone knocks on a wooden door",
            "wood being struck",
            "knock knock on a plank",
            "chopping wood",
        ),
        ("a fist raps the door", "a carpenter drives a nail into timber", "mallet on a log", "rapping at the oak gate"),
    ),
    "metal_hit": ClassWords(
        "a hammer above an anvil",
        (
            "hitting metal",
            "a metal hit",
            "a hammer strikes an anvil",
            "clanging metal",
            "striking a steel pipe",
            "a blacksmith hammering iron",
            "the clang of a metal plate",
            "metal is hit with a hammer",
            "metallic clanking",
        ),
        ("a wrench bangs on a girder", "forging a sword", "a smith pounds hot steel", "iron bar clatter"),
    ),
    "glass_clink": ClassWords(
        "two glasses",
        (
            "glasses clinking",
            "a glass clink",
            "clinking wine glasses",
            "two glasses touch with a clink",
            "a toast with glasses",
            "tapping a drinking glass",
            "glass tinkling",
            "the ting of glass",
            "glassware is tapped",
        ),
        ("champagne flutes cheers", "goblets chink together", "crystal tumblers ting", "tinkle of bottles"),
    ),
    "gravel_steps": ClassWords(
        "feet on a gravel path",
        (
            "footsteps on gravel",
            "walking on gravel",
            "steps on a gravel path",
            "someone walks over gravel",
            "crunching footsteps",
            "feet crunch on small stones",
            "boots on gravel",
            "a person walking on pebbles",
            "gravel crunches under shoes",
        ),
        ("a hiker treads across shingle", "strolling along a stony track", "crunchy paces", "runner on a pebbly trail"),
    ),
    "drum_hit": ClassWords(
        "a drum and its sticks",
        (
            "drumming",
            "a drum hit",
            "playing a snare drum",
            "a drummer plays",
            "drum sticks on a drum",
            "hitting a drum",
            "snare drum hits",
            "beating a drum",
            "a drum is played",
        ),
        ("a percussionist on the tom-tom", "paradiddle practice", "marching band percussion", "drum kit groove"),
    ),
    "hand_clap": ClassWords(
        "two hands",
        (
            "clapping hands",
            "a hand clap",
            "someone claps",
            "hands clapping",
            "applause of one person",
            "a person claps their hands",
            "clapping",
            "hand claps",
            "two hands clap together",
        ),
        ("an audience member applauds", "slapping palms together", "she applauds the singer", "palms smack"),
    ),
    "typing": ClassWords(
        "a keyboard",
        (
            "typing on a keyboard",
            "keyboard typing",
            "someone types on a computer keyboard",
            "keys being pressed on a keyboard",
            "clicking keyboard keys",
            "typing a text",
            "the clatter of a keyboard",
            "a typist at work",
            "pressing keyboard keys",
        ),
        ("a secretary writes an email on a laptop", "programmer coding", "keystrokes", "typewriter keys"),
    ),
    "bell": ClassWords(
        "a bell",
        (
            "a bell ringing",
            "a church bell",
            "a bell rings",
            "ringing a bell",
            "the toll of a bell",
            "a bell is struck",
            "bell chimes",
            "a bell tolls",
            "chiming of a bell",
        ),
        ("a cathedral peal", "steeple carillon", "ding dong from the tower", "gong of a temple bell"),
    ),
    "clock_tick": ClassWords(
        "a clock",
        (
            "a clock ticking",
            "ticking of a clock",
            "a clock ticks",
            "tick tock of a clock",
            "a wall clock ticking",
            "a ticking watch",
            "the second hand of a clock ticks",
            "tick tock",
            "an old clock ticks",
        ),
        ("a metronome counts", "a stopwatch ticks away", "grandfather timepiece", "timer tick-tick"),
    ),
    "dog_bark": ClassWords(
        "a dog",
        (
            "a dog barking",
            "dog bark",
            "a dog barks",
            "barking dog",
            "a dog growls and barks",
            "woof of a dog",
            "a dog yaps",
            "a dog is barking",
            "the barking of a dog",
        ),
        ("a puppy yelps", "an angry hound snarls", "terrier woofing", "the canine bays at a stranger"),
    ),
    "rain": ClassWords(
        "a wet street",
        (
            "rain falling",
            "rain",
            "it rains",
            "raindrops falling",
            "the sound of rain",
            "a rain shower",
            "rain on the street",
            "pouring rain",
            "rain pattering",
        ),
        ("a downpour", "drizzle on the pavement", "a cloudburst drenches the garden", "rainstorm"),
    ),
    "wind": ClassWords(
        "trees and grass",
        (
            "wind blowing",
            "wind",
            "the wind blows",
            "wind in the trees",
            "blowing wind",
            "howling wind",
            "gusts of wind",
            "a windy field",
            "wind moving the grass",
        ),
        ("a gale sweeps the meadow", "breeze rustles the branches", "blustery storm air", "draught whooshing"),
    ),
    "sea_waves": ClassWords(
        "the sea",
        (
            "sea waves",
            "waves on the beach",
            "ocean waves",
            "waves breaking on the shore",
            "the surf of the sea",
            "waves rolling in",
            "the sound of the ocean",
            "sea surf",
            "water waves at the coast",
        ),
        ("breakers crash on sand", "seaside swash", "tide washing over rocks", "surging Atlantic swell"),
    ),
    "fire": ClassWords(
        "a fireplace",
        (
            "a fire burning",
            "crackling fire",
            "a campfire",
            "fire crackles",
            "flames burning",
            "the crackling of a fireplace",
            "a wood fire burns",
            "burning fire",
            "a fire crackles and roars",
        ),
        ("a blazing bonfire", "logs pop in the hearth", "an inferno consumes the barn", "embers sizzle"),
    ),
    "engine": ClassWords(
        "an engine",
        (
            "an engine running",
            "a car engine",
            "engine idling",
            "an engine revs",
            "a motor running",
            "a running motor",
            "the engine of a truck",
            "a motorcycle engine",
            "engine noise",
        ),
        ("a tractor chugs", "a lorry accelerates", "revving a vehicle", "diesel generator hum"),
    ),
    "helicopter": ClassWords(
        "a helicopter",
        (
            "a helicopter flying",
            "helicopter",
            "a helicopter hovers",
            "helicopter rotor",
            "the rotor of a helicopter",
            "a helicopter in the air",
            "helicopter blades turning",
            "a flying helicopter",
            "helicopter noise",
        ),
        ("a chopper overhead", "whirring rotorcraft", "the copter takes off", "rescue chopper blades"),
    ),
    "alarm_beep": ClassWords(
        "an alarm lamp",
        (
            "an alarm beeping",
            "beeping",
            "an alarm",
            "an electronic beep",
            "a beeping alarm",
            "the beep of a device",
            "an alarm sounds",
            "a warning beep",
            "alarm beeps",
        ),
        ("a smoke detector goes off", "a buzzer signals", "reversing truck bleeps", "microwave finished signal"),
    ),
    "bird_song": ClassWords(
        "a bird",
        (
            "a bird singing",
            "birdsong",
            "a bird chirps",
            "chirping bird",
            "a bird sings",
            "bird chirping",
            "tweeting of a bird",
            "a small bird sings",
            "the song of a bird",
        ),
        ("a robin warbles", "a sparrow tweets", "nightingale melody", "canary trilling in a cage"),
    ),
}

_LOUD = ("loud", "strong", "powerful")
_QUIET = ("quiet", "soft", "weak", "faint")
_FAST = ("fast", "rapid", "quick")
_SLOW = ("slow", "unhurried")
_FAR = ("far away", "in the distance", "from a distance")
_NEAR = ("close up", "nearby", "close by")
_INDOORS = ("in a room", "indoors", "in a hall")
_FRAMES = ("{}", "{}", "{}", "{}", "the sound of {}", "a recording of {}", "a video of {}", "we hear {}", "audio: {}")
_PATTERN_WORDS = {
    "single": ("once", "a single time"),
    "few": ("a few times",),
    "regular": ("regularly", "in a steady rhythm"),
    "irregular": ("irregularly", "at random"),
    "accelerating": ("getting faster", "faster and faster"),
    "decelerating": ("getting slower", "slower and slower"),
    "bursts": ("in bursts", "in series"),
    "roll": ("very fast", "in a dense roll"),
    "gated": ("on and off", "with pauses"),
}
_COUNT_NEEDED = dict.fromkeys(("regular", "irregular", "accelerating", "decelerating", "bursts", "roll"), 4)
"""Events from which on a course can be heard; fewer are not described by it."""
_SILENCE = ("silence", "no sound", "complete silence", "nothing is heard", "{}, no sound", "{}, silent", "silence, {}")


def captions(class_name: str) -> tuple[str, ...]:
    """Phrasings of a class that training uses, before modifiers. Raises SettingsError for an unknown class."""
    return _words(class_name).training


def held_out_captions(class_name: str) -> tuple[str, ...]:
    """Phrasings of a class that training never uses. Raises SettingsError for an unknown class."""
    return _words(class_name).held_out


def describe(
    rng: np.random.Generator,
    class_name: str,
    *,
    loudness: float,
    rate_hz: float | None,
    far: bool,
    near: bool,
    indoors: bool,
    pattern: str,
    event_count: int | None,
    rising: bool | None,
) -> str:
    """A caption with up to two modifiers, each true of the scene.

    loudness: typical intensity of what is heard, 0..1. rate_hz: events per second, None where there are too few.
    event_count: events heard, None where an envelope runs freely.
    rising: whether the clip grows (True), fades (False) or neither (None).
    """
    phrase = str(rng.choice(_words(class_name).training))
    modifiers: list[str] = []
    if loudness > 0.85 and not far:
        modifiers.append(str(rng.choice(_LOUD)))
    elif loudness < 0.55:
        modifiers.append(str(rng.choice(_QUIET)))
    if rate_hz is not None and pattern in ("regular", "irregular"):
        modifiers += [str(rng.choice(_FAST))] if rate_hz > 3.5 else [str(rng.choice(_SLOW))] if rate_hz < 1.4 else []
    modifiers += [str(rng.choice(_FAR))] if far else [str(rng.choice(_NEAR))] if near else []
    modifiers += [str(rng.choice(_INDOORS))] if indoors else []
    course = "single" if event_count == 1 else pattern
    if event_count is None or event_count == 1 or event_count >= _COUNT_NEEDED.get(pattern, 1):
        modifiers += [str(rng.choice(_PATTERN_WORDS[course]))] if course in _PATTERN_WORDS else []
    if rising is not None:
        modifiers.append("getting louder" if rising else "fading away")
    chosen = rng.permutation(modifiers)[: int(rng.choice((0, 1, 2), p=(0.45, 0.35, 0.2)))]
    words = str(rng.choice(_FRAMES)).format(phrase)
    return ", ".join([words, *map(str, chosen)])


def describe_silence(rng: np.random.Generator, class_name: str) -> str:
    """A caption for a clip in which nothing sounds."""
    return str(rng.choice(_SILENCE)).format(_words(class_name).thing)


def _words(class_name: str) -> ClassWords:
    try:
        return _WORDS[class_name]
    except KeyError:
        raise SettingsError(
            f"The world knows no class {class_name!r}.", f"Choose one of {', '.join(_WORDS)}."
        ) from None
