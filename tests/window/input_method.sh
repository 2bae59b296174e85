#!/usr/bin/env bash
# A real input method in the real window: Hangul typed through ibus, on a screen in memory.
#
#     tests/window/input_method.sh PROGRAM [FOLDER-FOR-SCREENSHOTS]
#
# Needs Xvfb, xdotool, imagemagick, dbus, ibus and ibus-hangul.
set -euo pipefail

program=$(realpath "$1")
work=$(mktemp -d)
shots=${2:-$work}
mkdir -p "$shots"
export EMBERBRUSH_DATA_DIR="$work/data" XDG_RUNTIME_DIR="$work/run" HOME="$work/home" LANG=C.UTF-8
export XDG_CONFIG_HOME="$work/home/.config" XDG_CACHE_HOME="$work/home/.cache"
unset WAYLAND_DISPLAY
mkdir -p "$XDG_RUNTIME_DIR" "$HOME" "$EMBERBRUSH_DATA_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
cat >"$EMBERBRUSH_DATA_DIR/preferences.json" <<JSON
{ "theme": "dark", "language": "korean", "pictures-folder": "$work/pictures", "device": "cpu" }
JSON

for tool in Xvfb xdotool import dbus-daemon ibus-daemon ibus; do
    command -v "$tool" >/dev/null || { echo "input method: $tool is not installed" >&2; exit 1; }
done
export DISPLAY=:$((90 + RANDOM % 900))
{ read -r DBUS_SESSION_BUS_ADDRESS; read -r bus; } < <(dbus-daemon --session --fork --print-address=1 --print-pid=1)
export DBUS_SESSION_BUS_ADDRESS
Xvfb "$DISPLAY" -screen 0 1280x720x24 -nolisten tcp >"$work/xvfb.log" 2>&1 &
xvfb=$!
window= method=
cleanup() {
    [ -z "$window" ] || { kill -9 "$window" && wait "$window"; } 2>/dev/null || true
    kill $method "$xvfb" "$bus" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

fail() {
    echo "input method: $1" >&2
    import -window root "$shots/failed.png" || true
    cat "$work/window.log" "$work/ibus.log" | tail -n 20 >&2
    exit 1
}

# Tries a command for a while.
await() {
    local what=$1 seconds=$2
    shift 2
    for _ in $(seq $((seconds * 2))); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.5
    done
    fail "waited $seconds s in vain until $what"
}

prompt_is() { grep -q "\"prompt\": \"$1\"" "$EMBERBRUSH_DATA_DIR/session.json"; }
# A screen of one colour is a window that draws nothing.
is_drawn() {
    import -window root "$work/drawn.png"
    [ "$(identify -format '%k' "$work/drawn.png")" -gt 50 ]
}
focus_window() { xdotool search --onlyvisible --name '^Emberbrush$' windowfocus; }

await "the screen is there" 20 xdotool getdisplaygeometry
ibus-daemon --xim --replace --panel=disable >"$work/ibus.log" 2>&1 &
method=$!
await "ibus has an address" 30 ibus address
await "ibus takes the engine for Hangul" 60 ibus engine hangul
export XMODIFIERS=@im=ibus

"$program" >"$work/window.log" 2>&1 &
window=$!
await "the window is there" 60 focus_window
await "something is drawn" 120 is_drawn
sleep 4
xdotool mousemove 160 120 click 1
sleep 3
# The engine begins with Latin letters.
ibus engine hangul
xdotool key shift+space
sleep 1
# The keys of 한글 사과. The last syllable is still being composed.
xdotool type --delay 120 'gksrmf tkrhk'
await "Hangul is composed in the prompt" 60 prompt_is '한글 사과'
sleep 1
import -window root "$shots/composing.png"
# Another key ends the composition; then Latin letters, in the same text.
xdotool key Right
xdotool key shift+space
xdotool type --delay 120 ' red'
await "Latin letters follow" 60 prompt_is '한글 사과 red'
# What is being composed is not lost when the run is asked for, nor by a click elsewhere.
xdotool key shift+space
xdotool type --delay 120 ' qo'
await "a syllable is composed" 60 prompt_is '한글 사과 red 배'
xdotool key ctrl+Return
sleep 3
prompt_is '한글 사과 red 배' || fail "the run took the last syllable away"
grep -q '한글 사과 red 배' "$EMBERBRUSH_DATA_DIR"/prompts.* || fail "the run has another prompt"
xdotool type --delay 120 ' rka'
await "another syllable is composed" 60 prompt_is '한글 사과 red 배 감'
xdotool mousemove 800 620 click 1
sleep 2
prompt_is '한글 사과 red 배 감' || fail "a click elsewhere took the last syllable away"
import -window root "$shots/composed.png"
echo "input method: Hangul was composed in the prompt, beside Latin letters, and nothing of it was lost"
