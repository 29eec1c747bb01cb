/* One face of the contract, over the C ABI: requests on standard input, each answered on standard
 * output before the next is read, until the input ends.
 *
 * A request is one call of the interface, or the few that belong together: lock, copy, unlock. The
 * answer is the call's status and what it wrote. Whoever asks judges it; this program judges only
 * what cannot be seen from outside: that a refused call left its outputs alone, that none wrote
 * beyond its array, and where a fence stood when the call returned. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vidmm.h"

/* What can be asked. The numbers are the driver's, too. */
enum call {
    OPEN = 1,  /* the face itself, before anything else */
    CREATE,    /* handle: the resource or 0; option: AllowNotZeroed; value: size */
    DESTROY,
    CREATE_RESOURCE,
    DESTROY_RESOURCE,
    WRITE,            /* value: length of the content that follows */
    READ,             /* value: length of the content wanted */
    LOCK,
    UNLOCK,
    OFFER,            /* option: see offer(); a list follows */
    OFFER_RESOURCES,
    RECLAIM,          /* option: see reclaim(); a list follows */
    RECLAIM_RESOURCES,
    SET_PRIORITY,     /* option: the priority */
    SET_BUDGET,       /* value: bytes */
    GET_BUDGET,
    SET_FAULT         /* option: 1 never to discard, 2 always */
};

struct request {
    uint32_t call;
    uint32_t handle;
    uint32_t option;
    uint32_t count; /* as many handles follow */
    uint64_t value;
};

struct answer {
    int32_t status;
    uint32_t count; /* as many words follow: a result array as the call left it */
    uint64_t value; /* a handle, an address, or bytes */
};

/* Longer than any list that the interface takes, so that one that is too long can be tried. */
#define LIST_MAX 16384

/* What outputs hold before a call: no handle, result, or fence value looks like this. */
#define UNTOUCHED 0xA5A5A5A5u

static D3DKMT_HANDLE adapter;
static D3DKMT_HANDLE device;
static D3DKMT_CREATEPAGINGQUEUE queue;

static D3DKMT_HANDLE list[LIST_MAX];
static union {
    BOOL discarded[LIST_MAX];
    D3DDDI_RECLAIM_RESULT results[LIST_MAX];
    uint32_t words[LIST_MAX];
} results;

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("face: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void must(NTSTATUS status, const char *call)
{
    if (status != STATUS_SUCCESS)
        fail("%s: status 0x%08X", call, (unsigned)status);
}

/* Reads exactly so much. False at the end of the input, which may be before the first byte only. */
static int receive(void *bytes, size_t length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t got = read(STDIN_FILENO, (char *)bytes + done, length - done);
        if (got < 0)
            fail("a read of %zu bytes to %p failed", length - done, bytes);
        if (got == 0 && done > 0)
            fail("the input ended within a request");
        if (got == 0)
            return 0;
        done += (size_t)got;
    }
    return 1;
}

static void receive_rest(void *bytes, size_t length)
{
    if (length > 0 && !receive(bytes, length))
        fail("the input ended within a request");
}

/* Takes content that there is no place for. */
static void receive_and_forget(uint64_t length)
{
    static char waste[1 << 16];
    while (length > 0) {
        size_t part = length < sizeof waste ? (size_t)length : sizeof waste;
        receive_rest(waste, part);
        length -= part;
    }
}

static void send(const void *bytes, size_t length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t put = write(STDOUT_FILENO, (const char *)bytes + done, length - done);
        if (put <= 0)
            fail("a write of %zu bytes from %p failed", length - done, bytes);
        done += (size_t)put;
    }
}

static void answer(NTSTATUS status, uint64_t value)
{
    struct answer told = {status, 0, value};
    send(&told, sizeof told);
}

static void answer_with_results(NTSTATUS status, uint32_t count)
{
    struct answer told = {status, count, 0};
    send(&told, sizeof told);
    send(results.words, count * sizeof results.words[0]);
}

