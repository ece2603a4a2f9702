"""Words from the file names of sound libraries.

The Universal Category System (UCS, https://universalcategorysystem.com) names files
`CatID[-UserCategory]_[VendorCategory-]FXName_CreatorID_SourceID[_UserData]`, for example
`DOORWood-Barn_Door Slam Hard_JD_OLDFARM_Sennheiser.wav`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rewas_engine.recordings.captions import caption_of_name

_CATEGORY = re.compile(r"(?P<category>[A-Z]{2,8})(?P<subcategory>[A-Z][A-Za-z]{1,12}|)(?:-(?P<user>[^_]+))?")
_CREATOR = re.compile(r"[^_]{1,40}")
_LEAST_PARTS = 4
_CATEGORIES = {
    "AERO": "aircraft", "ALRM": "alarm", "AMB": "ambience", "ANML": "animal", "CMPT": "computer",
    "COM": "communication", "CREA": "creature", "CRWD": "crowd", "DESTR": "destruction", "DRWR": "drawer",
    "DSGN": "designed", "ELEC": "electricity", "EXPL": "explosion", "FEET": "footsteps", "FGHT": "fight",
    "FOLY": "foley", "FRWK": "fireworks", "GLAS": "glass", "HMN": "human", "LASR": "laser", "MACH": "machine",
    "MECH": "mechanism", "METL": "metal", "MOTR": "motor", "MUSC": "music", "OBJ": "object", "PAPR": "paper",
    "RUBR": "rubber", "SCI": "science fiction", "SPRT": "sport", "TRN": "train", "UI": "user interface",
    "VEH": "vehicle", "VOX": "voice", "WATR": "water", "WEAP": "weapon", "WHST": "whistle",
}  # fmt: skip
"""Beginning of a category ID -> word. Other beginnings are used as they are."""
_SUBCATEGORIES = {
    "anml": "animal", "brk": "break", "brst": "burst", "bubl": "bubbles", "buzr": "buzzer", "cab": "cabinet",
    "clok": "clock", "clth": "cloth", "conc": "concrete", "crea": "creature", "crkl": "crackle", "crsh": "crash",
    "desr": "desert", "elec": "electric", "ext": "exterior", "forst": "forest", "foun": "fountain",
    "fric": "friction", "glas": "glass", "gras": "grass", "hdwr": "hardware", "hmn": "human", "hndl": "handle",
    "hors": "horse", "hydr": "hydraulic", "impt": "impact", "ind": "industrial", "int": "interior", "metl": "metal",
    "misc": "", "mrkt": "market", "mvmt": "movement", "offc": "office", "plas": "plastic", "plmb": "plumbing",
    "pris": "prison", "publ": "public", "rest": "restaurant", "rurl": "rural", "sirn": "siren", "sizz": "sizzle",
    "slid": "sliding", "splsh": "splash", "ston": "stone", "subn": "suburban", "swng": "swinging", "tonl": "tonal",
    "trch": "torch", "trck": "truck", "trpc": "tropical", "undwtr": "underwater", "urbn": "urban",
    "vege": "vegetation", "watr": "water",
}  # fmt: skip
"""End of a category ID in lower case -> word."""


@dataclass(frozen=True)
class CategorisedName:
    """The parts of a UCS file name; "" for parts that it does not have.

    Attributes:
        category_id: Category and subcategory, such as "DOORWood".
        user_category: The user's addition to the category.
        effect: Name of the sound (FXName).
        creator, source: Abbreviations of its creator, and of the library or project that it comes from.
        user_data: Everything else, such as the microphone.
    """

    category_id: str
    user_category: str
    effect: str
    creator: str
    source: str
    user_data: str

    @property
    def category(self) -> str:
        """The category and subcategory in words, such as "door wood"."""
        match = _CATEGORY.fullmatch(self.category_id)
        if match is None:
            return caption_of_name(self.category_id)
        # In "DOORWood" the last capital letter begins the subcategory.
        capitals = re.match(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]+", self.category_id)
        beginning = capitals.group() if capitals else ""
        rest = caption_of_name(self.category_id[len(beginning) :])
        rest = _SUBCATEGORIES.get(rest, rest)
        return f"{_CATEGORIES.get(beginning, beginning.lower())} {rest}".strip()

    @property
    def words(self) -> str:
        """What the name says about the sound."""
        parts = (caption_of_name(self.effect), caption_of_name(self.user_category), self.category)
        return ", ".join(part for part in parts if part)


def take_apart(stem: str) -> CategorisedName | None:
    """Split a UCS file name into its parts. Returns None for other names.

    Args:
        stem: The file name without its suffix.
    """
    parts = stem.split("_", _LEAST_PARTS)
    if len(parts) < _LEAST_PARTS or not all(part.strip() for part in parts[:_LEAST_PARTS]):
        return None
    head = _CATEGORY.fullmatch(parts[0])
    if head is None or len(parts[0].partition("-")[0]) < 3 or not _CREATOR.fullmatch(parts[2]):
        return None
    return CategorisedName(
        category_id=parts[0].partition("-")[0],
        user_category=head["user"] or "",
        effect=parts[1].strip(),
        creator=parts[2].strip(),
        source=parts[3].strip(),
        user_data=parts[4].strip() if len(parts) > _LEAST_PARTS else "",
    )


def words_of_name(stem: str) -> str:
    """Return what a file name says about the sound; "" if it says nothing."""
    taken = take_apart(stem)
    return taken.words if taken is not None else caption_of_name(stem)
