// Offers four tiles as one list and reclaims them: once all intact, once with one discarded.
#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <vector>
#include <vidmm.h>
constexpr UINT kTiles = 4, kBytes = 1 << 20;
// Each function takes the address of one structure; what it writes there comes back by value.
template <class Function, class Args> Args call(Function function, Args args) {
    return NT_SUCCESS(function(&args)) ? args : throw std::runtime_error("vidmm refused a call");
}
struct Adapter {
    D3DKMT_ADAPTERINFO info{};
    Adapter() { call(D3DKMTEnumAdapters2, D3DKMT_ENUMADAPTERS2{1, &info}); }
    Adapter(const Adapter &) = delete;
    ~Adapter() { call(D3DKMTCloseAdapter, D3DKMT_CLOSEADAPTER{info.hAdapter}); }
};
struct Device : Adapter {
    D3DKMT_CREATEDEVICE made{};
    Device() { made.hAdapter = info.hAdapter, made = call(D3DKMTCreateDevice, made); }
    ~Device() { call(D3DKMTDestroyDevice, D3DKMT_DESTROYDEVICE{made.hDevice}); }
};
struct Tile {
    D3DKMT_HANDLE adapter, device, handle;
    explicit Tile(const Device &owner) : adapter(owner.info.hAdapter), device(owner.made.hDevice) {
        VIDMM_ALLOCATION_DATA data{VIDMM_ALLOCATION_DATA_VERSION, 0, kBytes, 0, 0};
        D3DDDI_ALLOCATIONINFO2 info{0, {}, &data, sizeof data, 0, {}, 0, {}, {}};
        D3DKMT_CREATEALLOCATION create{};
        create.hDevice = device, create.NumAllocations = 1, create.pAllocationInfo2 = &info;
        call(D3DKMTCreateAllocation2, create), handle = info.hAllocation;
    }
    Tile(const Tile &) = delete;
    ~Tile() { call(D3DKMTDestroyAllocation, D3DKMT_DESTROYALLOCATION{device, 0, &handle, 1}); }
    void build() const {
        const D3DKMT_LOCK2 lock = call(D3DKMTLock2, D3DKMT_LOCK2{device, handle, {}, nullptr});
        std::fill_n(static_cast<char *>(lock.pData), kBytes, '7');
        call(D3DKMTUnlock2, D3DKMT_UNLOCK2{device, handle});
    }
    void discard() const { // as a shortage of memory could while it is offered
        D3DKMT_VIDMM_ESCAPE evict{D3DKMT_VIDMMESCAPETYPE_EVICT, {}};
        evict.Evict.AllocationHandle = handle;
        call(D3DKMTEscape, D3DKMT_ESCAPE{adapter, 0, D3DKMT_ESCAPE_VIDMM, {}, &evict, sizeof evict, 0});
    }
};
int main() {
    const Device device;
    const Tile tiles[kTiles] = {Tile(device), Tile(device), Tile(device), Tile(device)};
    std::vector<D3DKMT_HANDLE> list;
    for (const Tile &tile : tiles) tile.build(), list.push_back(tile.handle);
    std::vector<BOOL> lost(kTiles);
    for (bool memory_is_short : {false, true}) {
        call(D3DKMTOfferAllocations, D3DKMT_OFFERALLOCATIONS{device.made.hDevice, nullptr,
             list.data(), kTiles, D3DKMT_OFFER_PRIORITY_NORMAL, {}});
        if (memory_is_short) tiles[2].discard();
        call(D3DKMTReclaimAllocations, D3DKMT_RECLAIMALLOCATIONS{device.made.hDevice, nullptr,
             list.data(), lost.data(), kTiles});
        for (UINT i = 0; i < kTiles; ++i) if (lost[i]) tiles[i].build();
        std::printf("%td of %u rebuilt\n", std::count(lost.begin(), lost.end(), 1), kTiles);
    }
}
