// The documented case, whole and with real contents: allocations fill the budget, three quarters of
// them are offered in mixed classes, the budget is halved, restored, and all are reclaimed in one
// call, whose answers must agree with the contents.
//
//     documented_case v1|null|resources|v2|decommit [COUNT]
//
// COUNT allocations of 64 KiB (a multiple of 80; 10,000 if it is not said) must be the whole budget
// of the process.

#include "check.h"

enum { BYTES = 65536, MEMBERS = 4, COUNT = 10000 };

enum way { V1, V1_NULL, RESOURCES, V2, DECOMMIT };

// What becomes of an item, which is what one place of a list names: an allocation or a resource.
enum plan { KEPT, PARTLY, LOW, NORMAL, HIGH, AUTO_LOW, AUTO_NORMAL, AUTO_HIGH, EVICTED };

// Of 20 items 5 are not offered, and the low, middle and high class have 5, 6 and 4. So when a half
// must go the low class goes whole and the middle one in part.
static const enum plan plans[20] = {
    LOW,  NORMAL, KEPT,   HIGH,     AUTO_LOW, NORMAL,      PARTLY, LOW,       AUTO_NORMAL, HIGH,
    KEPT, NORMAL, EVICTED, AUTO_HIGH, LOW,    AUTO_NORMAL, KEPT,   NORMAL,    LOW,         KEPT,
};

struct scene {
    enum way way;
    struct client client;
    struct queue queue;
    UINT count;                 // allocations
    UINT members;               // of each item
    UINT items;                 // places in a list
    D3DKMT_HANDLE *allocations; // by number; item i owns `members` of them from i * members on
    D3DKMT_HANDLE *names;       // of the items: the allocations themselves, or the resources
    UINT *answers;              // of the items
    uint64_t resident_before;
};

// Two of the plans are about resources; without any they are the plain ones they resemble.
static enum plan plan_of(const struct scene *s, UINT item)
{
    enum plan plan = plans[item % 20];
    if (s->way != RESOURCES && plan == PARTLY)
        return KEPT;
    if (s->way != RESOURCES && plan == EVICTED)
        return HIGH;
    return plan;
}

// 0 for what is not offered, else the class that counts.
static int class_of(enum plan plan)
{
    switch (plan) {
    case LOW:
    case AUTO_LOW:
        return 1;
    case NORMAL:
    case AUTO_NORMAL:
        return 2;
    case HIGH:
    case AUTO_HIGH:
    case EVICTED:
        return 3;
    default:
        return 0;
    }
}

static D3DKMT_OFFER_PRIORITY priority_of(enum plan plan)
{
    if (plan == AUTO_LOW || plan == AUTO_NORMAL || plan == AUTO_HIGH)
        return D3DKMT_OFFER_PRIORITY_AUTO;
    return (D3DKMT_OFFER_PRIORITY)class_of(plan);
}

static UINT64 whole_budget(const struct scene *s)
{
    return (UINT64)s->count * BYTES;
}

// ------------------------------------------------------------------------------------ the kernel

// What the kernel counts for the allocations must be this, give or take a fiftieth and what the
// program needs for itself.
static void check_resident(const struct scene *s, UINT64 expected)
{
    uint64_t now = resident_bytes();
    uint64_t held = now > s->resident_before ? now - s->resident_before : 0;
    uint64_t slack = whole_budget(s) / 50 + (3u << 20);
    if (held + slack < expected || held > expected + slack) {
        fprintf(stderr, "the kernel counts %llu bytes, not about %llu\n", (unsigned long long)held,
                (unsigned long long)expected);
        check_end();
    }
}

// --------------------------------------------------------------------------------------- filling

static void create_all(struct scene *s)
{
    if (s->way != RESOURCES) {
        create_many(s->client.device, BYTES, s->count, s->allocations);
        memcpy(s->names, s->allocations, s->count * sizeof *s->names);
        return;
    }
    for (UINT item = 0; item < s->items; item++) {
        D3DKMT_HANDLE *members = s->allocations + (size_t)item * MEMBERS;
        s->names[item] = create_resource(s->client.device, BYTES, MEMBERS, members);
    }
}

static void fill_all(const struct scene *s)
{
    for (UINT i = 0; i < s->count; i++)
        write_content(s->client.device, s->allocations[i], BYTES, i);
    CHECK_EQUAL(memory_info(s->client.adapter).CurrentUsage, whole_budget(s));
    check_resident(s, whole_budget(s));
}

// -------------------------------------------------------------------------------------- offering

