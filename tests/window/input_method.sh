#!/usr/bin/env bash
# A real input method in the real window: Hangul typed through ibus, on a screen in memory.
#
#     tests/window/input_method.sh PROGRAM [FOLDER-FOR-SCREENSHOTS]
#
# Needs Xvfb, xdotool, imagemagick, dbus, ibus and ibus-hangul.
set -euo pipefail

for tool in Xvfb xdotool import dbus-daemon ibus-daemon ibus; do
    command -v "$tool" >/dev/null || { echo "input method: $tool is not installed" >&2; exit 1; }
done

name="input method" language=korean
program=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/screen.sh"
shots=${2:-$work}
mkdir -p "$shots"
export XDG_CONFIG_HOME="$HOME/.config" XDG_CACHE_HOME="$HOME/.cache"

{ read -r DBUS_SESSION_BUS_ADDRESS; read -r bus; } < <(dbus-daemon --session --fork --print-address=1 --print-pid=1)
export DBUS_SESSION_BUS_ADDRESS
method=
cleanup() {
    [ -z "$window" ] || { kill -9 "$window" && wait "$window"; } 2>/dev/null || true
    kill $method "$xvfb" "$bus" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

type_keys() { xdotool key --delay 120 "$@"; }
prompt_is() { grep -q "\"prompt\": \"$1\"" "$EMBERBRUSH_DATA_DIR/session.json"; }
run_has() { grep -q "$1" "$EMBERBRUSH_DATA_DIR"/prompts.*; }
# ibus-x11 holds the last key back at times until another one comes (a move of the mouse does not bring it, so that it is
# not the window that sleeps). Shift alone, which changes nothing, lets it through.
nudged() {
    xdotool key Shift_R
    sleep 0.5
    "$@"
}

await "the screen is there" 20 xdotool getdisplaygeometry
ibus-daemon --xim --replace --panel=disable >"$work/ibus.log" 2>&1 &
method=$!
await "ibus has an address" 30 ibus address
await "ibus takes the engine for Hangul" 60 ibus engine hangul
export XMODIFIERS=@im=ibus

"$program" >"$work/window.log" 2>&1 &
window=$!
await "the window is there" 60 focus_window
await "something is drawn" 120 is_drawn "$work/drawn.png"
sleep 4
xdotool mousemove 160 120 click 1
sleep 3
# The engine begins with Latin letters.
ibus engine hangul
type_keys shift+space
sleep 1
# The keys of 한글 사과. The last syllable is still being composed.
type_keys g k s r m f space t k r h k
await "Hangul is composed in the prompt" 60 nudged prompt_is '한글 사과'
sleep 1
import -window root "$shots/composing.png"
# Another key ends the composition; then Latin letters, in the same text.
type_keys Right
type_keys shift+space
type_keys space r e d
await "Latin letters follow" 60 nudged prompt_is '한글 사과 red'
# What is being composed is not lost when the run is asked for, nor by a click elsewhere.
type_keys shift+space
type_keys space q o
await "a syllable is composed" 60 nudged prompt_is '한글 사과 red 배'
type_keys ctrl+Return
await "the run has the whole prompt" 20 nudged run_has '한글 사과 red 배'
prompt_is '한글 사과 red 배' || fail "the run took the last syllable away"
type_keys space r k a
await "another syllable is composed" 60 nudged prompt_is '한글 사과 red 배 감'
xdotool mousemove 800 620 click 1
sleep 2
prompt_is '한글 사과 red 배 감' || fail "a click elsewhere took the last syllable away"
import -window root "$shots/composed.png"
echo "input method: Hangul was composed in the prompt, beside Latin letters, and nothing of it was lost"
