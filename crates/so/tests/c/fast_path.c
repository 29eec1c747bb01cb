// Offers and reclaims of what is intact, in a thread that the kernel would kill, with its process, for
// any system call and any look at a clock; every call of the allocator is counted.
//
//     fast_path pairs BYTES            one allocation, a million times
//     fast_path locks BYTES            the same, locked and unlocked
//     fast_path list COUNT             lists of so many
//     fast_path version2 COUNT         the same, reclaimed through a paging queue
//     fast_path resources COUNT EACH   lists of so many resources with so many members each
//     fast_path system_call | clock | allocation | library
//                                      controls: what must not happen is noticed
//
// Prints `done N allocations M`: N items came back intact, at M calls of the allocator.

#include "check.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// ------------------------------------------------------------------------------------- the allocator

#ifndef __GLIBC__
#error "the allocator is counted where the C library has it under other names, too"
#endif

// Calls by this thread. The library's agent has one of its own.
static _Thread_local unsigned long allocations;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);

void *malloc(size_t bytes)
{
    allocations++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    allocations++;
    return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    allocations++;
    return __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    allocations++;
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    allocations++;
    *memory = __libc_memalign(alignment, bytes);
    return *memory ? 0 : ENOMEM;
}

void free(void *memory)
{
    allocations++;
    __libc_free(memory);
}

// ------------------------------------------------------------------------------------------ the seal

// What this thread does from here on: no look at the processor's clock, no system call but a write to
// standard output and the process's end.
static void seal(void)
{
    if (prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) != 0) {
        printf("SKIPPED: this machine cannot forbid clocks; only system calls are caught\n");
        fflush(stdout);
    }
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, STDOUT_FILENO, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
        printf("SKIPPED: no filter for system calls here: %s\n", strerror(errno));
        fflush(stdout);
        _exit(0);
    }
}

// Writes what was done, with no help that could need the allocator, and ends the process.
static _Noreturn void report(unsigned long done, unsigned long counted)
{
    char line[96];
    int length = snprintf(line, sizeof line, "done %lu allocations %lu\n", done, counted);
    ssize_t written = write(STDOUT_FILENO, line, (size_t)length);
    syscall(SYS_exit_group, written != length);
    __builtin_unreachable();
}

// ------------------------------------------------------------------------------------------ the work

enum {
    PAIRS = 1000000,
    // Lists are offered and reclaimed until so many items have come back.
    ITEMS = 400000,
    ITEMS_MAX = 4 * 2560 + 4,
    // No answer of the library.
    UNWRITTEN = 0x5A5A5A5A,
};

struct work {
    struct client client;
    struct queue queue;
    D3DKMT_HANDLE handles[ITEMS_MAX];
    D3DKMT_HANDLE resources[ITEMS_MAX];
    UINT answers[ITEMS_MAX];
    UINT count;
    UINT each;
};

static struct work work;

static D3DKMT_OFFER_PRIORITY priority_of(unsigned long round)
{
    return (D3DKMT_OFFER_PRIORITY)(D3DKMT_OFFER_PRIORITY_LOW + (int)(round % 4));
}

// The answers to expect in every second round; in the others nobody asks.
static UINT *wanted(unsigned long round)
{
    for (UINT i = 0; i < work.count; i++)
        work.answers[i] = UNWRITTEN;
    return round % 2 ? work.answers : NULL;
}

// How many of the answers are what they should be.
static unsigned long intact(NTSTATUS status, const UINT *answers)
{
    unsigned long good = 0;
    for (UINT i = 0; i < work.count; i++)
        good += status == STATUS_SUCCESS && (!answers || answers[i] == 0);
    return good;
}

static unsigned long pairs(void)
{
    unsigned long done = 0;
    D3DKMT_HANDLE device = work.client.device;
    for (unsigned long round = 0; round < PAIRS; round++) {
        BOOL lost = UNWRITTEN;
        BOOL *answer = round / 4 % 2 ? &lost : NULL;
        NTSTATUS offered = offer_with(device, work.handles, 1, priority_of(round), 0);
        NTSTATUS reclaimed = reclaim_v1(device, work.handles, 1, answer);
        done += offered == STATUS_SUCCESS && reclaimed == STATUS_SUCCESS
                && lost == (answer ? 0 : UNWRITTEN);
    }
    return done;
}

// Each time it is offered, it has been written to.
static unsigned long locks(void)
{
    unsigned long done = 0;
    D3DKMT_HANDLE device = work.client.device;
    for (unsigned long round = 0; round < PAIRS; round++) {
        void *outer = NULL, *inner = NULL;
        int good = try_lock(device, work.handles[0], &outer) == STATUS_SUCCESS
                   && try_lock(device, work.handles[0], &inner) == STATUS_SUCCESS
                   && inner == outer;
        if (good) {
            volatile unsigned long *word = outer;
            good = *word == round;
            *word = round + 1;
        }
        good &= try_unlock(device, work.handles[0]) == STATUS_SUCCESS;
        good &= try_unlock(device, work.handles[0]) == STATUS_SUCCESS;
        good &= offer_with(device, work.handles, 1, priority_of(round), 0) == STATUS_SUCCESS;
        good &= reclaim_v1(device, work.handles, 1, NULL) == STATUS_SUCCESS;
        done += (unsigned long)good;
    }
    return done;
}

static unsigned long list(void)
{
    unsigned long done = 0;
    D3DKMT_HANDLE device = work.client.device;
    for (unsigned long round = 0; done == round * work.count && done < ITEMS; round++) {
        UINT *answers = wanted(round);
        NTSTATUS status = offer_with(device, work.handles, work.count, priority_of(round), 0);
        if (status == STATUS_SUCCESS)
            status = reclaim_v1(device, work.handles, work.count, (BOOL *)answers);
        done += intact(status, answers);
    }
    return done;
}

