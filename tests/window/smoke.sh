#!/usr/bin/env bash
# The real window on a screen in memory: it opens, is typed into, draws a picture, is killed, and comes
# back with what was typed.
#
#     tests/window/smoke.sh PROGRAM [FOLDER-FOR-SCREENSHOTS]
set -euo pipefail

program=$(realpath "$1")
work=$(mktemp -d)
shots=${2:-$work}
mkdir -p "$shots"
export EMBERBRUSH_DATA_DIR="$work/data" XDG_RUNTIME_DIR="$work/run" HOME="$work/home" LANG=C.UTF-8
unset WAYLAND_DISPLAY
mkdir -p "$XDG_RUNTIME_DIR" "$HOME" "$EMBERBRUSH_DATA_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
cat >"$EMBERBRUSH_DATA_DIR/preferences.json" <<JSON
{ "theme": "dark", "language": "english", "pictures-folder": "$work/pictures", "device": "cpu" }
JSON

display=:$((90 + RANDOM % 900))
export DISPLAY=$display
Xvfb "$display" -screen 0 1280x720x24 -nolisten tcp >"$work/xvfb.log" 2>&1 &
xvfb=$!
window=
cleanup() {
    [ -z "$window" ] || kill -9 "$window" 2>/dev/null || true
    kill "$xvfb" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

fail() {
    echo "smoke: $1" >&2
    tail -20 "$work/window.log" >&2
    exit 1
}

# Tries a command for a while.
await() {
    local what=$1 seconds=$2
    shift 2
    for _ in $(seq $((seconds * 2))); do
        if "$@" >/dev/null 2>&1; then return; fi
        kill -0 "$window" 2>/dev/null || fail "the program ended while waiting until $what"
        sleep 0.5
    done
    fail "waited $seconds s in vain until $what"
}

open_window() {
    "$program" >>"$work/window.log" 2>&1 &
    window=$!
    await "the window is there" 60 xdotool search --onlyvisible --name '^Emberbrush$' windowfocus
    sleep 3
}

# A screen of one colour is a window that draws nothing.
screenshot() {
    import -window root "$shots/$1.png"
    local colours
    colours=$(identify -format '%k' "$shots/$1.png")
    [ "$colours" -gt 50 ] || fail "$1.png has $colours colours: nothing is drawn"
}

session_holds() { grep -q "$1" "$EMBERBRUSH_DATA_DIR/session.json"; }
picture_is_there() { compgen -G "$work/pictures/*.png"; }

await_xvfb() { for _ in $(seq 40); do xdotool getdisplaygeometry >/dev/null 2>&1 && return; sleep 0.25; done; }
await_xvfb

open_window
screenshot opened
xdotool mousemove 160 120 click 1
sleep 1
xdotool type --delay 60 'a red apple'
await "the prompt is remembered" 30 session_holds 'a red apple'
xdotool key ctrl+Return
await "the picture is written" 300 picture_is_there
sleep 2
screenshot generated
kill -9 "$window"
wait "$window" 2>/dev/null || true

open_window
screenshot restored
session_holds 'a red apple' || fail "the prompt is gone after the kill"
xdotool mousemove 160 120 click 1
sleep 1
xdotool key End
xdotool type --delay 60 ' again'
await "typing goes on where it was" 30 session_holds 'a red apple again'
echo "smoke: opened, typed into, drew $(basename "$(compgen -G "$work/pictures/*.png" | head -1)"), killed, came back"
