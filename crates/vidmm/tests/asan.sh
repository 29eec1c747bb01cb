#!/usr/bin/env bash
# The tests of the library under the address sanitizer, which is part of nightly toolchains. It has
# its own allocator and its own tables all over the address space: so this also shows that a pool
# works beside them. Arguments are passed on to the tests.
set -euo pipefail
cd "$(dirname "$0")/../../.."

host=$(rustc -vV | sed -n 's/^host: //p')
if ! rustup run nightly rustc --version >/dev/null 2>&1; then
    echo "SKIPPED: no nightly toolchain here, so no address sanitizer"
    exit 0
fi

# Each of these is about a limit or a signal that the sanitizer takes for itself: its tables exceed
# any limit on address space and would fill a core dump, it makes mlockall do nothing, hears of no
# options in secure-execution mode, and its allocator makes system calls of its own.
without=(
    --skip limited_address_space --skip used_up_address_space --skip core_dump
    --skip memory_locked --skip secure_execution --skip untouched_memory_comes
)
# Faults and aborts end a process as they do without it; children made by fork leave by _exit, with
# what they share with their parents.
export ASAN_OPTIONS=handle_segv=0:handle_abort=0:detect_leaks=0:quarantine_size_mb=1
# Fewer programs at random: each takes several times as long as without.
export VIDMM_MODEL_CASES=${VIDMM_MODEL_CASES:-300} VIDMM_MODEL_THREAD_CASES=${VIDMM_MODEL_THREAD_CASES:-40}
export RUSTFLAGS="-Zsanitizer=address"
cargo +nightly test -p vidmm -p vidmm-pool --tests --no-fail-fast --target "$host" \
    --target-dir "${CARGO_TARGET_DIR:-target}/asan" -- "${without[@]}" "$@"
