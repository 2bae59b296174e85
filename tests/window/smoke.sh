#!/usr/bin/env bash
# The real window on a screen in memory: it opens in time, is typed into, draws a picture, tells the desktop that it
# is done, is killed, and comes back with what was typed. All the time it asks for no socket of the internet.
#
#     tests/window/smoke.sh PROGRAM [FOLDER-FOR-SCREENSHOTS]
#
# EMBERBRUSH_START_MS is the time that it may take to open, 2000 where it is not set: of the processor, since the
# machine may have more to do.
set -euo pipefail

name=smoke language=english
program=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/screen.sh"
shots=${2:-$work}
mkdir -p "$shots"

# A bus with nobody on it but who listens to what the desktop is told.
bus= monitor=
if command -v dbus-daemon >/dev/null && command -v dbus-monitor >/dev/null; then
    { read -r DBUS_SESSION_BUS_ADDRESS; read -r bus; } < <(dbus-daemon --session --fork --print-address=1 --print-pid=1)
    export DBUS_SESSION_BUS_ADDRESS
    dbus-monitor --session "interface='org.freedesktop.Notifications'" >"$work/told.log" 2>&1 &
    monitor=$!
fi

cleanup() {
    [ -z "$window" ] || kill -9 "$window" 2>/dev/null || true
    kill "$xvfb" $monitor $bus 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# Every socket that the window asks for; where strace may not watch, the window runs without it.
watch=()
if strace -D -f -o "$work/sockets.log" true 2>/dev/null; then
    watch=(strace -D -f -qq --seccomp-bpf -e trace=socket -A -o "$work/sockets.log")
elif [ -n "${EMBERBRUSH_REQUIRE_STRACE:-}" ]; then
    echo "smoke: strace is not there, or may not watch the window" >&2
    exit 1
else
    echo "smoke: strace is not there, or may not watch the window: sockets are not looked at"
fi

open_window() {
    "${watch[@]}" "$program" >>"$work/window.log" 2>&1 &
    window=$!
    await "the window is there" 60 focus_window
    await "something is drawn" 60 is_drawn "$work/drawn.png"
    # What the thread of the window has spent on the processor, in nanoseconds; other threads load the model.
    local spent
    spent=$(($(cut -d ' ' -f 1 "/proc/$window/task/$window/schedstat") / 1000000))
    [ "$spent" -le "${EMBERBRUSH_START_MS:-2000}" ] || fail "the first frame took $spent ms of the processor"
    opened_in="$opened_in $spent ms"
    sleep 3
}

screenshot() { is_drawn "$shots/$1.png" || fail "$1.png has one colour: nothing is drawn"; }

session_holds() { grep -q "$1" "$EMBERBRUSH_DATA_DIR/session.json"; }
notified() { grep -q 'member=Notify' "$work/told.log" && grep -q '1 picture is done' "$work/told.log"; }
picture_is_there() { compgen -G "$work/pictures/*.png"; }

await "the screen is there" 20 xdotool getdisplaygeometry

opened_in=
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

if [ -n "$monitor" ]; then
    ! notified || fail "the desktop is told although the window is in front"
    xdotool key ctrl+Return
    # Nothing is in front any more. The picture may be done before that, so another one is asked for then.
    xdotool windowunmap "$(xdotool search --onlyvisible --name '^Emberbrush$')" || true
    await "the desktop is told that the picture is done" 120 notified
    xdotool windowmap "$(xdotool search --name '^Emberbrush$' | head -1)"
    await "the window is there again" 30 focus_window
fi
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
if [ ${#watch[@]} -gt 0 ]; then
    grep -q AF_UNIX "$work/sockets.log" || fail "the sockets of the window were not seen"
    ! grep AF_INET "$work/sockets.log" >&2 || fail "the window asked for a socket of the internet"
fi
echo "smoke: opened with$opened_in of the processor, typed into, drew $(basename "$(compgen -G "$work/pictures/*.png" | head -1)"), killed, came back"
