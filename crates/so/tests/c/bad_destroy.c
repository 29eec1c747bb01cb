// Wrong calls that destroy allocations.

#include "world.h"

CALL(DestroyAllocation, D3DKMT_DESTROYALLOCATION);
CALL(DestroyAllocation2, D3DKMT_DESTROYALLOCATION2);

enum { LIST_MAX = 10240, MEMBERS = 3 };

// A call with nothing wrong in it. Version 1 takes the same argument, but knows no flags.
static D3DKMT_HANDLE list[LIST_MAX + 1];

static D3DKMT_DESTROYALLOCATION2 destruction_of(UINT count)
{
    create_many(world.client.device, 1, count, list);
    watch(list, sizeof list);
    return (D3DKMT_DESTROYALLOCATION2){
        .hDevice = world.client.device,
        .phAllocationList = list,
        .AllocationCount = count,
    };
}

static void destroy_rightly(const struct call *call, D3DKMT_DESTROYALLOCATION2 *args)
{
    right(call, args);
    attempt(call, args, STATUS_INVALID_PARAMETER, "what is destroyed already");
    unwatch();
}

// ---------------------------------------------------------------------------------------- lists

static void wrong_lists(const struct call *call)
{
    D3DKMT_DESTROYALLOCATION2 args = destruction_of(MEMBERS);
    wrong_pointers(call, &args);
    wrong_handles(call, &args, &args.hDevice, DEVICE);
    WRONG(*call, args, phAllocationList, NULL);
    WRONG(*call, args, phAllocationList, misaligned(list));
    WRONG(*call, args, AllocationCount, 0);
    WRONG(*call, args, AllocationCount, UINT_MAX);
    WRONG(*call, args, hResource, world.resource);
    destroy_rightly(call, &args);
}

static void wrong_items(const struct call *call)
{
    D3DKMT_DESTROYALLOCATION2 args = destruction_of(MEMBERS);
    D3DKMT_HANDLE member = world.allocations[MEMBER_COMMITTED];
    for (UINT i = 0; i < MEMBERS; i++) {
        wrong_handles(call, &args, &list[i], ALLOCATION);
        wrong_handle(call, &args, &list[i], list[(i + 1) % MEMBERS], "one of them twice");
        wrong_handle(call, &args, &list[i], world.allocations[LOCKED], "a locked one");
        wrong_handle(call, &args, &list[i], member, "a member among those of no resource");
    }
    destroy_rightly(call, &args);
}

// Members of a resource go together with others of that resource only.
static void wrong_members(const struct call *call)
{
    D3DKMT_HANDLE members[MEMBERS];
    D3DKMT_HANDLE resource = create_resource(world.client.device, 1, MEMBERS, members);
    D3DKMT_DESTROYALLOCATION2 args = {
        .hDevice = world.client.device,
        .phAllocationList = members,
        .AllocationCount = MEMBERS,
    };
    wrong_handle(call, &args, &members[1], world.allocations[MEMBER_COMMITTED],
                 "a member of another resource");
    wrong_handle(call, &args, &members[1], world.allocations[COMMITTED], "one of no resource");
    wrong_handle(call, &args, &members[1], members[0], "a member twice");
    lock(world.client.device, members[2]);
    attempt(call, &args, STATUS_INVALID_PARAMETER, "a locked member");
    unlock(world.client.device, members[2]);
    right(call, &args);
    // It has no members now, and is there.
    CHECK_OK(destroy_resource(world.client.device, resource));
}

// ------------------------------------------------------------------------------------- resources

