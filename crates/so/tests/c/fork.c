// Children that are made while other threads are in the middle of calls: a child has all that its
// parent had, as its own, and what it does the parent does not see.
//
//     fork TIMES

#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, AT_ONCE = 8, BYTES = 8 * PIECE_BYTES, CHILD_SECONDS = 60, SECONDS = 300 };

// What the parent made, and no thread of it touches any more.
enum { COMMITTED, OFFERED, DISCARDED, KEPT };

static struct client client;
static struct queue queue;       // nobody uses it but in a child
static struct queue busy_queue; // all threads use it all the time
static D3DKMT_HANDLE kept[KEPT];
static int stop;

// ------------------------------------------------------------------------------------ the threads

// All slow calls and all fast ones, over and over.
static void *be_busy(void *argument)
{
    D3DKMT_HANDLE handles[AT_ONCE];
    D3DDDI_RECLAIM_RESULT results[AT_ONCE];
    uint64_t seed = (uint64_t)(1 + (intptr_t)argument) << 32;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        create_many(client.device, BYTES, AT_ONCE, handles);
        for (UINT i = 0; i < AT_ONCE; i++)
            write_content(client.device, handles[i], BYTES, seed + i);
        CHECK_OK(offer_with(client.device, handles, AT_ONCE, D3DKMT_OFFER_PRIORITY_HIGH, 0));
        evict(&client, 0, handles[0]);
        CHECK_OK(reclaim_v2(&busy_queue, handles, AT_ONCE, results));
        for (UINT i = 0; i < AT_ONCE; i++) {
            CHECK_EQUAL(results[i], i == 0);
            CHECK(i == 0 || content_is(client.device, handles[i], BYTES, seed + i));
        }
        CHECK_OK(destroy_list(client.device, handles, AT_ONCE));
        seed += AT_ONCE;
    }
    return NULL;
}

// -------------------------------------------------------------------------------------- the child

// What it has from its parent is what its parent has.
static void use_inheritance(void)
{
    D3DDDI_RECLAIM_RESULT results[KEPT];
    void *memory;
    UINT64 before = fence_value(&queue);
    CHECK(content_is(client.device, kept[COMMITTED], BYTES, COMMITTED));
    CHECK_STATUS(try_lock(client.device, kept[OFFERED], &memory), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(try_lock(client.device, kept[DISCARDED], &memory), STATUS_INVALID_PARAMETER);
    CHECK_OK(reclaim_v2(&queue, kept, KEPT, results));
    CHECK_EQUAL(results[COMMITTED], D3DDDI_RECLAIM_RESULT_OK);
    CHECK_EQUAL(results[OFFERED], D3DDDI_RECLAIM_RESULT_OK);
    CHECK_EQUAL(results[DISCARDED], D3DDDI_RECLAIM_RESULT_DISCARDED);
    CHECK(fence_value(&queue) > before);
    CHECK(content_is(client.device, kept[OFFERED], BYTES, OFFERED));
    for (int i = 0; i < KEPT; i++)
        write_content(client.device, kept[i], BYTES, 1000 + (uint64_t)i);
}

// The fence of a queue that its parent's threads keep advancing begins somewhere, and then only what
// the child does advances it.
static void use_busy_queue(void)
{
    D3DKMT_HANDLE handle = create_one(client.device, BYTES);
    D3DDDI_RECLAIM_RESULT result;
    for (int i = 0; i < 4; i++) {
        UINT64 before = fence_value(&busy_queue);
        offer_one(client.device, handle, D3DKMT_OFFER_PRIORITY_LOW);
        evict(&client, 0, handle);
        CHECK_EQUAL(fence_value(&busy_queue), before);
        CHECK_OK(reclaim_v2(&busy_queue, &handle, 1, &result));
        CHECK_EQUAL(result, D3DDDI_RECLAIM_RESULT_DISCARDED);
        CHECK_EQUAL(fence_value(&busy_queue), before + 1);
    }
    CHECK_OK(destroy_list(client.device, &handle, 1));
}

static void use_own(void)
{
    D3DKMT_HANDLE handles[AT_ONCE];
    D3DDDI_RECLAIM_RESULT results[AT_ONCE];
    struct queue own = open_queue(client.device);
    CHECK(own.fence != queue.fence);
    CHECK_EQUAL(fence_value(&own), 0);
    create_many(client.device, BYTES, AT_ONCE, handles);
    for (UINT i = 0; i < AT_ONCE; i++)
        write_content(client.device, handles[i], BYTES, 2000 + i);
    CHECK_OK(offer_with(client.device, handles, AT_ONCE, D3DKMT_OFFER_PRIORITY_LOW, 0));
    evict(&client, 0, handles[0]);
    CHECK_OK(reclaim_v2(&own, handles, AT_ONCE, results));
    CHECK(fence_value(&own) > 0);
    for (UINT i = 0; i < AT_ONCE; i++) {
        CHECK_EQUAL(results[i], i == 0);
        CHECK(i == 0 || content_is(client.device, handles[i], BYTES, 2000 + i));
        CHECK(content_is(client.device, kept[i % KEPT], BYTES, 1000 + i % KEPT));
    }
    CHECK_OK(destroy_list(client.device, handles, AT_ONCE));
    close_queue(&own);
}

static void live_as_child(void)
{
    // It was made while threads that it has not got were somewhere: if it waits for one, it ends.
    alarm(CHILD_SECONDS);
    use_inheritance();
    use_busy_queue();
    use_own();
    if (fork() == 0) {
        use_own();
        _exit(0);
    }
    int status = -1;
    CHECK(wait(&status) > 0 && status == 0);
    set_budget(&client, 0);
    close_client(&client);
    _exit(0);
}

// ------------------------------------------------------------------------------------- the parent

static void make_kept(void)
{
    create_many(client.device, BYTES, KEPT, kept);
    for (int i = 0; i < KEPT; i++)
        write_content(client.device, kept[i], BYTES, (uint64_t)i);
    offer_one(client.device, kept[OFFERED], D3DKMT_OFFER_PRIORITY_HIGH);
    offer_one(client.device, kept[DISCARDED], D3DKMT_OFFER_PRIORITY_LOW);
    evict(&client, 0, kept[DISCARDED]);
}

static void fork_once(UINT64 budget)
{
    void *memory;
    UINT64 before = fence_value(&queue);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        live_as_child();
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(fence_value(&queue), before);
    CHECK_EQUAL(memory_info(client.adapter).Budget, budget);
    CHECK(content_is(client.device, kept[COMMITTED], BYTES, COMMITTED));
    CHECK_STATUS(try_lock(client.device, kept[OFFERED], &memory), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(try_lock(client.device, kept[DISCARDED], &memory), STATUS_INVALID_PARAMETER);
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    CHECK(argc == 2);
    alarm(SECONDS);
    client = open_client();
    queue = open_queue(client.device);
    busy_queue = open_queue(client.device);
    make_kept();
    UINT64 budget = memory_info(client.adapter).Budget;
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, be_busy, (void *)i), 0);
    for (unsigned long times = strtoul(argv[1], NULL, 10); times > 0; times--)
        fork_once(budget);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    BOOL discarded[KEPT];
    CHECK_OK(reclaim_v1(client.device, kept, KEPT, discarded));
    CHECK(!discarded[COMMITTED] && !discarded[OFFERED] && discarded[DISCARDED]);
    CHECK(content_is(client.device, kept[OFFERED], BYTES, OFFERED));
    close_client(&client);
    puts("done");
    return 0;
}
