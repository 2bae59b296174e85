"""The words of captions: how a composition is asked for, in English and in Korean."""
from random import Random

from settings import COLOUR_NAMES, KOREAN_COLOURS

STYLE_WORDS = {"3d": ("3d", "glossy 3d"), "flat": ("flat",), "cartoon": ("cartoon",), "outline": ("outline", "line art")}
KOREAN_STYLES = {"3d": "입체", "flat": "평면", "cartoon": "만화", "outline": "윤곽선"}
NUMBERS = {2: "two", 3: "three", 4: "four"}
KOREAN_NUMBERS = {2: "두", 3: "세", 4: "네"}
RELATIONS = {
    "beside": (" and ", " next to ", " beside "),
    "left": (" left of ", " to the left of "),
    "right": (" right of ", " to the right of "),
    "above": (" above ", " over "),
    "below": (" below ", " under "),
}
KOREAN_RELATIONS = {"beside": "옆", "left": "왼쪽", "right": "오른쪽", "above": "위", "below": "아래"}
CORNERS = {(-1, -1): "top left", (1, -1): "top right", (-1, 1): "bottom left", (1, 1): "bottom right"}
KOREAN_CORNERS = {(-1, -1): "왼쪽 위", (1, -1): "오른쪽 위", (-1, 1): "왼쪽 아래", (1, 1): "오른쪽 아래"}
KOREAN_TONES = {"light": "밝은", "medium-light": "조금 밝은", "medium": "중간", "medium-dark": "조금 어두운", "dark": "어두운"}


TONE_NAMED = 0.6  # of the captions of a person with one of the five skin tones say so


def article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def plural(words: str) -> str:
    if words.endswith(("s", "x", "ch", "sh")):
        return words if words.endswith("s") else words + "es"
    return words[:-1] + "ies" if words.endswith("y") and words[-2:-1] not in "aeiou" else words + "s"


def name(entry: dict, random: Random) -> str:
    words = entry["english"]
    if random.random() < 0.03:
        return entry["symbol"]
    chosen = words[0] if len(words) == 1 or random.random() < 0.65 else random.choice(words[1:])
    if entry["tone"] and random.random() < TONE_NAMED:
        chosen += f" with {entry['tone']} skin"
    return chosen


def style_word(style: str, random: Random) -> str:
    """A style other than the shaded one is always named, so that a caption without one means the shaded one."""
    if style == "3d" and random.random() < 0.65:
        return ""
    return random.choice(STYLE_WORDS[style]) + " "


def ground(background: dict, random: Random) -> str:
    kind, first, second = background["kind"], background["first"], background["second"]
    if kind == "plain":
        if first == "white" and random.random() < 0.5:
            return ""  # no background named means white
        if random.random() < 0.75:
            return f" on {article(first)} {first} background"
        return f", {first} background"
    if kind in ("falling", "sideways"):
        return random.choice((f" on {article(first)} {first} to {second} gradient background",
                              f", {first} to {second} gradient"))
    pattern = {"stripes": "striped", "dots": "dotted"}[kind]
    return f" on {article(first)} {first} and {second} {pattern} background"


def english(scene: dict, random: Random) -> str:
    entries, relation = scene["entries"], scene["relation"]
    names = [name(e, random) for e in entries]
    style = style_word(entries[0]["style"], random)
    if scene["count"] > 1:
        subject = f"{NUMBERS[scene['count']]} {style}{plural(entries[0]['english'][0])}"
    elif relation == "row":
        between = random.random() < 0.4
        first, *others = (names[1], names[0], names[2]) if between else names
        first, second, third = (f"{article(words)} {words}" for words in (style + first, *others))
        subject = f"{first} between {second} and {third}" if between else f"{first}, {second} and {third}"
    elif len(names) == 2:
        joint = random.choice(RELATIONS[relation])
        articles = random.random() < 0.7
        parts = [f"{article(style + names[0])} {style}{names[0]}", f"{article(names[1])} {names[1]}"] if articles \
            else [style + names[0], names[1]]
        subject = parts[0] + joint + parts[1]
    else:
        words = style + names[0]
        if scene["corner"]:
            words = "small " + words
        start = random.random()
        subject = f"{article(words)} {words}" if start < 0.55 else f"the {words}" if start < 0.6 else words
        if scene["corner"]:
            subject += f" in the {CORNERS[scene['corner']]} corner"
    return subject + (ground(scene["background"], random) if scene.get("names_ground", True) else "")


