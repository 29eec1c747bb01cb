// The world of the tests of wrong calls: an object of each kind, an allocation in each state, and
// what must be as it was after every call that is refused.

#ifndef VIDMM_TESTS_WORLD_H
#define VIDMM_TESTS_WORLD_H

#include "check.h"

#include <limits.h>

// What every allocation of the world has.
enum { BYTES = 2 * PIECE_BYTES };

// What a handle names, as bits. OTHERS belong to a device that is not the one a call is made on.
enum kind {
    ZERO = 1 << 0,
    NOTHING = 1 << 1,
    ADAPTER = 1 << 2,
    DEVICE = 1 << 3,
    OTHER_DEVICE = 1 << 4,
    QUEUE = 1 << 5,
    OTHER_QUEUE = 1 << 6,
    SYNC = 1 << 7,
    ALLOCATION = 1 << 8,
    OTHERS_ALLOCATION = 1 << 9,
    RESOURCE = 1 << 10,
    OTHERS_RESOURCE = 1 << 11,
};

struct named {
    const char *name;
    enum kind kind;
    D3DKMT_HANDLE handle;
};

// The allocations of the world, by what they are. The members belong to its resource.
enum state {
    COMMITTED,
    LOCKED,
    OFFERED_LOW,
    OFFERED_NORMAL,
    OFFERED_HIGH,
    OFFERED_AUTO,
    DISCARDED,
    DEAD,
    MEMBER_COMMITTED,
    MEMBER_OFFERED,
    MEMBER_DISCARDED,
    STATES,
};

enum { OTHERS_COMMITTED, OTHERS_OFFERED, OTHERS_MEMBER, OTHERS };

enum { NAMED_MAX = 32, WATCHED_MAX = 8 };

struct watched {
    const void *memory;
    size_t bytes;
    void *before;
};

static struct {
    struct client client;
    D3DKMT_HANDLE other_device;
    struct queue queue;
    struct queue other_queue;
    UINT64 budget;
    D3DKMT_HANDLE allocations[STATES];
    D3DKMT_HANDLE resource;
    void *locked_at;
    D3DKMT_HANDLE others[OTHERS];
    D3DKMT_HANDLE others_resource;
    UINT64 fence;
    struct named named[NAMED_MAX];
    unsigned named_count;
    struct watched watched[WATCHED_MAX];
    unsigned watched_count;
    unsigned wrong_calls;
} world;

// ---------------------------------------------------------------------------------- a new world

static inline void name_handle(const char *name, enum kind kind, D3DKMT_HANDLE handle)
{
    CHECK(world.named_count < NAMED_MAX);
    world.named[world.named_count++] = (struct named){name, kind, handle};
}

// Supplied never again: there was no room when its content was asked for.
static inline D3DKMT_HANDLE make_dead(void)
{
    D3DKMT_HANDLE dead = create_one(world.client.device, BYTES);
    D3DDDI_RECLAIM_RESULT result = D3DDDI_RECLAIM_RESULT_OK;
    CHECK_OK(offer_with(world.client.device, &dead, 1, D3DKMT_OFFER_PRIORITY_LOW, 2));
    set_budget(&world.client, 0);
    CHECK_OK(reclaim_v2(&world.queue, &dead, 1, &result));
    CHECK_EQUAL(result, D3DDDI_RECLAIM_RESULT_NOT_COMMITTED);
    set_budget(&world.client, world.budget);
    return dead;
}

static inline void make_allocations(void)
{
    D3DKMT_HANDLE device = world.client.device;
    D3DKMT_HANDLE *all = world.allocations;
    UINT high = 0xA0000000;
    all[DEAD] = make_dead();
    create_many(device, BYTES, DEAD, all);
    world.resource = create_resource(device, BYTES, STATES - MEMBER_COMMITTED,
                                     all + MEMBER_COMMITTED);
    for (int state = 0; state < STATES; state++)
        if (state != DEAD)
            write_content(device, all[state], BYTES, (uint64_t)state);
    for (int priority = 1; priority <= 4; priority++)
        offer_one(device, all[OFFERED_LOW + priority - 1], (D3DKMT_OFFER_PRIORITY)priority);
    D3DKMT_SETALLOCATIONPRIORITY set = {
        .hDevice = device,
        .phAllocationList = &all[OFFERED_AUTO],
        .AllocationCount = 1,
        .pPriorities = &high,
    };
    CHECK_OK(D3DKMTSetAllocationPriority(&set));
    offer_one(device, all[MEMBER_OFFERED], D3DKMT_OFFER_PRIORITY_HIGH);
    offer_one(device, all[DISCARDED], D3DKMT_OFFER_PRIORITY_LOW);
    evict(&world.client, 0, all[DISCARDED]);
    offer_one(device, all[MEMBER_DISCARDED], D3DKMT_OFFER_PRIORITY_LOW);
    evict(&world.client, 0, all[MEMBER_DISCARDED]);
    world.locked_at = lock(device, all[LOCKED]);
}

