// What the environment can do to the calls.
//
//     environment unusable    every call is refused
//     environment left-out    a child that was to have nothing of its parent's has nothing

#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

static unsigned refused;

#define REFUSES(call, status)       \
    do {                            \
        CHECK_STATUS(call, status); \
        refused++;                  \
    } while (0)

// ------------------------------------------------------------------------------------- every call

// Arguments that would be all right if there were an adapter.
static void every_object_call(NTSTATUS expected)
{
    D3DKMT_ADAPTERINFO info = {0};
    D3DKMT_ENUMADAPTERS2 enumerate2 = {.NumAdapters = 1, .pAdapters = &info};
    D3DKMT_ENUMADAPTERS3 enumerate3 = {.NumAdapters = 1, .pAdapters = &info};
    D3DKMT_OPENADAPTERFROMLUID open = {
        .AdapterLuid = {VIDMM_ADAPTER_LUID_LOW, VIDMM_ADAPTER_LUID_HIGH}};
    D3DKMT_CLOSEADAPTER close = {.hAdapter = 1};
    D3DKMT_CREATEDEVICE create_device = {.hAdapter = 1};
    D3DKMT_DESTROYDEVICE destroy_device = {.hDevice = 1};
    D3DKMT_CREATEPAGINGQUEUE create_queue = {.hDevice = 1};
    D3DDDI_DESTROYPAGINGQUEUE destroy_queue = {.hPagingQueue = 1};
    D3DKMT_QUERYVIDEOMEMORYINFO query = {.hAdapter = 1};
    D3DKMT_VIDMM_ESCAPE data = {.Type = D3DKMT_VIDMMESCAPETYPE_GET_BUDGET};
    D3DKMT_ESCAPE escape = {
        .hAdapter = 1,
        .Type = D3DKMT_ESCAPE_VIDMM,
        .pPrivateDriverData = &data,
        .PrivateDriverDataSize = sizeof data,
    };
    REFUSES(D3DKMTEnumAdapters2(&enumerate2), expected);
    REFUSES(D3DKMTEnumAdapters3(&enumerate3), expected);
    REFUSES(D3DKMTOpenAdapterFromLuid(&open), expected);
    REFUSES(D3DKMTCloseAdapter(&close), expected);
    REFUSES(D3DKMTCreateDevice(&create_device), expected);
    REFUSES(D3DKMTDestroyDevice(&destroy_device), expected);
    REFUSES(D3DKMTCreatePagingQueue(&create_queue), expected);
    REFUSES(D3DKMTDestroyPagingQueue(&destroy_queue), expected);
    REFUSES(D3DKMTQueryVideoMemoryInfo(&query), expected);
    REFUSES(D3DKMTEscape(&escape), expected);
    CHECK_EQUAL(info.hAdapter, 0);
}

static void every_allocation_call(NTSTATUS expected)
{
    D3DKMT_HANDLE handle = 1;
    UINT priority = 1;
    VIDMM_ALLOCATION_DATA data = data_of(4096);
    D3DDDI_ALLOCATIONINFO info = {
        .pPrivateDriverData = &data, .PrivateDriverDataSize = sizeof data};
    D3DDDI_ALLOCATIONINFO2 info2 = {
        .pPrivateDriverData = &data, .PrivateDriverDataSize = sizeof data};
    D3DKMT_CREATEALLOCATION create = {
        .hDevice = 1, .NumAllocations = 1, .pAllocationInfo = &info};
    D3DKMT_CREATEALLOCATION create2 = {
        .hDevice = 1, .NumAllocations = 1, .pAllocationInfo2 = &info2};
    D3DKMT_DESTROYALLOCATION destroy = {
        .hDevice = 1, .phAllocationList = &handle, .AllocationCount = 1};
    D3DKMT_SETALLOCATIONPRIORITY set = {
        .hDevice = 1,
        .phAllocationList = &handle,
        .AllocationCount = 1,
        .pPriorities = &priority,
    };
    D3DKMT_RECLAIMALLOCATIONS2 reclaim2 = {
        .hPagingQueue = 1, .NumAllocations = 1, .HandleList = &handle};
    void *memory;
    REFUSES(D3DKMTCreateAllocation(&create), expected);
    REFUSES(D3DKMTCreateAllocation2(&create2), expected);
    REFUSES(D3DKMTDestroyAllocation(&destroy), expected);
    REFUSES(destroy_list(1, &handle, 1), expected);
    REFUSES(try_lock(1, handle, &memory), expected);
    REFUSES(try_unlock(1, handle), expected);
    REFUSES(D3DKMTSetAllocationPriority(&set), expected);
    REFUSES(offer_with(1, &handle, 1, D3DKMT_OFFER_PRIORITY_LOW, 0), expected);
    REFUSES(reclaim_v1(1, &handle, 1, NULL), expected);
    REFUSES(D3DKMTReclaimAllocations2(&reclaim2), expected);
}

