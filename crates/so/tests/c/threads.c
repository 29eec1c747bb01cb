// Eight threads on one device, all calls mixed, while one of them cuts and restores the budget:
// whatever is said to be intact is so in every byte.
//
//     threads ROUNDS
//
// The numbers that look random are the same in every run; only the order in which the threads come
// is not.

#include "check.h"

enum {
    WORKERS = 6, // and one that cuts, and one that asks
    SLOTS = 64,
    LIST_MAX = SLOTS + 1,
    PIECES_MAX = 16,
    TOGETHER = 32,
    UNTOUCHED = 0x5A5A5A5A,
};

// No thread ever needs more than this at a time, all together.
static const UINT64 budget = 32u << 20;

static struct client client;
static int workers_left;

enum state { FREE, COMMITTED, OFFERED };

// An allocation of one worker, and what that worker knows of it.
struct slot {
    D3DKMT_HANDLE handle;
    enum state state;
    int may_die;
    size_t bytes;
    uint64_t seed;
};

struct worker {
    pthread_t thread;
    uint64_t random;
    uint64_t next_seed;
    unsigned rounds;
    struct queue queue;
    struct slot slots[SLOTS];
};

// ---------------------------------------------------------------------------- what all have in common

// Everybody offers these at any time, but only who has the mutex reclaims. So what is found not
// offered after one's own reclaim was not lost since, and can be verified.
struct guarded {
    pthread_mutex_t mutex;
    D3DKMT_HANDLE handle;
    uint64_t seed;
    int lost;
};

static struct guarded guarded[TOGETHER];

// With these everybody does anything. Nothing is known of their contents.
static D3DKMT_HANDLE wild[TOGETHER];

enum { COMMON_BYTES = 4 * PIECE_BYTES };

static void make_common(void)
{
    create_many(client.device, COMMON_BYTES, TOGETHER, wild);
    for (int i = 0; i < TOGETHER; i++) {
        struct guarded *g = &guarded[i];
        CHECK_EQUAL(pthread_mutex_init(&g->mutex, NULL), 0);
        g->handle = create_one(client.device, COMMON_BYTES);
        g->seed = (uint64_t)i;
        write_content(client.device, g->handle, COMMON_BYTES, g->seed);
    }
}

// --------------------------------------------------------------------------------- lists of slots

// Distinct slots that are in use, at random; says how many, at most `most`.
static UINT pick(struct worker *w, struct slot **picked, UINT most)
{
    UINT start = random_below(&w->random, SLOTS);
    UINT step = random_below(&w->random, SLOTS / 2) * 2 + 1;
    UINT count = 0;
    for (UINT i = 0; i < SLOTS && count < most; i++) {
        struct slot *slot = &w->slots[(start + i * step) % SLOTS];
        if (slot->state != FREE)
            picked[count++] = slot;
    }
    return count;
}

static UINT pick_some(struct worker *w, struct slot **picked, D3DKMT_HANDLE *handles, UINT most)
{
    UINT count = pick(w, picked, random_below(&w->random, most) + 1);
    for (UINT i = 0; i < count; i++)
        handles[i] = picked[i]->handle;
    return count;
}

static void refill(struct worker *w, struct slot *slot)
{
    slot->seed = w->next_seed++;
    write_content(client.device, slot->handle, slot->bytes, slot->seed);
}

static void verify(const struct slot *slot)
{
    CHECK(content_is(client.device, slot->handle, slot->bytes, slot->seed));
}

// ----------------------------------------------------------------------------- a worker's own slots

static void create_some(struct worker *w)
{
    struct slot *free_slots[8];
    D3DKMT_HANDLE handles[8];
    UINT count = 0;
    for (int i = 0; i < SLOTS && count < 8; i++)
        if (w->slots[i].state == FREE)
            free_slots[count++] = &w->slots[i];
    size_t bytes = (random_below(&w->random, PIECES_MAX) + 1) * (size_t)PIECE_BYTES;
    if (count == 0)
        return;
    NTSTATUS status = create_with(client.device, NULL, bytes, count, handles);
    if (status == STATUS_NO_MEMORY)
        return;
    CHECK_OK(status);
    for (UINT i = 0; i < count; i++) {
        *free_slots[i] =
            (struct slot){.handle = handles[i], .state = COMMITTED, .bytes = bytes};
        CHECK(is_zero(lock(client.device, handles[i]), bytes));
        unlock(client.device, handles[i]);
        refill(w, free_slots[i]);
    }
}

