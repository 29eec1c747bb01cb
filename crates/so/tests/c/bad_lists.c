// Wrong calls on what is there: locks, priorities, offers and reclaims.

#include "world.h"

CALL(Lock2, D3DKMT_LOCK2);
CALL(Unlock2, D3DKMT_UNLOCK2);
CALL(SetAllocationPriority, D3DKMT_SETALLOCATIONPRIORITY);
CALL(OfferAllocations, D3DKMT_OFFERALLOCATIONS);
CALL(ReclaimAllocations, D3DKMT_RECLAIMALLOCATIONS);
CALL(ReclaimAllocations2, D3DKMT_RECLAIMALLOCATIONS2);

enum { LIST_MAX = 10240, THOUSAND = 1000, PLACE = 900 };

// What the lists of this file are made of; answers begin untouched.
static D3DKMT_HANDLE list[LIST_MAX + 1];
static D3DKMT_HANDLE resources[LIST_MAX + 1];
static UINT priorities[LIST_MAX + 1];
static UINT answers[LIST_MAX + 1];

static void watch_lists(void)
{
    memset(answers, 0x5A, sizeof answers);
    watch(list, sizeof list);
    watch(resources, sizeof resources);
    watch(priorities, sizeof priorities);
    watch(answers, sizeof answers);
}

// `count` names of the same committed allocation, and of the same resource.
static void repeat_names(UINT count)
{
    for (UINT i = 0; i < count; i++) {
        list[i] = world.allocations[COMMITTED];
        resources[i] = world.resource;
        priorities[i] = 1;
    }
}

// ----------------------------------------------------------------------------------------- locks

static void lock2(void)
{
    D3DKMT_LOCK2 args = {
        .hDevice = world.client.device,
        .hAllocation = world.allocations[COMMITTED],
        .pData = (void *)0x5A5A5A5A,
    };
    wrong_pointers(&Lock2, &args);
    wrong_handles(&Lock2, &args, &args.hDevice, DEVICE);
    wrong_handles(&Lock2, &args, &args.hAllocation, ALLOCATION);
    wrong_bits(&Lock2, &args, &args.Flags, 0);
    for (int state = OFFERED_LOW; state <= DEAD; state++)
        WRONG(Lock2, args, hAllocation, world.allocations[state]);
    WRONG(Lock2, args, hAllocation, world.allocations[MEMBER_OFFERED]);
    WRONG(Lock2, args, hAllocation, world.allocations[MEMBER_DISCARDED]);
    right(&Lock2, &args);
    CHECK(holds(args.pData, BYTES, COMMITTED));
    unlock(args.hDevice, args.hAllocation);
}

// Locks nest, as deep as sixteen bits count.
static void lock2_too_often(void)
{
    enum { LOCKS_MAX = 65535 };
    D3DKMT_LOCK2 args = {
        .hDevice = world.client.device,
        .hAllocation = create_one(world.client.device, BYTES),
    };
    void *first = lock(args.hDevice, args.hAllocation);
    for (int i = 1; i < LOCKS_MAX; i++)
        CHECK(lock(args.hDevice, args.hAllocation) == first);
    attempt(&Lock2, &args, STATUS_GRAPHICS_TOO_MANY_REFERENCES, "a lock too many");
    for (int i = 0; i < LOCKS_MAX; i++)
        unlock(args.hDevice, args.hAllocation);
    CHECK_STATUS(try_unlock(args.hDevice, args.hAllocation), STATUS_INVALID_PARAMETER);
    CHECK_OK(destroy_list(args.hDevice, &args.hAllocation, 1));
}

static void unlock2(void)
{
    D3DKMT_UNLOCK2 args = {
        .hDevice = world.client.device,
        .hAllocation = world.allocations[LOCKED],
    };
    wrong_pointers(&Unlock2, &args);
    wrong_handles(&Unlock2, &args, &args.hDevice, DEVICE);
    // What is not locked is as wrong as what is none.
    wrong_handles(&Unlock2, &args, &args.hAllocation, 0);
    for (int state = OFFERED_LOW; state < STATES; state++)
        WRONG(Unlock2, args, hAllocation, world.allocations[state]);
    lock(args.hDevice, args.hAllocation);
    right(&Unlock2, &args);
}

