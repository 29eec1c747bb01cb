#!/usr/bin/env bash
# Makes the plots that docs/policy.md shows, out of the traces in a directory: what each policy misses
# over the size of the cache.
set -euo pipefail
if [ $# -ne 1 ]; then
    echo "usage: docs/plots/make.sh DIRECTORY-OF-TRACES" >&2
    exit 2
fi
plots=$(cd "$(dirname "$0")" && pwd)
traces=$(cd "$1" && pwd)
cd "$plots/../.."
for trace in "$traces"/*.zst "$traces"/*.xz "$traces"/*.gz; do
    name=$(basename "$trace")
    echo "$name" >&2
    cargo run --quiet --release -- replay "$trace" \
        --policy lru,arc,lirs,s3-fifo,w-tinylfu,lecar,gdsf,vidmm,belady \
        --plot "$plots/${name%%.*}.svg" >/dev/null
done