static void open_face(void)
{
    D3DKMT_ADAPTERINFO info = {0};
    D3DKMT_ENUMADAPTERS2 adapters = {0};
    D3DKMT_CREATEDEVICE create = {0};

    adapters.NumAdapters = 1;
    adapters.pAdapters = &info;
    must(D3DKMTEnumAdapters2(&adapters), "EnumAdapters2");
    adapter = info.hAdapter;
    create.hAdapter = adapter;
    must(D3DKMTCreateDevice(&create), "CreateDevice");
    device = create.hDevice;
    queue.hDevice = device;
    queue.Priority = D3DDDI_PAGINGQUEUE_PRIORITY_NORMAL;
    must(D3DKMTCreatePagingQueue(&queue), "CreatePagingQueue");
    answer(STATUS_SUCCESS, 0);
}

static void create(const struct request *asked)
{
    VIDMM_ALLOCATION_DATA data = {0};
    D3DDDI_ALLOCATIONINFO2 info = {0};
    D3DKMT_CREATEALLOCATION args = {0};
    NTSTATUS status;

    data.Version = VIDMM_ALLOCATION_DATA_VERSION;
    data.Size = asked->value;
    info.hAllocation = UNTOUCHED;
    info.pPrivateDriverData = &data;
    info.PrivateDriverDataSize = sizeof data;
    args.hDevice = device;
    args.hResource = asked->handle;
    args.NumAllocations = 1;
    args.pAllocationInfo2 = &info;
    args.Flags.AllowNotZeroed = asked->option != 0;
    status = D3DKMTCreateAllocation2(&args);
    if ((status == STATUS_SUCCESS) == (info.hAllocation == UNTOUCHED || info.hAllocation == 0))
        fail("create: status 0x%08X with a handle of 0x%08X", (unsigned)status, info.hAllocation);
    answer(status, info.hAllocation);
}

static void create_resource(void)
{
    D3DKMT_CREATEALLOCATION args = {0};
    NTSTATUS status;

    args.hDevice = device;
    args.Flags.CreateResource = 1;
    status = D3DKMTCreateAllocation2(&args);
    if ((status == STATUS_SUCCESS) == (args.hResource == 0))
        fail("create: status 0x%08X with a resource of 0x%08X", (unsigned)status, args.hResource);
    answer(status, args.hResource);
}

static void destroy(const struct request *asked)
{
    D3DKMT_HANDLE allocation = asked->handle;
    D3DKMT_DESTROYALLOCATION2 args = {0};

    args.hDevice = device;
    args.phAllocationList = &allocation;
    args.AllocationCount = 1;
    answer(D3DKMTDestroyAllocation2(&args), 0);
}

static void destroy_resource(const struct request *asked)
{
    D3DKMT_DESTROYALLOCATION2 args = {0};

    args.hDevice = device;
    args.hResource = asked->handle;
    answer(D3DKMTDestroyAllocation2(&args), 0);
}

/* Where the memory is, unless the lock is refused. */
static NTSTATUS lock(D3DKMT_HANDLE allocation, void **memory)
{
    D3DKMT_LOCK2 args = {0};
    NTSTATUS status;

    args.hDevice = device;
    args.hAllocation = allocation;
    args.pData = &args;
    status = D3DKMTLock2(&args);
    if ((status == STATUS_SUCCESS) == (args.pData == (void *)&args || args.pData == NULL))
        fail("lock: status 0x%08X with an address of %p", (unsigned)status, args.pData);
    *memory = status == STATUS_SUCCESS ? args.pData : NULL;
    return status;
}

static NTSTATUS unlock(D3DKMT_HANDLE allocation)
{
    D3DKMT_UNLOCK2 args = {0};

    args.hDevice = device;
    args.hAllocation = allocation;
    return D3DKMTUnlock2(&args);
}

static void answer_lock(const struct request *asked)
{
    void *memory;
    NTSTATUS status = lock(asked->handle, &memory);
    answer(status, (uintptr_t)memory);
}

/* The content goes straight from the pipe into the memory. */
static void write_content(const struct request *asked)
{
    void *memory;
    NTSTATUS status = lock(asked->handle, &memory);
    if (status == STATUS_SUCCESS) {
        receive_rest(memory, (size_t)asked->value);
        status = unlock(asked->handle);
    } else {
        receive_and_forget(asked->value);
    }
    answer(status, (uintptr_t)memory);
}

