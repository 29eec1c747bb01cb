// What the C programs of the tests share: checks that say what was wrong, contents that can be
// verified byte for byte, and the calls that nearly every test needs, as short as a test wants them.
//
// Include it first: it asks the system for its interfaces.

#ifndef VIDMM_TESTS_CHECK_H
#define VIDMM_TESTS_CHECK_H

#define _DEFAULT_SOURCE

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <vidmm.h>

// ---------------------------------------------------------------------------------------- checks

// Ends the program at once: other threads may be in the middle of something.
static inline void check_end(void)
{
    fflush(NULL);
    _Exit(1);
}

static inline void check_true(int holds, const char *what, const char *file, int line)
{
    if (!holds) {
        fprintf(stderr, "%s:%d: %s: expected to hold, actually does not\n", file, line, what);
        check_end();
    }
}

static inline void check_equal(uint64_t actual, uint64_t expected, const char *what,
                               const char *file, int line)
{
    if (actual != expected) {
        fprintf(stderr, "%s:%d: %s: expected %llu (0x%llx), actual %llu (0x%llx)\n", file, line,
                what, (unsigned long long)expected, (unsigned long long)expected,
                (unsigned long long)actual, (unsigned long long)actual);
        check_end();
    }
}

static inline void check_status(NTSTATUS actual, NTSTATUS expected, const char *what,
                                const char *file, int line)
{
    if (actual != expected) {
        fprintf(stderr, "%s:%d: %s: expected status 0x%08x, actual 0x%08x\n", file, line, what,
                (unsigned)expected, (unsigned)actual);
        check_end();
    }
}