static void destroy_some(struct worker *w)
{
    struct slot *picked[8];
    D3DKMT_HANDLE handles[8];
    UINT count = pick_some(w, picked, handles, 8);
    if (count == 0)
        return;
    CHECK_OK(destroy_list(client.device, handles, count));
    for (UINT i = 0; i < count; i++)
        picked[i]->state = FREE;
}

// Locked memory can be neither offered nor destroyed, however often it is locked.
static void use_one(struct worker *w)
{
    struct slot *slot;
    if (pick(w, &slot, 1) == 0 || slot->state != COMMITTED)
        return;
    unsigned char *memory = lock(client.device, slot->handle);
    CHECK(lock(client.device, slot->handle) == memory);
    CHECK(holds(memory, slot->bytes, slot->seed));
    unlock(client.device, slot->handle);
    CHECK_STATUS(offer_with(client.device, &slot->handle, 1, D3DKMT_OFFER_PRIORITY_LOW, 0),
                 STATUS_INVALID_PARAMETER);
    CHECK_STATUS(destroy_list(client.device, &slot->handle, 1), STATUS_INVALID_PARAMETER);
    slot->seed = w->next_seed++;
    fill(memory, slot->bytes, slot->seed);
    unlock(client.device, slot->handle);
}

static void offer_some(struct worker *w)
{
    struct slot *picked[LIST_MAX];
    D3DKMT_HANDLE handles[LIST_MAX];
    UINT count = pick_some(w, picked, handles, SLOTS);
    UINT flags = random_below(&w->random, 4);
    if (count == 0)
        return;
    D3DKMT_OFFER_PRIORITY priority =
        (D3DKMT_OFFER_PRIORITY)(random_below(&w->random, 4) + 1);
    CHECK_OK(offer_with(client.device, handles, count, priority, flags));
    for (UINT i = 0; i < count; i++) {
        // The newest offer counts, also if it was lost already.
        picked[i]->may_die = (int)(flags >> 1);
        picked[i]->state = OFFERED;
    }
}

static void set_priorities(struct worker *w)
{
    struct slot *picked[LIST_MAX];
    D3DKMT_HANDLE handles[LIST_MAX];
    UINT priorities[LIST_MAX];
    UINT count = pick_some(w, picked, handles, SLOTS);
    for (UINT i = 0; i < count; i++)
        priorities[i] = (UINT)next_random(&w->random);
    D3DKMT_SETALLOCATIONPRIORITY set = {
        .hDevice = client.device,
        .phAllocationList = handles,
        .AllocationCount = count,
        .pPriorities = priorities,
    };
    if (count > 0)
        CHECK_OK(D3DKMTSetAllocationPriority(&set));
}

// What the answer says of a slot must be true, and is from now on what is known of it.
static void settle(struct worker *w, struct slot *slot, UINT answer)
{
    if (slot->state == COMMITTED)
        CHECK_EQUAL(answer, D3DDDI_RECLAIM_RESULT_OK);
    if (answer == D3DDDI_RECLAIM_RESULT_NOT_COMMITTED) {
        CHECK(slot->may_die);
        CHECK_OK(destroy_list(client.device, &slot->handle, 1));
        slot->state = FREE;
        return;
    }
    slot->state = COMMITTED;
    if (answer == D3DDDI_RECLAIM_RESULT_OK)
        verify(slot);
    else
        refill(w, slot);
}

enum form { V1, V1_NULL, V2, V2_NULL, FORMS };

static NTSTATUS reclaim_as(struct worker *w, enum form form, const D3DKMT_HANDLE *handles,
                           UINT count, UINT *answers)
{
    if (form == V1 || form == V1_NULL)
        return reclaim_v1(client.device, handles, count, form == V1 ? (BOOL *)answers : NULL);
    return reclaim_v2(&w->queue, handles, count,
                      form == V2 ? (D3DDDI_RECLAIM_RESULT *)answers : NULL);
}

