//! The icons: characters of the Phosphor fonts. Made by `assets/fonts/make_fonts.py`.

/// `arrow-bend-up-left`.
pub const ARROW_BEND_UP_LEFT: &str = "\u{E024}";

/// `arrow-bend-up-right`.
pub const ARROW_BEND_UP_RIGHT: &str = "\u{E026}";

/// `arrow-clockwise`.
pub const ARROW_CLOCKWISE: &str = "\u{E036}";

/// `arrow-counter-clockwise`.
pub const ARROW_COUNTER_CLOCKWISE: &str = "\u{E038}";

/// `arrow-down`.
pub const ARROW_DOWN: &str = "\u{E03E}";

/// `arrow-left`.
pub const ARROW_LEFT: &str = "\u{E058}";

/// `arrow-right`.
pub const ARROW_RIGHT: &str = "\u{E06C}";

/// `arrow-u-up-left`.
pub const ARROW_U_UP_LEFT: &str = "\u{E08A}";

/// `arrow-u-up-right`.
pub const ARROW_U_UP_RIGHT: &str = "\u{E08C}";

/// `arrow-up`.
pub const ARROW_UP: &str = "\u{E08E}";

/// `arrows-clockwise`.
pub const ARROWS_CLOCKWISE: &str = "\u{E094}";

/// `arrows-down-up`.
pub const ARROWS_DOWN_UP: &str = "\u{E098}";

/// `arrows-left-right`.
pub const ARROWS_LEFT_RIGHT: &str = "\u{E0A0}";

/// `arrows-out`.
pub const ARROWS_OUT: &str = "\u{E0A2}";

/// `arrows-out-cardinal`.
pub const ARROWS_OUT_CARDINAL: &str = "\u{E0A4}";

/// `bell`.
pub const BELL: &str = "\u{E0CE}";

/// `bookmark-simple`.
pub const BOOKMARK_SIMPLE: &str = "\u{E0EA}";

/// `caret-down`.
pub const CARET_DOWN: &str = "\u{E136}";

/// `caret-left`.
pub const CARET_LEFT: &str = "\u{E138}";

/// `caret-right`.
pub const CARET_RIGHT: &str = "\u{E13A}";

/// `caret-up`.
pub const CARET_UP: &str = "\u{E13C}";

/// `check`.
pub const CHECK: &str = "\u{E182}";

/// `check-circle`.
pub const CHECK_CIRCLE: &str = "\u{E184}";

/// `check-square`.
pub const CHECK_SQUARE: &str = "\u{E186}";

/// `circle`.
pub const CIRCLE: &str = "\u{E18A}";

/// `circle-half`.
pub const CIRCLE_HALF: &str = "\u{E18C}";

/// `clipboard-text`.
pub const CLIPBOARD_TEXT: &str = "\u{E198}";

/// `clock`.
pub const CLOCK: &str = "\u{E19A}";

/// `clock-counter-clockwise`.
pub const CLOCK_COUNTER_CLOCKWISE: &str = "\u{E1A0}";

/// `columns`.
pub const COLUMNS: &str = "\u{E546}";

/// `command`.
pub const COMMAND: &str = "\u{E1C4}";

/// `copy`.
pub const COPY: &str = "\u{E1CA}";

/// `copy-simple`.
pub const COPY_SIMPLE: &str = "\u{E1CC}";

/// `corners-out`.
pub const CORNERS_OUT: &str = "\u{E1D0}";

/// `cpu`.
pub const CPU: &str = "\u{E610}";

/// `crop`.
pub const CROP: &str = "\u{E1D4}";

/// `cube`.
pub const CUBE: &str = "\u{E1DA}";

/// `dice-five`.
pub const DICE_FIVE: &str = "\u{E1EE}";

/// `dots-six-vertical`.
pub const DOTS_SIX_VERTICAL: &str = "\u{EAE2}";

/// `dots-three`.
pub const DOTS_THREE: &str = "\u{E1FE}";

/// `dots-three-vertical`.
pub const DOTS_THREE_VERTICAL: &str = "\u{E208}";

/// `download-simple`.
pub const DOWNLOAD_SIMPLE: &str = "\u{E20C}";

/// `drop-half`.
pub const DROP_HALF: &str = "\u{E566}";

/// `eraser`.
pub const ERASER: &str = "\u{E21E}";

/// `export`.
pub const EXPORT: &str = "\u{EAF0}";

/// `eye`.
pub const EYE: &str = "\u{E220}";

/// `eye-slash`.
pub const EYE_SLASH: &str = "\u{E224}";

/// `eyedropper`.
pub const EYEDROPPER: &str = "\u{E568}";

/// `file`.
pub const FILE: &str = "\u{E230}";

