// Wrong calls about adapters, devices, paging queues, memory information and escapes.

#include "world.h"

CALL(EnumAdapters2, D3DKMT_ENUMADAPTERS2);
CALL(EnumAdapters3, D3DKMT_ENUMADAPTERS3);
CALL(OpenAdapterFromLuid, D3DKMT_OPENADAPTERFROMLUID);
CALL(CloseAdapter, D3DKMT_CLOSEADAPTER);
CALL(CreateDevice, D3DKMT_CREATEDEVICE);
CALL(DestroyDevice, D3DKMT_DESTROYDEVICE);
CALL(CreatePagingQueue, D3DKMT_CREATEPAGINGQUEUE);
CALL(DestroyPagingQueue, D3DDDI_DESTROYPAGINGQUEUE);
CALL(QueryVideoMemoryInfo, D3DKMT_QUERYVIDEOMEMORYINFO);
CALL(Escape, D3DKMT_ESCAPE);

// Outputs begin as this, so that any write shows.
enum { UNTOUCHED = 0x5A };

// -------------------------------------------------------------------------------------- adapters

static void enum_adapters2(void)
{
    D3DKMT_ADAPTERINFO infos[2];
    memset(infos, UNTOUCHED, sizeof infos);
    watch(infos, sizeof infos);
    D3DKMT_ENUMADAPTERS2 args = {.NumAdapters = 2, .pAdapters = infos};
    wrong_pointers(&EnumAdapters2, &args);
    WRONG_IN(EnumAdapters2, args, args, NumAdapters, 0, STATUS_BUFFER_TOO_SMALL);
    WRONG(EnumAdapters2, args, pAdapters, misaligned(infos));
    right(&EnumAdapters2, &args);
    CHECK_EQUAL(args.NumAdapters, 1);
    CHECK_EQUAL(infos[0].AdapterLuid.LowPart, VIDMM_ADAPTER_LUID_LOW);
    CHECK_EQUAL(infos[0].AdapterLuid.HighPart, VIDMM_ADAPTER_LUID_HIGH);
    CHECK_EQUAL(infos[1].hAdapter, 0x5A5A5A5A);
    close_adapter(infos[0].hAdapter);
    args = (D3DKMT_ENUMADAPTERS2){.NumAdapters = 7};
    right(&EnumAdapters2, &args);
    CHECK_EQUAL(args.NumAdapters, 1);
}

static void enum_adapters3(void)
{
    D3DKMT_ADAPTERINFO infos[2];
    memset(infos, UNTOUCHED, sizeof infos);
    watch(infos, sizeof infos);
    D3DKMT_ENUMADAPTERS3 args = {.NumAdapters = 2, .pAdapters = infos};
    args.Filter.Value = 3;
    wrong_pointers(&EnumAdapters3, &args);
    WRONG_IN(EnumAdapters3, args, args, NumAdapters, 0, STATUS_BUFFER_TOO_SMALL);
    WRONG(EnumAdapters3, args, pAdapters, misaligned(infos));
    for (int bit = 2; bit < 64; bit++)
        WRONG(EnumAdapters3, args, Filter.Value, 1ull << bit);
    right(&EnumAdapters3, &args);
    CHECK_EQUAL(args.NumAdapters, 1);
    close_adapter(infos[0].hAdapter);
    args = (D3DKMT_ENUMADAPTERS3){0};
    for (int bit = 2; bit < 64; bit++)
        WRONG(EnumAdapters3, args, Filter.Value, 1ull << bit);
    right(&EnumAdapters3, &args);
    CHECK_EQUAL(args.NumAdapters, 1);
}

