/* Offers 1 MiB that could be rebuilt and reclaims it: once intact, once after a discard. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vidmm.h>
#define SIZE (1 << 20)
#define TRY(call) do { NTSTATUS s = (call); if (!NT_SUCCESS(s)) { \
    fprintf(stderr, "line %d: status 0x%08X\n", __LINE__, (unsigned)s); exit(1); } } while (0)
int main(void) {
    D3DKMT_ADAPTERINFO adapter;
    TRY(D3DKMTEnumAdapters2(&(D3DKMT_ENUMADAPTERS2){.NumAdapters = 1, .pAdapters = &adapter}));
    D3DKMT_CREATEDEVICE device = {.hAdapter = adapter.hAdapter};
    TRY(D3DKMTCreateDevice(&device));
    VIDMM_ALLOCATION_DATA data = {.Version = VIDMM_ALLOCATION_DATA_VERSION, .Size = SIZE};
    D3DDDI_ALLOCATIONINFO2 tile = {.pPrivateDriverData = &data, .PrivateDriverDataSize = sizeof data};
    TRY(D3DKMTCreateAllocation2(&(D3DKMT_CREATEALLOCATION){.hDevice = device.hDevice,
        .NumAllocations = 1, .pAllocationInfo2 = &tile}));
    D3DKMT_LOCK2 lock = {.hDevice = device.hDevice, .hAllocation = tile.hAllocation};
    D3DKMT_UNLOCK2 unlock = {.hDevice = device.hDevice, .hAllocation = tile.hAllocation};
    TRY(D3DKMTLock2(&lock));
    memset(lock.pData, 7, SIZE); /* build it */
    TRY(D3DKMTUnlock2(&unlock));
    D3DKMT_VIDMM_ESCAPE evict = {.Type = D3DKMT_VIDMMESCAPETYPE_EVICT}; /* all that is offered */
    D3DKMT_ESCAPE discard = {.hAdapter = adapter.hAdapter, .Type = D3DKMT_ESCAPE_VIDMM,
        .pPrivateDriverData = &evict, .PrivateDriverDataSize = sizeof evict};
    for (int memory_is_short = 0; memory_is_short < 2; memory_is_short++) {
        TRY(D3DKMTOfferAllocations(&(D3DKMT_OFFERALLOCATIONS){.hDevice = device.hDevice,
            .HandleList = &tile.hAllocation, .NumAllocations = 1, .Priority = D3DKMT_OFFER_PRIORITY_LOW}));
        if (memory_is_short) TRY(D3DKMTEscape(&discard));
        BOOL discarded;
        TRY(D3DKMTReclaimAllocations(&(D3DKMT_RECLAIMALLOCATIONS){.hDevice = device.hDevice,
            .HandleList = &tile.hAllocation, .NumAllocations = 1, .pDiscarded = &discarded}));
        TRY(D3DKMTLock2(&lock)); /* the address may be another now */
        if (discarded) memset(lock.pData, 7, SIZE); /* rebuild it */
        printf("%s: %d\n", discarded ? "discarded, rebuilt" : "intact", ((char *)lock.pData)[SIZE - 1]);
        TRY(D3DKMTUnlock2(&unlock));
    }
    TRY(D3DKMTDestroyDevice(&(D3DKMT_DESTROYDEVICE){.hDevice = device.hDevice})); /* and the tile */
    TRY(D3DKMTCloseAdapter(&(D3DKMT_CLOSEADAPTER){.hAdapter = adapter.hAdapter}));
}