/// `file-arrow-down`.
pub const FILE_ARROW_DOWN: &str = "\u{E232}";

/// `file-plus`.
pub const FILE_PLUS: &str = "\u{E236}";

/// `floppy-disk`.
pub const FLOPPY_DISK: &str = "\u{E248}";

/// `folder`.
pub const FOLDER: &str = "\u{E24A}";

/// `folder-open`.
pub const FOLDER_OPEN: &str = "\u{E256}";

/// `folder-plus`.
pub const FOLDER_PLUS: &str = "\u{E258}";

/// `frame-corners`.
pub const FRAME_CORNERS: &str = "\u{E626}";

/// `funnel`.
pub const FUNNEL: &str = "\u{E266}";

/// `gear-six`.
pub const GEAR_SIX: &str = "\u{E272}";

/// `globe`.
pub const GLOBE: &str = "\u{E288}";

/// `gradient`.
pub const GRADIENT: &str = "\u{EB42}";

/// `grid-four`.
pub const GRID_FOUR: &str = "\u{E296}";

/// `hand`.
pub const HAND: &str = "\u{E298}";

/// `hand-grabbing`.
pub const HAND_GRABBING: &str = "\u{E57C}";

/// `heart`.
pub const HEART: &str = "\u{E2A8}";

/// `image`.
pub const IMAGE: &str = "\u{E2CA}";

/// `image-square`.
pub const IMAGE_SQUARE: &str = "\u{E2CC}";

/// `images`.
pub const IMAGES: &str = "\u{E836}";

/// `infinity`.
pub const INFINITY: &str = "\u{E634}";

/// `info`.
pub const INFO: &str = "\u{E2CE}";

/// `intersect`.
pub const INTERSECT: &str = "\u{E2D2}";

/// `keyboard`.
pub const KEYBOARD: &str = "\u{E2D8}";

/// `lasso`.
pub const LASSO: &str = "\u{EDC6}";

/// `link`.
pub const LINK: &str = "\u{E2E2}";

/// `link-break`.
pub const LINK_BREAK: &str = "\u{E2E4}";

/// `list`.
pub const LIST: &str = "\u{E2F0}";

/// `list-bullets`.
pub const LIST_BULLETS: &str = "\u{E2F2}";

/// `lock-simple`.
pub const LOCK_SIMPLE: &str = "\u{E308}";

/// `lock-simple-open`.
pub const LOCK_SIMPLE_OPEN: &str = "\u{E30A}";

/// `magic-wand`.
pub const MAGIC_WAND: &str = "\u{E6B6}";

/// `magnifying-glass`.
pub const MAGNIFYING_GLASS: &str = "\u{E30C}";

/// `magnifying-glass-minus`.
pub const MAGNIFYING_GLASS_MINUS: &str = "\u{E30E}";

/// `magnifying-glass-plus`.
pub const MAGNIFYING_GLASS_PLUS: &str = "\u{E310}";

/// `marker-circle`.
pub const MARKER_CIRCLE: &str = "\u{E640}";

/// `minus`.
pub const MINUS: &str = "\u{E32A}";

/// `moon`.
pub const MOON: &str = "\u{E330}";

/// `note-pencil`.
pub const NOTE_PENCIL: &str = "\u{E34C}";

/// `paint-brush`.
pub const PAINT_BRUSH: &str = "\u{E6F0}";

/// `paint-brush-broad`.
pub const PAINT_BRUSH_BROAD: &str = "\u{E590}";

/// `paint-bucket`.
pub const PAINT_BUCKET: &str = "\u{E392}";

/// `palette`.
pub const PALETTE: &str = "\u{E6C8}";

/// `paperclip`.
pub const PAPERCLIP: &str = "\u{E39A}";

/// `pause`.
pub const PAUSE: &str = "\u{E39E}";

/// `pause-circle`.
pub const PAUSE_CIRCLE: &str = "\u{E3A0}";

/// `pencil-simple`.
pub const PENCIL_SIMPLE: &str = "\u{E3B4}";

/// `play`.
pub const PLAY: &str = "\u{E3D0}";

/// `play-circle`.
pub const PLAY_CIRCLE: &str = "\u{E3D2}";

/// `plus`.
pub const PLUS: &str = "\u{E3D4}";

/// `polygon`.
pub const POLYGON: &str = "\u{E6D0}";

/// `prohibit`.
pub const PROHIBIT: &str = "\u{E3DE}";

/// `push-pin`.
pub const PUSH_PIN: &str = "\u{E3E2}";

/// `question`.
pub const QUESTION: &str = "\u{E3E8}";

/// `queue`.
pub const QUEUE: &str = "\u{E6AC}";

/// `rectangle-dashed`.
pub const RECTANGLE_DASHED: &str = "\u{E3F2}";