// The first is named again at the end of the list.
static void reclaim_some(struct worker *w)
{
    struct slot *picked[LIST_MAX];
    D3DKMT_HANDLE handles[LIST_MAX];
    UINT answers[LIST_MAX];
    enum form form = (enum form)random_below(&w->random, FORMS);
    int answered = form == V1 || form == V2;
    UINT count = pick_some(w, picked, handles, SLOTS);
    if (count == 0)
        return;
    handles[count] = handles[0];
    for (UINT i = 0; i <= count; i++)
        answers[i] = UNTOUCHED;
    NTSTATUS status = reclaim_as(w, form, handles, count + 1, answers);
    if (status == STATUS_NO_MEMORY) {
        for (UINT i = 0; i <= count; i++)
            CHECK_EQUAL(answers[i], UNTOUCHED);
        return;
    }
    CHECK_OK(status);
    CHECK_EQUAL(answers[0], answers[count]);
    for (UINT i = 0; i < count; i++) {
        if (answered)
            settle(w, picked[i], answers[i]);
        else
            settle(w, picked[i], picked[i]->state == OFFERED);
    }
}

// A resource from its beginning to its end.
static void use_resource(struct worker *w)
{
    enum { MEMBERS = 4, MEMBER_BYTES = 2 * PIECE_BYTES };
    D3DKMT_HANDLE members[MEMBERS];
    D3DKMT_HANDLE resource = 0;
    BOOL lost = 1;
    NTSTATUS status = create_with(client.device, &resource, MEMBER_BYTES, MEMBERS, members);
    if (status == STATUS_NO_MEMORY)
        return;
    CHECK_OK(status);
    uint64_t seed = w->next_seed;
    w->next_seed += MEMBERS;
    for (UINT i = 0; i < MEMBERS; i++)
        write_content(client.device, members[i], MEMBER_BYTES, seed + i);
    D3DKMT_OFFERALLOCATIONS offer = {
        .hDevice = client.device,
        .pResources = &resource,
        .NumAllocations = 1,
        .Priority = (D3DKMT_OFFER_PRIORITY)(random_below(&w->random, 4) + 1),
    };
    CHECK_OK(D3DKMTOfferAllocations(&offer));
    D3DKMT_RECLAIMALLOCATIONS reclaim = {
        .hDevice = client.device,
        .pResources = &resource,
        .pDiscarded = &lost,
        .NumAllocations = 1,
    };
    status = D3DKMTReclaimAllocations(&reclaim);
    if (status != STATUS_NO_MEMORY)
        CHECK_OK(status);
    for (UINT i = 0; i < MEMBERS && status == STATUS_SUCCESS && !lost; i++)
        CHECK(content_is(client.device, members[i], MEMBER_BYTES, seed + i));
    CHECK_OK(destroy_resource(client.device, resource));
}

// ---------------------------------------------------------------------------- what many use at once

static void write_guarded(struct worker *w, struct guarded *g, void *memory)
{
    g->seed = w->next_seed++;
    g->lost = 0;
    fill(memory, COMMON_BYTES, g->seed);
}

static void use_guarded(struct worker *w)
{
    struct guarded *g = &guarded[random_below(&w->random, TOGETHER)];
    BOOL discarded;
    void *memory;
    if (pthread_mutex_trylock(&g->mutex) != 0)
        return;
    NTSTATUS status = reclaim_v1(client.device, &g->handle, 1, &discarded);
    if (status == STATUS_SUCCESS) {
        g->lost |= discarded;
        // Offered again by somebody since, or ours until it is unlocked.
        status = try_lock(client.device, g->handle, &memory);
        if (status != STATUS_INVALID_PARAMETER) {
            CHECK_OK(status);
            CHECK(g->lost || holds(memory, COMMON_BYTES, g->seed));
            if (g->lost || random_below(&w->random, 2))
                write_guarded(w, g, memory);
            unlock(client.device, g->handle);
        }
    } else {
        CHECK_STATUS(status, STATUS_NO_MEMORY);
    }
    pthread_mutex_unlock(&g->mutex);
}