#define CHECK(condition) check_true(!!(condition), #condition, __FILE__, __LINE__)
#define CHECK_EQUAL(actual, expected) \
    check_equal((uint64_t)(actual), (uint64_t)(expected), #actual, __FILE__, __LINE__)
#define CHECK_STATUS(actual, expected) \
    check_status((actual), (expected), #actual, __FILE__, __LINE__)
#define CHECK_OK(actual) CHECK_STATUS(actual, STATUS_SUCCESS)

static inline void *allocated(size_t count, size_t bytes)
{
    void *memory = calloc(count ? count : 1, bytes);
    CHECK(memory != NULL);
    return memory;
}

// -------------------------------------------------------------------------------------- contents

// A content is made of pieces. Each is a stretch of noise, and a mark that no other piece of any
// content has; so it is filled and verified at the speed of a copy.
enum { PIECE_BYTES = 4096, NOISE_STARTS = 8192 };

static unsigned char noise[NOISE_STARTS + PIECE_BYTES];
static pthread_once_t noise_once = PTHREAD_ONCE_INIT;

// A permutation of the numbers without visible order.
static inline uint64_t mixed(uint64_t number)
{
    uint64_t z = number + 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline void make_noise(void)
{
    for (size_t at = 0; at < sizeof noise; at += sizeof(uint64_t)) {
        uint64_t word = mixed(at);
        memcpy(noise + at, &word, sizeof word);
    }
}

struct piece {
    uint64_t mark[2];
    const unsigned char *body;
};

static inline struct piece piece_of(uint64_t seed, uint64_t number)
{
    pthread_once(&noise_once, make_noise);
    struct piece piece = {.mark = {mixed(seed), mixed(seed ^ mixed(number))}};
    piece.body = noise + piece.mark[1] % NOISE_STARTS;
    return piece;
}

// Writes the content `seed`; `bytes` is whole pieces.
static inline void fill(void *memory, size_t bytes, uint64_t seed)
{
    unsigned char *at = memory;
    for (size_t number = 0; number < bytes / PIECE_BYTES; number++, at += PIECE_BYTES) {
        struct piece piece = piece_of(seed, number);
        memcpy(at, piece.body, PIECE_BYTES);
        memcpy(at, piece.mark, sizeof piece.mark);
    }
}

// Whether the content `seed` is there, in every byte.
static inline int holds(const void *memory, size_t bytes, uint64_t seed)
{
    const unsigned char *at = memory;
    size_t mark_bytes = sizeof((struct piece *)0)->mark;
    for (size_t number = 0; number < bytes / PIECE_BYTES; number++, at += PIECE_BYTES) {
        struct piece piece = piece_of(seed, number);
        if (memcmp(at, piece.mark, mark_bytes) != 0)
            return 0;
        if (memcmp(at + mark_bytes, piece.body + mark_bytes, PIECE_BYTES - mark_bytes) != 0)
            return 0;
    }
    return 1;
}

static inline int is_zero(const void *memory, size_t bytes)
{
    const unsigned char *at = memory;
    return bytes == 0 || (at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0);
}

// Numbers that look random and are the same in every run.
static inline uint64_t next_random(uint64_t *state)
{
    return mixed((*state)++);
}

static inline UINT random_below(uint64_t *state, UINT limit)
{
    return (UINT)(next_random(state) % limit);
}

// ------------------------------------------------------------------------------ adapter and device

struct client {
    D3DKMT_HANDLE adapter;
    D3DKMT_HANDLE device;
};

static inline D3DKMT_HANDLE open_adapter(void)
{
    D3DKMT_ADAPTERINFO info = {0};
    D3DKMT_ENUMADAPTERS2 enumerate = {.NumAdapters = 1, .pAdapters = &info};
    CHECK_OK(D3DKMTEnumAdapters2(&enumerate));
    CHECK_EQUAL(enumerate.NumAdapters, 1);
    CHECK(info.hAdapter != 0);
    return info.hAdapter;
}

static inline void close_adapter(D3DKMT_HANDLE adapter)
{
    D3DKMT_CLOSEADAPTER close = {.hAdapter = adapter};
    CHECK_OK(D3DKMTCloseAdapter(&close));
}

static inline D3DKMT_HANDLE open_device(D3DKMT_HANDLE adapter)
{
    D3DKMT_CREATEDEVICE create = {.hAdapter = adapter};
    CHECK_OK(D3DKMTCreateDevice(&create));
    CHECK(create.hDevice != 0);
    return create.hDevice;
}

static inline void close_device(D3DKMT_HANDLE device)
{
    D3DKMT_DESTROYDEVICE destroy = {.hDevice = device};
    CHECK_OK(D3DKMTDestroyDevice(&destroy));
}

static inline struct client open_client(void)
{
    struct client client = {.adapter = open_adapter()};
    client.device = open_device(client.adapter);
    return client;
}

static inline void close_client(const struct client *client)
{
    close_device(client->device);
    close_adapter(client->adapter);
}

// --------------------------------------------------------------------------------- paging queues

struct queue {
    D3DKMT_HANDLE handle;
    D3DKMT_HANDLE sync;
    const UINT64 *fence;
};

static inline struct queue open_queue(D3DKMT_HANDLE device)
{
    D3DKMT_CREATEPAGINGQUEUE create = {.hDevice = device};
    CHECK_OK(D3DKMTCreatePagingQueue(&create));
    CHECK(create.hPagingQueue != 0 && create.hSyncObject != 0);
    CHECK(create.FenceValueCPUVirtualAddress != NULL);
    return (struct queue){
        .handle = create.hPagingQueue,
        .sync = create.hSyncObject,
        .fence = create.FenceValueCPUVirtualAddress,
    };
}

static inline void close_queue(const struct queue *queue)
{
    D3DDDI_DESTROYPAGINGQUEUE destroy = {.hPagingQueue = queue->handle};
    CHECK_OK(D3DKMTDestroyPagingQueue(&destroy));
}

// The value of the fence now. Another thread may be advancing it.
static inline UINT64 fence_value(const struct queue *queue)
{
    return __atomic_load_n(queue->fence, __ATOMIC_ACQUIRE);
}

// ----------------------------------------------------------------------------------- allocations

static inline VIDMM_ALLOCATION_DATA data_of(UINT64 bytes)
{
    return (VIDMM_ALLOCATION_DATA){.Version = VIDMM_ALLOCATION_DATA_VERSION, .Size = bytes};
}

// Creates `count` allocations of `bytes` each. With `resource` they are the members of one: a new one
// where it is 0, which it is set to, else the one it names. Writes nothing unless all is well.
static inline NTSTATUS create_with(D3DKMT_HANDLE device, D3DKMT_HANDLE *resource, UINT64 bytes,
                                   UINT count, D3DKMT_HANDLE *handles)
{
    VIDMM_ALLOCATION_DATA data = data_of(bytes);
    D3DDDI_ALLOCATIONINFO2 *infos = allocated(count, sizeof *infos);
    for (UINT i = 0; i < count; i++) {
        infos[i].pPrivateDriverData = &data;
        infos[i].PrivateDriverDataSize = sizeof data;
    }
    D3DKMT_CREATEALLOCATION create = {
        .hDevice = device, .NumAllocations = count, .pAllocationInfo2 = infos};
    if (resource) {
        create.hResource = *resource;
        create.Flags.CreateResource = *resource == 0;
    }
    NTSTATUS status = D3DKMTCreateAllocation2(&create);
    if (status == STATUS_SUCCESS) {
        for (UINT i = 0; i < count; i++)
            handles[i] = infos[i].hAllocation;
        if (resource)
            *resource = create.hResource;
    }
    free(infos);
    return status;
}

static inline void create_many(D3DKMT_HANDLE device, UINT64 bytes, UINT count,
                               D3DKMT_HANDLE *handles)
{
    CHECK_OK(create_with(device, NULL, bytes, count, handles));
}

static inline D3DKMT_HANDLE create_one(D3DKMT_HANDLE device, UINT64 bytes)
{
    D3DKMT_HANDLE handle = 0;
    create_many(device, bytes, 1, &handle);
    CHECK(handle != 0);
    return handle;
}

static inline D3DKMT_HANDLE create_resource(D3DKMT_HANDLE device, UINT64 bytes, UINT members,
                                            D3DKMT_HANDLE *handles)
{
    D3DKMT_HANDLE resource = 0;
    CHECK_OK(create_with(device, &resource, bytes, members, handles));
    CHECK(resource != 0);
    return resource;
}

static inline NTSTATUS destroy_list(D3DKMT_HANDLE device, const D3DKMT_HANDLE *handles, UINT count)
{
    D3DKMT_DESTROYALLOCATION2 destroy = {
        .hDevice = device, .phAllocationList = handles, .AllocationCount = count};
    destroy.Flags.SynchronousDestroy = 1;
    return D3DKMTDestroyAllocation2(&destroy);
}

static inline NTSTATUS destroy_resource(D3DKMT_HANDLE device, D3DKMT_HANDLE resource)
{
    D3DKMT_DESTROYALLOCATION2 destroy = {.hDevice = device, .hResource = resource};
    destroy.Flags.SynchronousDestroy = 1;
    return D3DKMTDestroyAllocation2(&destroy);
}

static inline NTSTATUS try_lock(D3DKMT_HANDLE device, D3DKMT_HANDLE allocation, void **memory)
{
    D3DKMT_LOCK2 lock = {.hDevice = device, .hAllocation = allocation};
    NTSTATUS status = D3DKMTLock2(&lock);
    if (status == STATUS_SUCCESS)
        *memory = lock.pData;
    return status;
}

static inline NTSTATUS try_unlock(D3DKMT_HANDLE device, D3DKMT_HANDLE allocation)
{
    D3DKMT_UNLOCK2 unlock = {.hDevice = device, .hAllocation = allocation};
    return D3DKMTUnlock2(&unlock);
}

static inline void *lock(D3DKMT_HANDLE device, D3DKMT_HANDLE allocation)
{
    void *memory = NULL;
    CHECK_OK(try_lock(device, allocation, &memory));
    CHECK(memory != NULL);
    return memory;
}

static inline void unlock(D3DKMT_HANDLE device, D3DKMT_HANDLE allocation)
{
    CHECK_OK(try_unlock(device, allocation));
}

static inline void write_content(D3DKMT_HANDLE device, D3DKMT_HANDLE allocation, size_t bytes,
                                 uint64_t seed)
{
    fill(lock(device, allocation), bytes, seed);
    unlock(device, allocation);
}

static inline int content_is(D3DKMT_HANDLE device, D3DKMT_HANDLE allocation, size_t bytes,
                             uint64_t seed)
{
    int is = holds(lock(device, allocation), bytes, seed);
    unlock(device, allocation);
    return is;
}

static inline NTSTATUS offer_with(D3DKMT_HANDLE device, const D3DKMT_HANDLE *handles, UINT count,
                                  D3DKMT_OFFER_PRIORITY priority, UINT flags)
{
    D3DKMT_OFFERALLOCATIONS offer = {
        .hDevice = device,
        .HandleList = handles,
        .NumAllocations = count,
        .Priority = priority,
    };
    offer.Flags.Value = flags;
    return D3DKMTOfferAllocations(&offer);
}

static inline void offer_one(D3DKMT_HANDLE device, D3DKMT_HANDLE allocation,
                             D3DKMT_OFFER_PRIORITY priority)
{
    CHECK_OK(offer_with(device, &allocation, 1, priority, 0));
}

static inline NTSTATUS reclaim_v1(D3DKMT_HANDLE device, const D3DKMT_HANDLE *handles, UINT count,
                                  BOOL *discarded)
{
    D3DKMT_RECLAIMALLOCATIONS reclaim = {
        .hDevice = device,
        .HandleList = handles,
        .pDiscarded = discarded,
        .NumAllocations = count,
    };
    return D3DKMTReclaimAllocations(&reclaim);
}

// What must always hold of version 2 is checked here: on success the fence is reached.
static inline NTSTATUS reclaim_v2(const struct queue *queue, const D3DKMT_HANDLE *handles,
                                  UINT count, D3DDDI_RECLAIM_RESULT *results)
{
    D3DKMT_RECLAIMALLOCATIONS2 reclaim = {
        .hPagingQueue = queue->handle,
        .NumAllocations = count,
        .HandleList = handles,
        .pResults = results,
    };
    NTSTATUS status = D3DKMTReclaimAllocations2(&reclaim);
    if (status == STATUS_SUCCESS)
        CHECK(fence_value(queue) >= reclaim.PagingFenceValue);
    return status;
}

// --------------------------------------------------------------------------------------- escapes

static inline NTSTATUS escape(const struct client *client, D3DKMT_VIDMM_ESCAPE *data)
{
    D3DKMT_ESCAPE call = {
        .hAdapter = client->adapter,
        .Type = D3DKMT_ESCAPE_VIDMM,
        .pPrivateDriverData = data,
        .PrivateDriverDataSize = sizeof *data,
    };
    return D3DKMTEscape(&call);
}

static inline void set_budget(const struct client *client, UINT64 bytes)
{
    D3DKMT_VIDMM_ESCAPE data = {.Type = D3DKMT_VIDMMESCAPETYPE_SET_BUDGET};
    data.SetBudget.LocalMemoryBudget = bytes;
    CHECK_OK(escape(client, &data));
}

static inline UINT64 bytes_to_trim(const struct client *client)
{
    D3DKMT_VIDMM_ESCAPE data = {.Type = D3DKMT_VIDMMESCAPETYPE_GET_BUDGET};
    CHECK_OK(escape(client, &data));
    return data.GetBudget.NumBytesToTrim;
}

// Discards what is offered of one of the two, or of everything where both are 0.
static inline void evict(const struct client *client, D3DKMT_HANDLE resource,
                         D3DKMT_HANDLE allocation)
{
    D3DKMT_VIDMM_ESCAPE data = {.Type = D3DKMT_VIDMMESCAPETYPE_EVICT};
    data.Evict.ResourceHandle = resource;
    data.Evict.AllocationHandle = allocation;
    CHECK_OK(escape(client, &data));
}

static inline void set_fault(const struct client *client, ULONG bits)
{
    D3DKMT_VIDMM_ESCAPE data = {.Type = D3DKMT_VIDMMESCAPETYPE_SETFAULT};
    data.SetFault.Value = bits;
    CHECK_OK(escape(client, &data));
}

// --------------------------------------------------------------------------------------- figures

static inline D3DKMT_QUERYVIDEOMEMORYINFO memory_info(D3DKMT_HANDLE adapter)
{
    D3DKMT_QUERYVIDEOMEMORYINFO query = {
        .hAdapter = adapter, .MemorySegmentGroup = D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL};
    CHECK_OK(D3DKMTQueryVideoMemoryInfo(&query));
    return query;
}

// The anonymous memory of this process that is resident, as the kernel counts it.
static inline uint64_t resident_bytes(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    char line[256];
    unsigned long long kib = 0;
    int found = 0;
    while (!found && fgets(line, sizeof line, status))
        found = sscanf(line, "RssAnon: %llu kB", &kib) == 1;
    fclose(status);
    CHECK(found);
    return (uint64_t)kib * 1024;
}

#endif
