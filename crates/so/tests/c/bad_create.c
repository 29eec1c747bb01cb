// Wrong calls that create allocations.

#include "world.h"

CALL(CreateAllocation, D3DKMT_CREATEALLOCATION);
CALL(CreateAllocation2, D3DKMT_CREATEALLOCATION);

enum { INFOS = 3, LIST_MAX = 10240, PAGE = 4096 };

// The two versions take lists of different items, which begin alike.
union info {
    D3DDDI_ALLOCATIONINFO common;
    D3DDDI_ALLOCATIONINFO2 v2;
};

// A call that would create, if nothing in it were wrong.
struct creation {
    const struct call *call;
    D3DKMT_CREATEALLOCATION args;
    VIDMM_ALLOCATION_DATA data[INFOS];
    D3DDDI_ALLOCATIONINFO infos[INFOS];
    union info infos2[INFOS];
};

static D3DDDI_ALLOCATIONINFO *info_of(struct creation *c, int i)
{
    return c->call == &CreateAllocation ? &c->infos[i] : &c->infos2[i].common;
}

static void set_up(struct creation *c, const struct call *call)
{
    memset(c, 0, sizeof *c);
    c->call = call;
    for (int i = 0; i < INFOS; i++) {
        c->data[i] = data_of(BYTES);
        info_of(c, i)->hAllocation = 0x5A5A5A5A;
        info_of(c, i)->pPrivateDriverData = &c->data[i];
        info_of(c, i)->PrivateDriverDataSize = sizeof c->data[i];
    }
    c->args.hDevice = world.client.device;
    c->args.NumAllocations = INFOS;
    if (call == &CreateAllocation)
        c->args.pAllocationInfo = c->infos;
    else
        c->args.pAllocationInfo2 = &c->infos2[0].v2;
    watch(c->infos, sizeof c->infos);
    watch(c->infos2, sizeof c->infos2);
    watch(c->data, sizeof c->data);
}

// With nothing wrong it does create, and what it made is destroyed again.
static void create_rightly(struct creation *c)
{
    D3DKMT_HANDLE handles[INFOS] = {0};
    right(c->call, &c->args);
    for (UINT i = 0; i < c->args.NumAllocations; i++)
        handles[i] = info_of(c, (int)i)->hAllocation;
    if (c->args.Flags.CreateResource)
        CHECK_OK(destroy_resource(c->args.hDevice, c->args.hResource));
    else
        CHECK_OK(destroy_list(c->args.hDevice, handles, c->args.NumAllocations));
    for (UINT i = 0; i < c->args.NumAllocations; i++)
        CHECK_STATUS(try_unlock(c->args.hDevice, handles[i]), STATUS_INVALID_PARAMETER);
}

// ---------------------------------------------------------------------------------------- create

static void wrong_arguments(const struct call *call)
{
    struct creation c;
    set_up(&c, call);
    wrong_pointers(call, &c.args);
    wrong_handles(call, &c.args, &c.args.hDevice, DEVICE | OTHER_DEVICE);
    wrong_handles(call, &c.args, &c.args.hResource, RESOURCE | ZERO);
    WRONG(*call, c.args, NumAllocations, 0);
    WRONG(*call, c.args, NumAllocations, UINT_MAX);
    WRONG(*call, c.args, pAllocationInfo, NULL);
    WRONG(*call, c.args, pAllocationInfo, misaligned(c.args.pAllocationInfo));
    WRONG(*call, c.args, PrivateRuntimeDataSize, 1);
    WRONG(*call, c.args, PrivateRuntimeDataSize, UINT_MAX);
    create_rightly(&c);
}

static void wrong_flags(const struct call *call)
{
    struct creation c;
    const UINT create_resource = 1u << 0;
    const UINT zeroed = 1u << 14;
    const UINT allow_not_zeroed = 1u << 18;
    set_up(&c, call);
    wrong_bits(call, &c.args, &c.args.Flags, create_resource | zeroed | allow_not_zeroed);
    c.args.Flags.Zeroed = 1;
    WRONG(*call, c.args, Flags.AllowNotZeroed, 1);
    c.args.Flags.CreateResource = 1;
    WRONG(*call, c.args, Flags.AllowNotZeroed, 1);
    create_rightly(&c);
}