static void open_adapter_from_luid(void)
{
    D3DKMT_OPENADAPTERFROMLUID args = {
        .AdapterLuid = {VIDMM_ADAPTER_LUID_LOW, VIDMM_ADAPTER_LUID_HIGH}, .hAdapter = UNTOUCHED};
    wrong_pointers(&OpenAdapterFromLuid, &args);
    WRONG(OpenAdapterFromLuid, args, AdapterLuid.LowPart, 0);
    WRONG(OpenAdapterFromLuid, args, AdapterLuid.LowPart, VIDMM_ADAPTER_LUID_LOW + 1);
    WRONG(OpenAdapterFromLuid, args, AdapterLuid.HighPart, 1);
    WRONG(OpenAdapterFromLuid, args, AdapterLuid.HighPart, -1);
    right(&OpenAdapterFromLuid, &args);
    CHECK(args.hAdapter != UNTOUCHED);
    close_adapter(args.hAdapter);
}

static void close_adapters(void)
{
    D3DKMT_CLOSEADAPTER args = {.hAdapter = open_adapter()};
    wrong_pointers(&CloseAdapter, &args);
    wrong_handles(&CloseAdapter, &args, &args.hAdapter, ADAPTER);
    right(&CloseAdapter, &args);
    attempt(&CloseAdapter, &args, STATUS_INVALID_PARAMETER, "what is closed already");
}

// --------------------------------------------------------------------------------------- devices

static void create_device(void)
{
    D3DKMT_CREATEDEVICE args;
    memset(&args, UNTOUCHED, sizeof args);
    memset(&args.Flags, 0, sizeof args.Flags);
    args.hAdapter = world.client.adapter;
    wrong_pointers(&CreateDevice, &args);
    wrong_handles(&CreateDevice, &args, &args.hAdapter, ADAPTER);
    wrong_bits(&CreateDevice, &args, &args.Flags, 1u << 2);
    args.Flags.DisableGpuTimeout = 1;
    right(&CreateDevice, &args);
    CHECK(args.pCommandBuffer == NULL && args.CommandBufferSize == 0);
    CHECK(args.pAllocationList == NULL && args.AllocationListSize == 0);
    CHECK(args.pPatchLocationList == NULL && args.PatchLocationListSize == 0);
    close_device(args.hDevice);
}

static void destroy_device(void)
{
    D3DKMT_DESTROYDEVICE args = {.hDevice = open_device(world.client.adapter)};
    wrong_pointers(&DestroyDevice, &args);
    wrong_handles(&DestroyDevice, &args, &args.hDevice, DEVICE | OTHER_DEVICE);
    right(&DestroyDevice, &args);
    attempt(&DestroyDevice, &args, STATUS_INVALID_PARAMETER, "what is destroyed already");
}

// --------------------------------------------------------------------------------- paging queues

static void create_paging_queue(void)
{
    D3DKMT_CREATEPAGINGQUEUE args;
    memset(&args, UNTOUCHED, sizeof args);
    args.hDevice = world.client.device;
    args.Priority = D3DDDI_PAGINGQUEUE_PRIORITY_ABOVE_NORMAL;
    args.PhysicalAdapterIndex = 0;
    wrong_pointers(&CreatePagingQueue, &args);
    wrong_handles(&CreatePagingQueue, &args, &args.hDevice, DEVICE | OTHER_DEVICE);
    WRONG(CreatePagingQueue, args, Priority, (D3DDDI_PAGINGQUEUE_PRIORITY)-2);
    WRONG(CreatePagingQueue, args, Priority, (D3DDDI_PAGINGQUEUE_PRIORITY)2);
    WRONG(CreatePagingQueue, args, Priority, (D3DDDI_PAGINGQUEUE_PRIORITY)INT_MIN);
    WRONG(CreatePagingQueue, args, Priority, (D3DDDI_PAGINGQUEUE_PRIORITY)INT_MAX);
    WRONG(CreatePagingQueue, args, PhysicalAdapterIndex, 1);
    WRONG(CreatePagingQueue, args, PhysicalAdapterIndex, UINT_MAX);
    for (int priority = -1; priority <= 1; priority++) {
        args.Priority = (D3DDDI_PAGINGQUEUE_PRIORITY)priority;
        right(&CreatePagingQueue, &args);
        CHECK_EQUAL(*(const UINT64 *)args.FenceValueCPUVirtualAddress, 0);
        close_queue(&(struct queue){.handle = args.hPagingQueue});
    }
}

