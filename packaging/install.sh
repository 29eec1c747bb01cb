#!/usr/bin/env bash
# Installs the C library for programs: libvidmm.so, vidmm.h and the pkg-config file, under PREFIX.
#
#   cargo build --release --workspace
#   packaging/install.sh /usr/local
#
# DESTDIR is put before PREFIX, as package builders expect; LIBRARY names another libvidmm.so than that
# of the release build.
#
# With UNITS=yes the program (PROGRAM names another than that of the release build) and the units of its
# manager are installed, too: PREFIX/bin/vidmm, PREFIX/lib/systemd/, the page and a sample of the
# configuration in PREFIX/share; the configuration in SYSCONFDIR (/etc), unless there is one.
set -euo pipefail

if [ $# -ne 1 ] || [[ $1 = -* ]]; then
    echo "usage: [DESTDIR=DIR] [LIBRARY=FILE] [UNITS=yes [PROGRAM=FILE] [SYSCONFDIR=DIR]] $0 PREFIX" >&2
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

[ "${UNITS:-no}" = yes ] || exit 0
program=${PROGRAM:-$root/target/release/vidmm}
if [ ! -f "$program" ]; then
    echo "$0: there is no $program: run 'cargo build --release --workspace' first" >&2
    exit 1
fi
sysconfdir=${SYSCONFDIR:-/etc}
install -d "$into/bin" "$into/share/vidmm" "$into/share/doc/vidmm" "${DESTDIR:-}$sysconfdir/vidmm"
install -m 755 "$program" "$into/bin/vidmm"
install -m 644 "$root/docs/serve.md" "$into/share/doc/vidmm/serve.md"
install -m 644 "$root/packaging/manager.toml" "$into/share/vidmm/manager.toml"
if [ ! -e "${DESTDIR:-}$sysconfdir/vidmm/manager.toml" ]; then
    install -m 644 "$root/packaging/manager.toml" "${DESTDIR:-}$sysconfdir/vidmm/manager.toml"
fi
for kind in system user; do
    install -d "$into/lib/systemd/$kind"
    for unit in vidmm.service vidmm.socket; do
        sed -e "s|@BINDIR@|$1/bin|" -e "s|@DATADIR@|$1/share|" -e "s|@SYSCONFDIR@|$sysconfdir|" \
            "$root/packaging/systemd/$kind/$unit" >"$into/lib/systemd/$kind/$unit"
        chmod 644 "$into/lib/systemd/$kind/$unit"
    done
done