// ------------------------------------------------------------------------------------ priorities

static void set_allocation_priority(void)
{
    D3DKMT_SETALLOCATIONPRIORITY args = {
        .hDevice = world.client.device,
        .phAllocationList = list,
        .AllocationCount = 3,
        .pPriorities = priorities,
    };
    repeat_names(LIST_MAX + 1);
    // If a refused call set one all the same, this would sink to the lowest class.
    list[0] = world.allocations[OFFERED_AUTO];
    watch_lists();
    wrong_pointers(&SetAllocationPriority, &args);
    wrong_handles(&SetAllocationPriority, &args, &args.hDevice, DEVICE);
    WRONG(SetAllocationPriority, args, phAllocationList, NULL);
    WRONG(SetAllocationPriority, args, pPriorities, NULL);
    WRONG(SetAllocationPriority, args, phAllocationList, misaligned(list));
    WRONG(SetAllocationPriority, args, pPriorities, misaligned(priorities));
    WRONG(SetAllocationPriority, args, AllocationCount, 0);
    WRONG(SetAllocationPriority, args, AllocationCount, LIST_MAX + 1);
    WRONG(SetAllocationPriority, args, AllocationCount, UINT_MAX);
    WRONG(SetAllocationPriority, args, hResource, world.resource);
    wrong_handles(&SetAllocationPriority, &args, &list[1], ALLOCATION);
    wrong_handles(&SetAllocationPriority, &args, &list[2], ALLOCATION);
    list[0] = world.allocations[COMMITTED];
    right(&SetAllocationPriority, &args);
    args.AllocationCount = LIST_MAX;
    right(&SetAllocationPriority, &args);
}

static void set_resource_priority(void)
{
    D3DKMT_SETALLOCATIONPRIORITY args = {
        .hDevice = world.client.device,
        .hResource = world.resource,
        .pPriorities = priorities,
    };
    repeat_names(2);
    watch_lists();
    wrong_handles(&SetAllocationPriority, &args, &args.hResource, RESOURCE);
    wrong_handles(&SetAllocationPriority, &args, &args.hDevice, DEVICE);
    WRONG(SetAllocationPriority, args, pPriorities, NULL);
    WRONG(SetAllocationPriority, args, pPriorities, misaligned(priorities));
    WRONG(SetAllocationPriority, args, AllocationCount, 1);
    WRONG(SetAllocationPriority, args, phAllocationList, list);
    right(&SetAllocationPriority, &args);
}

// ---------------------------------------------------------------------------------------- offers

static D3DKMT_OFFERALLOCATIONS offer_args(void)
{
    repeat_names(LIST_MAX + 1);
    watch_lists();
    return (D3DKMT_OFFERALLOCATIONS){
        .hDevice = world.client.device,
        .HandleList = list,
        .NumAllocations = 3,
        .Priority = D3DKMT_OFFER_PRIORITY_LOW,
    };
}

