# What the scripts that open the real window share: a folder that is thrown away, a screen in memory, waiting.
# Sourced with `name` (for messages), `program`, and `language`; sets `work`, and wants `shots`.

work=$(mktemp -d)
export EMBERBRUSH_DATA_DIR="$work/data" XDG_RUNTIME_DIR="$work/run" HOME="$work/home" LANG=C.UTF-8
unset WAYLAND_DISPLAY
mkdir -p "$XDG_RUNTIME_DIR" "$HOME" "$EMBERBRUSH_DATA_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
cat >"$EMBERBRUSH_DATA_DIR/preferences.json" <<JSON
{ "theme": "dark", "language": "$language", "pictures-folder": "$work/pictures", "device": "cpu" }
JSON

export DISPLAY=:$((90 + RANDOM % 900))
# Without -noreset it begins anew when the last client leaves, and refuses connections meanwhile.
Xvfb "$DISPLAY" -noreset -screen 0 1280x720x24 -nolisten tcp >"$work/xvfb.log" 2>&1 &
xvfb=$!
window=

fail() {
    echo "$name: $1" >&2
    import -window root "$shots/failed.png" || true
    tail -n 20 "$work"/*.log >&2
    exit 1
}

# Tries a command for a while.
await() {
    local what=$1 seconds=$2
    shift 2
    for _ in $(seq $((seconds * 2))); do
        if "$@" >/dev/null 2>&1; then return; fi
        [ -z "$window" ] || kill -0 "$window" 2>/dev/null || fail "the program ended while waiting until $what"
        sleep 0.5
    done
    fail "waited $seconds s in vain until $what"
}

focus_window() { xdotool search --onlyvisible --name '^Emberbrush$' windowfocus; }

# A screen of one colour is a window that draws nothing.
is_drawn() {
    import -window root "$1"
    [ "$(identify -format '%k' "$1")" -gt 50 ]
}