/* The content follows the answer to the lock, and the answer to the unlock follows the content. */
static void read_content(const struct request *asked)
{
    void *memory;
    NTSTATUS status = lock(asked->handle, &memory);
    answer(status, (uintptr_t)memory);
    if (status == STATUS_SUCCESS) {
        send(memory, (size_t)asked->value);
        answer(unlock(asked->handle), 0);
    }
}

/* Option: the priority, 0x100 for OfferImmediately, 0x200 for AllowDecommit. */
static void offer(const struct request *asked, int resources)
{
    D3DKMT_OFFERALLOCATIONS args = {0};

    args.hDevice = device;
    args.pResources = resources ? list : NULL;
    args.HandleList = resources ? NULL : list;
    args.NumAllocations = asked->count;
    args.Priority = (D3DKMT_OFFER_PRIORITY)(asked->option & 0xFF);
    args.Flags.OfferImmediately = (asked->option & 0x100) != 0;
    args.Flags.AllowDecommit = (asked->option & 0x200) != 0;
    answer(D3DKMTOfferAllocations(&args), 0);
}

static NTSTATUS reclaim1(uint32_t count, int resources, int wants_results)
{
    D3DKMT_RECLAIMALLOCATIONS args = {0};

    args.hDevice = device;
    args.pResources = resources ? list : NULL;
    args.HandleList = resources ? NULL : list;
    args.pDiscarded = wants_results ? results.discarded : NULL;
    args.NumAllocations = count;
    return D3DKMTReclaimAllocations(&args);
}

static int supplied_any(uint32_t count)
{
    uint32_t i;
    for (i = 0; i < count; i++)
        if (results.results[i] == D3DDDI_RECLAIM_RESULT_DISCARDED)
            return 1;
    return 0;
}

/* Memory that was supplied is work of the queue, all of it done by the time the call returns. */
static void check_fence(NTSTATUS status, UINT64 before, UINT64 told, int supplied)
{
    const volatile UINT64 *fence = queue.FenceValueCPUVirtualAddress;
    UINT64 reached = *fence;

    if (status != STATUS_SUCCESS && told != UNTOUCHED)
        fail("reclaim: a refused call wrote a fence value");
    if (status == STATUS_SUCCESS && told > reached)
        fail("reclaim: fence value %" PRIu64 ", and %" PRIu64 " is reached", told, reached);
    if (reached < before || (supplied && told <= before))
        fail("reclaim: the fence did not advance from %" PRIu64, before);
}

static NTSTATUS reclaim2(uint32_t count, int resources, int wants_results)
{
    UINT64 before = *(const volatile UINT64 *)queue.FenceValueCPUVirtualAddress;
    D3DKMT_RECLAIMALLOCATIONS2 args = {0};
    NTSTATUS status;

    args.hPagingQueue = queue.hPagingQueue;
    args.NumAllocations = count;
    args.pResources = resources ? list : NULL;
    args.HandleList = resources ? NULL : list;
    args.pResults = wants_results ? results.results : NULL;
    args.PagingFenceValue = UNTOUCHED;
    status = D3DKMTReclaimAllocations2(&args);
    check_fence(status, before, args.PagingFenceValue, wants_results && supplied_any(count));
    return status;
}

/* Option: the version, 0x100 for a result array. */
static void reclaim(const struct request *asked, int resources)
{
    int wants_results = (asked->option & 0x100) != 0;
    NTSTATUS status;
    uint32_t i;

    for (i = 0; i < LIST_MAX; i++)
        results.words[i] = UNTOUCHED;
    if ((asked->option & 0xFF) == 1)
        status = reclaim1(asked->count, resources, wants_results);
    else
        status = reclaim2(asked->count, resources, wants_results);
    for (i = wants_results ? asked->count : 0; i < LIST_MAX; i++)
        if (results.words[i] != UNTOUCHED)
            fail("reclaim: result %u of %u was written", i, asked->count);
    answer_with_results(status, wants_results ? asked->count : 0);
}