static void offer(void)
{
    D3DKMT_OFFERALLOCATIONS args = offer_args();
    wrong_pointers(&OfferAllocations, &args);
    wrong_handles(&OfferAllocations, &args, &args.hDevice, DEVICE);
    WRONG(OfferAllocations, args, HandleList, NULL);
    WRONG(OfferAllocations, args, HandleList, misaligned(list));
    WRONG(OfferAllocations, args, pResources, resources);
    WRONG(OfferAllocations, args, NumAllocations, 0);
    WRONG(OfferAllocations, args, NumAllocations, LIST_MAX + 1);
    WRONG(OfferAllocations, args, NumAllocations, UINT_MAX);
    WRONG(OfferAllocations, args, Priority, (D3DKMT_OFFER_PRIORITY)0);
    WRONG(OfferAllocations, args, Priority, (D3DKMT_OFFER_PRIORITY)5);
    WRONG(OfferAllocations, args, Priority, (D3DKMT_OFFER_PRIORITY)0x80000000);
    WRONG(OfferAllocations, args, Priority, (D3DKMT_OFFER_PRIORITY)UINT_MAX);
    wrong_bits(&OfferAllocations, &args, &args.Flags, 3);
    args.Flags.Value = 3;
    wrong_bits(&OfferAllocations, &args, &args.Flags, 3);
    args.Priority = D3DKMT_OFFER_PRIORITY_HIGH;
    args.NumAllocations = LIST_MAX;
    right(&OfferAllocations, &args);
    // Back to what it was for the rest of the world.
    BOOL lost = 1;
    CHECK_OK(reclaim_v1(args.hDevice, list, 1, &lost));
    CHECK_EQUAL(lost, 0);
}

static void offer_items(void)
{
    D3DKMT_OFFERALLOCATIONS args = offer_args();
    // If a refused call offered one all the same, its class would be another.
    list[0] = world.allocations[OFFERED_HIGH];
    for (UINT i = 1; i < 3; i++) {
        wrong_handles(&OfferAllocations, &args, &list[i], ALLOCATION);
        wrong_handle(&OfferAllocations, &args, &list[i], world.allocations[LOCKED], "locked");
        wrong_handle(&OfferAllocations, &args, &list[i], world.allocations[DEAD], "dead");
    }
    args.NumAllocations = 1;
    wrong_handles(&OfferAllocations, &args, &list[0], ALLOCATION);
    wrong_handle(&OfferAllocations, &args, &list[0], world.allocations[LOCKED], "locked alone");
    wrong_handle(&OfferAllocations, &args, &list[0], world.allocations[DEAD], "dead alone");
}

// Of a list of resources the first is right and would be offered, if the second were not wrong.
static void offer_resources(void)
{
    D3DKMT_OFFERALLOCATIONS args = offer_args();
    D3DKMT_HANDLE members[2];
    args.HandleList = NULL;
    args.pResources = resources;
    args.NumAllocations = 2;
    resources[1] = create_resource(world.client.device, BYTES, 2, members);
    wrong_handles(&OfferAllocations, &args, &args.hDevice, DEVICE);
    WRONG(OfferAllocations, args, pResources, misaligned(resources));
    WRONG(OfferAllocations, args, NumAllocations, 0);
    WRONG(OfferAllocations, args, NumAllocations, LIST_MAX + 1);
    WRONG(OfferAllocations, args, Priority, (D3DKMT_OFFER_PRIORITY)0);
    wrong_handles(&OfferAllocations, &args, &resources[1], RESOURCE);
    lock(world.client.device, members[1]);
    attempt(&OfferAllocations, &args, STATUS_INVALID_PARAMETER, "a resource with a locked member");
    unlock(world.client.device, members[1]);
    resources[0] = resources[1];
    right(&OfferAllocations, &args);
    CHECK_OK(destroy_resource(world.client.device, resources[1]));
}

// -------------------------------------------------------------------------------------- reclaims

static D3DKMT_RECLAIMALLOCATIONS reclaim_args(void)
{
    repeat_names(LIST_MAX + 1);
    watch_lists();
    return (D3DKMT_RECLAIMALLOCATIONS){
        .hDevice = world.client.device,
        .HandleList = list,
        .pDiscarded = (BOOL *)answers,
        .NumAllocations = 3,
    };
}

