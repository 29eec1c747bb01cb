// A tester's knobs, the four commands of the escape VIDMM: what they do, what they leave alone, and
// that their memory really comes and goes.

#include "check.h"

enum { BYTES = 1 << 20, COUNT = 16 };

// Never 0, which would clear the faults.
enum { NEVER = 1 << 13, ALWAYS = 1 << 14 };

static struct client client;
static D3DKMT_HANDLE list[COUNT];
static BOOL discarded[COUNT];

static void write_all(void)
{
    for (uint64_t i = 0; i < COUNT; i++)
        write_content(client.device, list[i], BYTES, i);
}

static void offer_all(D3DKMT_OFFER_PRIORITY priority)
{
    CHECK_OK(offer_with(client.device, list, COUNT, priority, 0));
}

// Reclaims all, says how many were lost, and looks whether the others hold what they should.
static UINT reclaim_all(void)
{
    CHECK_OK(reclaim_v1(client.device, list, COUNT, discarded));
    UINT lost = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK(discarded[i] == 1 || content_is(client.device, list[i], BYTES, i));
        lost += (UINT)discarded[i];
    }
    return lost;
}

static int is_about(uint64_t bytes, uint64_t wanted)
{
    return bytes + (1 << 20) >= wanted && bytes <= wanted + (1 << 20);
}

static void never_keeps_what_is_offered(void)
{
    set_fault(&client, NEVER);
    offer_all(D3DKMT_OFFER_PRIORITY_LOW);
    uint64_t before = resident_bytes();
    evict(&client, 0, 0);
    evict(&client, 0, list[3]);
    set_budget(&client, BYTES);
    CHECK_EQUAL(bytes_to_trim(&client), (COUNT - 1) * (UINT64)BYTES);
    D3DKMT_HANDLE more = 0;
    CHECK_STATUS(create_with(client.device, NULL, BYTES, 1, &more), STATUS_NO_MEMORY);
    CHECK(is_about(resident_bytes(), before));
    CHECK_EQUAL(reclaim_all(), 0);
    set_budget(&client, COUNT * (UINT64)BYTES);
    CHECK_EQUAL(bytes_to_trim(&client), 0);
    set_fault(&client, 0);
    // Afterwards all is as usual.
    offer_all(D3DKMT_OFFER_PRIORITY_LOW);
    set_budget(&client, (COUNT - 5) * (UINT64)BYTES);
    CHECK_EQUAL(bytes_to_trim(&client), 0);
    set_budget(&client, COUNT * (UINT64)BYTES);
    CHECK_EQUAL(reclaim_all(), 5);
    write_all();
}

static void always_discards_each_offer(void)
{
    set_fault(&client, ALWAYS);
    uint64_t before = resident_bytes();
    offer_one(client.device, list[0], D3DKMT_OFFER_PRIORITY_HIGH);
    CHECK_OK(offer_with(client.device, list + 1, COUNT - 2, 3, 0));
    CHECK(is_about(resident_bytes() + (COUNT - 1) * (uint64_t)BYTES, before));
    CHECK_EQUAL(reclaim_all(), COUNT - 1);
    CHECK_EQUAL(discarded[COUNT - 1], 0); // that one was not offered
    write_all();
    D3DKMT_HANDLE members[2];
    set_budget(&client, (COUNT + 2) * (UINT64)BYTES);
    D3DKMT_HANDLE resource = create_resource(client.device, BYTES, 2, members);
    D3DKMT_OFFERALLOCATIONS offer = {.hDevice = client.device, .pResources = &resource,
                                     .NumAllocations = 1, .Priority = 3};
    CHECK_OK(D3DKMTOfferAllocations(&offer));
    BOOL lost = 0;
    D3DKMT_RECLAIMALLOCATIONS reclaim = {.hDevice = client.device, .pResources = &resource,
                                         .pDiscarded = &lost, .NumAllocations = 1};
    CHECK_OK(D3DKMTReclaimAllocations(&reclaim));
    CHECK_EQUAL(lost, 1);
    CHECK_OK(destroy_resource(client.device, resource));
    set_fault(&client, 0);
    offer_all(D3DKMT_OFFER_PRIORITY_HIGH);
    CHECK_EQUAL(reclaim_all(), 0);
}