// Some of those that many use, in any order, some of them twice.
static UINT pick_common(struct worker *w, D3DKMT_HANDLE *handles, int from_wild)
{
    UINT count = random_below(&w->random, TOGETHER) + 1;
    for (UINT i = 0; i < count; i++) {
        UINT place = random_below(&w->random, TOGETHER);
        handles[i] = from_wild ? wild[place] : guarded[place].handle;
    }
    return count;
}

// Refused as a whole if somebody has one of them locked.
static void offer_common(struct worker *w)
{
    D3DKMT_HANDLE handles[TOGETHER];
    UINT count = pick_common(w, handles, random_below(&w->random, 2) == 0);
    D3DKMT_OFFER_PRIORITY priority =
        (D3DKMT_OFFER_PRIORITY)(random_below(&w->random, 4) + 1);
    NTSTATUS status = offer_with(client.device, handles, count, priority, 0);
    if (status != STATUS_INVALID_PARAMETER)
        CHECK_OK(status);
}

static void reclaim_wild(struct worker *w)
{
    D3DKMT_HANDLE handles[TOGETHER];
    UINT answers[TOGETHER] = {0};
    UINT count = pick_common(w, handles, 1);
    enum form form = (enum form)random_below(&w->random, FORMS);
    NTSTATUS status = reclaim_as(w, form, handles, count, answers);
    if (status != STATUS_NO_MEMORY)
        CHECK_OK(status);
    for (UINT i = 0; i < count; i++)
        CHECK(answers[i] <= D3DDDI_RECLAIM_RESULT_DISCARDED);
}

// While it is locked it stays as it is, whatever the others try.
static void lock_wild(struct worker *w)
{
    D3DKMT_HANDLE handle = wild[random_below(&w->random, TOGETHER)];
    void *memory;
    NTSTATUS status = try_lock(client.device, handle, &memory);
    if (status == STATUS_INVALID_PARAMETER)
        return;
    CHECK_OK(status);
    CHECK(is_zero(memory, 1) || !is_zero(memory, 1));
    unlock(client.device, handle);
}

// ------------------------------------------------------------------------------------ the threads

static void one_round(struct worker *w)
{
    static void (*const ways[])(struct worker *) = {
        create_some,  create_some,    destroy_some, use_one,      use_one,
        offer_some,   offer_some,     reclaim_some, reclaim_some, reclaim_some,
        use_resource, set_priorities, use_guarded,  use_guarded,  offer_common,
        reclaim_wild, lock_wild,
    };
    ways[random_below(&w->random, sizeof ways / sizeof *ways)](w);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    w->queue = open_queue(client.device);
    for (unsigned i = 0; i < w->rounds; i++)
        one_round(w);
    __atomic_sub_fetch(&workers_left, 1, __ATOMIC_RELEASE);
    return NULL;
}

static int somebody_works(void)
{
    return __atomic_load_n(&workers_left, __ATOMIC_ACQUIRE) > 0;
}

static void *cut(void *argument)
{
    uint64_t random = 1;
    (void)argument;
    while (somebody_works()) {
        UINT sixteenths = random_below(&random, 16) + 1;
        set_budget(&client, budget / 16 * sixteenths);
        bytes_to_trim(&client);
        if (sixteenths == 1)
            evict(&client, 0, 0);
        if (sixteenths == 2)
            set_fault(&client, 1u << 13);
        if (sixteenths == 3)
            set_fault(&client, 1u << 14);
        set_budget(&client, budget);
        set_fault(&client, 0);
    }
    return NULL;
}

