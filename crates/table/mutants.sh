#!/usr/bin/env bash
# Does the loom suite see what it is there to see? Each mutant is one edit that breaks the protocol;
# the suite must fail on it. Prints `mutant | caught by`, and exits 1 if one survives.
#
#   crates/table/mutants.sh            all mutants
#   crates/table/mutants.sh --quick    the memory orders only
#   crates/table/mutants.sh --part K/N every Nth, from the Kth on; parts may run side by side
#   crates/table/mutants.sh --passes   the suite is known to pass without a mutant: not tried first
#   crates/table/mutants.sh NAME...    these
#
# Works on a copy of the crate, offline, with the workspace's lock file.
#
# Not listed, because they are provably harmless:
#
# * The swap's AcqRel -> Release. Every swap is from a word that was read by an Acquire load, or
#   written by the same thread, and no two writes of the state have the same value (the sequence):
#   what the swap reads from has already been acquired. The one swap from a relaxed load, the end of
#   a first lock, follows a swap of its own thread that acquired all that the lock pins. The Acquire
#   stays: it makes the swap right by itself.
# * The offer's SeqCst -> Relaxed, as far as this crate goes (it is there for the victim list of
#   another crate). Memory is written before its extent is attached, or under a lock; `create`,
#   `install` and `unlock` release it, and an offer, being a read-modify-write, continues their
#   release sequence. The Release stays, for an owner who writes after the unlock by mistake.
# * `claimed()`, `emptied()`, `touched()`, `killed()`, a lock or an unlock that does not advance the
#   sequence, one of them alone. A late swap is wrong only if a word comes back, and every way from
#   such a word back to itself passes a transition that still advances (`committed_fresh()` after a
#   claim or a destroy, the unlock after a lock); `offered()` and `reclaimed()`, which can follow
#   themselves, are listed. That all of them count is tested in `word.rs`.
# * The extent read after the swap in `empty()`, in `empty_locked()` and in `lock()`: the slot is not
#   in the queue of free ones yet, or locked, so nobody can write the extent.
# * `set_resource()`'s Release -> Relaxed: a resource's end has a release fence of its own, in
#   `change()`, before its members are told. The Release stays for whoever tells without that.
# * `TRIES`: it says when the lock is taken, not what is right.
set -euo pipefail
cd "$(dirname "$0")/../.."

quick='' passes='' wanted=() part=1 parts=1 survivors=0 ran=0 seen=0
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=1 ;;
        --passes) passes=1 ;;
        --part)
            [[ ${2-} =~ ^([1-9][0-9]?)/([1-9][0-9]?)$ ]] && [ "${BASH_REMATCH[1]}" -le "${BASH_REMATCH[2]}" ] \
                || { echo "mutants.sh: --part takes K/N, 1/1 to 99/99" >&2; exit 2; }
            part=${BASH_REMATCH[1]} parts=${BASH_REMATCH[2]}
            shift
            ;;
        -*) echo "mutants.sh: unknown option $1; known: --quick, --part K/N, --passes" >&2; exit 2 ;;
        *) wanted+=("$1") ;;
    esac
    shift
done

target=${CARGO_TARGET_DIR:-$PWD/target}/mutants
[ "$parts" -eq 1 ] || target+=-$part
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy/crates" "$target"
sed '/^default-members/d' Cargo.toml >"$copy/Cargo.toml"
cp Cargo.lock "$copy/"
cp -r crates/table "$copy/crates/"
cp -r crates/table/src "$copy/src.original"
log=$copy/log

export CARGO_TARGET_DIR=$target RUSTFLAGS="--cfg vidmm_loom -A warnings" RUST_BACKTRACE=0
# Quick to build rather than quick to run.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_OPT_LEVEL=1
# Two preemptions find all of these.
export LOOM_MAX_PREEMPTIONS=2

build() {
    (cd "$copy" && cargo test --offline --release -p vidmm-table --test loom --no-run) >"$log" 2>&1 \
        || { echo "mutants.sh: $1 does not compile:" >&2; tail -30 "$log" >&2; exit 2; }
}

# suite [ARGUMENT...]: the models that the harness's arguments choose. One thread, so that the last
# name printed is the test that was running if a model aborts.
suite() {
    (cd "$copy" && timeout 300 cargo test --offline --release -p vidmm-table --test loom -- \
        --test-threads=1 "$@") >"$log" 2>&1
}

# What a mutant of this group is to be caught by: the models of resources take most of the time (the
# longest finds nothing that the others do not), and the rest has no resources.
models_of() {
    case $1 in
        resource*) echo "resources:: --skip two_editors" ;;
        *) echo "--skip resources::" ;;
    esac
}

caught_by() {
    local failed
    failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log")
    [ -n "$failed" ] || failed="$(sed -n 's/^test \([^ ]*\) \.\.\..*/\1/p' "$log" | tail -1) (aborted)"
    local count
    count=$(echo "$failed" | wc -l)
    echo "$(echo "$failed" | head -1)$([ "$count" -gt 1 ] && echo " and $((count - 1)) more")"
}

