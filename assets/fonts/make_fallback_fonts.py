"""Makes the fonts for letters that neither Inter nor the system has: Hangul, Han with Kana, and emoji.

    pip install fonttools
    apt-get download fonts-nanum fonts-droid-fallback && npm pack @expo-google-fonts/noto-emoji   # and unpack all
    python make_fallback_fonts.py NanumBarunGothic.ttf DroidSansFallbackFull.ttf NotoEmoji_400Regular.ttf

Writes `Fallback-*.ttf` beside this script, under names of their own, as the licences ask for changed fonts.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

HERE = Path(__file__).parent


def rows(encoding, first, last):
    """The characters of a two-byte encoding whose first byte is between `first` and `last`."""
    found = set()
    for lead in range(first, last + 1):
        for trail in range(0xA1, 0xFF):
            try:
                found.add(ord(bytes([lead, trail]).decode(encoding)))
            except (UnicodeDecodeError, TypeError):
                pass
    return found


JAMO = set(range(0x3130, 0x3190))
# The syllables of KS X 1001: those of everyday Korean.
HANGUL = rows("euc_kr", 0xB0, 0xC8) | JAMO
# Kana and punctuation, the first level of JIS X 0208 and the first of GB 2312.
HAN = (set(range(0x3000, 0x3100)) | set(range(0xFF00, 0xFFF0))
       | rows("euc_jp", 0xB0, 0xCF) | rows("gb2312", 0xB0, 0xD7))


def write(source, name, codes=None):
    font = TTFont(source)
    options = subset.Options()
    options.hinting = False
    options.layout_features = []
    options.notdef_outline = True
    options.glyph_names = False
    options.name_IDs = [0, 1, 2, 4, 6, 13, 14]
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=codes or set(font.getBestCmap()))
    subsetter.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 4, 6):
            record.string = f"EmberbrushFallback{name}"
    font.save(HERE / f"Fallback-{name}.ttf")


write(Path(sys.argv[1]), "Hangul", HANGUL)
write(Path(sys.argv[2]), "Han", HAN)
write(Path(sys.argv[3]), "Emoji")