def korean(scene: dict, random: Random) -> str:
    entries, background = scene["entries"], scene["background"]
    names = [e["korean"][0] if random.random() < 0.6 else random.choice(e["korean"]) for e in entries]
    names = [f"{KOREAN_TONES[e['tone']]} 피부 {n}" if e["tone"] and random.random() < TONE_NAMED else n for e, n in zip(entries, names)]
    style = entries[0]["style"]
    words = KOREAN_STYLES[style] + " " if style != "3d" or random.random() < 0.3 else ""
    first, second = (KOREAN_COLOURS[background[k]] for k in ("first", "second"))
    if scene["count"] > 1:
        subject = f"{words}{names[0]} {KOREAN_NUMBERS[scene['count']]} 개"
    elif scene["relation"] == "row":
        subject = words + ", ".join(names)
    elif len(names) > 1:
        # "B의 왼쪽에 A": A stands left of B.
        subject = f"{words}{names[1]} {KOREAN_RELATIONS[scene['relation']]}에 {names[0]}"
        if scene["relation"] == "beside" and random.random() < 0.6:
            subject = f"{words}{names[0]} 그리고 {names[1]}"
    elif scene["corner"]:
        subject = f"{KOREAN_CORNERS[scene['corner']]} 구석에 작은 {words}{names[0]}"
    else:
        subject = words + names[0]
    kind = background["kind"]
    if not scene.get("names_ground", True):
        return subject
    if kind == "plain":
        if background["first"] == "white" and random.random() < 0.5:
            return subject
        return f"{first} 배경의 {subject}" if random.random() < 0.6 else f"{subject}, {first} 배경"
    pattern = {"falling": "그라데이션", "sideways": "그라데이션", "stripes": "줄무늬", "dots": "물방울무늬"}[kind]
    return f"{first} {second} {pattern} 배경의 {subject}"


def caption(scene: dict, random: Random) -> str:
    """One of the ways to ask for a scene; a quarter of them in Korean. A hole to be filled with its ground has no words."""
    if not scene["entries"]:
        return ""
    return korean(scene, random) if random.random() < 0.25 else english(scene, random)


COLOUR_WORDS = {
    "white": ("하얀색", "하얀", "흰색", "흰"), "black": ("검은색", "검은", "검정"), "red": ("빨간색", "빨간", "빨강"),
    "green": ("초록색", "초록", "녹색"), "blue": ("파란색", "파란", "파랑"), "yellow": ("노란색", "노란", "노랑"),
    "orange": ("주황색", "주황"), "purple": ("보라색", "보라"), "pink": ("분홍색", "분홍", "핑크색"), "gray": ("회색",),
    "brown": ("갈색",), "cyan": ("하늘색", "청록색"),
}
SMALL_WORDS = {
    "배경": "background", "배경의": "background", "배경에": "on a background", "위의": "on", "있는": "a", "얼굴": "face",
    "그라데이션": "gradient", "줄무늬": "striped", "물방울무늬": "dotted", "구석에": "corner", "작은": "small", "그리고": "and",
    "피부": "skin", "밝은": "light", "중간": "medium", "조금": "medium", "어두운": "dark", "개": "", "위": "top", "아래": "bottom",
    "왼쪽": "left", "오른쪽": "right",
}


def meanings(entries: list[dict]) -> dict[str, str]:
    """Each word of the captions of these pictures with the English words that it stands for."""
    english = [n for e in entries for n in (*e["english"], plural(e["english"][0]))] + phrases()
    result = {w: w for w in sorted({w for words in english for w in words.replace("-", " ").split()}) if w.isascii() and w.isalpha()}
    for entry in entries:
        for hangul in entry["korean"]:
            for word in hangul.split():
                result.setdefault(word, entry["english"][0])
    for colour, words in COLOUR_WORDS.items():
        result |= dict.fromkeys(words, colour)
    result |= {hangul: style for style, hangul in KOREAN_STYLES.items()}
    result |= {hangul: NUMBERS[n] for n, hangul in KOREAN_NUMBERS.items()}
    result |= {hangul + "에": RELATIONS[r][-1].strip() for r, hangul in KOREAN_RELATIONS.items()}
    return result | SMALL_WORDS


def phrases() -> list[str]:
    """The fixed words of captions, for the vocabulary."""
    result = [f"a {c} background" for c in COLOUR_NAMES] + [f"{c} 배경의" for c in KOREAN_COLOURS.values()]
    result += [w for words in STYLE_WORDS.values() for w in words] + list(KOREAN_STYLES.values())
    result += [j for words in RELATIONS.values() for j in words] + [f"{r}에" for r in KOREAN_RELATIONS.values()]
    result += ["between"] + [f"{n} {m}" for n in NUMBERS.values() for m in ("apples", "cats")] + [f"{n} 개" for n in KOREAN_NUMBERS.values()]
    result += ["gradient", "striped", "dotted", "small", "corner", "in the top left", "bottom right", "그라데이션", "줄무늬",
               "물방울무늬", "구석에 작은", "그리고", "with dark skin", "medium light skin", "피부", "밝은", "어두운", "중간", "조금"]
    return result
