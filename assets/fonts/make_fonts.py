"""Makes the fonts of the window: Inter with figures of one width, and the icons that are used.

    pip install fonttools brotli
    npm pack @phosphor-icons/web && apt-get download fonts-inter     # and unpack both
    python make_fonts.py INTER_OTF_FOLDER PHOSPHOR_SRC_FOLDER

Writes the `.ttf` and `.otf` files beside this script and the table of icons in
`app/src/window/icons.rs`.
"""

import json
import re
import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

HERE = Path(__file__).parent
ICONS_RS = HERE.parent.parent / "app" / "src" / "window" / "icons.rs"

# Latin with its extensions, Greek, Cyrillic, punctuation, superscripts, currency, arrows, mathematics, shapes.
RANGES = [(0x20, 0x24F), (0x2B0, 0x2FF), (0x370, 0x3FF), (0x400, 0x52F), (0x1E00, 0x1EFF),
          (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20BF), (0x2100, 0x214F), (0x2190, 0x21FF),
          (0x2200, 0x22FF), (0x25A0, 0x25FF)]

REGULAR = """
arrow-bend-up-left arrow-bend-up-right arrow-clockwise arrow-counter-clockwise arrow-down arrow-left arrow-right
arrow-up arrow-u-up-left arrow-u-up-right arrows-clockwise arrows-down-up arrows-left-right arrows-out arrows-out-cardinal bell
bookmark-simple caret-down caret-left caret-right caret-up check check-circle check-square circle circle-half
clipboard-text clock clock-counter-clockwise columns command copy copy-simple corners-out cpu crop cube dice-five
dots-six-vertical dots-three dots-three-vertical download-simple drop-half eraser export eye eye-slash eyedropper
file file-arrow-down file-plus floppy-disk folder folder-open folder-plus frame-corners funnel gear-six globe
gradient grid-four hand hand-grabbing heart image image-square images infinity info intersect keyboard lasso link
link-break list list-bullets lock-simple lock-simple-open magic-wand magnifying-glass magnifying-glass-minus
magnifying-glass-plus marker-circle minus moon note-pencil paint-brush paint-brush-broad paint-bucket palette paperclip pause
pause-circle pencil-simple play play-circle plus polygon prohibit push-pin question queue rectangle-dashed repeat resize ruler scissors
selection selection-all selection-background selection-foreground selection-inverse selection-plus selection-slash share-network sidebar-simple sign-out
skip-forward sliders-horizontal sparkle split-horizontal square square-half square-split-horizontal stack stack-plus star stop
stop-circle subtract sun swap tag terminal-window text-aa text-t timer translate trash tray tray-arrow-down unite upload-simple
user warning warning-circle warning-octagon x x-circle x-square
""".split()
FILL = ["star", "heart", "circle", "play", "pause", "check-circle", "warning-circle"]


def options(**extra):
    chosen = subset.Options()
    chosen.layout_features = ["kern", "mark", "mkmk", "ccmp", "locl"]
    chosen.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    chosen.notdef_outline = True
    chosen.hinting = False
    for name, value in extra.items():
        setattr(chosen, name, value)
    return chosen


def figures_of_one_width(font):
    """Maps 0 to 9 to the glyphs that the feature `tnum` would put in their place."""
    substitutes = {}
    gsub = font["GSUB"].table
    for record in gsub.FeatureList.FeatureRecord:
        if record.FeatureTag != "tnum":
            continue
        for index in record.Feature.LookupListIndex:
            for table in gsub.LookupList.Lookup[index].SubTable:
                table = getattr(table, "ExtSubTable", table)
                substitutes.update(getattr(table, "mapping", {}))
    for table in font["cmap"].tables:
        for code in range(0x30, 0x3A):
            if code in table.cmap:
                table.cmap[code] = substitutes.get(table.cmap[code], table.cmap[code])


def inter(source, weight):
    font = TTFont(source / f"Inter-{weight}.otf")
    figures_of_one_width(font)
    subsetter = subset.Subsetter(options())
    subsetter.populate(unicodes=[code for first, last in RANGES for code in range(first, last + 1)])
    subsetter.subset(font)
    font.save(HERE / f"Inter-{weight}.otf")


def icon_codes(source, style):
    suffix = "" if style == "regular" else f"-{style}"
    icons = json.loads((source / style / "selection.json").read_text())["icons"]
    codes = {}
    for icon in icons:
        for name in icon["properties"]["name"].split(","):
            codes[name.strip().removesuffix(suffix)] = icon["properties"]["code"]
    return codes


def icons(source):
    lines = []
    for style, names, file in [("regular", REGULAR, "Phosphor"), ("fill", FILL, "Phosphor-Fill")]:
        codes = icon_codes(source, style)
        font = TTFont(source / style / f"{file}.ttf")
        # The two styles share code points, and both are needed in one family of fonts.
        offset = 0 if style == "regular" else 0x1000
        used = sorted(set(names) & set(codes))
        missing = sorted(set(names) - set(codes))
        if missing:
            print(f"not in {file}: {missing}", file=sys.stderr)
        subsetter = subset.Subsetter(options(layout_features=[]))
        subsetter.populate(unicodes=[codes[name] for name in used])
        subsetter.subset(font)
        for table in font["cmap"].tables:
            table.cmap = {code + offset: glyph for code, glyph in table.cmap.items()}
        font.save(HERE / f"{file}.ttf")
        for name in used:
            constant = re.sub(r"\W", "_", name).upper() + ("" if style == "regular" else "_FILL")
            lines.append(f'/// `{name}`{"" if style == "regular" else ", filled"}.\n'
                         f'pub const {constant}: &str = "\\u{{{codes[name] + offset:X}}}";\n')
    ICONS_RS.write_text("//! The icons: characters of the Phosphor fonts. Made by `assets/fonts/make_fonts.py`.\n\n"
                        + "\n".join(lines))


inter(Path(sys.argv[1]), "Regular")
inter(Path(sys.argv[1]), "SemiBold")
icons(Path(sys.argv[2]))
