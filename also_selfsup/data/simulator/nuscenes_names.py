"""Names that simulated nuScenes scenes bear, so that the official splits apply to them, and tokens of fixed rows."""

from __future__ import annotations

import hashlib

# Numbers of official scenes, in the order in which they are used; enough of each split for a demo or an experiment.
# "train" leaves out those that ALSO keeps for verifying: with them it is the official train split.
_TRAIN = (
    "1-2 4-7 10-11 20-28 30-31 33-34 41 43-44 46-48 50-51 53 55 57-65 68-72 74-76 120-130 132-135 138-139 149-151 "
    "154-155 157-165 167 170-182 184-185 187-188 191-193 195-196 199-200 202-204 206-207 209 212-214 218-220 222 "
    "224-240 242 244-247 249-258 262-264 283-286 288-291 293-296 298-304 315-318 321 323-324 328 347-349 351 353-357"
)
_VERIFYING = (
    "8-9 19 29 32 42 45 49 52 54 56 66-67 73 131 152 166 168 183 190 194 208 210-211 241 243 248 259-261 287"
)
_VAL = (
    "3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-627 629-630 632-638 770-771 775 "
    "777-778 780-784 794-800 802 904-917 919-931 962-963 966-969 971-972 1059-1073"
)


def expand(ranges: str) -> list[int]:
    """Numbers of a list like "1-3 7"."""
    ends = [[int(end) for end in word.split("-")] for word in ranges.split()]
    return [number for pair in ends for number in range(pair[0], pair[-1] + 1)]


SCENE_NUMBERS: dict[str, dict[str, list[int]]] = {
    "v1.0-trainval": {"train": expand(_TRAIN), "verifying": expand(_VERIFYING), "val": expand(_VAL)},
    "v1.0-mini": {"train": [61, 553, 655, 757, 796, 1077, 1094, 1100], "val": [103, 916]},
}


def fixed_token(name: str) -> str:
    """32 hexadecimal digits that name a row which is the same in every simulated data set."""
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