static void set_priority(const struct request *asked)
{
    D3DKMT_HANDLE allocation = asked->handle;
    UINT priority = asked->option;
    D3DKMT_SETALLOCATIONPRIORITY args = {0};

    args.hDevice = device;
    args.phAllocationList = &allocation;
    args.AllocationCount = 1;
    args.pPriorities = &priority;
    answer(D3DKMTSetAllocationPriority(&args), 0);
}

static NTSTATUS escape(D3DKMT_VIDMM_ESCAPE *data)
{
    D3DKMT_ESCAPE args = {0};

    args.hAdapter = adapter;
    args.hDevice = device;
    args.Type = D3DKMT_ESCAPE_VIDMM;
    args.pPrivateDriverData = data;
    args.PrivateDriverDataSize = sizeof *data;
    return D3DKMTEscape(&args);
}

static void set_budget(const struct request *asked)
{
    D3DKMT_VIDMM_ESCAPE data = {0};

    data.Type = D3DKMT_VIDMMESCAPETYPE_SET_BUDGET;
    data.SetBudget.LocalMemoryBudget = asked->value;
    answer(escape(&data), 0);
}

static void get_budget(void)
{
    D3DKMT_VIDMM_ESCAPE data = {0};
    NTSTATUS status;

    data.Type = D3DKMT_VIDMMESCAPETYPE_GET_BUDGET;
    status = escape(&data);
    answer(status, data.GetBudget.NumBytesToTrim);
}

static void set_fault(const struct request *asked)
{
    D3DKMT_VIDMM_ESCAPE data = {0};

    data.Type = D3DKMT_VIDMMESCAPETYPE_SETFAULT;
    data.SetFault.NeverDiscardOfferedAllocation = asked->option == 1;
    data.SetFault.AlwaysDiscardOfferedAllocation = asked->option == 2;
    answer(escape(&data), 0);
}

static void receive_list(uint32_t count)
{
    if (count > LIST_MAX)
        fail("a list of %u is more than %u", count, LIST_MAX);
    receive_rest(list, count * sizeof list[0]);
}

static void serve(const struct request *asked)
{
    receive_list(asked->count);
    switch (asked->call) {
    case OPEN: open_face(); break;
    case CREATE: create(asked); break;
    case DESTROY: destroy(asked); break;
    case CREATE_RESOURCE: create_resource(); break;
    case DESTROY_RESOURCE: destroy_resource(asked); break;
    case WRITE: write_content(asked); break;
    case READ: read_content(asked); break;
    case LOCK: answer_lock(asked); break;
    case UNLOCK: answer(unlock(asked->handle), 0); break;
    case OFFER: offer(asked, 0); break;
    case OFFER_RESOURCES: offer(asked, 1); break;
    case RECLAIM: reclaim(asked, 0); break;
    case RECLAIM_RESOURCES: reclaim(asked, 1); break;
    case SET_PRIORITY: set_priority(asked); break;
    case SET_BUDGET: set_budget(asked); break;
    case GET_BUDGET: get_budget(); break;
    case SET_FAULT: set_fault(asked); break;
    default: fail("no call has number %u", asked->call);
    }
}

/* Whatever requests left behind - offered, locked - goes with the device. */
static void close_face(void)
{
    D3DDDI_DESTROYPAGINGQUEUE destroy_queue = {0};
    D3DKMT_DESTROYDEVICE destroy_device = {0};
    D3DKMT_CLOSEADAPTER close_adapter = {0};

    destroy_queue.hPagingQueue = queue.hPagingQueue;
    must(D3DKMTDestroyPagingQueue(&destroy_queue), "DestroyPagingQueue");
    destroy_device.hDevice = device;
    must(D3DKMTDestroyDevice(&destroy_device), "DestroyDevice");
    close_adapter.hAdapter = adapter;
    must(D3DKMTCloseAdapter(&close_adapter), "CloseAdapter");
}

int main(void)
{
    struct request asked;

    /* The first answer, to nothing: the size of a page, before any call of the library. */
    answer(STATUS_SUCCESS, (uint64_t)sysconf(_SC_PAGESIZE));
    while (receive(&asked, sizeof asked))
        serve(&asked);
    close_face();
    return 0;
}
