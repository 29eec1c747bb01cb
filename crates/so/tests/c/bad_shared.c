// Wrong calls that make, share and open what several processes have.

#include "world.h"

#include "shared.h"

enum { COUNT = 2 };

CALL(CreateAllocation2, D3DKMT_CREATEALLOCATION);
CALL(QueryResourceInfoFromNtHandle, D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE);
CALL(OpenResourceFromNtHandle, D3DKMT_OPENRESOURCEFROMNTHANDLE);

// ShareObjects takes no structure.
struct sharing {
    UINT count;
    const D3DKMT_HANDLE *objects;
    HANDLE *shared;
};

static NTSTATUS do_ShareObjects(void *argument)
{
    const struct sharing *s = argument;
    return D3DKMTShareObjects(s->count, s->objects, NULL, 0, s->shared);
}

static const struct call ShareObjects = {"ShareObjects", do_ShareObjects, sizeof(struct sharing), 8};

static void creations(void)
{
    D3DDDI_ALLOCATIONINFO2 infos[COUNT];
    VIDMM_ALLOCATION_DATA data[COUNT];
    D3DKMT_CREATEALLOCATION create =
        shared_creation(world.client.device, BYTES, COUNT, infos, data);
    watch(infos, sizeof infos);
    wrong_handles(&CreateAllocation2, &create, &create.hDevice, DEVICE | OTHER_DEVICE);
    wrong_handles(&CreateAllocation2, &create, &create.hResource, ZERO);
    wrong_bits(&CreateAllocation2, &create, &create.Flags,
               1u << 0 | 1u << 1 | 1u << 6 | 1u << 14 | 1u << 18);
    WRONG(CreateAllocation2, create, Flags.CreateResource, 0);
    WRONG(CreateAllocation2, create, Flags.CreateShared, 0);
    WRONG(CreateAllocation2, create, Flags.NtSecuritySharing, 0);
    WRONG(CreateAllocation2, create, NumAllocations, 0);
    WRONG(CreateAllocation2, create, NumAllocations, 1025);
    WRONG(CreateAllocation2, create, NumAllocations, UINT_MAX);
    WRONG(CreateAllocation2, create, pPrivateRuntimeData, NULL);
    WRONG(CreateAllocation2, create, pPrivateDriverData, NULL);
    WRONG(CreateAllocation2, create, PrivateRuntimeDataSize, UINT_MAX);
    WRONG(CreateAllocation2, create, PrivateRuntimeDataSize, 1 << 20);
    WRONG(CreateAllocation2, create, PrivateDriverDataSize, UINT_MAX);
    for (int i = 0; i < COUNT; i++) {
        WRONG_IN(CreateAllocation2, create, infos[i], pSystemMem, (void *)4096,
                 STATUS_INVALID_PARAMETER);
        WRONG_IN(CreateAllocation2, create, infos[i], pPrivateDriverData, NULL,
                 STATUS_INVALID_PARAMETER);
        WRONG_IN(CreateAllocation2, create, data[i], Size, 0, STATUS_INVALID_PARAMETER);
        WRONG_IN(CreateAllocation2, create, data[i], Size, UINT64_MAX, STATUS_INVALID_PARAMETER);
        WRONG_IN(CreateAllocation2, create, data[i], Size, world.budget + 1, STATUS_NO_MEMORY);
        WRONG_IN(CreateAllocation2, create, data[i], Alignment, 8192, STATUS_INVALID_PARAMETER);
        WRONG_IN(CreateAllocation2, create, data[i], Version, 2, STATUS_INVALID_PARAMETER);
    }
    right(&CreateAllocation2, &create);
    CHECK_OK(destroy_resource(world.client.device, create.hResource));
}

static void sharings(void)
{
    struct opened made = create_shared(world.client.device, BYTES, COUNT);
    D3DKMT_HANDLE object = made.resource;
    HANDLE shared = (HANDLE)0x5A5A;
    struct sharing sharing = {1, &object, &shared};
    watch(&shared, sizeof shared);
    // No resource of the world can be shared, and nothing else.
    wrong_handles(&ShareObjects, &sharing, &object, 0);
    wrong_handle(&ShareObjects, &sharing, &object, made.members[0], "a member of a shared one");
    WRONG(ShareObjects, sharing, count, 0);
    WRONG(ShareObjects, sharing, count, 2);
    WRONG(ShareObjects, sharing, count, UINT_MAX);
    WRONG(ShareObjects, sharing, objects, NULL);
    WRONG(ShareObjects, sharing, objects, misaligned(&object));
    WRONG(ShareObjects, sharing, shared, NULL);
    WRONG(ShareObjects, sharing, shared, misaligned(&shared));
    right(&ShareObjects, &sharing);
    close_shared(shared);
    CHECK_OK(destroy_resource(world.client.device, made.resource));
    doing.what = "a shared resource that is gone";
    expect_status(&ShareObjects, &sharing, STATUS_INVALID_PARAMETER);
}