static inline void make_others(void)
{
    world.other_device = open_device(world.client.adapter);
    world.other_queue = open_queue(world.other_device);
    create_many(world.other_device, BYTES, OTHERS_MEMBER, world.others);
    world.others_resource =
        create_resource(world.other_device, BYTES, 1, &world.others[OTHERS_MEMBER]);
    for (int i = 0; i < OTHERS; i++)
        write_content(world.other_device, world.others[i], BYTES, 100 + (uint64_t)i);
    offer_one(world.other_device, world.others[OTHERS_OFFERED], D3DKMT_OFFER_PRIORITY_HIGH);
}

// Names that something had once.
static inline void name_the_past(void)
{
    D3DKMT_HANDLE adapter = open_adapter();
    D3DKMT_HANDLE device = open_device(adapter);
    struct queue queue = open_queue(device);
    D3DKMT_HANDLE member;
    D3DKMT_HANDLE resource = create_resource(world.client.device, BYTES, 1, &member);
    D3DKMT_HANDLE allocation = create_one(world.client.device, BYTES);
    CHECK_OK(destroy_resource(world.client.device, resource));
    CHECK_OK(destroy_list(world.client.device, &allocation, 1));
    D3DKMT_HANDLE lost_with_device = create_one(device, BYTES);
    close_queue(&queue);
    close_device(device);
    close_adapter(adapter);
    name_handle("a closed adapter", NOTHING, adapter);
    name_handle("a destroyed device", NOTHING, device);
    name_handle("a destroyed paging queue", NOTHING, queue.handle);
    name_handle("the sync object of a destroyed paging queue", NOTHING, queue.sync);
    name_handle("a destroyed resource", NOTHING, resource);
    name_handle("a member of a destroyed resource", NOTHING, member);
    name_handle("a destroyed allocation", NOTHING, allocation);
    name_handle("an allocation of a destroyed device", NOTHING, lost_with_device);
}

static inline void name_everything(void)
{
    world.named_count = 0;
    name_handle("0", ZERO, 0);
    name_handle("all ones", NOTHING, 0xFFFFFFFF);
    name_handle("a handle never given out", NOTHING, 0x6B5A4938);
    name_the_past();
    name_handle("an adapter", ADAPTER, world.client.adapter);
    name_handle("the device", DEVICE, world.client.device);
    name_handle("another device", OTHER_DEVICE, world.other_device);
    name_handle("a paging queue", QUEUE, world.queue.handle);
    name_handle("another device's paging queue", OTHER_QUEUE, world.other_queue.handle);
    name_handle("a sync object", SYNC, world.queue.sync);
    name_handle("an allocation", ALLOCATION, world.allocations[COMMITTED]);
    name_handle("a member of a resource", ALLOCATION, world.allocations[MEMBER_COMMITTED]);
    name_handle("another device's allocation", OTHERS_ALLOCATION, world.others[OTHERS_COMMITTED]);
    name_handle("another device's offered one", OTHERS_ALLOCATION, world.others[OTHERS_OFFERED]);
    name_handle("a resource", RESOURCE, world.resource);
    name_handle("another device's resource", OTHERS_RESOURCE, world.others_resource);
}

static inline void make_world(void)
{
    world.client = open_client();
    world.budget = memory_info(world.client.adapter).Budget;
    world.queue = open_queue(world.client.device);
    make_allocations();
    make_others();
    name_everything();
    world.fence = fence_value(&world.queue);
}

// --------------------------------------------------------------------------- as it was, or not

static struct {
    const char *call;
    const char *what;
} doing;

static inline void expect(int is_so, const char *expectation)
{
    if (!is_so) {
        fprintf(stderr, "%s with %s: %s\n", doing.call, doing.what, expectation);
        check_end();
    }
}

static inline void expect_content(D3DKMT_HANDLE device, D3DKMT_HANDLE allocation, uint64_t seed)
{
    void *memory = NULL;
    expect(try_lock(device, allocation, &memory) == STATUS_SUCCESS, "committed memory is not so");
    expect(holds(memory, BYTES, seed), "memory lost its content");
    expect(try_unlock(device, allocation) == STATUS_SUCCESS, "a lock is lost");
}

