// Shared resources, as a program makes and opens them.

#ifndef VIDMM_TESTS_SHARED_H
#define VIDMM_TESTS_SHARED_H

#include "check.h"

#include <unistd.h>

enum { RUNTIME_BYTES = 11, DRIVER_BYTES = 5, MEMBERS_MAX = 8 };

static const char runtime_data[] = "made by one";
static const char driver_data[] = "drive";

struct opened {
    D3DKMT_HANDLE resource;
    D3DKMT_HANDLE members[MEMBERS_MAX];
};

// What makes a resource that others can open; `infos` and `data` are `count` each.
static inline D3DKMT_CREATEALLOCATION shared_creation(D3DKMT_HANDLE device, UINT64 bytes, UINT count,
                                                      D3DDDI_ALLOCATIONINFO2 *infos,
                                                      VIDMM_ALLOCATION_DATA *data)
{
    D3DKMT_CREATEALLOCATION create = {
        .hDevice = device,
        .NumAllocations = count,
        .pAllocationInfo2 = infos,
        .pPrivateRuntimeData = runtime_data,
        .PrivateRuntimeDataSize = RUNTIME_BYTES,
        .PrivateDriverDataSize = DRIVER_BYTES,
    };
    create.pPrivateDriverData = driver_data;
    create.Flags.CreateResource = 1;
    create.Flags.CreateShared = 1;
    create.Flags.NtSecuritySharing = 1;
    memset(infos, 0, count * sizeof *infos);
    for (UINT i = 0; i < count; i++) {
        data[i] = data_of(bytes);
        data[i].RebuildCostNs = 100 + i;
        infos[i].pPrivateDriverData = &data[i];
        infos[i].PrivateDriverDataSize = sizeof data[i];
    }
    return create;
}

static inline struct opened create_shared(D3DKMT_HANDLE device, UINT64 bytes, UINT count)
{
    struct opened made = {0};
    D3DDDI_ALLOCATIONINFO2 infos[MEMBERS_MAX];
    VIDMM_ALLOCATION_DATA data[MEMBERS_MAX];
    D3DKMT_CREATEALLOCATION create = shared_creation(device, bytes, count, infos, data);
    CHECK_OK(D3DKMTCreateAllocation2(&create));
    made.resource = create.hResource;
    for (UINT i = 0; i < count; i++)
        made.members[i] = infos[i].hAllocation;
    return made;
}

static inline HANDLE share(D3DKMT_HANDLE resource)
{
    HANDLE shared = NULL;
    CHECK_OK(D3DKMTShareObjects(1, &resource, NULL, 0, &shared));
    CHECK((intptr_t)shared >= 3);
    return shared;
}

static inline void close_shared(HANDLE shared)
{
    CHECK_EQUAL(close((int)(intptr_t)shared), 0);
}

struct rooms {
    D3DDDI_OPENALLOCATIONINFO2 infos[MEMBERS_MAX];
    char runtime[RUNTIME_BYTES];
    char driver[DRIVER_BYTES];
    VIDMM_ALLOCATION_DATA data[MEMBERS_MAX];
};

static inline D3DKMT_OPENRESOURCEFROMNTHANDLE opening(D3DKMT_HANDLE device, HANDLE shared, UINT count,
                                                      struct rooms *rooms)
{
    memset(rooms, 0x5A, sizeof *rooms);
    return (D3DKMT_OPENRESOURCEFROMNTHANDLE){
        .hDevice = device,
        .hNtHandle = shared,
        .NumAllocations = count,
        .pOpenAllocationInfo2 = rooms->infos,
        .PrivateRuntimeDataSize = RUNTIME_BYTES,
        .pPrivateRuntimeData = rooms->runtime,
        .ResourcePrivateDriverDataSize = DRIVER_BYTES,
        .pResourcePrivateDriverData = rooms->driver,
        .TotalPrivateDriverDataBufferSize = count * (UINT)sizeof rooms->data[0],
        .pTotalPrivateDriverDataBuffer = rooms->data,
        .hKeyedMutex = 7,
        .hSyncObject = 7,
    };
}

// Asks what there is, opens it, and checks that everything its maker left is there.
static inline struct opened open_shared(D3DKMT_HANDLE device, HANDLE shared, UINT64 bytes)
{
    char runtime[RUNTIME_BYTES + 3] = {0};
    D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE query = {
        .hDevice = device,
        .hNtHandle = shared,
        .pPrivateRuntimeData = runtime,
        .PrivateRuntimeDataSize = sizeof runtime,
    };
    CHECK_OK(D3DKMTQueryResourceInfoFromNtHandle(&query));
    CHECK_EQUAL(query.PrivateRuntimeDataSize, RUNTIME_BYTES);
    CHECK_EQUAL(query.ResourcePrivateDriverDataSize, DRIVER_BYTES);
    CHECK(query.NumAllocations <= MEMBERS_MAX);
    CHECK_EQUAL(query.TotalPrivateDriverDataSize,
                query.NumAllocations * sizeof(VIDMM_ALLOCATION_DATA));
    CHECK(memcmp(runtime, runtime_data, RUNTIME_BYTES) == 0);

    struct rooms rooms;
    struct opened opened = {0};
    D3DKMT_OPENRESOURCEFROMNTHANDLE open = opening(device, shared, query.NumAllocations, &rooms);
    CHECK_OK(D3DKMTOpenResourceFromNtHandle(&open));
    CHECK(open.hResource != 0);
    CHECK_EQUAL(open.hKeyedMutex, 0);
    CHECK_EQUAL(open.hSyncObject, 0);
    CHECK(memcmp(rooms.runtime, runtime_data, RUNTIME_BYTES) == 0);
    CHECK(memcmp(rooms.driver, driver_data, DRIVER_BYTES) == 0);
    opened.resource = open.hResource;
    for (UINT i = 0; i < query.NumAllocations; i++) {
        const VIDMM_ALLOCATION_DATA *data = rooms.infos[i].pPrivateDriverData;
        CHECK(data == &rooms.data[i]);
        CHECK_EQUAL(rooms.infos[i].PrivateDriverDataSize, sizeof *data);
        CHECK_EQUAL(data->Size, bytes);
        CHECK_EQUAL(data->RebuildCostNs, 100 + i);
        opened.members[i] = rooms.infos[i].hAllocation;
    }
    return opened;
}

#endif