static void reclaim(void)
{
    D3DKMT_RECLAIMALLOCATIONS args = reclaim_args();
    // If a refused call reclaimed one all the same, it could be locked.
    list[0] = world.allocations[OFFERED_HIGH];
    wrong_pointers(&ReclaimAllocations, &args);
    wrong_handles(&ReclaimAllocations, &args, &args.hDevice, DEVICE);
    WRONG(ReclaimAllocations, args, HandleList, NULL);
    WRONG(ReclaimAllocations, args, HandleList, misaligned(list));
    WRONG(ReclaimAllocations, args, pDiscarded, misaligned(answers));
    WRONG(ReclaimAllocations, args, pResources, resources);
    WRONG(ReclaimAllocations, args, NumAllocations, 0);
    WRONG(ReclaimAllocations, args, NumAllocations, LIST_MAX + 1);
    WRONG(ReclaimAllocations, args, NumAllocations, UINT_MAX);
    wrong_handles(&ReclaimAllocations, &args, &list[1], ALLOCATION);
    wrong_handles(&ReclaimAllocations, &args, &list[2], ALLOCATION);
    args.pDiscarded = NULL;
    wrong_handles(&ReclaimAllocations, &args, &list[2], ALLOCATION);
    args.NumAllocations = 1;
    wrong_handles(&ReclaimAllocations, &args, &list[0], ALLOCATION);
    list[0] = world.allocations[COMMITTED];
    args.pDiscarded = (BOOL *)answers;
    args.NumAllocations = LIST_MAX;
    right(&ReclaimAllocations, &args);
    for (UINT i = 0; i < LIST_MAX; i++)
        CHECK_EQUAL(answers[i], 0);
    CHECK_EQUAL(answers[LIST_MAX], 0x5A5A5A5A);
}

static void reclaim_resources(void)
{
    D3DKMT_RECLAIMALLOCATIONS args = reclaim_args();
    args.HandleList = NULL;
    args.pResources = resources;
    wrong_handles(&ReclaimAllocations, &args, &args.hDevice, DEVICE);
    WRONG(ReclaimAllocations, args, pResources, misaligned(resources));
    WRONG(ReclaimAllocations, args, NumAllocations, 0);
    WRONG(ReclaimAllocations, args, NumAllocations, LIST_MAX + 1);
    wrong_handles(&ReclaimAllocations, &args, &resources[1], RESOURCE);
    wrong_handles(&ReclaimAllocations, &args, &resources[2], RESOURCE);
}

static D3DKMT_RECLAIMALLOCATIONS2 reclaim2_args(void)
{
    repeat_names(LIST_MAX + 1);
    watch_lists();
    return (D3DKMT_RECLAIMALLOCATIONS2){
        .hPagingQueue = world.queue.handle,
        .NumAllocations = 3,
        .HandleList = list,
        .pResults = (D3DDDI_RECLAIM_RESULT *)answers,
        .PagingFenceValue = 0x5A5A5A5A,
    };
}

static void reclaim2(void)
{
    D3DKMT_RECLAIMALLOCATIONS2 args = reclaim2_args();
    list[0] = world.allocations[OFFERED_HIGH];
    wrong_pointers(&ReclaimAllocations2, &args);
    wrong_handles(&ReclaimAllocations2, &args, &args.hPagingQueue, QUEUE);
    WRONG(ReclaimAllocations2, args, HandleList, NULL);
    WRONG(ReclaimAllocations2, args, HandleList, misaligned(list));
    WRONG(ReclaimAllocations2, args, pResults, misaligned(answers));
    WRONG(ReclaimAllocations2, args, pResources, resources);
    WRONG(ReclaimAllocations2, args, NumAllocations, 0);
    WRONG(ReclaimAllocations2, args, NumAllocations, LIST_MAX + 1);
    WRONG(ReclaimAllocations2, args, NumAllocations, UINT_MAX);
    wrong_handles(&ReclaimAllocations2, &args, &list[1], ALLOCATION);
    wrong_handles(&ReclaimAllocations2, &args, &list[2], ALLOCATION);
    args.pResults = NULL;
    wrong_handles(&ReclaimAllocations2, &args, &list[2], ALLOCATION);
    args.NumAllocations = 1;
    wrong_handles(&ReclaimAllocations2, &args, &list[0], ALLOCATION);
    list[0] = world.allocations[COMMITTED];
    args.pResults = (D3DDDI_RECLAIM_RESULT *)answers;
    args.NumAllocations = LIST_MAX;
    right(&ReclaimAllocations2, &args);
    CHECK(args.PagingFenceValue <= fence_value(&world.queue));
    for (UINT i = 0; i < LIST_MAX; i++)
        CHECK_EQUAL(answers[i], 0);
    CHECK_EQUAL(answers[LIST_MAX], 0x5A5A5A5A);
}

