#!/usr/bin/env bash
# Installs the C library for programs: libvidmm.so, vidmm.h and the pkg-config file, under PREFIX.
#
#   cargo build --release --workspace
#   packaging/install.sh /usr/local
#
# DESTDIR is put before PREFIX, as package builders expect; LIBRARY names another libvidmm.so than that
# of the release build.
set -euo pipefail

if [ $# -ne 1 ] || [[ $1 = -* ]]; then
    echo "usage: [DESTDIR=DIR] [LIBRARY=FILE] $0 PREFIX" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
library=${LIBRARY:-$root/target/release/libvidmm.so}
if [ ! -f "$library" ]; then
    echo "$0: there is no $library: run 'cargo build --release --workspace' first" >&2
    exit 1
fi
into=${DESTDIR:-}$1
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -1)

install -d "$into/lib/pkgconfig" "$into/include"
install -m 755 "$library" "$into/lib/libvidmm.so"
install -m 644 "$root/include/vidmm.h" "$into/include/vidmm.h"
sed "s/@VERSION@/$version/" "$root/packaging/vidmm.pc" >"$into/lib/pkgconfig/vidmm.pc"
chmod 644 "$into/lib/pkgconfig/vidmm.pc"