static void evict_takes_what_is_named(void)
{
    D3DKMT_HANDLE members[4];
    set_budget(&client, (COUNT + 4) * (UINT64)BYTES);
    D3DKMT_HANDLE resource = create_resource(client.device, BYTES, 4, members);
    for (uint64_t i = 0; i < 4; i++)
        write_content(client.device, members[i], BYTES, 100 + i);
    offer_all(D3DKMT_OFFER_PRIORITY_HIGH);
    CHECK_OK(offer_with(client.device, members, 3, 3, 0));
    uint64_t before = resident_bytes();
    evict(&client, 0, list[7]);
    CHECK(is_about(resident_bytes() + BYTES, before));
    evict(&client, resource, 0);
    CHECK(is_about(resident_bytes() + 4 * (uint64_t)BYTES, before));
    CHECK_OK(reclaim_v1(client.device, members, 4, discarded));
    for (uint64_t i = 0; i < 4; i++)
        CHECK_EQUAL(discarded[i], i < 3); // the last was not offered
    CHECK(content_is(client.device, members[3], BYTES, 103));
    CHECK_EQUAL(reclaim_all(), 1);
    CHECK_EQUAL(discarded[7], 1);
    offer_all(D3DKMT_OFFER_PRIORITY_HIGH);
    evict(&client, 0, 0);
    CHECK_EQUAL(reclaim_all(), COUNT);
    CHECK_OK(destroy_resource(client.device, resource));
    write_all();
}

static void the_budget_is_set_and_told(void)
{
    UINT64 bytes = COUNT * (UINT64)BYTES;
    set_budget(&client, bytes);
    CHECK_EQUAL(memory_info(client.adapter).Budget, bytes);
    set_budget(&client, BYTES);
    CHECK_EQUAL(bytes_to_trim(&client), bytes - BYTES); // nothing is offered
    for (uint64_t i = 0; i < COUNT; i++)
        CHECK(content_is(client.device, list[i], BYTES, i));
    set_budget(&client, bytes);
    CHECK_EQUAL(bytes_to_trim(&client), 0);

    D3DKMT_VIDMM_ESCAPE data = {.Type = D3DKMT_VIDMMESCAPETYPE_SET_BUDGET};
    data.SetBudget.LocalMemoryBudget = bytes;
    data.SetBudget.SystemMemoryBudget = 12345;
    CHECK_OK(escape(&client, &data));
    D3DKMT_QUERYVIDEOMEMORYINFO query = {
        .hAdapter = client.adapter, .MemorySegmentGroup = D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL};
    CHECK_OK(D3DKMTQueryVideoMemoryInfo(&query));
    CHECK_EQUAL(query.Budget, 12345);
    CHECK_EQUAL(query.CurrentUsage, 0);
}

// SynchronousDestroy gives the memory back to the kernel; without it, it is kept for the next.
static void destroyed_memory_goes_back_if_asked(void)
{
    uint64_t before = resident_bytes();
    D3DKMT_DESTROYALLOCATION2 destroy = {
        .hDevice = client.device, .phAllocationList = list, .AllocationCount = COUNT / 2};
    CHECK_OK(D3DKMTDestroyAllocation2(&destroy));
    CHECK(is_about(resident_bytes(), before));
    create_many(client.device, BYTES, COUNT / 2, list);
    write_all();
    CHECK(is_about(resident_bytes(), before)); // the same memory
    destroy.Flags.SynchronousDestroy = 1;
    CHECK_OK(D3DKMTDestroyAllocation2(&destroy));
    CHECK(is_about(resident_bytes() + COUNT / 2 * (uint64_t)BYTES, before));
}

int main(void)
{
    client = open_client();
    set_budget(&client, COUNT * (UINT64)BYTES);
    create_many(client.device, BYTES, COUNT, list);
    write_all();
    never_keeps_what_is_offered();
    always_discards_each_offer();
    evict_takes_what_is_named();
    the_budget_is_set_and_told();
    destroyed_memory_goes_back_if_asked();
    close_client(&client);
    printf("all knobs work\n");
    return 0;
}