static inline void expect_refuses_lock(D3DKMT_HANDLE device, D3DKMT_HANDLE allocation)
{
    void *memory;
    expect(try_lock(device, allocation, &memory) == STATUS_INVALID_PARAMETER,
           "what was not committed is so now");
}

// Everything that can be seen without changing it.
static inline void expect_world(void)
{
    for (int state = 0; state < STATES; state++) {
        if (state == LOCKED)
            expect(holds(world.locked_at, BYTES, LOCKED), "locked memory lost its content");
        else if (state == COMMITTED || state == MEMBER_COMMITTED)
            expect_content(world.client.device, world.allocations[state], (uint64_t)state);
        else
            expect_refuses_lock(world.client.device, world.allocations[state]);
    }
    expect_content(world.other_device, world.others[OTHERS_COMMITTED], 100 + OTHERS_COMMITTED);
    expect_content(world.other_device, world.others[OTHERS_MEMBER], 100 + OTHERS_MEMBER);
    expect_refuses_lock(world.other_device, world.others[OTHERS_OFFERED]);
    expect(memory_info(world.client.adapter).Budget == world.budget, "the budget changed");
    expect(bytes_to_trim(&world.client) == 0, "more is held than before");
    expect(fence_value(&world.queue) == world.fence, "a fence moved");
}

// From now on no refused call may write here.
static inline void watch(const void *memory, size_t bytes)
{
    CHECK(world.watched_count < WATCHED_MAX);
    world.watched[world.watched_count++] =
        (struct watched){.memory = memory, .bytes = bytes, .before = allocated(1, bytes)};
}

static inline void unwatch(void)
{
    while (world.watched_count > 0)
        free(world.watched[--world.watched_count].before);
}

// -------------------------------------------------------------------------- the end of the world

// What can only be seen by changing it: whether contents are intact, or whether classes are what they
// were. Either is looked at in a world of its own.
enum ending { CONTENTS, CLASSES, ENDINGS };

// Room for all but two: the lowest goes, and the next one.
static inline void lose_two(void)
{
    enum { HELD = 11 };
    set_budget(&world.client, (HELD - 2) * BYTES);
    CHECK_EQUAL(bytes_to_trim(&world.client), 0);
    set_budget(&world.client, world.budget);
}

static inline void check_reclaimed(enum ending ending)
{
    static const UINT answers[ENDINGS][STATES] = {
        [CONTENTS] = {[DISCARDED] = 1, [DEAD] = 2, [MEMBER_DISCARDED] = 1},
        [CLASSES] = {[OFFERED_LOW] = 1,
                     [OFFERED_NORMAL] = 1,
                     [DISCARDED] = 1,
                     [DEAD] = 2,
                     [MEMBER_DISCARDED] = 1},
    };
    D3DDDI_RECLAIM_RESULT results[STATES];
    CHECK_OK(reclaim_v2(&world.queue, world.allocations, STATES, results));
    for (int state = 0; state < STATES; state++) {
        CHECK_EQUAL(results[state], answers[ending][state]);
        if (results[state] == D3DDDI_RECLAIM_RESULT_OK)
            CHECK(content_is(world.client.device, world.allocations[state], BYTES,
                             (uint64_t)state));
    }
}

static inline void end_world(enum ending ending)
{
    doing.call = "the end";
    doing.what = "nothing wrong";
    expect_world();
    if (ending == CLASSES)
        lose_two();
    check_reclaimed(ending);
    unlock(world.client.device, world.allocations[LOCKED]);
    CHECK_STATUS(try_unlock(world.client.device, world.allocations[LOCKED]),
                 STATUS_INVALID_PARAMETER);
    BOOL lost = 1;
    CHECK_OK(reclaim_v1(world.other_device, &world.others[OTHERS_OFFERED], 1, &lost));
    CHECK_EQUAL(lost, 0);
    CHECK(content_is(world.other_device, world.others[OTHERS_OFFERED], BYTES,
                     100 + OTHERS_OFFERED));
    close_device(world.other_device);
    close_client(&world.client);
    unwatch();
}

// ------------------------------------------------------------------------------------ wrong calls

struct call {
    const char *name;
    NTSTATUS (*function)(void *argument);
    size_t bytes;
    size_t alignment;
};