static NTSTATUS offer_items(const struct scene *s, D3DKMT_HANDLE *names, UINT count,
                            D3DKMT_OFFER_PRIORITY priority)
{
    if (s->way != RESOURCES) {
        UINT allow_decommit = s->way == DECOMMIT ? 2 : 0;
        return offer_with(s->client.device, names, count, priority, allow_decommit);
    }
    D3DKMT_OFFERALLOCATIONS offer = {
        .hDevice = s->client.device,
        .pResources = names,
        .NumAllocations = count,
        .Priority = priority,
    };
    return D3DKMTOfferAllocations(&offer);
}

// A list of its own for each class.
static void offer_in_classes(const struct scene *s)
{
    D3DKMT_HANDLE *list = allocated(s->items, sizeof *list);
    for (int priority = 1; priority <= 4; priority++) {
        UINT count = 0;
        for (UINT item = 0; item < s->items; item++) {
            enum plan plan = plan_of(s, item);
            if (class_of(plan) && (int)priority_of(plan) == priority)
                list[count++] = s->names[item];
        }
        CHECK_OK(offer_items(s, list, count, (D3DKMT_OFFER_PRIORITY)priority));
    }
    free(list);
}

// What is offered AUTO gets its class only now: it counts when a victim is chosen.
static void set_priorities(const struct scene *s)
{
    for (UINT item = 0; item < s->items; item++) {
        enum plan plan = plan_of(s, item);
        if (plan != AUTO_LOW && plan != AUTO_HIGH)
            continue;
        UINT priority = plan == AUTO_LOW ? 0x50000000 : 0xA0000000;
        D3DKMT_SETALLOCATIONPRIORITY set = {
            .hDevice = s->client.device, .pPriorities = &priority};
        if (s->way == RESOURCES) {
            set.hResource = s->names[item];
        } else {
            set.phAllocationList = &s->names[item];
            set.AllocationCount = 1;
        }
        CHECK_OK(D3DKMTSetAllocationPriority(&set));
    }
}

// Resources that lose one member only: the one member that is offered, or one of four.
static void part_members(const struct scene *s)
{
    for (UINT item = 0; item < s->items; item++) {
        D3DKMT_HANDLE first = s->allocations[(size_t)item * s->members];
        if (plan_of(s, item) == PARTLY)
            offer_one(s->client.device, first, D3DKMT_OFFER_PRIORITY_LOW);
        if (plan_of(s, item) == EVICTED)
            evict(&s->client, 0, first);
    }
}

static void offer_three_quarters(const struct scene *s)
{
    offer_in_classes(s);
    set_priorities(s);
    if (s->way == RESOURCES)
        part_members(s);
}

// ------------------------------------------------------------------------------------ reclaiming

static NTSTATUS reclaim_all(const struct scene *s, BOOL *discarded)
{
    D3DKMT_RECLAIMALLOCATIONS reclaim = {
        .hDevice = s->client.device,
        .pDiscarded = discarded,
        .NumAllocations = s->items,
    };
    if (s->way == RESOURCES)
        reclaim.pResources = s->names;
    else
        reclaim.HandleList = s->names;
    return D3DKMTReclaimAllocations(&reclaim);
}

static NTSTATUS reclaim_all_v2(const struct scene *s, D3DDDI_RECLAIM_RESULT *results)
{
    return reclaim_v2(&s->queue, s->names, s->items, results);
}

static int never_offered(const struct scene *s, UINT allocation)
{
    enum plan plan = plan_of(s, allocation / s->members);
    return plan == KEPT || (plan == PARTLY && allocation % s->members != 0);
}

// What is not offered has its content; what is offered cannot be locked.
static void check_as_offered(const struct scene *s)
{
    for (UINT i = 0; i < s->count; i++) {
        void *memory;
        if (never_offered(s, i))
            CHECK(content_is(s->client.device, s->allocations[i], BYTES, i));
        else
            CHECK_STATUS(try_lock(s->client.device, s->allocations[i], &memory),
                         STATUS_INVALID_PARAMETER);
    }
}

// With half a budget not everything can be had: nothing is, then, and nothing is said.
static void check_refused(const struct scene *s)
{
    const UINT untouched = 0x5A5A5A5A;
    for (UINT item = 0; item < s->items; item++)
        s->answers[item] = untouched;
    CHECK_STATUS(reclaim_all(s, (BOOL *)s->answers), STATUS_NO_MEMORY);
    CHECK_STATUS(reclaim_all(s, NULL), STATUS_NO_MEMORY);
    if (s->way == V2)
        CHECK_STATUS(reclaim_all_v2(s, (D3DDDI_RECLAIM_RESULT *)s->answers), STATUS_NO_MEMORY);
    // Only answers can say that something is dead, so without them nothing dies.
    if (s->way == DECOMMIT)
        CHECK_STATUS(reclaim_all_v2(s, NULL), STATUS_NO_MEMORY);
    for (UINT item = 0; item < s->items; item++)
        CHECK_EQUAL(s->answers[item], untouched);
    check_as_offered(s);
    check_resident(s, whole_budget(s) / 2);
}

