# Places
place-prompt = Prompt
place-canvas = Canvas
place-gallery = Gallery

# Commands
action-generate = Generate
action-cancel = Cancel the run
action-show-prompt = Go to Prompt
action-show-canvas = Go to Canvas
action-show-gallery = Go to Gallery
action-show-queue = Show the queue
action-show-models = Show the models
action-show-preferences = Settings
action-show-palette = Command palette
action-show-history = History of prompts
action-show-export = Make many pictures
action-show-grid = Make a table of pictures
action-import-jobs = Read jobs from a file
action-open-picture = Open a picture on the canvas
action-open-settings = Take settings from a picture
action-undo = Undo
action-redo = Redo
action-new-seed = Draw a new seed
action-lock-seed = Keep this seed
action-reuse-seed = Use the seed of the picture in view
action-swap-sides = Swap width and height
action-reset-settings = Use the model's own settings
action-pause-queue = Pause the queue
action-generate-forever = Generate forever
action-switch-theme = Dark or light
action-toggle-side-panel = Show the side panel
action-weight-up = More weight for what is selected
action-weight-down = Less weight for what is selected
action-mask-grow = Grow the mask
action-mask-shrink = Shrink the mask
action-mask-feather = Feather the mask
action-variation-next = Next variation
action-variation-previous = Variation before
action-variation-accept = Accept the variation
action-variations-discard = Discard the variations
canvas-save-as = Save the document as another file
tool-reset = Usual brush and tolerance
brush-larger = Larger brush
brush-smaller = Smaller brush
brush-harder = Harder brush
brush-softer = Softer brush

# Themes and previews
theme-system = As the system
theme-dark = Dark
theme-light = Light
previews-off = Off
previews-fast = Fast
previews-tiny = Tiny autoencoder

# The bar
bar-queue = { $pictures ->
    [one] 1 picture left
   *[other] { $pictures } pictures left
}
bar-loading = Loading the model
bar-no-model = No model

# The prompt panel
prompt = Prompt
prompt-hint = What to draw
negative = Negative prompt
negative-hint = What to keep away from
tokens = { $tokens }/{ $room } tokens
tokens-tip = How much of the text encoder's room the prompt fills. Longer prompts are read in parts; each part costs a little time.
reading-part = Guided by { $weight }:
reading-until = To step { $step }: { $text }
reading-lora = LoRA { $name }: { $unet } in the UNet, { $text } in the text encoder
reading-embedding = Embedding { $name }
model = Model
model-tip = Which checkpoint draws. Another one takes a moment to load.
size = Size in pixels
size-tip = Twice the pixels take at least twice the time and memory. Pictures are best near the size that the model was trained on.
width = Width
height = Height
ratio = Choose a ratio
seed = Seed
seed-tip = The same seed and settings give the same picture. Unlocked, each run draws a new one. Costs nothing.
count = Pictures
count-tip = How many pictures one run makes, with seeds that count up. Time grows with the number.
steps = Steps
steps-tip = How often the picture is refined. Time grows with the number; beyond 30 little changes.
guidance = Guidance
guidance-tip = How closely the picture follows the prompt. 1 turns guidance off and halves the time; very high values look burnt.
sampler = Sampler
sampler-tip = How a step is made. DPM++ 2M needs few steps; Euler a varies with their number.
schedule = Schedule
schedule-tip = How noise levels are spaced over the steps. Costs nothing.
memory-tight = Tight: takes { $peak } of { $budget }
memory-too-large = Too large: takes { $peak } of { $budget }
memory-savings = To take less memory, and longer: { $steps }
memory-smaller = Use { $width } × { $height }
generate = Generate
cancel = Cancel
queue-another = { $keys } queues another run

# The centre
viewer-starting = Preparing
viewer-new-device = This device is used for the first time: the fastest kernels are looked for, which takes minutes once.
sample-apple = a red apple on a blue background
sample-sun = a yellow sun
sample-tree = a green tree
sample-cat = a sleeping cat
viewer-cancelled = Cancelled. This is how far it came.
viewer-go-on = Make it after all
viewer-empty-title = What should it be?
viewer-empty-text = Type a prompt, or begin with one of these.
gallery-empty = Pictures that you make appear here

# Failures
failure-title = That did not work
failure-dismiss = Back to the picture
failure-copy = Copy details
failure-model = { $model } cannot be loaded
failure-use-box = Use the model in the box

# Status
time-seconds = { $seconds } s
time-minutes = { $minutes } min { $seconds } s
time-hours = { $hours } h { $minutes } min
speed-steps = { $steps } it/s
speed-seconds = { $seconds } s/it
status-ready = Ready
status-failed = The last picture was not made
status-loading = Loading { $model }
status-encoding = Reading the prompt
status-step = Step { $step }/{ $steps }
status-decoding = Decoding the picture
status-enlarging = Enlarging the picture
status-left = { $time } left
status-cancels = { $keys } cancels
status-done = Done in { $time }  ·  seed { $seed }