static void wrong_resources(const struct call *call)
{
    D3DKMT_HANDLE members[MEMBERS];
    D3DKMT_DESTROYALLOCATION2 args = {.hDevice = world.client.device};
    attempt(call, &args, STATUS_INVALID_PARAMETER, "nothing to destroy");
    args.hResource = create_resource(world.client.device, 1, MEMBERS, members);
    wrong_pointers(call, &args);
    wrong_handles(call, &args, &args.hDevice, DEVICE);
    wrong_handles(call, &args, &args.hResource, RESOURCE);
    WRONG(*call, args, AllocationCount, 1);
    WRONG(*call, args, AllocationCount, MEMBERS);
    WRONG(*call, args, phAllocationList, members);
    lock(world.client.device, members[1]);
    attempt(call, &args, STATUS_INVALID_PARAMETER, "a locked member");
    unlock(world.client.device, members[1]);
    destroy_rightly(call, &args);
    for (UINT i = 0; i < MEMBERS; i++)
        CHECK_STATUS(try_unlock(world.client.device, members[i]), STATUS_INVALID_PARAMETER);
}

// ------------------------------------------------------------------------------------ long lists

// Something wrong at 900 leaves all of 1,000 as they were, whatever state they are in.
static void wrong_at_900(const struct call *call)
{
    enum { COUNT = 1000, PLACE = 900 };
    D3DKMT_DESTROYALLOCATION2 args = destruction_of(COUNT);
    D3DDDI_RECLAIM_RESULT results[COUNT];
    for (UINT i = 0; i < COUNT; i += 3)
        offer_one(world.client.device, list[i], D3DKMT_OFFER_PRIORITY_HIGH);
    wrong_handles(call, &args, &list[PLACE], ALLOCATION);
    wrong_handle(call, &args, &list[PLACE], list[PLACE + 50], "one that comes again");
    wrong_handle(call, &args, &list[PLACE], list[0], "one that was there before");
    wrong_handle(call, &args, &list[PLACE], world.allocations[LOCKED], "a locked one");
    for (UINT i = 0; i < COUNT; i++) {
        if (i % 3 == 0) {
            expect_refuses_lock(world.client.device, list[i]);
        } else {
            lock(world.client.device, list[i]);
            unlock(world.client.device, list[i]);
        }
    }
    CHECK_OK(reclaim_v2(&world.queue, list, COUNT, results));
    for (UINT i = 0; i < COUNT; i++)
        CHECK_EQUAL(results[i], D3DDDI_RECLAIM_RESULT_OK);
    destroy_rightly(call, &args);
}

static void longest_list(const struct call *call)
{
    D3DKMT_DESTROYALLOCATION2 args = destruction_of(LIST_MAX);
    list[LIST_MAX] = create_one(world.client.device, 1);
    WRONG(*call, args, AllocationCount, LIST_MAX + 1);
    destroy_rightly(call, &args);
    CHECK_OK(destroy_list(world.client.device, &list[LIST_MAX], 1));
}

// ------------------------------------------------------------------------------------------ main

static void both_versions(void (*section)(const struct call *))
{
    section(&DestroyAllocation);
    section(&DestroyAllocation2);
}

static void destroy_lists(void)
{
    both_versions(wrong_lists);
}

static void destroy_items(void)
{
    both_versions(wrong_items);
}

static void destroy_members(void)
{
    both_versions(wrong_members);
}

static void destroy_resources(void)
{
    both_versions(wrong_resources);
}

static void destroy_at_900(void)
{
    both_versions(wrong_at_900);
}

static void destroy_longest(void)
{
    both_versions(longest_list);
}

static void destroy_flags(void)
{
    D3DKMT_DESTROYALLOCATION2 args = destruction_of(MEMBERS);
    wrong_bits(&DestroyAllocation2, &args, &args.Flags, 3);
    args.Flags.AssumeNotInUse = 1;
    args.Flags.SynchronousDestroy = 1;
    wrong_bits(&DestroyAllocation2, &args, &args.Flags, 3);
    destroy_rightly(&DestroyAllocation2, &args);
}

int main(void)
{
    static void (*const sections[])(void) = {
        destroy_lists,
        destroy_items,
        destroy_members,
        destroy_resources,
        destroy_at_900,
        destroy_longest,
        destroy_flags,
    };
    return run_sections(sections, sizeof sections / sizeof *sections);
}