// Discards go by class: when one item was lost, nothing that could be lost before it is intact. What
// a test lost on purpose is left out.
static void check_order(const struct scene *s)
{
    int highest_lost = 0;
    int lowest_intact = 4;
    UINT lost = 0;
    for (UINT item = 0; item < s->items; item++) {
        int class = class_of(plan_of(s, item));
        if (class == 0 || plan_of(s, item) == EVICTED)
            continue;
        lost += s->answers[item] != 0;
        if (s->answers[item] && class > highest_lost)
            highest_lost = class;
        if (!s->answers[item] && class < lowest_intact)
            lowest_intact = class;
    }
    CHECK(lost > s->items / 4);
    CHECK(highest_lost <= lowest_intact);
    CHECK(highest_lost < 3);
}

// No answer, for what is not offered, but *intact*; the worst of its members for a resource.
static void check_answers(const struct scene *s)
{
    for (UINT item = 0; item < s->items; item++) {
        CHECK(s->answers[item] <= D3DDDI_RECLAIM_RESULT_NOT_COMMITTED);
        enum plan plan = plan_of(s, item);
        if (plan == KEPT)
            CHECK_EQUAL(s->answers[item], 0);
        if (plan == PARTLY || plan == EVICTED)
            CHECK_EQUAL(s->answers[item], 1);
    }
}

// What is said to be intact is so in every byte; what is said to be lost is memory like any other.
static void check_contents(const struct scene *s)
{
    for (UINT i = 0; i < s->count; i++) {
        UINT answer = s->answers[i / s->members];
        if (answer == D3DDDI_RECLAIM_RESULT_NOT_COMMITTED)
            continue;
        unsigned char *memory = lock(s->client.device, s->allocations[i]);
        if (answer == 0 || never_offered(s, i)) {
            CHECK(holds(memory, BYTES, i));
        } else {
            fill(memory, BYTES, ~(uint64_t)i);
            CHECK(holds(memory, BYTES, ~(uint64_t)i));
        }
        unlock(s->client.device, s->allocations[i]);
    }
}

static void reclaim_everything(const struct scene *s)
{
    if (s->way == V1_NULL) {
        CHECK_OK(reclaim_all(s, NULL));
        // Nothing was said, so everything counts as lost.
        for (UINT item = 0; item < s->items; item++)
            s->answers[item] = 1;
    } else if (s->way == V2) {
        UINT64 before = fence_value(&s->queue);
        CHECK_OK(reclaim_all_v2(s, (D3DDDI_RECLAIM_RESULT *)s->answers));
        CHECK(fence_value(&s->queue) > before);
        check_answers(s);
        check_order(s);
    } else {
        CHECK_OK(reclaim_all(s, (BOOL *)s->answers));
        check_answers(s);
        check_order(s);
    }
    check_contents(s);
    CHECK_EQUAL(memory_info(s->client.adapter).CurrentUsage, whole_budget(s));
    check_resident(s, whole_budget(s));
}

// ------------------------------------------------------------------------------------- the dead

// Dead is: no lock, no offer, the same answer again and again.
static void check_dead(const struct scene *s)
{
    D3DKMT_HANDLE device = s->client.device;
    D3DDDI_RECLAIM_RESULT *again = allocated(s->items, sizeof *again);
    BOOL *discarded = allocated(s->items, sizeof *discarded);
    CHECK_OK(reclaim_all_v2(s, again));
    CHECK_OK(reclaim_all(s, discarded));
    for (UINT item = 0; item < s->items; item++) {
        int dead = s->answers[item] == D3DDDI_RECLAIM_RESULT_NOT_COMMITTED;
        CHECK_EQUAL(again[item],
                    dead ? D3DDDI_RECLAIM_RESULT_NOT_COMMITTED : D3DDDI_RECLAIM_RESULT_OK);
        CHECK_EQUAL(discarded[item], dead);
        if (!dead)
            continue;
        void *memory;
        CHECK_STATUS(try_lock(device, s->names[item], &memory), STATUS_INVALID_PARAMETER);
        CHECK_STATUS(offer_items(s, &s->names[item], 1, D3DKMT_OFFER_PRIORITY_LOW),
                     STATUS_INVALID_PARAMETER);
    }
    free(again);
    free(discarded);
}