// The two forms of one more thing that the driver's data for a resource could be: there is none.
static void wrong_resources(const struct call *call)
{
    struct creation c;
    char data[32] = {0};
    set_up(&c, call);
    c.args.Flags.CreateResource = 1;
    wrong_handles(call, &c.args, &c.args.hResource, ZERO);
    c.args.pPrivateDriverData = data;
    WRONG(*call, c.args, PrivateDriverDataSize, 1);
    WRONG(*call, c.args, PrivateDriverDataSize, sizeof data);
    c.args.pPrivateDriverData = NULL;
    WRONG(*call, c.args, PrivateDriverDataSize, sizeof data);
    WRONG(*call, c.args, NumAllocations, UINT_MAX);
    create_rightly(&c);
}

static void wrong_info(struct creation *c, int i)
{
    D3DDDI_ALLOCATIONINFO *info = info_of(c, i);
    UINT allowed_bits = c->call == &CreateAllocation ? 0 : 1u << 2;
    WRONG_IN(*c->call, c->args, *info, pPrivateDriverData, NULL, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *info, PrivateDriverDataSize, 0, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *info, PrivateDriverDataSize, 31, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *info, PrivateDriverDataSize, 33, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *info, PrivateDriverDataSize, UINT_MAX, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *info, VidPnSourceId, 1, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *info, VidPnSourceId, 0xFFFFFFFE, STATUS_INVALID_PARAMETER);
    wrong_bits(c->call, &c->args, &info->Flags, allowed_bits);
}

static void wrong_data(struct creation *c, int i)
{
    VIDMM_ALLOCATION_DATA *data = &c->data[i];
    WRONG_IN(*c->call, c->args, *data, Version, 0, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *data, Version, 2, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *data, Version, UINT_MAX, STATUS_INVALID_PARAMETER);
    wrong_bits(c->call, &c->args, &data->Flags, 0);
    WRONG_IN(*c->call, c->args, *data, Size, 0, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *data, Size, world.budget + 1, STATUS_NO_MEMORY);
    WRONG_IN(*c->call, c->args, *data, Size, 1ull << 63, STATUS_NO_MEMORY);
    WRONG_IN(*c->call, c->args, *data, Size, UINT64_MAX, STATUS_NO_MEMORY);
    WRONG_IN(*c->call, c->args, *data, Alignment, 3, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *data, Alignment, 4096 + 8, STATUS_INVALID_PARAMETER);
    WRONG_IN(*c->call, c->args, *data, Alignment, UINT64_MAX, STATUS_INVALID_PARAMETER);
}

// The first and the last: those before it are not created either.
static void wrong_items(const struct call *call)
{
    struct creation c;
    set_up(&c, call);
    for (int i = 0; i < INFOS; i += INFOS - 1) {
        wrong_info(&c, i);
        wrong_data(&c, i);
    }
    info_of(&c, 0)->VidPnSourceId = 0xFFFFFFFF;
    create_rightly(&c);
}

static void create_wrongly(void (*section)(const struct call *))
{
    section(&CreateAllocation);
    unwatch();
    section(&CreateAllocation2);
    unwatch();
}

static void create_arguments(void)
{
    create_wrongly(wrong_arguments);
}

static void create_flags(void)
{
    create_wrongly(wrong_flags);
}

static void create_resources(void)
{
    create_wrongly(wrong_resources);
}

static void create_items(void)
{
    create_wrongly(wrong_items);
}

// ------------------------------------------------------------------- memory that exists already

static _Alignas(PAGE) unsigned char pages[INFOS][BYTES];

// Allocations over the program's own memory: all of them are, or none.
static void wrong_system_memory(const struct call *call)
{
    struct creation c;
    set_up(&c, call);
    c.args.Flags.ExistingSysMem = 1;
    attempt(call, &c.args, STATUS_INVALID_PARAMETER, "existing memory that nothing names");
    for (int i = 0; i < INFOS; i++) {
        fill(pages[i], BYTES, 200 + (uint64_t)i);
        info_of(&c, i)->pSystemMem = pages[i];
    }
    for (int i = 0; i < INFOS; i++) {
        D3DDDI_ALLOCATIONINFO *info = info_of(&c, i);
        WRONG_IN(*call, c.args, *info, pSystemMem, NULL, STATUS_INVALID_PARAMETER);
        WRONG_IN(*call, c.args, *info, pSystemMem, pages[i] + 1, STATUS_INVALID_PARAMETER);
        WRONG_IN(*call, c.args, *info, pSystemMem, pages[i] + PAGE / 2, STATUS_INVALID_PARAMETER);
    }
    wrong_bits(call, &c.args, &c.args.Flags, 1u << 0 | 1u << 5);
    UINT64 usage = memory_info(world.client.adapter).CurrentUsage;
    right(call, &c.args);
    CHECK_EQUAL(memory_info(world.client.adapter).CurrentUsage, usage);
    for (int i = 0; i < INFOS; i++) {
        D3DKMT_HANDLE handle = info_of(&c, i)->hAllocation;
        CHECK(lock(world.client.device, handle) == pages[i]);
        unlock(world.client.device, handle);
        CHECK_OK(destroy_list(world.client.device, &handle, 1));
        CHECK(holds(pages[i], BYTES, 200 + (uint64_t)i));
    }
}