static NTSTATUS reclaim_through_queue(D3DKMT_RECLAIMALLOCATIONS2 *reclaim)
{
    reclaim->hPagingQueue = work.queue.handle;
    reclaim->NumAllocations = work.count;
    NTSTATUS status = D3DKMTReclaimAllocations2(reclaim);
    // Nothing had to be supplied: there is nothing to wait for.
    return status == STATUS_SUCCESS && reclaim->PagingFenceValue > fence_value(&work.queue)
               ? STATUS_UNSUCCESSFUL
               : status;
}

static unsigned long version2(void)
{
    unsigned long done = 0;
    D3DKMT_HANDLE device = work.client.device;
    for (unsigned long round = 0; done == round * work.count && done < ITEMS; round++) {
        UINT *answers = wanted(round);
        // What may end *not committed* takes the same way while it is intact.
        UINT allow_decommit = round / 2 % 2 ? 2 : 0;
        NTSTATUS status =
            offer_with(device, work.handles, work.count, priority_of(round), allow_decommit);
        if (status == STATUS_SUCCESS) {
            D3DKMT_RECLAIMALLOCATIONS2 reclaim = {.HandleList = work.handles};
            reclaim.pResults = (D3DDDI_RECLAIM_RESULT *)answers;
            status = reclaim_through_queue(&reclaim);
        }
        done += intact(status, answers);
    }
    return done;
}

// A round of version 1, then one of version 2.
static unsigned long resources(void)
{
    unsigned long done = 0;
    for (unsigned long round = 0; done == round * work.count && done * work.each < ITEMS; round++) {
        UINT *answers = wanted(round);
        D3DKMT_OFFERALLOCATIONS offer = {
            .hDevice = work.client.device,
            .pResources = work.resources,
            .NumAllocations = work.count,
            .Priority = priority_of(round),
        };
        NTSTATUS status = D3DKMTOfferAllocations(&offer);
        if (status == STATUS_SUCCESS && round / 2 % 2) {
            D3DKMT_RECLAIMALLOCATIONS2 reclaim = {.pResources = work.resources};
            reclaim.pResults = (D3DDDI_RECLAIM_RESULT *)answers;
            status = reclaim_through_queue(&reclaim);
        } else if (status == STATUS_SUCCESS) {
            D3DKMT_RECLAIMALLOCATIONS reclaim = {
                .hDevice = work.client.device,
                .pResources = work.resources,
                .pDiscarded = (BOOL *)answers,
                .NumAllocations = work.count,
            };
            status = D3DKMTReclaimAllocations(&reclaim);
        }
        done += intact(status, answers);
    }
    return done;
}

// ----------------------------------------------------------------------------------------- controls

static unsigned long system_call(void)
{
    return syscall(SYS_getppid) > 0;
}

static unsigned long clock_read(void)
{
    struct timespec now;
    return clock_gettime(CLOCK_MONOTONIC, &now) == 0;
}

static unsigned long allocation(void)
{
    void *volatile memory = malloc(16);
    free(memory);
    return 1;
}

// One list more than the stack has room for: the library asks the allocator, which is counted here.
static unsigned long library(void)
{
    return resources();
}

// ------------------------------------------------------------------------------------------ set-up

static void make_allocations(UINT64 bytes, UINT count)
{
    CHECK(count >= 1 && count <= ITEMS_MAX);
    work.count = count;
    create_many(work.client.device, bytes, count, work.handles);
}

static void make_resources(UINT count, UINT each)
{
    CHECK(count >= 1 && count * each <= ITEMS_MAX);
    work.count = count;
    work.each = each;
    D3DKMT_HANDLE members[ITEMS_MAX];
    for (UINT i = 0; i < count; i++)
        work.resources[i] = create_resource(work.client.device, 4096, each, members);
}

struct mode {
    const char *name;
    unsigned long (*run)(void);
    int is_sealed;
};

static const struct mode modes[] = {
    {"pairs", pairs, 1},
    {"locks", locks, 1},
    {"list", list, 1},
    {"version2", version2, 1},
    {"resources", resources, 1},
    {"system_call", system_call, 1},
    {"clock", clock_read, 1},
    {"allocation", allocation, 1},
    {"library", library, 0},
};

static const struct mode *mode_of(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, name) == 0)
            return &modes[i];
    CHECK(!"such a mode");
    return NULL;
}

int main(int count, char **arguments)
{
    CHECK(count >= 2);
    const struct mode *mode = mode_of(arguments[1]);
    unsigned long first = count > 2 ? strtoul(arguments[2], NULL, 0) : 1;
    unsigned long second = count > 3 ? strtoul(arguments[3], NULL, 0) : 1;
    work.client = open_client();
    work.queue = open_queue(work.client.device);
    if (mode->run == resources || mode->run == library)
        make_resources((UINT)first, (UINT)second);
    else if (mode->run == list || mode->run == version2)
        make_allocations(4096, (UINT)first);
    else
        make_allocations(first, 1);
    if (mode->run == locks) {
        // The first lock of new memory has work to do.
        unsigned long *word = lock(work.client.device, work.handles[0]);
        CHECK_EQUAL(*word, 0);
        unlock(work.client.device, work.handles[0]);
    }
    if (mode->is_sealed)
        seal();
    unsigned long before = allocations;
    unsigned long done = mode->run();
    report(done, allocations - before);
}
