#!/usr/bin/env bash
# Sets up one of the project's environments: main, protoc, blender-<version of Blender>, or the browser of the tests.
# The Makefile calls it once for each. An existing environment is kept and completed.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { echo "[set-up] $*"; }
fail() { echo "[set-up] $*" >&2; exit 1; }

is_root() { [ "$(id -u)" -eq 0 ]; }
apt_install() {
    say "installing with apt: $*"
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq install -y --no-install-recommends "$@" >/dev/null
}

# Arguments: a program, and the expected version of Python, such as 3.11.
is_python() { "$1" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$2" 2>/dev/null; }
find_python() {
    local version=$1 candidate
    for candidate in "${PYTHON:-}" "${PYTHON_3_13:-}" "python$version" python3 python "/usr/bin/python$version" \
        "/usr/local/bin/python$version" "$HOME/.pyenv/versions/$version".*/bin/python"$version"; do
        # A pyenv shim exists for every version that was ever installed, so a name on PATH proves nothing: run it.
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && is_python "$candidate" "$version"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Blender's module links against these even if it draws nothing. Only Blender 4.2 needs the last two.
BLENDER_LIBRARIES="libX11.so.6=libx11-6 libXrender.so.1=libxrender1 libXfixes.so.3=libxfixes3 libXi.so.6=libxi6
    libxkbcommon.so.0=libxkbcommon0 libSM.so.6=libsm6 libICE.so.6=libice6 libGL.so.1=libgl1 libXext.so.6=libxext6
    libXxf86vm.so.1=libxxf86vm1 libgomp.so.1=libgomp1"
ensure_blender_libraries() {
    local python=$1 missing
    # shellcheck disable=SC2086
    missing=$("$python" -c '
import ctypes, sys
for pair in sys.argv[1:]:
    library, package = pair.split("=")
    try:
        ctypes.CDLL(library)
    except OSError:
        print(package)
' $BLENDER_LIBRARIES | tr '\n' ' ')
    [ -z "${missing// /}" ] && return
    is_root || fail "Blender needs system libraries that are missing. Run: sudo apt-get install ${missing}"
    # shellcheck disable=SC2086
    apt_install $missing
}

ensure_environment() {
    local folder=$1 version=${2:-3.11} python
    if [ -x "$folder/bin/python" ] && is_python "$folder/bin/python" "$version"; then return; fi
    python=$(find_python "$version") || fail "Python $version was not found. Install it (package python$version), or" \
        "set its path: make PYTHON=/path/to/python$version"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        is_root || fail "Python $version lacks its venv module. Run: sudo apt-get install python$version-venv"
        apt_install "python$version-venv"
    fi
    say "creating $folder with $python"
    "$python" -m venv --clear "$folder"
}

pip_install() {
    local folder=$1
    shift
    PYTHONWARNINGS=ignore "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-warn-script-location "$@"
}

set_up_main() {
    ensure_environment .venv
    say "installing into .venv (${TORCH:?}, then the project and its tools; about 2 minutes the first time)"
    pip_install .venv "pip>=25.1" # the first that reads dependency groups
    pip_install .venv "$TORCH"    # first and alone, so that no other package chooses another build of it
    pip_install .venv --constraint scripts/dev/constraints/main.txt --editable proto --editable . --group dev
    # Its dependencies are old versions that it does not need here: only the weights in it are read.
    pip_install .venv --no-deps aisfx==0.1.2
}

set_up_protoc() {
    ensure_environment .venv-protoc
    say "installing into .venv-protoc (the compiler of the contract)"
    pip_install .venv-protoc --requirement scripts/dev/constraints/protoc.txt
}

python_of_blender() { case $1 in 4.* | 5.0.*) echo 3.11 ;; *) echo 3.13 ;; esac; }

# A distribution rarely has both versions of Python. Without 3.13, the tests inside the newer Blender are left out, and
# the summary of the tests says so.
set_up_blender() {
    local folder=.venv-blender-${1%.*} python
    python=$(python_of_blender "$1")
    if [ "$python" != 3.11 ] && [ ! -d "$folder" ] && ! find_python "$python" >/dev/null; then
        say "Python $python was not found, so the tests inside Blender $1 are not run. Install it, or set its path:" \
            "make test PYTHON_3_13=/path/to/python3.13"
        return
    fi
    ensure_environment "$folder" "$python"
    ensure_blender_libraries "$folder/bin/python"
    say "installing into $folder (Blender $1 as a Python module; about 1 minute)"
    pip_install "$folder" "bpy==$1" --requirement scripts/dev/constraints/blender.txt
    "$folder/bin/python" -c 'import bpy' >/dev/null || fail "Blender $1 does not start in $folder; see the lines above"
}

# The tests of the web page are skipped without a browser, so a machine that has none is no failure.
set_up_browser() {
    local program
    for program in chromium-headless-shell chromium chromium-browser google-chrome; do
        if command -v "$program" >/dev/null; then return; fi
    done
    if ! is_root || ! command -v apt-get >/dev/null; then
        say "no Chromium was found, so its tests are skipped. To run them: sudo apt-get install chromium-headless-shell"
        return
    fi
    apt_install chromium-headless-shell || say "Chromium cannot be installed with apt, so its tests are skipped"
}

case "${1:-}" in
    main) set_up_main ;;
    protoc) set_up_protoc ;;
    browser) set_up_browser ;;
    blender-*) set_up_blender "${1#blender-}" ;;
    *) fail "usage: scripts/dev/set_up.sh main | protoc | browser | blender-<version>" ;;
esac