# mutant GROUP NAME FILE EDIT: EDIT is a perl substitution over the whole file.
mutant() {
    local group=$1 name=$2 file=$copy/crates/table/src/$3 edit=$4
    [ -z "$quick" ] || [[ $group = *order ]] || return 0
    [ ${#wanted[@]} -eq 0 ] || [[ " ${wanted[*]} " = *" $name "* ]] || return 0
    seen=$((seen + 1))
    [ $(((seen - part) % parts)) -eq 0 ] || return 0
    rm -r "$copy/crates/table/src"
    cp -r "$copy/src.original" "$copy/crates/table/src"
    perl -0777 -pi -e "$edit" "$file"
    if cmp -s "$file" "$copy/src.original/$3"; then
        echo "mutants.sh: the edit of $name no longer fits $3" >&2
        exit 2
    fi
    build "$name"
    ran=$((ran + 1))
    # Words, not one.
    # shellcheck disable=SC2046
    if suite $(models_of "$group"); then
        printf '%-28s | %s\n' "$name" "SURVIVED"
        survivors=$((survivors + 1))
    else
        printf '%-28s | %s\n' "$name" "$(caught_by)"
    fi
}

build "the crate as it is"
# Once is enough.
[ -n "$passes" ] || [ "$part" -ne 1 ] || suite || { echo "mutants.sh: the suite fails without a mutant:" >&2; tail -30 "$log" >&2; exit 2; }
printf '%-28s | %s\n' mutant "caught by"

# Memory orders.
mutant order swap-relaxed protocol.rs 's/(to\.0, Ordering::)AcqRel/$1Relaxed/'
mutant order swap-acquire-only protocol.rs 's/(to\.0, Ordering::)AcqRel/$1Acquire/'
mutant order load-relaxed protocol.rs 's/(fn load\(.*?state\.load\(Ordering::)Acquire/$1Relaxed/s'
mutant order unlock-relaxed protocol.rs \
    's/self\.swap\(word, unlocked\)/self.slot.state.compare_exchange(word.0, unlocked.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()/'
mutant order create-relaxed table.rs 's/(\.store\(word\.committed_fresh\(\)\.0, Ordering::)Release/$1Relaxed/'

# Handles.
mutant handle generation-unchecked protocol.rs \
    's/self\.slot\.generation\.load\(Ordering::Relaxed\) != self\.generation/false/'
mutant handle generation-before-word protocol.rs \
    's/(let word = Word\(self\.slot\.state\.load\(Ordering::Acquire\)\);)(.*?)self\.slot\.generation\.load\(Ordering::Relaxed\)/let generation = self.slot.generation.load(Ordering::Relaxed);$1$2generation/s'
mutant handle generation-kept table.rs 's/wrapping_add\(1\) & GENERATION_MASK/wrapping_add(0) & GENERATION_MASK/'
mutant handle generation-after-recycle table.rs \
    's/(slot\.generation\.store\(next, Ordering::Relaxed\);)(\s*)(self\.recycle\(handle\.index\(\)\);)/$3$2$1/'
mutant handle empty-passes-load protocol.rs 's/\|\| word\.state\(\) == State::Empty/|| false/'

# The sequence.
mutant sequence no-sequence word.rs 's/wrapping_add\(SEQUENCE_ONE\)\)/wrapping_add(0))/'
mutant sequence offered-again-same-word word.rs 's/(fn offered\(.*?with_state\(State::Offered\))\s*\.next\(\)/$1/s'
mutant sequence reclaimed-same-word word.rs 's/(fn reclaimed\(self\).*?with_state\(State::Committed\))\.next\(\)/$1/s'
mutant sequence restarted-by-destroy word.rs 's/Word\(self\.0 & !\(SEQUENCE_ONE - 1\)\)\.next\(\)/Word(0)/'

# States and steps.
mutant step claim-of-anything protocol.rs 's/if word\.state\(\) != State::Offered \{/if false {/'
mutant step claim-extent-after-swap protocol.rs \
    's/let extent = self\.slot\.extent\(\);\s*(self\.swap\(word, word\.claimed\(\)\))\.then_some\(Detached \{\s*extent,/$1.then(|| Detached { extent: self.slot.extent(),/'
mutant step offer-of-locked protocol.rs 's/(fn offer\(.*?State::Committed if )word\.locks\(\) != 0/$1false/s'
mutant step offer-at-once-of-locked protocol.rs 's/word\.is_idle\(\) &&/word.state() == State::Committed &&/'
mutant step reclaim-at-once-of-anything protocol.rs 's/word\.is_offered\(\) &&/true &&/'
mutant step destroy-of-locked protocol.rs 's/(fn empty\(.*?State::Committed if )word\.locks\(\) != 0/$1false/s'
mutant step undo-any-word protocol.rs \
    's/(fn undo_reclaims.*?)let written = before\.reclaimed_times\(times\);/$1let _ = times; let written = Word(self.slot.state.load(Ordering::Acquire));/s'
mutant step unlock-of-the-work protocol.rs 's/word\.locks\(\) == 0 \|\| word\.is_fresh\(\)/word.locks() == 0/'
mutant step first-lock-unpinned protocol.rs \
    's/if self\.swap\(word, word\.locked_once_more\(\)\) \{(\s*break)/if word.is_fresh() || self.swap(word, word.locked_once_more()) {$1/; s/word\.touched\(\)\)/word.touched().locked_once_more())/'
mutant step first-lock-works-again protocol.rs 's/(break \(word, extent\);.*?)if word\.is_fresh\(\) \{/$1if word.0 != 0 {/s'

# The shard's lock.
serial='let _serial = lock\(self\.shard\);'
mutant serial install-unserialised protocol.rs "s/(fn install\\(.*?)$serial/\$1/s"
mutant serial renewal-unserialised protocol.rs "s/(fn renew_discarded\\(.*?)$serial/\$1/s"
mutant serial kill-unserialised protocol.rs "s/(fn kill\\(.*?)$serial/\$1/s"
mutant serial destroy-unserialised protocol.rs "s/(fn empty\\(.*?)$serial/\$1/s"
mutant serial end-of-device-unserialised protocol.rs "s/(fn empty_locked\\(.*?)$serial/\$1/s"
mutant serial first-lock-unserialised protocol.rs "s/(fn first_lock\\(.*?)$serial/\$1/s"

# The end of a device.
mutant device end-of-any-device protocol.rs 's/if self\.slot\.device\(\) != device \{/if false {/'
mutant device end-detaches-what-is-gone protocol.rs \
    's/let attached = matches!\(word\.state\(\), State::Committed \| State::Offered\);/let attached = true;/'

# Resources: memory orders.
mutant resource-order change-unfenced resource.rs 's/fence\(Ordering::Release\);//'
mutant resource-order change-ends-relaxed resource.rs 's/(wrapping_add\(2\), Ordering::)Release/$1Relaxed/'
mutant resource-order copy-begins-relaxed resource.rs 's/(let version = record\.version\.load\(Ordering::)Acquire/$1Relaxed/'
mutant resource-order copy-unfenced resource.rs 's/(fn members\(.*?)fence\(Ordering::Acquire\);/$1/s'
mutant resource-order device-unfenced resource.rs 's/(fn device_of\(.*?)fence\(Ordering::Acquire\);/$1/s'
mutant resource-order device-after-name resource.rs 's/(record\.name\.store\(raw, Ordering::)Release/$1Relaxed/'
mutant resource-order name-found-relaxed resource.rs 's/(fn record\(.*?record\.name\.load\(Ordering::)Acquire/$1Relaxed/s'
mutant resource-order queue-links-relaxed table.rs 's/(link\.store\(index, Ordering::)Release/$1Relaxed/'
mutant resource-order heard-relaxed slot.rs 's/self\.resource\.load\(Acquire\)/self.resource.load(Relaxed)/'

# Resources: steps.
mutant resource version-unchecked resource.rs 's/if record\.version\.load\(Ordering::Relaxed\) == version \{/if true {/'
mutant resource odd-copied resource.rs 's/if version & 1 != 0 \{/if false {/'
mutant resource change-never-odd resource.rs 's/version\.wrapping_add\(1\)/version/'
mutant resource name-unchecked resource.rs 's/if record\.name\.load\(Ordering::Relaxed\) != resource\.raw\(\) \{/if false {/'
mutant resource last-try-unlocked resource.rs 's/let _undisturbed = self\.resources\(\);//'
mutant resource removal-unannounced resource.rs \
    's/(fn remove\(.*?)record\.change\(\|\| \{(.*?)\}\);(\s*return;)/$1(|| {$2})();$3/s'
mutant resource removed-after-recycle table.rs \
    's/note\(slot\);(.*?self\.recycle\(handle\.index\(\)\);)/$1 note(slot);/s'
mutant resource told-before-the-end resource.rs \
    's/(record\.change\(\|\| record\.name\.store\(0, Ordering::Relaxed\)\);)(\s*)(self\.walk\(record, &mut member\);)/$3$2$1/'
mutant resource link-after-look resource.rs \
    's/(next = self\.table\.slot_of\(next\)\.map_or\(0, Slot::link\);)(\s*)(look\(handle\);)/$3$2$1/'
mutant resource dead-member-added resource.rs 's/self\.table\.get\(member\)\?\.load\(\)\?;//'
mutant resource record-generation-kept resource.rs 's/(generation\.load\(Ordering::Relaxed\)\.wrapping_add\()1/${1}0/'

[ "$seen" -gt 0 ] || { echo "mutants.sh: no such mutant: ${wanted[*]}" >&2; exit 2; }
echo "$ran mutants, $survivors survived"
[ "$survivors" -eq 0 ]