// Descriptors of nothing, and of something else.
static void wrong_descriptors(const struct call *call, void *argument, HANDLE *field)
{
    HANDLE right_one = *field;
    int pipes[2];
    CHECK_EQUAL(pipe(pipes), 0);
    const intptr_t wrong[] = {-1,       INT_MIN,          INT_MAX, (intptr_t)UINT_MAX + 5,
                              pipes[0], INTPTR_MAX,       1000000, (intptr_t)0x5A5A5A5A5A5A};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        *field = (HANDLE)wrong[i];
        attempt(call, argument, STATUS_INVALID_PARAMETER, "a wrong descriptor");
    }
    close(pipes[0]);
    close(pipes[1]);
    *field = right_one;
}

static void queries(void)
{
    struct opened made = create_shared(world.client.device, BYTES, COUNT);
    HANDLE shared = share(made.resource);
    char runtime[RUNTIME_BYTES] = {0};
    D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE query = {
        .hDevice = world.client.device,
        .hNtHandle = shared,
        .pPrivateRuntimeData = runtime,
        .PrivateRuntimeDataSize = sizeof runtime,
    };
    const struct call *call = &QueryResourceInfoFromNtHandle;
    watch(runtime, sizeof runtime);
    wrong_pointers(call, &query);
    wrong_handles(call, &query, &query.hDevice, DEVICE | OTHER_DEVICE);
    wrong_descriptors(call, &query, &query.hNtHandle);
    WRONG(QueryResourceInfoFromNtHandle, query, PrivateRuntimeDataSize, RUNTIME_BYTES - 1);
    WRONG(QueryResourceInfoFromNtHandle, query, PrivateRuntimeDataSize, 0);
    right(call, &query);
    close_shared(shared);
    CHECK_OK(destroy_resource(world.client.device, made.resource));
}

static void openings(void)
{
    struct opened made = create_shared(world.client.device, BYTES, COUNT);
    HANDLE shared = share(made.resource);
    struct rooms rooms;
    D3DKMT_OPENRESOURCEFROMNTHANDLE open = opening(world.client.device, shared, COUNT, &rooms);
    const struct call *call = &OpenResourceFromNtHandle;
    watch(&rooms, sizeof rooms);
    wrong_pointers(call, &open);
    wrong_handles(call, &open, &open.hDevice, DEVICE | OTHER_DEVICE);
    wrong_descriptors(call, &open, &open.hNtHandle);
    WRONG(OpenResourceFromNtHandle, open, NumAllocations, 0);
    WRONG(OpenResourceFromNtHandle, open, NumAllocations, COUNT - 1);
    WRONG(OpenResourceFromNtHandle, open, NumAllocations, COUNT + 1);
    WRONG(OpenResourceFromNtHandle, open, NumAllocations, UINT_MAX);
    WRONG(OpenResourceFromNtHandle, open, pOpenAllocationInfo2, NULL);
    WRONG(OpenResourceFromNtHandle, open, pOpenAllocationInfo2, misaligned(rooms.infos));
    WRONG(OpenResourceFromNtHandle, open, PrivateRuntimeDataSize, RUNTIME_BYTES - 1);
    WRONG(OpenResourceFromNtHandle, open, pPrivateRuntimeData, NULL);
    WRONG(OpenResourceFromNtHandle, open, ResourcePrivateDriverDataSize, DRIVER_BYTES - 1);
    WRONG(OpenResourceFromNtHandle, open, pResourcePrivateDriverData, NULL);
    WRONG(OpenResourceFromNtHandle, open, TotalPrivateDriverDataBufferSize,
          COUNT * (UINT)sizeof rooms.data[0] - 1);
    WRONG(OpenResourceFromNtHandle, open, TotalPrivateDriverDataBufferSize, 0);
    WRONG(OpenResourceFromNtHandle, open, pTotalPrivateDriverDataBuffer, NULL);
    right(call, &open);
    CHECK_OK(destroy_resource(world.client.device, open.hResource));
    close_shared(shared);
    CHECK_OK(destroy_resource(world.client.device, made.resource));
}

// What can be done with other resources and not with one that others have too.
static void additions_and_ends(void)
{
    struct opened made = create_shared(world.client.device, BYTES, COUNT);
    VIDMM_ALLOCATION_DATA data = data_of(BYTES);
    D3DDDI_ALLOCATIONINFO2 info = {.pPrivateDriverData = &data,
                                   .PrivateDriverDataSize = sizeof data};
    D3DKMT_CREATEALLOCATION create = {.hDevice = world.client.device,
                                      .hResource = world.resource,
                                      .NumAllocations = 1,
                                      .pAllocationInfo2 = &info};
    WRONG(CreateAllocation2, create, hResource, made.resource);
    doing.call = "DestroyAllocation2";
    doing.what = "members of a shared resource";
    for (UINT count = 1; count <= COUNT; count++)
        CHECK_STATUS(destroy_list(world.client.device, made.members, count),
                     STATUS_INVALID_PARAMETER);
    void *memory = lock(world.client.device, made.members[1]);
    CHECK(is_zero(memory, BYTES));
    CHECK_STATUS(destroy_resource(world.client.device, made.resource), STATUS_INVALID_PARAMETER);
    unlock(world.client.device, made.members[1]);
    CHECK_OK(destroy_resource(world.client.device, made.resource));
}

int main(void)
{
    static void (*const sections[])(void) = {creations, sharings, queries, openings,
                                             additions_and_ends};
    return run_sections(sections, sizeof sections / sizeof *sections);
}
