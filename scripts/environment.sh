# Sourced by scripts/sweep and scripts/test: makes .venv from the pinned set when it is missing or
# out of date, and leaves $venv pointing at it. Concurrent callers wait for one another.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${SWEEP_VENV:-$root/.venv}

find_python() {
    local candidate
    for candidate in "${SWEEP_PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed and was not found; set SWEEP_PYTHON to its path." >&2
    return 2
}

fresh() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

# ensure_environment EXTRAS: EXTRAS is empty or "[test]".
ensure_environment() {
    local extras=$1 python stamp wanted
    stamp=$venv/.installed$extras
    # An environment runs the code of the checkout that made it: another one's is made anew.
    wanted="$(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum) $root"
    fresh "$stamp" "$wanted" && return
    [ -z "$extras" ] && fresh "$venv/.installed[test]" "$wanted" && return
    python=$(find_python) || return
    mkdir -p "$(dirname "$venv")"
    (
        flock 9 2>/dev/null || true
        fresh "$stamp" "$wanted" && exit 0
        echo "Preparing $venv (once, a few minutes and about 2 GB)." >&2
        # Also mends an environment whose making was interrupted.
        "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
            "$python" -m venv --clear "$venv" || exit
        # torch is asked for by its exact version: a range may pull in another build.
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --constraint "$root/constraints.txt" \
            "$(grep '^torch==' "$root/constraints.txt")" \
            --editable "$root$extras" >&2 || exit
        echo "$wanted" >"$stamp"
    ) 9>"$venv.lock"
}