# The canvas
canvas = Canvas
canvas-empty = Open a picture
canvas-empty-text = Drop one here, paste one with Ctrl+V, or open a file. Then paint what is to change.
canvas-open = Open a picture or a document
canvas-open-first = Open a picture first: it is what a fill changes.
canvas-save = Save the document
canvas-export = Export as PNG
canvas-saved = Saved as { $file }
canvas-pasted = Pasted
canvas-unnamed = Unnamed
canvas-dismiss = Dismiss
canvas-no-model = The model is still being loaded. Try again in a moment.
canvas-fit = Whole picture
canvas-actual-size = Actual size, 100 %

# Tools
tool-brush = Brush
tool-eraser = Eraser
tool-rectangle = Rectangle
tool-lasso = Lasso
tool-wand = Magic wand
tool-bucket = Bucket
tool-gradient = Gradient
tool-colour-brush = Colour brush
tool-eyedropper = Eyedropper
tool-hand = Hand
tool-swap = Swap paint and erase
hint-brush = Paint what is to change. [ and ] change the size, with Shift the hardness; a drag with Alt changes both.
hint-area = Drag around what is to change.
hint-wand = Click a colour to mark what hangs together with it.
hint-bucket = Click inside an outline to mark all of it.
hint-gradient = Drag to mark more and more. Switch on "Use greys" for the fill.
hint-colour-brush = Sketch with colours. The next fill starts from the sketch.
hint-eyedropper = Click the picture to take its colour.
hint-hand = Drag to move the picture. The wheel zooms.
brush-size = Size
brush-hardness = Hardness
brush-colour = Colour
brush-colour-tip = The colour that is sketched with. Click to change it.
colour-hue = Hue
colour-saturation = Saturation
colour-brightness = Brightness
wand-tolerance = Tolerance
sketch-clear = Clear the sketch

# The mask
mask = Mask
mask-all = Mark everything
mask-invert = Invert the mask
mask-clear = Clear the mask
mask-open = Open a mask
mask-save = Save the mask
mask-edge = Pixels for the edge
mask-grow = Grow
mask-shrink = Shrink
mask-feather = Feather

# Fills
fill = Fill
fill-tip = Paints what is marked, from the prompt on the left or, without one, from the surroundings. Makes three variations to choose from.
fill-cancel = Cancel the fill
fill-progress = Variation { $index } of { $count }  ·  step { $step }/{ $steps }
fill-strength = Strength
fill-strength-automatic = Usual strength
fill-strength-tip = How much of what is there is painted over. 1 keeps nothing of it; the fill takes longer the higher it is.
fill-colours = Colours
fill-colours-tip = Matched, a fill takes the light and colours of what is around it, so that no seam shows. Its own colours are those that the model gives it. Usual: what the model recommends, and a sketch's own.
fill-colours-usual = Usual
fill-colours-matched = Matched
fill-colours-own = Its own
fill-greys = Use greys
fill-greys-tip = Half-marked parts hold on to the picture as the fill is made, instead of being marked or not.
fill-feather = Feather
variation = Variation { $number }
variations-hint = ← and → compare, hold \ for the original.
variation-accept = Accept
variations-discard = Discard