static void set_up_standard(struct creation *c, const struct call *call,
                            D3DKMT_CREATESTANDARDALLOCATION *standard)
{
    set_up(c, call);
    *standard = (D3DKMT_CREATESTANDARDALLOCATION){
        .Type = D3DKMT_STANDARDALLOCATIONTYPE_EXISTINGHEAP, .ExistingHeapData = {.Size = BYTES}};
    c->args.NumAllocations = 1;
    c->args.pStandardAllocation = standard;
    c->args.Flags.CreateResource = 1;
    c->args.Flags.CreateShared = 1;
    c->args.Flags.CrossAdapter = 1;
    c->args.Flags.ExistingSysMem = 1;
    c->args.Flags.StandardAllocation = 1;
    info_of(c, 0)->pSystemMem = pages[0];
    info_of(c, 0)->pPrivateDriverData = NULL;
    info_of(c, 0)->PrivateDriverDataSize = 0;
}

static void wrong_standard(const struct call *call)
{
    struct creation c;
    D3DKMT_CREATESTANDARDALLOCATION standard;
    set_up_standard(&c, call, &standard);
    D3DDDI_ALLOCATIONINFO *info = info_of(&c, 0);
    D3DKMT_STANDARDALLOCATIONTYPE internal = D3DKMT_STANDARDALLOCATIONTYPE_INTERNALBACKINGSTORE;
    WRONG_IN(*call, c.args, standard, Type, (D3DKMT_STANDARDALLOCATIONTYPE)0,
             STATUS_INVALID_PARAMETER);
    WRONG_IN(*call, c.args, standard, Type, internal, STATUS_INVALID_PARAMETER);
    WRONG_IN(*call, c.args, standard, Type, (D3DKMT_STANDARDALLOCATIONTYPE)3,
             STATUS_INVALID_PARAMETER);
    WRONG_IN(*call, c.args, standard, ExistingHeapData.Size, 0, STATUS_INVALID_PARAMETER);
    WRONG_IN(*call, c.args, standard, ExistingHeapData.Size, 1, STATUS_INVALID_PARAMETER);
    WRONG_IN(*call, c.args, standard, ExistingHeapData.Size, PAGE + 1, STATUS_INVALID_PARAMETER);
    wrong_bits(call, &c.args, &standard.Flags, 0);
    WRONG(*call, c.args, pStandardAllocation, NULL);
    WRONG(*call, c.args, pStandardAllocation, misaligned(&standard));
    WRONG(*call, c.args, NumAllocations, 0);
    WRONG(*call, c.args, NumAllocations, 2);
    WRONG_IN(*call, c.args, *info, pSystemMem, NULL, STATUS_INVALID_PARAMETER);
    WRONG_IN(*call, c.args, *info, pSystemMem, pages[0] + 8, STATUS_INVALID_PARAMETER);
    info->pPrivateDriverData = &c.data[0];
    WRONG_IN(*call, c.args, *info, PrivateDriverDataSize, sizeof c.data[0],
             STATUS_INVALID_PARAMETER);
    info->pPrivateDriverData = NULL;
    create_rightly(&c);
    set_up_standard(&c, call, &standard);
    c.args.Flags.NtSecuritySharing = 1;
    create_rightly(&c);
}

// Each of its flags belongs to it, and no other does.
static void wrong_standard_flags(const struct call *call)
{
    struct creation c;
    D3DKMT_CREATESTANDARDALLOCATION standard;
    set_up_standard(&c, call, &standard);
    UINT its_own = 1u << 0 | 1u << 1 | 1u << 5 | 1u << 6 | 1u << 11 | 1u << 16;
    wrong_bits(call, &c.args, &c.args.Flags, its_own);
    WRONG(*call, c.args, Flags.CreateResource, 0);
    WRONG(*call, c.args, Flags.CreateShared, 0);
    WRONG(*call, c.args, Flags.CrossAdapter, 0);
    WRONG(*call, c.args, Flags.ExistingSysMem, 0);
    WRONG(*call, c.args, Flags.StandardAllocation, 0);
    create_rightly(&c);
}

static void create_over_system_memory(void)
{
    create_wrongly(wrong_system_memory);
}