static void destroy_paging_queue(void)
{
    D3DDDI_DESTROYPAGINGQUEUE args = {.hPagingQueue = open_queue(world.client.device).handle};
    wrong_pointers(&DestroyPagingQueue, &args);
    wrong_handles(&DestroyPagingQueue, &args, &args.hPagingQueue, QUEUE | OTHER_QUEUE);
    right(&DestroyPagingQueue, &args);
    attempt(&DestroyPagingQueue, &args, STATUS_INVALID_PARAMETER, "what is destroyed already");
}

// There is an end to paging queues, and to their number only: when one goes another may come.
static void too_many_paging_queues(void)
{
    enum { LIMIT = 4096, LIVE = 2 };
    static struct queue queues[LIMIT];
    for (int i = LIVE; i < LIMIT; i++)
        queues[i] = open_queue(world.client.device);
    D3DKMT_CREATEPAGINGQUEUE args = {.hDevice = world.client.device};
    attempt(&CreatePagingQueue, &args, STATUS_NO_MEMORY, "as many live ones as there can be");
    close_queue(&queues[LIMIT / 2]);
    queues[LIMIT / 2] = open_queue(world.client.device);
    attempt(&CreatePagingQueue, &args, STATUS_NO_MEMORY, "as many live ones as there can be");
    for (int i = LIVE; i < LIMIT; i++)
        close_queue(&queues[i]);
}

// ----------------------------------------------------------------------------------------- memory

static void query_video_memory_info(void)
{
    D3DKMT_QUERYVIDEOMEMORYINFO args;
    memset(&args, UNTOUCHED, sizeof args);
    args.hProcess = NULL;
    args.hAdapter = world.client.adapter;
    args.MemorySegmentGroup = D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL;
    args.PhysicalAdapterIndex = 0;
    wrong_pointers(&QueryVideoMemoryInfo, &args);
    wrong_handles(&QueryVideoMemoryInfo, &args, &args.hAdapter, ADAPTER);
    WRONG(QueryVideoMemoryInfo, args, hProcess, (HANDLE)1);
    WRONG(QueryVideoMemoryInfo, args, hProcess, (HANDLE)UINTPTR_MAX);
    WRONG(QueryVideoMemoryInfo, args, MemorySegmentGroup, (D3DKMT_MEMORY_SEGMENT_GROUP)2);
    WRONG(QueryVideoMemoryInfo, args, MemorySegmentGroup, (D3DKMT_MEMORY_SEGMENT_GROUP)UINT_MAX);
    WRONG(QueryVideoMemoryInfo, args, PhysicalAdapterIndex, 1);
    WRONG(QueryVideoMemoryInfo, args, PhysicalAdapterIndex, UINT_MAX);
    right(&QueryVideoMemoryInfo, &args);
    // Two of the device's own, a member of its resource, and two of the other device.
    CHECK_EQUAL(args.CurrentUsage, 5 * BYTES);
    CHECK_EQUAL(args.CurrentReservation, 0);
    CHECK_EQUAL(args.AvailableForReservation, world.budget / 2);
    args.MemorySegmentGroup = D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL;
    right(&QueryVideoMemoryInfo, &args);
    CHECK_EQUAL(args.CurrentUsage, 0);
    CHECK_EQUAL(args.CurrentReservation, 0);
    CHECK_EQUAL(args.AvailableForReservation, 0);
}

// --------------------------------------------------------------------------------------- escapes

static D3DKMT_VIDMM_ESCAPE escape_data;

static D3DKMT_ESCAPE escape_args(D3DKMT_VIDMMESCAPETYPE type)
{
    memset(&escape_data, 0, sizeof escape_data);
    escape_data.Type = type;
    return (D3DKMT_ESCAPE){
        .hAdapter = world.client.adapter,
        .hDevice = world.client.device,
        .Type = D3DKMT_ESCAPE_VIDMM,
        .pPrivateDriverData = &escape_data,
        .PrivateDriverDataSize = sizeof escape_data,
    };
}

