# What quickstart and test share: host programs, the virtual environment, the guest image. Sourced, with the
# repository as working directory. Everything here may be run again: what is there is left alone.

readonly VENV=.venv
readonly BACKPORTS_SUITE=bookworm-backports
readonly BACKPORTS_LIST=/etc/apt/sources.list.d/boxlite-backports.list
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf '==> %s\n' "$*" >&2; }

fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    local line
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

# as_root COMMAND…: run it as root, or say which command somebody else has to run.
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
        sudo "$@"
    else
        fail "this needs root, and sudo is not available. Run as root, then start again:" "$*"
    fi
}

apt_update() {
    as_root apt-get update -qq || say "apt could not refresh every source; going on with what it has"
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o Dpkg::Use-Pty=0 "$@" >/dev/null
}

# find_python: print the path of a Python that is new enough.
find_python() {
    local name path
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        path=$(command -v "$name") || continue
        if "$path" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$path"
            return
        fi
    done
    return 1
}

ensure_python() {
    if find_python >/dev/null; then return; fi
    if ! command -v apt-get >/dev/null; then
        fail "Python 3.11 or newer with venv is missing" \
            "Fedora: sudo dnf install python3" "Arch Linux: sudo pacman -S python" "macOS: brew install python"
    fi
    say "installing Python"
    apt_update
    apt_install python3 python3-venv
    find_python >/dev/null || fail "this system's Python is older than 3.11"
}

ensure_backports() {
    if apt-cache policy | grep -q "$BACKPORTS_SUITE"; then return; fi
    say "adding $BACKPORTS_SUITE to apt's sources ($BACKPORTS_LIST)"
    printf 'deb [signed-by=%s] http://deb.debian.org/debian %s main\n' "$KEYRING" "$BACKPORTS_SUITE" |
        as_root tee "$BACKPORTS_LIST" >/dev/null
}

# ensure_programs FLAG…: install what the host lacks, or name it.
ensure_programs() {
    local python missing
    python=$(find_python)
    missing=$("$python" scripts/lib/host_programs.py "$@")
    [[ -n $missing ]] || return 0
    if grep -q '^hint ' <<<"$missing"; then
        local -a hints
        mapfile -t hints < <(sed 's/^hint //' <<<"$missing")
        fail "programs are missing on this host:" "${hints[@]}"
    fi
    local -a from_main from_backports
    mapfile -t from_main < <(sed -n 's/^main //p' <<<"$missing")
    mapfile -t from_backports < <(sed -n 's/^backports //p' <<<"$missing")
    if [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null; then
        fail "packages are missing and sudo is not available. Run as root, then start again:" \
            "$(install_commands)"
    fi
    say "installing ${from_main[*]} ${from_backports[*]}"
    if [[ ${#from_backports[@]} -gt 0 ]]; then ensure_backports; fi
    apt_update
    if [[ ${#from_backports[@]} -gt 0 ]]; then apt_install -t "$BACKPORTS_SUITE" "${from_backports[@]}"; fi
    if [[ ${#from_main[@]} -gt 0 ]]; then apt_install "${from_main[@]}"; fi
    missing=$("$python" scripts/lib/host_programs.py "$@")
    [[ -z $missing ]] || fail "these are still missing or too old after the installation:" "$missing"
}

# install_commands: the lines to run as root, for the arrays of ensure_programs.
install_commands() {
    local line=""
    if [[ ${#from_backports[@]} -gt 0 ]]; then
        line="echo 'deb [signed-by=$KEYRING] http://deb.debian.org/debian $BACKPORTS_SUITE main' > $BACKPORTS_LIST && "
    fi
    line+="apt-get update"
    if [[ ${#from_backports[@]} -gt 0 ]]; then
        line+=" && apt-get install -t $BACKPORTS_SUITE ${from_backports[*]}"
    fi
    if [[ ${#from_main[@]} -gt 0 ]]; then line+=" && apt-get install ${from_main[*]}"; fi
    printf '%s' "$line"
}

# ensure_venv [EXTRA]: the virtual environment with this project in it, and an extra (dev) if asked, in the versions of the
# lock files (see scripts/lock). A stamp tells what is installed, so that pip runs only when they, the Python or the place
# have changed.
ensure_venv() {
    local extra=${1:-} python key stamp
    local -a stamps=("$VENV/.boxlite-dev")
    [[ -n $extra ]] || stamps+=("$VENV/.boxlite-plain")
    python=$(find_python)
    [[ -x $VENV/bin/python ]] && python=$VENV/bin/python
    key=$({ cat pyproject.toml requirements*.lock; "$python" -V; pwd; } | cksum | tr -d ' ')
    for stamp in "${stamps[@]}"; do
        if [[ -f $stamp && $(<"$stamp") == "$key" ]]; then return; fi
    done
    say "installing the project into $VENV"
    [[ -x $VENV/bin/python ]] || "$python" -m venv "$VENV"
    # A new Python was perhaps just made: the key must name the one that is in the environment.
    key=$({ cat pyproject.toml requirements*.lock; "$VENV/bin/python" -V; pwd; } | cksum | tr -d ' ')
    # Only files whose hashes are in the lock; the project itself is then built with what came that way.
    local -a pip=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore)
    "${pip[@]}" --require-hashes -r "requirements${extra:+-$extra}.lock"
    "${pip[@]}" --no-deps --no-build-isolation -e .
    printf '%s' "$key" >"$VENV/.boxlite-${extra:-plain}"
}