// Makes `name` a call that can be tried with any argument.
#define CALL(name, type)                          \
    static NTSTATUS do_##name(void *argument)     \
    {                                             \
        return D3DKMT##name(argument);            \
    }                                             \
    static const struct call name = {#name, do_##name, sizeof(type), _Alignof(type)}

static inline void expect_status(const struct call *call, void *argument, NTSTATUS expected)
{
    NTSTATUS status = call->function(argument);
    if (status != expected) {
        fprintf(stderr, "%s with %s: expected status 0x%08x, actual 0x%08x\n", doing.call,
                doing.what, (unsigned)expected, (unsigned)status);
        check_end();
    }
}

// A wrong call: refused with just this status, and nothing anywhere is changed.
static inline void attempt(const struct call *call, void *argument, NTSTATUS expected,
                           const char *what)
{
    unsigned char before[128];
    CHECK(call->bytes <= sizeof before);
    doing.call = call->name;
    doing.what = what;
    if (argument)
        memcpy(before, argument, call->bytes);
    for (unsigned i = 0; i < world.watched_count; i++)
        memcpy(world.watched[i].before, world.watched[i].memory, world.watched[i].bytes);
    expect_status(call, argument, expected);
    expect(!argument || memcmp(before, argument, call->bytes) == 0, "the argument was written");
    for (unsigned i = 0; i < world.watched_count; i++) {
        const struct watched *w = &world.watched[i];
        expect(memcmp(w->before, w->memory, w->bytes) == 0, "an output was written");
    }
    expect_world();
    world.wrong_calls++;
}

// One field of `object` has a wrong value while the call is made; `object` is the argument or
// something that it points to.
#define WRONG_IN(call, argument, object, field, value, status)                         \
    do {                                                                               \
        unsigned char right_[sizeof(object)];                                          \
        memcpy(right_, &(object), sizeof right_);                                      \
        (object).field = (value);                                                      \
        attempt(&(call), &(argument), (status), #object "." #field " = " #value);      \
        memcpy(&(object), right_, sizeof right_);                                      \
    } while (0)

#define WRONG(call, argument, field, value) \
    WRONG_IN(call, argument, argument, field, value, STATUS_INVALID_PARAMETER)

// One handle that is wrong there, for the reason given.
static inline void wrong_handle(const struct call *call, void *argument, D3DKMT_HANDLE *field,
                                D3DKMT_HANDLE wrong, const char *reason)
{
    D3DKMT_HANDLE right = *field;
    *field = wrong;
    attempt(call, argument, STATUS_INVALID_PARAMETER, reason);
    *field = right;
}

// Every handle that is of none of these kinds, in a field or a place of a list.
static inline void wrong_handles(const struct call *call, void *argument, D3DKMT_HANDLE *field,
                                 unsigned right_kinds)
{
    D3DKMT_HANDLE right = *field;
    for (unsigned i = 0; i < world.named_count; i++) {
        if (world.named[i].kind & right_kinds)
            continue;
        *field = world.named[i].handle;
        attempt(call, argument, STATUS_INVALID_PARAMETER, world.named[i].name);
    }
    *field = right;
}

// Every bit that is not allowed, in a field of 32.
static inline void wrong_bits(const struct call *call, void *argument, void *field,
                              UINT allowed_bits)
{
    UINT right;
    memcpy(&right, field, sizeof right);
    for (UINT bit = 0; bit < 32; bit++) {
        char what[32];
        UINT wrong = right | 1u << bit;
        if (allowed_bits >> bit & 1)
            continue;
        snprintf(what, sizeof what, "flag bit %u", bit);
        memcpy(field, &wrong, sizeof wrong);
        attempt(call, argument, STATUS_INVALID_PARAMETER, what);
    }
    memcpy(field, &right, sizeof right);
}

// No argument, and one at an address that no such structure can have.
static inline void wrong_pointers(const struct call *call, const void *argument)
{
    _Alignas(16) unsigned char space[144];
    attempt(call, NULL, STATUS_INVALID_PARAMETER, "no argument");
    for (size_t off = 1; off < call->alignment; off *= 2) {
        memcpy(space + off, argument, call->bytes);
        attempt(call, space + off, STATUS_INVALID_PARAMETER, "a misaligned argument");
    }
}

// An address where nothing that has an alignment can be.
static inline void *misaligned(const void *memory)
{
    return (char *)(uintptr_t)memory + 1;
}

// The same call with nothing wrong: so it was the wrong thing that was refused.
static inline void right(const struct call *call, void *argument)
{
    doing.call = call->name;
    doing.what = "nothing wrong";
    expect_status(call, argument, STATUS_SUCCESS);
}

// ------------------------------------------------------------------------------------------ main

// Each section in worlds of its own; prints how many calls were tried in each ending.
static inline int run_sections(void (*const *sections)(void), size_t count)
{
    for (int ending = 0; ending < ENDINGS; ending++) {
        world.wrong_calls = 0;
        for (size_t i = 0; i < count; i++) {
            make_world();
            sections[i]();
            end_world((enum ending)ending);
        }
    }
    printf("wrong calls: %u\n", world.wrong_calls);
    return 0;
}

#endif