# Layers
layers = Layers
layers-empty = Accepted fills appear here. Each keeps its mask, prompt and all its variations.
layer-unnamed = Fill { $number }
layer-hide = Hide { $layer }
layer-show = Show { $layer }
layer-select = Choose { $layer }
layer-variations = Variation { $chosen } of { $count }
layer-name = Name of the layer
layer-up = Move up
layer-down = Move down
layer-anew = Make new variations
layer-use-mask = Use its mask again
layer-delete = Delete the layer
layer-seed = Seed { $seed }
# Pages
close = Close
strength = Strength
palette-hint = Type a command
history-hint = Search prompts
history-empty = No prompt yet
queue = Queue
queue-go-on = Go on
queue-pause = Pause
queue-cancel-all = Cancel all that wait
queue-clear = Take finished ones off the list
queue-left = { $pictures ->
    [one] 1 picture, about { $time }
   *[other] { $pictures } pictures, about { $time }
}
queue-empty = Nothing waits
queue-waiting = Waiting
queue-running = Running
queue-done = Done
queue-cancelled = Cancelled
queue-failed = Failed
queue-earlier = Earlier
queue-later = Later
queue-retry = Try again
export = Many pictures
export-of-file = { $jobs ->
    [one] 1 job from { $file }
   *[other] { $jobs } jobs from { $file }
}
export-pictures = Pictures
export-grid = Table
export-folder = Folder
export-pattern = Names
export-pattern-tip = Fields in braces: index, seed, prompt, model, sampler, steps, cfg, width, height, date
export-names = They will be called
export-more = and { $more } more
export-too-many = { $pictures } pictures are more than the queue takes, which is { $most }. Make fewer, or use: emberbrush batch
export-add = { $pictures ->
    [one] Queue 1 picture
   *[other] Queue { $pictures } pictures
}
grid-x = Columns
grid-y = Rows
grid-values = { $axis }: values
grid-tip = One picture for each value, with the same seed. Two axes make a picture for each pair: 4 values by 3 take 12 times as long as one picture.
grid-help = Values are separated by commas. Without values for the rows, there is one row.
models = Models
models-found = Checkpoints
models-box = The model in the box
models-add = Look in another folder
models-library = Library
models-library-empty = Models that you download or add are listed here.
models-pull = Download
models-pull-field = Model to download
models-pull-hint = OWNER/NAME of a Hugging Face model, or the https address of a file
models-add-folder = Add a checkpoint folder
models-add-file = Add a file
models-verify = Read { $name } in full
models-remove = Remove { $name }
models-remove-files = Move { $name } ({ $size }) to the bin?
models-remove-link = Forget { $name } ({ $size })? Its files stay where they are.
models-remove-yes = Remove
models-remove-no = Keep
models-added = { $name } is in the library.
models-stopped = Stopped. What has come is kept: the same download goes on from there.
models-sound = Every value is a number in { $count } files; { $known } of them are known to be as they were published.
models-changed = { $file } is not what was published. Remove the model and download it again.
models-not-finite = { $file } holds { $count } values that are not numbers, the first in { $key }.
models-forget = Forget this folder
models-device = Device
models-device-auto = Automatic
models-devices-asked = Looking for devices
preferences = Settings
preferences-look = Look
preferences-theme = Theme
preferences-language = Language
preferences-scale = Scale
preferences-motion = Motion
preferences-motion-off = Reduce motion
preferences-pictures = Pictures
preferences-folder = Folder of new pictures
preferences-wildcards = Folder of wildcards
preferences-wildcards-tip = Each text file there is a wildcard: colours.txt is written __colours__ in a prompt, and one of its lines takes its place.
preferences-format = Format
preferences-written = Written into pictures
preferences-written-tip = Settings in a file bring it back later, here and in other programs. Without them nobody can tell how it was made, and neither can the gallery.
written-all = All settings
written-for-others = As A1111 does
written-nothing = Nothing
preferences-previews = Previews while drawing
preferences-preview-decoder = Tiny autoencoder
preferences-preview-decoder-choose = Choose a file
preferences-preview-decoder-tip = The decoder of TAESD for this kind of checkpoint. Without a file, previews are the fast ones.
preferences-notify = Notification
preferences-notify-when = When the last picture is done and the window is not in front
preferences-keys = Keys
preferences-keys-reset = Use the usual keys
preferences-keys-press = Press keys
preferences-keys-help = Click, then press keys. Backspace takes them away, Escape keeps them.

# Gallery
gallery-nothing-found = Nothing found
gallery-search = Search prompts and settings
gallery-starred = Only those with a star
gallery-compare = Compare two (Ctrl+click chooses the second)
gallery-count = { $pictures ->
    [one] 1 picture
   *[other] { $pictures } pictures
}
gallery-scanning = Reading the folder
gallery-star = Give a star
gallery-unstar = Take the star
gallery-copy = Copy the picture
gallery-copy-settings = Copy its settings
gallery-delete = Put into the bin
gallery-use-settings = Use these settings
gallery-another = Same prompt, new seed
gallery-to-canvas = Open on the canvas
notice-done = { $pictures ->
    [one] 1 picture is done
   *[other] { $pictures } pictures are done
}
notice-new-device = { $device } is used for the first time: the first picture takes minutes longer
notice-sheet = The table is written as { $file }
notice-copied = Copied
notice-not-taken = Not taken over: { $fields }
notice-taken = Settings taken from a picture by { $program }

# Styles
style = Style
style-tip = Named settings. Where a style's prompt holds {"{prompt}"}, the prompt that you typed is put in.
style-none = No style yet
style-name = Name
style-save = Save
style-remove = Remove { $style }