// A device that comes and goes, with all that is on it.
static void visit(uint64_t seed)
{
    D3DKMT_HANDLE handles[4];
    D3DKMT_HANDLE device = open_device(client.adapter);
    struct queue queue = open_queue(device);
    NTSTATUS status = create_with(device, NULL, PIECE_BYTES, 4, handles);
    if (status == STATUS_SUCCESS) {
        for (UINT i = 0; i < 4; i++)
            write_content(device, handles[i], PIECE_BYTES, seed + i);
        CHECK_STATUS(offer_with(client.device, handles, 4, D3DKMT_OFFER_PRIORITY_LOW, 0),
                     STATUS_INVALID_PARAMETER);
        offer_one(device, handles[0], D3DKMT_OFFER_PRIORITY_LOW);
        lock(device, handles[1]);
        CHECK(content_is(device, handles[2], PIECE_BYTES, seed + 2));
    } else {
        CHECK_STATUS(status, STATUS_NO_MEMORY);
    }
    CHECK_EQUAL(fence_value(&queue), 0);
    close_device(device);
}

static void *ask(void *argument)
{
    uint64_t seed = 1ull << 60;
    (void)argument;
    while (somebody_works()) {
        D3DKMT_QUERYVIDEOMEMORYINFO info = memory_info(client.adapter);
        CHECK(info.Budget <= budget && info.Budget >= budget / 16);
        struct queue queue = open_queue(client.device);
        CHECK_EQUAL(fence_value(&queue), 0);
        close_queue(&queue);
        visit(seed += 4);
    }
    return NULL;
}

// ------------------------------------------------------------------------------------------ main

static void run_all(struct worker *workers)
{
    pthread_t cutter;
    pthread_t asker;
    workers_left = WORKERS;
    for (int i = 0; i < WORKERS; i++)
        CHECK_EQUAL(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    CHECK_EQUAL(pthread_create(&cutter, NULL, cut, NULL), 0);
    CHECK_EQUAL(pthread_create(&asker, NULL, ask, NULL), 0);
    for (int i = 0; i < WORKERS; i++)
        CHECK_EQUAL(pthread_join(workers[i].thread, NULL), 0);
    CHECK_EQUAL(pthread_join(cutter, NULL), 0);
    CHECK_EQUAL(pthread_join(asker, NULL), 0);
}

// Alone again, and with all the room there is, everything comes back.
static void end_slots(struct worker *w)
{
    struct slot *picked[SLOTS];
    D3DKMT_HANDLE handles[SLOTS];
    UINT answers[SLOTS];
    UINT count = pick(w, picked, SLOTS);
    for (UINT i = 0; i < count; i++)
        handles[i] = picked[i]->handle;
    if (count > 0)
        CHECK_OK(reclaim_as(w, V2, handles, count, answers));
    for (UINT i = 0; i < count; i++) {
        CHECK(answers[i] != D3DDDI_RECLAIM_RESULT_NOT_COMMITTED);
        settle(w, picked[i], answers[i]);
    }
    if (count > 0)
        CHECK_OK(destroy_list(client.device, handles, count));
    close_queue(&w->queue);
}

static void end_common(void)
{
    for (int i = 0; i < TOGETHER; i++) {
        struct guarded *g = &guarded[i];
        BOOL discarded = 1;
        CHECK_OK(reclaim_v1(client.device, &g->handle, 1, &discarded));
        CHECK(g->lost || discarded ||
              content_is(client.device, g->handle, COMMON_BYTES, g->seed));
        CHECK_OK(destroy_list(client.device, &g->handle, 1));
        pthread_mutex_destroy(&g->mutex);
    }
    CHECK_OK(destroy_list(client.device, wild, TOGETHER));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    struct worker *workers = allocated(WORKERS, sizeof *workers);
    client = open_client();
    CHECK_EQUAL(memory_info(client.adapter).Budget, budget);
    make_common();
    for (int i = 0; i < WORKERS; i++) {
        workers[i].random = (uint64_t)i << 32;
        workers[i].next_seed = (uint64_t)(i + 1) << 40;
        workers[i].rounds = (unsigned)strtoul(argv[1], NULL, 10);
    }
    run_all(workers);
    for (int i = 0; i < WORKERS; i++)
        end_slots(&workers[i]);
    end_common();
    CHECK_EQUAL(memory_info(client.adapter).CurrentUsage, 0);
    close_client(&client);
    free(workers);
    puts("done");
    return 0;
}