static void reclaim2_resources(void)
{
    D3DKMT_RECLAIMALLOCATIONS2 args = reclaim2_args();
    args.HandleList = NULL;
    args.pResources = resources;
    wrong_handles(&ReclaimAllocations2, &args, &args.hPagingQueue, QUEUE);
    WRONG(ReclaimAllocations2, args, pResources, misaligned(resources));
    WRONG(ReclaimAllocations2, args, NumAllocations, 0);
    WRONG(ReclaimAllocations2, args, NumAllocations, LIST_MAX + 1);
    wrong_handles(&ReclaimAllocations2, &args, &resources[1], RESOURCE);
    wrong_handles(&ReclaimAllocations2, &args, &resources[2], RESOURCE);
}

// -------------------------------------------------------------------------- wrong at 900 of 1,000

// A third committed, a third offered, a third discarded.
static int third_of(UINT i)
{
    return (int)(i % 3);
}

static void make_thousand(void)
{
    D3DKMT_HANDLE lost[THOUSAND];
    UINT lost_count = 0;
    create_many(world.client.device, PIECE_BYTES, THOUSAND, list);
    for (UINT i = 0; i < THOUSAND; i++) {
        write_content(world.client.device, list[i], PIECE_BYTES, 1000 + i);
        if (third_of(i) == 1)
            offer_one(world.client.device, list[i], D3DKMT_OFFER_PRIORITY_HIGH);
        if (third_of(i) == 2)
            lost[lost_count++] = list[i];
    }
    CHECK_OK(offer_with(world.client.device, lost, lost_count, D3DKMT_OFFER_PRIORITY_LOW, 0));
    for (UINT i = 0; i < lost_count; i++)
        evict(&world.client, 0, lost[i]);
    watch_lists();
}

// They are as they were, which ends them.
static void check_thousand(void)
{
    for (UINT i = 0; i < THOUSAND; i++)
        if (third_of(i) != 0)
            expect_refuses_lock(world.client.device, list[i]);
        else
            CHECK(content_is(world.client.device, list[i], PIECE_BYTES, 1000 + i));
    CHECK_OK(reclaim_v1(world.client.device, list, THOUSAND, (BOOL *)answers));
    for (UINT i = 0; i < THOUSAND; i++) {
        CHECK_EQUAL(answers[i], third_of(i) == 2);
        if (third_of(i) != 2)
            CHECK(content_is(world.client.device, list[i], PIECE_BYTES, 1000 + i));
    }
    CHECK_OK(destroy_list(world.client.device, list, THOUSAND));
}

static void thousand_offers(void)
{
    make_thousand();
    D3DKMT_OFFERALLOCATIONS args = {
        .hDevice = world.client.device,
        .HandleList = list,
        .NumAllocations = THOUSAND,
        .Priority = D3DKMT_OFFER_PRIORITY_LOW,
    };
    wrong_handles(&OfferAllocations, &args, &list[PLACE], ALLOCATION);
    wrong_handle(&OfferAllocations, &args, &list[PLACE], world.allocations[LOCKED], "locked");
    wrong_handle(&OfferAllocations, &args, &list[PLACE], world.allocations[DEAD], "dead");
    check_thousand();
}

static void thousand_reclaims(void)
{
    make_thousand();
    D3DKMT_RECLAIMALLOCATIONS args = {
        .hDevice = world.client.device,
        .HandleList = list,
        .pDiscarded = (BOOL *)answers,
        .NumAllocations = THOUSAND,
    };
    wrong_handles(&ReclaimAllocations, &args, &list[PLACE], ALLOCATION);
    args.pDiscarded = NULL;
    wrong_handles(&ReclaimAllocations, &args, &list[PLACE], ALLOCATION);
    check_thousand();
}