# Adapters, ControlNets and the rest
lora = LoRA
lora-tip = Small files that teach the model a style or a thing. Merged when the next picture begins: a moment of time, and no memory.
lora-add = Add a LoRA
lora-search = Search LoRAs
lora-none = No LoRA in { $folder }
lora-file = Choose a file
lora-folder = Choose the folder of LoRAs
lora-other = Made for { $family }, which the model is not
lora-use = Use { $name }
lora-remove = Take { $name } away
lora-weight = Weight of { $name }
lora-weight-text = Weight of { $name } in the text encoder
control = ControlNet
control-tip = Networks that hold the picture to the lines, depths or poses of another. Each takes its own memory and about a third more time.
control-add = Add a ControlNet
control-file = Choose a ControlNet file
control-folder = Choose a ControlNet folder
control-remove = Take ControlNet { $number } away
control-picture = Picture for ControlNet { $number }
control-picture-file = Choose a picture
control-canvas = The picture on the canvas
control-canvas-only = Acts on the canvas alone. Choose a picture to use it here.
control-map = As it is
control-canny = Its edges
control-canny-tip = Edges are followed from the first number and begin at the second. Lower numbers find more of them.
control-canny-low = Follow from
control-canny-high = Begin at
control-weight = Weight
control-weight-tip = How strongly it acts. 1 is as it was trained. Costs nothing.
control-start = From
control-end = To
control-steps-tip = The share of the steps in which it acts. Where it does not act, steps are faster.
control-guess = Guess mode
control-guess-tip = It acts on the prompt's half of guidance alone, and more on the whole than on details.
more = More
more-tip = Autoencoder, clip skip, rescale, variations, what other programs do otherwise, and what may be left out to save time
vae = Autoencoder (VAE)
vae-tip = What turns latents into a picture. Another one is loaded with the model; time stays the same.
vae-own = The model's own
vae-file = Choose an autoencoder
clip-skip = Clip skip
clip-skip-tip = Which layer of the text encoder is read, counted from its end as A1111 does. Some models were trained with 2. Costs nothing.
compat = Works as
compat-tip = Whose meaning samplers, schedules and seeds have: the same settings then give the picture that the other program makes. Costs nothing.
guidance-rescale = Guidance rescale
guidance-rescale-tip = Takes back some of the contrast that guidance adds. 0 is off, 0.7 is usual for models with zero terminal SNR. Costs nothing.
variation-strength = Variation
variation-strength-tip = How far a picture goes from that of its seed towards that of another: small shares change details. Costs nothing.
variation-seed = Variation seed
variation-seed-tip = The seed that is gone towards; with several pictures it counts up in place of the seed.
variation-seed-new = Draw a new variation seed
deep-cache = Deep part every
deep-cache-tip = Of how many steps one runs the deep part of the network, whose result the others take (DeepCache). 1 runs it each time; more saves time and changes details.
token-merging = Merged tokens
token-merging-tip = The share of similar parts of the picture that are worked out together. Saves time in large pictures and loses fine details; 0 merges nothing.
skip-negative = Negative prompt until
skip-negative-tip = The share of the steps after which the negative prompt is left out. The steps that remain take half the time; 1 keeps it to the end.
reuse-attention = Prompt read until
reuse-attention-tip = The share of the steps after which what was read of the prompt is used again. Saves a little time; 1 reads it to the end.
prompt-2 = Second prompt
negative-2 = Second negative prompt
prompt-2-hint = As the first
prompt-2-tip = What the second text encoder reads. Left empty, it reads the first prompt.
notice-unused-keys = { $file }: { $count } keys change nothing in this model
preferences-folder-tip = Where pictures are written, and what the gallery shows.
preferences-loras = Folder of LoRAs
preferences-loras-tip = Files there are offered in the list of LoRAs, and after <lora: in a prompt.
preferences-embeddings = Folder of embeddings
preferences-embeddings-tip = Files of textual inversion there are named in a prompt as they are called, without their ending.

# Families of models, devices, schedules, and ways to take less memory
family-sd1 = Stable Diffusion 1.x
family-sd2 = Stable Diffusion 2.x
family-sdxl = Stable Diffusion XL
family-sdxl-refiner = Stable Diffusion XL refiner
device-cpu = CPU
device-discrete-gpu = discrete GPU
device-integrated-gpu = integrated GPU
device-virtual-gpu = virtual GPU
device-software = software renderer
device-other = other
schedule-automatic = Automatic
schedule-karras = Karras
schedule-exponential = Exponential
schedule-polyexponential = Polyexponential
schedule-sgm-uniform = SGM Uniform
schedule-simple = Simple
schedule-normal = Normal
schedule-ddim = DDIM
schedule-beta = Beta
schedule-linear-quadratic = Linear Quadratic
schedule-kl-optimal = KL Optimal
schedule-ays = Align Your Steps
saving-tiles = the VAE in tiles of { $pixels } pixels
saving-batch = { $pictures ->
    [one] one picture at a time
   *[other] { $pictures } pictures at a time
}
saving-attention = attention in slices
saving-text-encoder = the text encoder dropped after the prompt
grid-prompts = a cat, a dog
grid-negatives = blur, noise
models-waits-connection = The connection broke. It is tried again in { $time }.
models-waits-requests = The server has had too many requests. It is asked again in { $time }.
models-waits-server = The server cannot answer now. It is asked again in { $time }.
lora-unusable = This file cannot be used as a LoRA. Choose another one.
details = Details