static void be_told(const D3DKMT_BUDGETCHANGENOTIFICATION *change)
{
    (void)change;
}

static void be_asked(D3DKMT_TRIMNOTIFICATION *trim)
{
    (void)trim;
}

static void every_notice_call(NTSTATUS expected)
{
    D3DKMT_CHANGEVIDEOMEMORYRESERVATION reserve = {.hAdapter = 1};
    D3DKMT_REGISTERBUDGETCHANGENOTIFICATION budget = {.hDevice = 1, .Callback = be_told};
    D3DKMT_REGISTERTRIMNOTIFICATION trim = {
        .AdapterLuid = {VIDMM_ADAPTER_LUID_LOW, VIDMM_ADAPTER_LUID_HIGH},
        .hDevice = 1,
        .Callback = be_asked,
    };
    D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION end_budget = {.Handle = &budget};
    D3DKMT_UNREGISTERTRIMNOTIFICATION end_trim = {.Handle = &trim};
    REFUSES(D3DKMTChangeVideoMemoryReservation(&reserve), expected);
    REFUSES(D3DKMTRegisterBudgetChangeNotification(&budget), expected);
    REFUSES(D3DKMTUnregisterBudgetChangeNotification(&end_budget), expected);
    REFUSES(D3DKMTRegisterTrimNotification(&trim), expected);
    REFUSES(D3DKMTUnregisterTrimNotification(&end_trim), expected);
    CHECK(budget.Handle == NULL && trim.Handle == NULL);
}

// ---------------------------------------------------------------------------------------- left out

static void live_left_out(const struct client *client)
{
    D3DKMT_HANDLE handle = 0x5A5A5A5A;
    CHECK_STATUS(create_with(client->device, NULL, 4096, 1, &handle), STATUS_DEVICE_REMOVED);
    CHECK_EQUAL(handle, 0x5A5A5A5A);
    every_object_call(STATUS_DEVICE_REMOVED);
    every_allocation_call(STATUS_DEVICE_REMOVED);
    every_notice_call(STATUS_DEVICE_REMOVED);
    _exit(0);
}

static void leave_a_child_out(void)
{
    struct client client = open_client();
    D3DKMT_HANDLE handle = create_one(client.device, 4 * PIECE_BYTES);
    int status = -1;
    write_content(client.device, handle, 4 * PIECE_BYTES, 1);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        live_left_out(&client);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK(content_is(client.device, handle, 4 * PIECE_BYTES, 1));
    close_client(&client);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    if (strcmp(argv[1], "unusable") == 0) {
        every_object_call(STATUS_UNSUCCESSFUL);
        every_allocation_call(STATUS_UNSUCCESSFUL);
        every_notice_call(STATUS_UNSUCCESSFUL);
        printf("refused calls: %u\n", refused);
    } else {
        CHECK(strcmp(argv[1], "left-out") == 0);
        leave_a_child_out();
        puts("done");
    }
    return 0;
}
