# Short names for what people type; `just` alone lists them.

_list:
    @just --list

# Set up, build and serve: just start --listen 127.0.0.1:7400
start *ARGS:
    ./scripts/start {{ARGS}}

# Set up and run every test
test:
    ./scripts/test

# Lints, licences and documentation, warnings refused
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo deny check bans licenses sources
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Build the page into web/dist, which the server embeds (commit it with its sources)
page:
    npm ci --prefix web --no-audit --no-fund
    npm run --prefix web build

# Format everything
fmt:
    cargo fmt --all
    cargo fmt --manifest-path fuzz/Cargo.toml

# Known vulnerabilities in what we depend on (downloads the RustSec database)
audit:
    cargo deny check advisories

# Fuzz one target until stopped: just fuzz log (needs a nightly toolchain and cargo-fuzz)
fuzz TARGET *ARGS:
    mkdir -p fuzz/corpus/{{TARGET}}
    cargo +nightly fuzz run --features libfuzzer {{TARGET}} fuzz/corpus/{{TARGET}} fuzz/seeds/{{TARGET}} {{ARGS}}

# What concerns S3 against Garage, a second server (built first: a quarter of an hour)
garage:
    ./scripts/test garage

# Kill the server under 100 live sessions COUNT times and count what was lost
kill-loop COUNT="1000":
    ./scripts/test kill-loop {{COUNT}}

# Stop the server (SIGTERM) under 100 live sessions COUNT times
stop-loop COUNT="500":
    ./scripts/test stop-loop {{COUNT}}

# Fill the disk under live sessions and free it, COUNT times (needs root or sudo, for a small file system)
fill-loop COUNT="100":
    ./scripts/test fill-loop {{COUNT}}

# Lose a machine with its disk under COUNT live calls, and have another process finish them
lost-machine COUNT="100":
    ./scripts/test lost-machine {{COUNT}}

# Have the store fail for SECONDS in each way, under live calls, and measure them and the backlog
outages SECONDS="60":
    ./scripts/test outages {{SECONDS}}

# Lose power at COUNT points of a log and recover it
power-loss COUNT="10000":
    REELTIME_POINTS={{COUNT}} cargo test --release -p reeltime-core --test log power -- --nocapture

# Place COUNT packets that are reordered, doubled and lost, and compare every sample
packets COUNT="10000000":
    REELTIME_PACKETS={{COUNT}} cargo test --release -p reeltime-core --test timeline a_long_run -- --nocapture

# Mix COUNT calls while they go on, with everything that may happen in them, and compare every sample with a mix at the end
mixes COUNT="1000":
    REELTIME_MIXES={{COUNT}} cargo test --release -p reeltime-core --test mix grow -- --nocapture

# The figures of speed and memory, as one JSON document
bench *ARGS:
    cargo run --release --package reeltime-server -- bench --json {{ARGS}}

# The figures of a store that lies elsewhere, beside an S3 server of its own: just bench-store --quick
bench-store *ARGS:
    ./scripts/test bench-store --json {{ARGS}}

# How soon a recording is whole in a store that takes no time for it: our own share
bench-hang-ups *ARGS:
    ./scripts/test bench-hang-ups --json {{ARGS}}

# The documentation of the crates, in the browser
docs:
    cargo doc --workspace --no-deps --open