static void thousand_reclaims2(void)
{
    make_thousand();
    D3DKMT_RECLAIMALLOCATIONS2 args = {
        .hPagingQueue = world.queue.handle,
        .NumAllocations = THOUSAND,
        .HandleList = list,
        .pResults = (D3DDDI_RECLAIM_RESULT *)answers,
    };
    wrong_handles(&ReclaimAllocations2, &args, &list[PLACE], ALLOCATION);
    args.pResults = NULL;
    wrong_handles(&ReclaimAllocations2, &args, &list[PLACE], ALLOCATION);
    check_thousand();
}

static void thousand_priorities(void)
{
    make_thousand();
    D3DKMT_SETALLOCATIONPRIORITY args = {
        .hDevice = world.client.device,
        .phAllocationList = list,
        .AllocationCount = THOUSAND,
        .pPriorities = priorities,
    };
    wrong_handles(&SetAllocationPriority, &args, &list[PLACE], ALLOCATION);
    check_thousand();
}

// A thousand resources, each of one member, all committed but some.
static void make_thousand_resources(void)
{
    for (UINT i = 0; i < THOUSAND; i++) {
        resources[i] = create_resource(world.client.device, PIECE_BYTES, 1, &list[i]);
        write_content(world.client.device, list[i], PIECE_BYTES, 1000 + i);
        if (third_of(i) == 1)
            offer_one(world.client.device, list[i], D3DKMT_OFFER_PRIORITY_HIGH);
    }
    watch_lists();
}

static void thousand_resources(void)
{
    make_thousand_resources();
    D3DKMT_OFFERALLOCATIONS to_offer = {
        .hDevice = world.client.device,
        .pResources = resources,
        .NumAllocations = THOUSAND,
        .Priority = D3DKMT_OFFER_PRIORITY_LOW,
    };
    D3DKMT_RECLAIMALLOCATIONS to_reclaim = {
        .hDevice = world.client.device,
        .pResources = resources,
        .pDiscarded = (BOOL *)answers,
        .NumAllocations = THOUSAND,
    };
    D3DKMT_RECLAIMALLOCATIONS2 to_reclaim2 = {
        .hPagingQueue = world.queue.handle,
        .NumAllocations = THOUSAND,
        .pResources = resources,
        .pResults = (D3DDDI_RECLAIM_RESULT *)answers,
    };
    wrong_handles(&OfferAllocations, &to_offer, &resources[PLACE], RESOURCE);
    wrong_handles(&ReclaimAllocations, &to_reclaim, &resources[PLACE], RESOURCE);
    wrong_handles(&ReclaimAllocations2, &to_reclaim2, &resources[PLACE], RESOURCE);
    for (UINT i = 0; i < THOUSAND; i++)
        if (third_of(i) == 1)
            expect_refuses_lock(world.client.device, list[i]);
        else
            CHECK(content_is(world.client.device, list[i], PIECE_BYTES, 1000 + i));
    right(&ReclaimAllocations, &to_reclaim);
    for (UINT i = 0; i < THOUSAND; i++) {
        CHECK_EQUAL(answers[i], 0);
        CHECK(content_is(world.client.device, list[i], PIECE_BYTES, 1000 + i));
        CHECK_OK(destroy_resource(world.client.device, resources[i]));
    }
}

int main(void)
{
    static void (*const sections[])(void) = {
        lock2,
        lock2_too_often,
        unlock2,
        set_allocation_priority,
        set_resource_priority,
        offer,
        offer_items,
        offer_resources,
        reclaim,
        reclaim_resources,
        reclaim2,
        reclaim2_resources,
        thousand_offers,
        thousand_reclaims,
        thousand_reclaims2,
        thousand_priorities,
        thousand_resources,
    };
    return run_sections(sections, sizeof sections / sizeof *sections);
}