/// `repeat`.
pub const REPEAT: &str = "\u{E3F6}";

/// `resize`.
pub const RESIZE: &str = "\u{ED6E}";

/// `ruler`.
pub const RULER: &str = "\u{E6B8}";

/// `scissors`.
pub const SCISSORS: &str = "\u{EAE0}";

/// `selection`.
pub const SELECTION: &str = "\u{E69A}";

/// `selection-all`.
pub const SELECTION_ALL: &str = "\u{E746}";

/// `selection-background`.
pub const SELECTION_BACKGROUND: &str = "\u{EAF8}";

/// `selection-foreground`.
pub const SELECTION_FOREGROUND: &str = "\u{EAF6}";

/// `selection-inverse`.
pub const SELECTION_INVERSE: &str = "\u{E744}";

/// `selection-plus`.
pub const SELECTION_PLUS: &str = "\u{E69C}";

/// `selection-slash`.
pub const SELECTION_SLASH: &str = "\u{E69E}";

/// `share-network`.
pub const SHARE_NETWORK: &str = "\u{E408}";

/// `sidebar-simple`.
pub const SIDEBAR_SIMPLE: &str = "\u{EC24}";

/// `sign-out`.
pub const SIGN_OUT: &str = "\u{E42A}";

/// `skip-forward`.
pub const SKIP_FORWARD: &str = "\u{E5A6}";

/// `sliders-horizontal`.
pub const SLIDERS_HORIZONTAL: &str = "\u{E434}";

/// `sparkle`.
pub const SPARKLE: &str = "\u{E6A2}";

/// `split-horizontal`.
pub const SPLIT_HORIZONTAL: &str = "\u{E872}";

/// `square`.
pub const SQUARE: &str = "\u{E45E}";

/// `square-half`.
pub const SQUARE_HALF: &str = "\u{E462}";

/// `square-split-horizontal`.
pub const SQUARE_SPLIT_HORIZONTAL: &str = "\u{E870}";

/// `stack`.
pub const STACK: &str = "\u{E466}";

/// `stack-plus`.
pub const STACK_PLUS: &str = "\u{EDF6}";

/// `star`.
pub const STAR: &str = "\u{E46A}";

/// `stop`.
pub const STOP: &str = "\u{E46C}";

/// `stop-circle`.
pub const STOP_CIRCLE: &str = "\u{E46E}";

/// `subtract`.
pub const SUBTRACT: &str = "\u{EBD6}";

/// `sun`.
pub const SUN: &str = "\u{E472}";

/// `swap`.
pub const SWAP: &str = "\u{E83C}";

/// `tag`.
pub const TAG: &str = "\u{E478}";

/// `terminal-window`.
pub const TERMINAL_WINDOW: &str = "\u{EAE8}";

/// `text-aa`.
pub const TEXT_AA: &str = "\u{E6EE}";

/// `text-t`.
pub const TEXT_T: &str = "\u{E48A}";

/// `timer`.
pub const TIMER: &str = "\u{E492}";

/// `translate`.
pub const TRANSLATE: &str = "\u{E4A2}";

/// `trash`.
pub const TRASH: &str = "\u{E4A6}";

/// `tray`.
pub const TRAY: &str = "\u{E4AA}";

/// `tray-arrow-down`.
pub const TRAY_ARROW_DOWN: &str = "\u{E010}";

/// `unite`.
pub const UNITE: &str = "\u{E87E}";

/// `upload-simple`.
pub const UPLOAD_SIMPLE: &str = "\u{E4C0}";

/// `user`.
pub const USER: &str = "\u{E4C2}";

/// `warning`.
pub const WARNING: &str = "\u{E4E0}";

/// `warning-circle`.
pub const WARNING_CIRCLE: &str = "\u{E4E2}";

/// `warning-octagon`.
pub const WARNING_OCTAGON: &str = "\u{E4E4}";

/// `x`.
pub const X: &str = "\u{E4F6}";

/// `x-circle`.
pub const X_CIRCLE: &str = "\u{E4F8}";

/// `x-square`.
pub const X_SQUARE: &str = "\u{E4FA}";

/// `check-circle`, filled.
pub const CHECK_CIRCLE_FILL: &str = "\u{F184}";

/// `circle`, filled.
pub const CIRCLE_FILL: &str = "\u{F18A}";

/// `heart`, filled.
pub const HEART_FILL: &str = "\u{F2A8}";

/// `pause`, filled.
pub const PAUSE_FILL: &str = "\u{F39E}";

/// `play`, filled.
pub const PLAY_FILL: &str = "\u{F3D0}";

/// `star`, filled.
pub const STAR_FILL: &str = "\u{F46A}";

/// `warning-circle`, filled.
pub const WARNING_CIRCLE_FILL: &str = "\u{F4E2}";