static void escape_envelopes(void)
{
    D3DKMT_ESCAPE args = escape_args(D3DKMT_VIDMMESCAPETYPE_GET_BUDGET);
    escape_data.GetBudget.NumBytesToTrim = 0x5A5A5A5A;
    watch(&escape_data, sizeof escape_data);
    wrong_pointers(&Escape, &args);
    wrong_handles(&Escape, &args, &args.hAdapter, ADAPTER);
    wrong_handles(&Escape, &args, &args.hDevice, DEVICE | OTHER_DEVICE | ZERO);
    for (int type = 0; type < 48; type++)
        if (type != D3DKMT_ESCAPE_VIDMM)
            WRONG(Escape, args, Type, (D3DKMT_ESCAPETYPE)type);
    for (int type = 1024; type < 1040; type++)
        WRONG(Escape, args, Type, (D3DKMT_ESCAPETYPE)type);
    WRONG(Escape, args, Type, (D3DKMT_ESCAPETYPE)UINT_MAX);
    wrong_bits(&Escape, &args, &args.Flags, 0);
    WRONG(Escape, args, pPrivateDriverData, NULL);
    WRONG(Escape, args, pPrivateDriverData, misaligned(&escape_data));
    WRONG(Escape, args, PrivateDriverDataSize, 0);
    WRONG(Escape, args, PrivateDriverDataSize, 8);
    WRONG(Escape, args, PrivateDriverDataSize, sizeof escape_data - 1);
    WRONG(Escape, args, PrivateDriverDataSize, sizeof escape_data + 1);
    WRONG(Escape, args, PrivateDriverDataSize, UINT_MAX);
    WRONG(Escape, args, hContext, 1);
    WRONG(Escape, args, hContext, world.client.device);
    right(&Escape, &args);
    CHECK_EQUAL(escape_data.GetBudget.NumBytesToTrim, 0);
    args.hDevice = 0;
    right(&Escape, &args);
}

static void escape_types(void)
{
    D3DKMT_ESCAPE args = escape_args(D3DKMT_VIDMMESCAPETYPE_GET_BUDGET);
    watch(&escape_data, sizeof escape_data);
    for (int type = 0; type < 64; type++)
        if (type != D3DKMT_VIDMMESCAPETYPE_SETFAULT && type != D3DKMT_VIDMMESCAPETYPE_EVICT &&
            type != D3DKMT_VIDMMESCAPETYPE_SET_BUDGET && type != D3DKMT_VIDMMESCAPETYPE_GET_BUDGET)
            WRONG_IN(Escape, args, escape_data, Type, (D3DKMT_VIDMMESCAPETYPE)type,
                     STATUS_INVALID_PARAMETER);
    WRONG_IN(Escape, args, escape_data, Type, (D3DKMT_VIDMMESCAPETYPE)UINT_MAX,
             STATUS_INVALID_PARAMETER);
}

// Which of the two faults is in force shows in what becomes of an offer that is evicted.
static void check_faults(int lost_when_offered, int lost_when_evicted)
{
    D3DKMT_HANDLE device = world.client.device;
    D3DKMT_HANDLE handle = create_one(device, BYTES);
    BOOL lost = 2;
    offer_one(device, handle, D3DKMT_OFFER_PRIORITY_LOW);
    CHECK_OK(reclaim_v1(device, &handle, 1, &lost));
    CHECK_EQUAL(lost, lost_when_offered);
    offer_one(device, handle, D3DKMT_OFFER_PRIORITY_LOW);
    evict(&world.client, 0, handle);
    CHECK_OK(reclaim_v1(device, &handle, 1, &lost));
    CHECK_EQUAL(lost, lost_when_evicted);
    CHECK_OK(destroy_list(device, &handle, 1));
}

