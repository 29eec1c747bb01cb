// What this project decided where the documentation of WDDM is silent, by the number of the decision:
// each that touches a function of the library is shown here, and printed when it holds. Some are
// shown from more sides by the contract suite, whose cases carry the same numbers.

#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BYTES = 64 << 10, BUDGET_UNITS = 16 };

static struct client client;

static void decided(int number)
{
    printf("9.%d\n", number);
}

static D3DKMT_HANDLE with_content(uint64_t seed)
{
    D3DKMT_HANDLE allocation = create_one(client.device, BYTES);
    write_content(client.device, allocation, BYTES, seed);
    return allocation;
}

static BOOL reclaim_one(D3DKMT_HANDLE allocation)
{
    BOOL discarded = -1;
    CHECK_OK(reclaim_v1(client.device, &allocation, 1, &discarded));
    CHECK(discarded == 0 || discarded == 1);
    return discarded;
}

static void destroy(const D3DKMT_HANDLE *handles, UINT count)
{
    for (UINT i = 0; i < count; i++)
        CHECK_OK(destroy_list(client.device, &handles[i], 1));
}

static int lock_is_refused(D3DKMT_HANDLE allocation)
{
    void *memory = NULL;
    return try_lock(client.device, allocation, &memory) == STATUS_INVALID_PARAMETER && !memory;
}