static void create_standard(void)
{
    create_wrongly(wrong_standard);
}

static void create_standard_flags(void)
{
    create_wrongly(wrong_standard_flags);
}

// ------------------------------------------------------------------------------------ long lists

// A list of `count`, all right.
static D3DKMT_CREATEALLOCATION long_creation(VIDMM_ALLOCATION_DATA *data, UINT count)
{
    D3DDDI_ALLOCATIONINFO2 *infos = allocated(count, sizeof *infos);
    for (UINT i = 0; i < count; i++) {
        infos[i].pPrivateDriverData = data;
        infos[i].PrivateDriverDataSize = sizeof *data;
    }
    return (D3DKMT_CREATEALLOCATION){
        .hDevice = world.client.device, .NumAllocations = count, .pAllocationInfo2 = infos};
}

static void destroy_created(const D3DKMT_CREATEALLOCATION *args)
{
    D3DKMT_HANDLE *handles = allocated(args->NumAllocations, sizeof *handles);
    for (UINT i = 0; i < args->NumAllocations; i++)
        handles[i] = args->pAllocationInfo2[i].hAllocation;
    CHECK_OK(destroy_list(args->hDevice, handles, args->NumAllocations));
    free(handles);
}

static void create_longest(void)
{
    VIDMM_ALLOCATION_DATA data = data_of(1);
    D3DKMT_CREATEALLOCATION args = long_creation(&data, LIST_MAX + 1);
    watch(args.pAllocationInfo2, (LIST_MAX + 1) * sizeof *args.pAllocationInfo2);
    attempt(&CreateAllocation2, &args, STATUS_INVALID_PARAMETER, "a list of 10,241");
    args.Flags.CreateResource = 1;
    attempt(&CreateAllocation2, &args, STATUS_INVALID_PARAMETER, "10,241 members");
    args.Flags.CreateResource = 0;
    args.NumAllocations = LIST_MAX;
    right(&CreateAllocation2, &args);
    destroy_created(&args);
    free(args.pAllocationInfo2);
}

static void create_thousand(void)
{
    VIDMM_ALLOCATION_DATA data = data_of(BYTES);
    VIDMM_ALLOCATION_DATA wrong = data_of(0);
    D3DKMT_CREATEALLOCATION args = long_creation(&data, 1000);
    watch(args.pAllocationInfo2, 1000 * sizeof *args.pAllocationInfo2);
    UINT64 usage = memory_info(world.client.adapter).CurrentUsage;
    D3DDDI_ALLOCATIONINFO2 *info = &args.pAllocationInfo2[900];
    WRONG_IN(CreateAllocation2, args, *info, PrivateDriverDataSize, 16, STATUS_INVALID_PARAMETER);
    WRONG_IN(CreateAllocation2, args, *info, pPrivateDriverData, &wrong,
             STATUS_INVALID_PARAMETER);
    WRONG_IN(CreateAllocation2, args, *info, VidPnSourceId, 900, STATUS_INVALID_PARAMETER);
    CHECK_EQUAL(memory_info(world.client.adapter).CurrentUsage, usage);
    right(&CreateAllocation2, &args);
    destroy_created(&args);
    free(args.pAllocationInfo2);
}

// Each fits and all together do not: none is created, and no room is lost.
static void create_too_much(void)
{
    D3DKMT_HANDLE handles[3];
    UINT64 bytes = world.budget / 3 & ~(UINT64)(PAGE - 1);
    // What is offered would be asked to make room, so the call must not come near it.
    set_fault(&world.client, 1u << 13);
    D3DKMT_HANDLE resource = 0;
    CHECK_STATUS(create_with(world.client.device, NULL, bytes, 3, handles), STATUS_NO_MEMORY);
    CHECK_STATUS(create_with(world.client.device, &resource, bytes, 3, handles), STATUS_NO_MEMORY);
    CHECK_EQUAL(resource, 0);
    CHECK_STATUS(create_with(world.client.device, &world.resource, bytes, 3, handles),
                 STATUS_NO_MEMORY);
    create_many(world.client.device, bytes, 2, handles);
    CHECK_OK(destroy_list(world.client.device, handles, 2));
    set_fault(&world.client, 0);
}

int main(void)
{
    static void (*const sections[])(void) = {
        create_arguments,
        create_flags,
        create_resources,
        create_items,
        create_over_system_memory,
        create_standard,
        create_standard_flags,
        create_longest,
        create_thousand,
        create_too_much,
    };
    return run_sections(sections, sizeof sections / sizeof *sections);
}