static void escape_set_fault(void)
{
    const UINT never = 1u << 13;
    const UINT always = 1u << 14;
    D3DKMT_ESCAPE args = escape_args(D3DKMT_VIDMMESCAPETYPE_SETFAULT);
    watch(&escape_data, sizeof escape_data);
    wrong_bits(&Escape, &args, &escape_data.SetFault, never | always);
    WRONG_IN(Escape, args, escape_data, SetFault.Value, never | always, STATUS_INVALID_PARAMETER);
    check_faults(0, 1);
    escape_data.SetFault.Value = never;
    right(&Escape, &args);
    wrong_bits(&Escape, &args, &escape_data.SetFault, never);
    check_faults(0, 0);
    escape_data.SetFault.Value = always;
    right(&Escape, &args);
    wrong_bits(&Escape, &args, &escape_data.SetFault, always);
    check_faults(1, 1);
    escape_data.SetFault.Value = 0;
    right(&Escape, &args);
    check_faults(0, 1);
}

static void escape_evict(void)
{
    D3DKMT_ESCAPE args = escape_args(D3DKMT_VIDMMESCAPETYPE_EVICT);
    watch(&escape_data, sizeof escape_data);
    escape_data.Evict.AllocationHandle = world.allocations[COMMITTED];
    wrong_handles(&Escape, &args, &escape_data.Evict.AllocationHandle, ALLOCATION | ZERO);
    WRONG_IN(Escape, args, escape_data, Evict.hProcess, (HANDLE)1, STATUS_INVALID_PARAMETER);
    WRONG_IN(Escape, args, escape_data, Evict.ResourceHandle, world.resource,
             STATUS_INVALID_PARAMETER);
    // What is not offered is not touched.
    right(&Escape, &args);
    escape_data.Evict.AllocationHandle = 0;
    wrong_handles(&Escape, &args, &escape_data.Evict.ResourceHandle, RESOURCE | ZERO);
    // Without a device, whatever the process has can be named.
    args.hDevice = 0;
    wrong_handles(&Escape, &args, &escape_data.Evict.ResourceHandle,
                  RESOURCE | OTHERS_RESOURCE | ZERO);
    escape_data.Evict.ResourceHandle = world.others_resource;
    WRONG_IN(Escape, args, escape_data, Evict.hProcess, (HANDLE)1, STATUS_INVALID_PARAMETER);
    right(&Escape, &args);
}

static void escape_set_budget(void)
{
    D3DKMT_ESCAPE args = escape_args(D3DKMT_VIDMMESCAPETYPE_SET_BUDGET);
    watch(&escape_data, sizeof escape_data);
    D3DKMT_QUERYVIDEOMEMORYINFO query = {
        .hAdapter = world.client.adapter,
        .MemorySegmentGroup = D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL,
    };
    right(&QueryVideoMemoryInfo, &query);
    UINT64 noted = query.Budget;
    // None of these may cut the budget, or note anything.
    escape_data.SetBudget.SystemMemoryBudget = noted + 1;
    wrong_handles(&Escape, &args, &args.hAdapter, ADAPTER);
    wrong_bits(&Escape, &args, &args.Flags, 0);
    WRONG(Escape, args, PrivateDriverDataSize, 24);
    WRONG(Escape, args, hContext, 1);
    right(&QueryVideoMemoryInfo, &query);
    CHECK_EQUAL(query.Budget, noted);
    escape_data.SetBudget.LocalMemoryBudget = world.budget;
    right(&Escape, &args);
    right(&QueryVideoMemoryInfo, &query);
    CHECK_EQUAL(query.Budget, noted + 1);
}

int main(void)
{
    static void (*const sections[])(void) = {
        enum_adapters2,
        enum_adapters3,
        open_adapter_from_luid,
        close_adapters,
        create_device,
        destroy_device,
        create_paging_queue,
        destroy_paging_queue,
        too_many_paging_queues,
        query_video_memory_info,
        escape_envelopes,
        escape_types,
        escape_set_fault,
        escape_evict,
        escape_set_budget,
    };
    return run_sections(sections, sizeof sections / sizeof *sections);
}