// Counts, arrays, reserved bits and priorities are refused before anything is touched.
static void wrong_arguments_touch_nothing(void)
{
    D3DKMT_HANDLE a = with_content(1);
    D3DKMT_HANDLE many[10241];
    for (UINT i = 0; i < 10241; i++)
        many[i] = a;
    CHECK_STATUS(offer_with(client.device, many, 0, 2, 0), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(offer_with(client.device, many, 10241, 2, 0), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(offer_with(client.device, many, UINT32_MAX, 2, 0), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(offer_with(client.device, NULL, 1, 2, 0), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(offer_with(client.device, &a, 1, 0, 0), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(offer_with(client.device, &a, 1, 5, 0), STATUS_INVALID_PARAMETER);
    for (UINT bit = 2; bit < 32; bit++)
        CHECK_STATUS(offer_with(client.device, &a, 1, 2, 1u << bit), STATUS_INVALID_PARAMETER);
    D3DKMT_OFFERALLOCATIONS both = {.hDevice = client.device, .pResources = &a, .HandleList = &a,
                                    .NumAllocations = 1, .Priority = 2};
    CHECK_STATUS(D3DKMTOfferAllocations(&both), STATUS_INVALID_PARAMETER);
    CHECK(content_is(client.device, a, BYTES, 1)); // so it was never offered
    CHECK_OK(offer_with(client.device, many, 10240, 2, 0));
    CHECK(lock_is_refused(a));
    destroy(&a, 1);
    decided(1);
}

// A list is looked at whole; a wrong handle of any kind is one status.
static void a_list_is_all_or_nothing(void)
{
    D3DKMT_HANDLE list[1000];
    create_many(client.device, 4096, 999, list);
    D3DKMT_HANDLE other_device = open_device(client.adapter);
    D3DKMT_HANDLE foreign = create_one(other_device, 4096);
    D3DKMT_HANDLE stale = create_one(client.device, 4096);
    destroy(&stale, 1);
    D3DKMT_HANDLE wrong[] = {0, foreign, stale, client.device, client.adapter, 0xFFFFFFFF};
    list[999] = list[900];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        list[900] = wrong[i];
        CHECK_STATUS(offer_with(client.device, list, 1000, 2, 0), STATUS_INVALID_PARAMETER);
        BOOL results[1000];
        memset(results, 0x5A, sizeof results);
        CHECK_STATUS(reclaim_v1(client.device, list, 1000, results), STATUS_INVALID_PARAMETER);
        for (UINT at = 0; at < 1000; at++)
            CHECK_EQUAL((UINT)results[at], 0x5A5A5A5A);
    }
    list[900] = list[999];
    for (UINT i = 0; i < 999; i++) { // none was offered
        lock(client.device, list[i]);
        unlock(client.device, list[i]);
    }
    CHECK_OK(destroy_list(client.device, list, 999));
    close_device(other_device);
    decided(2);
}

// A handle may be named twice; every position gets the answer of the one claim.
static void duplicates_get_one_answer(void)
{
    D3DKMT_HANDLE intact = with_content(1), lost = with_content(2);
    D3DKMT_HANDLE list[] = {lost, intact, lost, intact, lost};
    CHECK_OK(offer_with(client.device, list, 5, 2, 0));
    evict(&client, 0, lost);
    BOOL results[5];
    CHECK_OK(reclaim_v1(client.device, list, 5, results));
    for (UINT i = 0; i < 5; i++)
        CHECK_EQUAL(results[i], list[i] == lost);
    CHECK(content_is(client.device, intact, BYTES, 1));
    destroy(list, 2);
    decided(3);
}

// A second offer renews class and place; what is discarded stays so.
static void an_offer_can_be_renewed(void)
{
    D3DKMT_HANDLE a = with_content(1), b = with_content(2), gone = with_content(3);
    offer_one(client.device, a, D3DKMT_OFFER_PRIORITY_LOW);
    offer_one(client.device, b, D3DKMT_OFFER_PRIORITY_NORMAL);
    offer_one(client.device, a, D3DKMT_OFFER_PRIORITY_HIGH);
    offer_one(client.device, gone, D3DKMT_OFFER_PRIORITY_LOW);
    evict(&client, 0, gone);
    offer_one(client.device, gone, D3DKMT_OFFER_PRIORITY_HIGH);
    D3DKMT_HANDLE fill_up[BUDGET_UNITS - 2];
    create_many(client.device, BYTES, BUDGET_UNITS - 2, fill_up);
    D3DKMT_HANDLE needy = create_one(client.device, BYTES); // costs the first victim
    CHECK_EQUAL(reclaim_one(a), 0);
    destroy(&needy, 1);
    CHECK_EQUAL(reclaim_one(b), 1);
    destroy(fill_up, BUDGET_UNITS - 2);
    CHECK_EQUAL(reclaim_one(gone), 1);
    D3DKMT_HANDLE all[] = {a, b, gone};
    destroy(all, 3);
    decided(4);
}

// Reclaiming what is not offered succeeds and says that it is intact.
static void reclaiming_what_is_not_offered(void)
{
    D3DKMT_HANDLE a = with_content(1);
    CHECK_EQUAL(reclaim_one(a), 0);
    CHECK(content_is(client.device, a, BYTES, 1));
    lock(client.device, a); // a lock does not matter either
    CHECK_EQUAL(reclaim_one(a), 0);
    unlock(client.device, a);
    destroy(&a, 1);
    decided(5);
    // Nothing is deferred here, so a reclaim right after the offer is that of an offer in force: the
    // content is as it was.
    D3DKMT_HANDLE b = with_content(2);
    offer_one(client.device, b, D3DKMT_OFFER_PRIORITY_LOW);
    CHECK_EQUAL(reclaim_one(b), 0);
    CHECK(content_is(client.device, b, BYTES, 2));
    destroy(&b, 1);
    decided(6);
}

// Locked it cannot be offered, offered it cannot be locked; reclaimed it can, at once.
static void locks_and_offers_exclude_each_other(void)
{
    D3DKMT_HANDLE list[] = {with_content(1), with_content(2)};
    lock(client.device, list[1]);
    lock(client.device, list[1]);
    for (int locks = 2; locks > 0; locks--) {
        CHECK_STATUS(offer_with(client.device, list, 2, 2, 0), STATUS_INVALID_PARAMETER);
        unlock(client.device, list[1]);
    }
    CHECK_STATUS(try_unlock(client.device, list[1]), STATUS_INVALID_PARAMETER);
    CHECK_OK(offer_with(client.device, list, 2, 2, 0));
    CHECK(lock_is_refused(list[0]) && lock_is_refused(list[1]));
    evict(&client, 0, list[1]);
    struct queue queue = open_queue(client.device);
    D3DDDI_RECLAIM_RESULT results[2];
    CHECK_OK(reclaim_v2(&queue, list, 2, results));
    CHECK(content_is(client.device, list[0], BYTES, 1));
    write_content(client.device, list[1], BYTES, 3);
    CHECK(content_is(client.device, list[1], BYTES, 3));
    close_queue(&queue);
    destroy(list, 2);
    decided(7);
}

// Without a result array the state changes all the same, and a shortage is one.
static void results_are_optional(void)
{
    D3DKMT_HANDLE list[] = {with_content(1), with_content(2)};
    struct queue queue = open_queue(client.device);
    for (int version = 1; version <= 2; version++) {
        CHECK_OK(offer_with(client.device, list, 2, 2, 0));
        evict(&client, 0, list[0]);
        set_budget(&client, BYTES);
        CHECK_STATUS(version == 1 ? reclaim_v1(client.device, list, 2, NULL)
                                  : reclaim_v2(&queue, list, 2, NULL),
                     STATUS_NO_MEMORY);
        CHECK(lock_is_refused(list[0]) && lock_is_refused(list[1]));
        set_budget(&client, BUDGET_UNITS * BYTES);
        CHECK_OK(version == 1 ? reclaim_v1(client.device, list, 2, NULL)
                              : reclaim_v2(&queue, list, 2, NULL));
        for (int i = 0; i < 2; i++)
            write_content(client.device, list[i], BYTES, 4);
    }
    close_queue(&queue);
    destroy(list, 2);
    decided(10);
}

// A resource answers the worst of its members; without any it is intact; they may go one by one.
static void a_resource_answers_the_worst(void)
{
    D3DKMT_HANDLE members[3], none[1];
    D3DKMT_HANDLE full = create_resource(client.device, BYTES, 3, members);
    D3DKMT_HANDLE empty = create_resource(client.device, BYTES, 0, none);
    for (int i = 0; i < 3; i++)
        write_content(client.device, members[i], BYTES, 10 + (uint64_t)i);
    D3DKMT_HANDLE list[] = {empty, full, empty};
    D3DKMT_OFFERALLOCATIONS offer = {.hDevice = client.device, .pResources = list,
                                     .NumAllocations = 3, .Priority = 2};
    CHECK_OK(D3DKMTOfferAllocations(&offer));
    evict(&client, 0, members[1]);
    BOOL results[] = {-1, -1, -1};
    D3DKMT_RECLAIMALLOCATIONS reclaim = {.hDevice = client.device, .pResources = list,
                                         .pDiscarded = results, .NumAllocations = 3};
    CHECK_OK(D3DKMTReclaimAllocations(&reclaim));
    CHECK(results[0] == 0 && results[1] == 1 && results[2] == 0);
    CHECK(content_is(client.device, members[0], BYTES, 10));
    CHECK(content_is(client.device, members[2], BYTES, 12));
    offer_one(client.device, members[2], D3DKMT_OFFER_PRIORITY_LOW);
    CHECK_OK(D3DKMTReclaimAllocations(&reclaim));
    CHECK(results[0] == 0 && results[1] == 0 && results[2] == 0);
    CHECK_OK(destroy_resource(client.device, full));
    CHECK_OK(destroy_resource(client.device, empty));
    CHECK(lock_is_refused(members[0])); // they went with it
    decided(11);
}

// What was offered with AllowDecommit and cannot be supplied again is dead, if the caller can hear it.
static void allow_decommit_may_end_an_allocation(void)
{
    D3DKMT_HANDLE lossy = with_content(1), firm = with_content(2);
    CHECK_OK(offer_with(client.device, &lossy, 1, 2, 2));
    CHECK_OK(offer_with(client.device, &firm, 1, 2, 0));
    evict(&client, 0, 0);
    set_budget(&client, BYTES);
    D3DKMT_HANDLE taker = create_one(client.device, BYTES);
    struct queue queue = open_queue(client.device);
    CHECK_STATUS(reclaim_v1(client.device, &lossy, 1, NULL), STATUS_NO_MEMORY);
    BOOL discarded = -1;
    CHECK_STATUS(reclaim_v1(client.device, &lossy, 1, &discarded), STATUS_NO_MEMORY);
    CHECK_STATUS(reclaim_v2(&queue, &lossy, 1, NULL), STATUS_NO_MEMORY);
    D3DDDI_RECLAIM_RESULT result = -1;
    CHECK_STATUS(reclaim_v2(&queue, &firm, 1, &result), STATUS_NO_MEMORY);
    CHECK_EQUAL((UINT)result, UINT32_MAX); // not written
    CHECK_OK(reclaim_v2(&queue, &lossy, 1, &result));
    CHECK_EQUAL(result, D3DDDI_RECLAIM_RESULT_NOT_COMMITTED);
    set_budget(&client, BUDGET_UNITS * BYTES); // too late
    CHECK(lock_is_refused(lossy));
    CHECK_STATUS(offer_with(client.device, &lossy, 1, 2, 0), STATUS_INVALID_PARAMETER);
    CHECK_OK(reclaim_v2(&queue, &lossy, 1, &result));
    CHECK_EQUAL(result, D3DDDI_RECLAIM_RESULT_NOT_COMMITTED);
    CHECK_EQUAL(reclaim_one(lossy), 1);
    CHECK_EQUAL(reclaim_one(firm), 1);
    // Where it can be supplied it is only discarded.
    CHECK_OK(offer_with(client.device, &firm, 1, 2, 2));
    evict(&client, 0, firm);
    CHECK_OK(reclaim_v2(&queue, &firm, 1, &result));
    CHECK_EQUAL(result, D3DDDI_RECLAIM_RESULT_DISCARDED);
    close_queue(&queue);
    D3DKMT_HANDLE all[] = {lossy, firm, taker};
    destroy(all, 3);
    decided(12);
}

// OfferImmediately forces no discard.
static void immediately_is_a_hint(void)
{
    D3DKMT_HANDLE a = with_content(1);
    CHECK_OK(offer_with(client.device, &a, 1, 1, 1));
    CHECK_EQUAL(reclaim_one(a), 0);
    CHECK(content_is(client.device, a, BYTES, 1));
    destroy(&a, 1);
    decided(13);
}

static void set_priority(D3DKMT_HANDLE allocation, UINT priority)
{
    D3DKMT_SETALLOCATIONPRIORITY set = {.hDevice = client.device, .phAllocationList = &allocation,
                                        .AllocationCount = 1, .pPriorities = &priority};
    CHECK_OK(D3DKMTSetAllocationPriority(&set));
}

// LOW, then NORMAL, then HIGH; the oldest first; AUTO as the priority says when it comes to it; and no
// more than has to go.
static void victims_go_in_order(void)
{
    enum { COUNT = 8 };
    D3DKMT_HANDLE list[COUNT];
    for (uint64_t i = 0; i < COUNT; i++)
        list[i] = with_content(i);
    static const D3DKMT_OFFER_PRIORITY classes[COUNT] = {
        D3DKMT_OFFER_PRIORITY_HIGH,   D3DKMT_OFFER_PRIORITY_NORMAL, D3DKMT_OFFER_PRIORITY_LOW,
        D3DKMT_OFFER_PRIORITY_NORMAL, D3DKMT_OFFER_PRIORITY_LOW,    D3DKMT_OFFER_PRIORITY_AUTO,
        D3DKMT_OFFER_PRIORITY_AUTO,   D3DKMT_OFFER_PRIORITY_AUTO};
    static const UINT order[COUNT] = {2, 4, 5, 1, 3, 6, 0, 7};
    for (int i = 0; i < COUNT; i++) {
        offer_one(client.device, list[i], classes[i]);
        D3DKMT_HANDLE later = create_one(client.device, 4096); // the clock of ages goes on
        destroy(&later, 1);
    }
    set_priority(list[5], D3DDDI_ALLOCATIONPRIORITY_LOW);
    set_priority(list[6], D3DDDI_ALLOCATIONPRIORITY_NORMAL);
    set_priority(list[7], D3DDDI_ALLOCATIONPRIORITY_NORMAL + 1);
    // The budget falls by one allocation after the other.
    BOOL lost[COUNT] = {0};
    for (int gone = 1; gone <= COUNT; gone++) {
        set_budget(&client, (UINT64)(COUNT - gone) * BYTES);
        lost[order[gone - 1]] = 1;
        CHECK_EQUAL(bytes_to_trim(&client), 0);
    }
    // Whose turn it was shows in a second go, stopped half-way.
    set_budget(&client, BUDGET_UNITS * BYTES);
    CHECK_OK(reclaim_v1(client.device, list, COUNT, lost));
    for (int i = 0; i < COUNT; i++)
        CHECK_EQUAL(lost[i], 1);
    for (int stop = 1; stop < COUNT; stop++) {
        for (int i = 0; i < COUNT; i++) {
            write_content(client.device, list[i], BYTES, 20 + (uint64_t)i);
            offer_one(client.device, list[i], classes[i]);
            D3DKMT_HANDLE later = create_one(client.device, 4096);
            destroy(&later, 1);
        }
        set_budget(&client, (UINT64)(COUNT - stop) * BYTES);
        set_budget(&client, BUDGET_UNITS * BYTES);
        CHECK_OK(reclaim_v1(client.device, list, COUNT, lost));
        for (int place = 0; place < COUNT; place++)
            CHECK_EQUAL(lost[order[place]], place < stop);
    }
    destroy(list, COUNT);
    decided(14);
}

// After a discard the content is unspecified, but of this process: here what it wrote, or zero.
static void discarded_content_is_nobody_elses(void)
{
    D3DKMT_HANDLE a = with_content(1);
    offer_one(client.device, a, D3DKMT_OFFER_PRIORITY_LOW);
    evict(&client, 0, a);
    CHECK_EQUAL(reclaim_one(a), 1);
    void *memory = lock(client.device, a);
    CHECK(is_zero(memory, BYTES) || holds(memory, BYTES, 1));
    unlock(client.device, a);
    destroy(&a, 1);
    decided(15);
}

// Pinned memory - the program's own - may be offered, and is never discarded.
static void pinned_memory_is_never_a_victim(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *own = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(own != MAP_FAILED && BYTES % page == 0);
    fill(own, BYTES, 7);
    UINT64 used = memory_info(client.adapter).CurrentUsage;
    VIDMM_ALLOCATION_DATA data = data_of(BYTES);
    D3DDDI_ALLOCATIONINFO2 info = {.pSystemMem = own, .pPrivateDriverData = &data,
                                   .PrivateDriverDataSize = sizeof data};
    D3DKMT_CREATEALLOCATION create = {.hDevice = client.device, .NumAllocations = 1,
                                      .pAllocationInfo2 = &info};
    create.Flags.ExistingSysMem = 1;
    CHECK_OK(D3DKMTCreateAllocation2(&create));
    CHECK_EQUAL(memory_info(client.adapter).CurrentUsage, used); // not charged
    CHECK(lock(client.device, info.hAllocation) == own);
    unlock(client.device, info.hAllocation);
    offer_one(client.device, info.hAllocation, D3DKMT_OFFER_PRIORITY_LOW);
    CHECK(lock_is_refused(info.hAllocation));
    evict(&client, 0, info.hAllocation);
    evict(&client, 0, 0);
    set_budget(&client, 0);
    set_budget(&client, BUDGET_UNITS * BYTES);
    CHECK_EQUAL(reclaim_one(info.hAllocation), 0);
    CHECK(content_is(client.device, info.hAllocation, BYTES, 7));

    // The same as a standard allocation, which is a shared resource of one.
    D3DKMT_CREATESTANDARDALLOCATION standard = {
        .Type = D3DKMT_STANDARDALLOCATIONTYPE_EXISTINGHEAP, .ExistingHeapData = {.Size = BYTES}};
    D3DDDI_ALLOCATIONINFO2 heap = {.pSystemMem = own};
    D3DKMT_CREATEALLOCATION as_standard = {.hDevice = client.device, .NumAllocations = 1,
                                           .pAllocationInfo2 = &heap,
                                           .pStandardAllocation = &standard};
    as_standard.Flags.CreateResource = 1;
    as_standard.Flags.StandardAllocation = 1;
    as_standard.Flags.ExistingSysMem = 1;
    as_standard.Flags.CreateShared = 1;
    as_standard.Flags.CrossAdapter = 1;
    CHECK_OK(D3DKMTCreateAllocation2(&as_standard));
    CHECK(as_standard.hResource != 0);
    CHECK(lock(client.device, heap.hAllocation) == own);
    unlock(client.device, heap.hAllocation);
    CHECK_OK(destroy_resource(client.device, as_standard.hResource));
    destroy(&info.hAllocation, 1);
    CHECK(holds(own, BYTES, 7)); // it stays the program's
    munmap(own, BYTES);
    decided(16);
}

// Destroying what is offered, or the device of it, is legal; the memory is free again.
static void offered_memory_can_be_destroyed(void)
{
    D3DKMT_HANDLE device = open_device(client.adapter);
    D3DKMT_HANDLE list[BUDGET_UNITS];
    create_many(device, BYTES, BUDGET_UNITS, list);
    CHECK_OK(offer_with(device, list, BUDGET_UNITS / 2, 3, 0));
    lock(device, list[BUDGET_UNITS - 1]); // a lock does not keep a device
    CHECK_OK(destroy_list(device, list, 1));
    close_device(device);
    CHECK_EQUAL(memory_info(client.adapter).CurrentUsage, 0);
    create_many(client.device, BYTES, BUDGET_UNITS, list);
    CHECK_OK(destroy_list(client.device, list, BUDGET_UNITS));
    decided(18);
}

static sigjmp_buf after_fault;

static void on_fault(int number)
{
    siglongjmp(after_fault, number);
}

// Whether a write there faults.
static int write_faults(volatile UINT64 *address)
{
    struct sigaction catch = {.sa_handler = on_fault}, before;
    sigaction(SIGSEGV, &catch, &before);
    int faulted = sigsetjmp(after_fault, 1);
    if (!faulted)
        *address = 1;
    sigaction(SIGSEGV, &before, NULL);
    return faulted == SIGSEGV;
}

static int read_faults(const volatile UINT64 *address)
{
    struct sigaction catch = {.sa_handler = on_fault}, before;
    sigaction(SIGSEGV, &catch, &before);
    sigaction(SIGBUS, &catch, NULL);
    int faulted = sigsetjmp(after_fault, 1);
    if (!faulted)
        (void)*address;
    sigaction(SIGSEGV, &before, NULL);
    return faulted != 0;
}

// The fence value is always one that is reached; it grows with each reclaim that supplied memory.
static void fence_values_are_reached(void)
{
    struct queue queue = open_queue(client.device), idle = open_queue(client.device);
    D3DKMT_HANDLE a = with_content(1);
    UINT64 last = fence_value(&queue);
    for (int round = 0; round < 3; round++) {
        D3DKMT_RECLAIMALLOCATIONS2 reclaim = {.hPagingQueue = queue.handle, .NumAllocations = 1,
                                              .HandleList = &a, .PagingFenceValue = UINT64_MAX};
        offer_one(client.device, a, D3DKMT_OFFER_PRIORITY_LOW);
        CHECK_OK(D3DKMTReclaimAllocations2(&reclaim)); // nothing to page
        CHECK_EQUAL(reclaim.PagingFenceValue, last);
        CHECK_EQUAL(fence_value(&queue), last);
        offer_one(client.device, a, D3DKMT_OFFER_PRIORITY_LOW);
        evict(&client, 0, a);
        CHECK_OK(D3DKMTReclaimAllocations2(&reclaim));
        CHECK(reclaim.PagingFenceValue > last);
        CHECK(fence_value(&queue) >= reclaim.PagingFenceValue);
        last = fence_value(&queue);
    }
    CHECK_EQUAL(fence_value(&idle), 0); // each queue has its own
    CHECK(write_faults((volatile UINT64 *)queue.fence));
    close_queue(&idle);
    close_queue(&queue);
    CHECK(read_faults(queue.fence)); // the mapping went with the queue
    destroy(&a, 1);
    decided(19);
}

// Offered memory is not in use.
static void offered_memory_is_not_usage(void)
{
    D3DKMT_HANDLE list[4];
    create_many(client.device, BYTES, 4, list);
    D3DKMT_QUERYVIDEOMEMORYINFO info = memory_info(client.adapter);
    CHECK_EQUAL(info.Budget, BUDGET_UNITS * BYTES);
    CHECK_EQUAL(info.CurrentUsage, 4 * BYTES);
    CHECK_OK(offer_with(client.device, list, 3, 2, 0));
    CHECK_EQUAL(memory_info(client.adapter).CurrentUsage, BYTES);
    CHECK_OK(reclaim_v1(client.device, list, 3, NULL));
    CHECK_EQUAL(memory_info(client.adapter).CurrentUsage, 4 * BYTES);
    destroy(list, 4);
    CHECK_EQUAL(memory_info(client.adapter).CurrentUsage, 0);
    decided(21);
}

// Failures stay within those that a Linux client of WDDM can get: no NO_VIDEO_MEMORY.
static void a_shortage_is_no_memory(void)
{
    D3DKMT_HANDLE handle = 0;
    CHECK_STATUS(create_with(client.device, NULL, (BUDGET_UNITS + 1) * BYTES, 1, &handle),
                 STATUS_NO_MEMORY);
    CHECK_STATUS(create_with(client.device, NULL, UINT64_MAX, 1, &handle), STATUS_NO_MEMORY);
    CHECK_STATUS(create_with(client.device, NULL, (UINT64)1 << 62, 1, &handle), STATUS_NO_MEMORY);
    D3DKMT_HANDLE many[BUDGET_UNITS + 1];
    CHECK_STATUS(create_with(client.device, NULL, BYTES, BUDGET_UNITS + 1, many), STATUS_NO_MEMORY);
    CHECK_EQUAL(handle, 0);
    CHECK_EQUAL(memory_info(client.adapter).CurrentUsage, 0);
    decided(23);
}

int main(void)
{
    client = open_client();
    set_budget(&client, BUDGET_UNITS * BYTES);
    wrong_arguments_touch_nothing();
    set_budget(&client, 1000 * 4096 + BUDGET_UNITS * BYTES);
    a_list_is_all_or_nothing();
    set_budget(&client, BUDGET_UNITS * BYTES);
    duplicates_get_one_answer();
    an_offer_can_be_renewed();
    reclaiming_what_is_not_offered();
    locks_and_offers_exclude_each_other();
    results_are_optional();
    a_resource_answers_the_worst();
    allow_decommit_may_end_an_allocation();
    immediately_is_a_hint();
    victims_go_in_order();
    discarded_content_is_nobody_elses();
    pinned_memory_is_never_a_victim();
    offered_memory_can_be_destroyed();
    fence_values_are_reached();
    offered_memory_is_not_usage();
    a_shortage_is_no_memory();
    close_client(&client);
    return 0;
}