// Takes the dead out of the scene, and out of the device.
static void bury_dead(struct scene *s)
{
    D3DKMT_HANDLE *dead = allocated(s->items, sizeof *dead);
    UINT dead_count = 0;
    for (UINT item = 0; item < s->items; item++) {
        if (s->answers[item] != D3DDDI_RECLAIM_RESULT_NOT_COMMITTED)
            continue;
        dead[dead_count++] = s->names[item];
        s->names[item] = 0;
    }
    CHECK_OK(destroy_list(s->client.device, dead, dead_count));
    CHECK_STATUS(destroy_list(s->client.device, dead, 1), STATUS_INVALID_PARAMETER);
    free(dead);
}

// A budget of five eighths supplies an eighth of what was lost; the rest dies.
static void reclaim_beyond_supply(struct scene *s)
{
    UINT found[3] = {0};
    set_budget(&s->client, whole_budget(s) / 8 * 5);
    CHECK_OK(reclaim_all_v2(s, (D3DDDI_RECLAIM_RESULT *)s->answers));
    check_answers(s);
    check_order(s);
    for (UINT item = 0; item < s->items; item++)
        found[s->answers[item]]++;
    CHECK_EQUAL(found[D3DDDI_RECLAIM_RESULT_OK], s->items / 2);
    CHECK_EQUAL(found[D3DDDI_RECLAIM_RESULT_DISCARDED], s->items / 8);
    CHECK_EQUAL(found[D3DDDI_RECLAIM_RESULT_NOT_COMMITTED], s->items * 3 / 8);
    check_dead(s);
    check_contents(s);
    check_resident(s, whole_budget(s) / 8 * 5);
    // Not even with all the room there is does anybody come back from the dead.
    set_budget(&s->client, whole_budget(s));
    check_dead(s);
    bury_dead(s);
}

// ------------------------------------------------------------------------------------------ main

static void destroy_all(struct scene *s)
{
    UINT left = 0;
    for (UINT item = 0; item < s->items; item++) {
        if (s->way == RESOURCES)
            CHECK_OK(destroy_resource(s->client.device, s->names[item]));
        else if (s->names[item])
            s->names[left++] = s->names[item];
    }
    if (s->way != RESOURCES)
        CHECK_OK(destroy_list(s->client.device, s->names, left));
    CHECK_EQUAL(memory_info(s->client.adapter).CurrentUsage, 0);
    check_resident(s, 0);
}

static enum way way_of(const char *name)
{
    static const char *const names[] = {"v1", "null", "resources", "v2", "decommit"};
    for (int way = V1; way <= DECOMMIT; way++)
        if (strcmp(name, names[way]) == 0)
            return (enum way)way;
    fprintf(stderr, "no such way: %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    struct scene s = {.way = way_of(argv[1]), .count = COUNT};
    if (argc > 2)
        s.count = (UINT)strtoul(argv[2], NULL, 10);
    CHECK(s.count > 0 && s.count % 80 == 0);
    s.members = s.way == RESOURCES ? MEMBERS : 1;
    s.items = s.count / s.members;
    s.client = open_client();
    s.queue = open_queue(s.client.device);
    s.allocations = allocated(s.count, sizeof *s.allocations);
    s.names = allocated(s.items, sizeof *s.names);
    s.answers = allocated(s.items, sizeof *s.answers);
    CHECK_EQUAL(memory_info(s.client.adapter).Budget, whole_budget(&s));
    s.resident_before = resident_bytes();

    create_all(&s);
    fill_all(&s);
    offer_three_quarters(&s);
    set_budget(&s.client, whole_budget(&s) / 2);
    check_resident(&s, whole_budget(&s) / 2);
    check_refused(&s);
    if (s.way == DECOMMIT) {
        reclaim_beyond_supply(&s);
    } else {
        // Refused is not forgotten: offers keep their class, so a second cut goes on where the
        // first one stopped.
        set_budget(&s.client, whole_budget(&s) / 20 * 9);
        check_resident(&s, whole_budget(&s) / 20 * 9);
        set_budget(&s.client, whole_budget(&s));
        reclaim_everything(&s);
    }
    destroy_all(&s);

    close_queue(&s.queue);
    close_client(&s.client);
    free(s.allocations);
    free(s.names);
    free(s.answers);
    puts("done");
    return 0;
}
