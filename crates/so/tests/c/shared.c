// A resource that two processes have open, by C alone.

#include "shared.h"

#include <sys/stat.h>
#include <sys/wait.h>

enum { BYTES = 64 << 10, MEMBERS = 3 };

// A turn is a byte in a pipe.
static int turns[2][2];

static void give_turn(int to)
{
    CHECK_EQUAL(write(turns[to][1], "", 1), 1);
}

static void take_turn(int of)
{
    char byte;
    CHECK_EQUAL(read(turns[of][0], &byte, 1), 1);
}

static UINT64 backed(HANDLE shared)
{
    struct stat about;
    CHECK_EQUAL(fstat((int)(intptr_t)shared, &about), 0);
    return (UINT64)about.st_blocks * 512;
}

static void offer_resource(D3DKMT_HANDLE device, D3DKMT_HANDLE resource,
                           D3DKMT_OFFER_PRIORITY priority)
{
    D3DKMT_OFFERALLOCATIONS offer = {
        .hDevice = device, .pResources = &resource, .NumAllocations = 1, .Priority = priority};
    CHECK_OK(D3DKMTOfferAllocations(&offer));
}

static BOOL reclaim_resource(D3DKMT_HANDLE device, D3DKMT_HANDLE resource)
{
    BOOL lost = 7;
    D3DKMT_RECLAIMALLOCATIONS reclaim = {
        .hDevice = device, .pResources = &resource, .pDiscarded = &lost, .NumAllocations = 1};
    CHECK_OK(D3DKMTReclaimAllocations(&reclaim));
    return lost;
}

static BOOL reclaim_one(D3DKMT_HANDLE device, D3DKMT_HANDLE allocation)
{
    BOOL lost = 7;
    CHECK_OK(reclaim_v1(device, &allocation, 1, &lost));
    return lost;
}

static void evict_all(const struct client *client)
{
    evict(client, 0, 0);
}

static void child(HANDLE shared, D3DKMT_HANDLE parents_resource, struct client client)
{
    // The parent's are not the child's.
    HANDLE again = NULL;
    CHECK_STATUS(D3DKMTShareObjects(1, &parents_resource, NULL, 0, &again),
                 STATUS_INVALID_PARAMETER);
    struct opened mine = open_shared(client.device, shared, BYTES);
    for (UINT i = 0; i < MEMBERS; i++)
        CHECK(content_is(client.device, mine.members[i], BYTES, i));
    write_content(client.device, mine.members[1], BYTES, 11);
    give_turn(0);

    take_turn(1);
    // All of it but one allocation.
    for (UINT i = 1; i < MEMBERS; i++)
        offer_one(client.device, mine.members[i], D3DKMT_OFFER_PRIORITY_LOW);
    evict_all(&client);
    CHECK_EQUAL(reclaim_resource(client.device, mine.resource), 0);
    offer_resource(client.device, mine.resource, D3DKMT_OFFER_PRIORITY_HIGH);
    give_turn(0);

    take_turn(1);
    // It was discarded meanwhile. Each allocation is told of once.
    void *memory;
    CHECK_STATUS(try_lock(client.device, mine.members[0], &memory), STATUS_INVALID_PARAMETER);
    CHECK_EQUAL(reclaim_one(client.device, mine.members[2]), 1);
    CHECK_EQUAL(reclaim_one(client.device, mine.members[2]), 0);
    CHECK_EQUAL(reclaim_resource(client.device, mine.resource), 1);
    CHECK_EQUAL(reclaim_resource(client.device, mine.resource), 0);
    CHECK(content_is(client.device, mine.members[0], BYTES, 20));
    // Members of it do not go one by one.
    CHECK_STATUS(destroy_list(client.device, &mine.members[0], 1), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(destroy_list(client.device, mine.members, MEMBERS), STATUS_INVALID_PARAMETER);
    CHECK_OK(destroy_resource(client.device, mine.resource));
    CHECK_STATUS(try_lock(client.device, mine.members[0], &memory), STATUS_INVALID_PARAMETER);
    give_turn(0);
    // And with the device, though it is locked.
    take_turn(1);
    mine = open_shared(client.device, shared, BYTES);
    lock(client.device, mine.members[0]);
    close_client(&client);
    give_turn(0);
    take_turn(1);
}

int main(void)
{
    struct client client = open_client();
    D3DKMT_HANDLE device = client.device;
    UINT64 before = memory_info(client.adapter).CurrentUsage;
    struct opened ours = create_shared(device, BYTES, MEMBERS);
    CHECK_EQUAL(memory_info(client.adapter).CurrentUsage - before, MEMBERS * BYTES);
    for (UINT i = 0; i < MEMBERS; i++) {
        void *memory = lock(device, ours.members[i]);
        CHECK(is_zero(memory, BYTES));
        unlock(device, ours.members[i]);
        write_content(device, ours.members[i], BYTES, i);
    }
    HANDLE shared = share(ours.resource);
    for (int i = 0; i < 2; i++)
        CHECK_EQUAL(pipe(turns[i]), 0);
    pid_t other = fork();
    CHECK(other >= 0);
    if (other == 0) {
        child(shared, ours.resource, client);
        _exit(0);
    }
    take_turn(0);
    CHECK(content_is(device, ours.members[1], BYTES, 11));
    offer_resource(device, ours.resource, D3DKMT_OFFER_PRIORITY_LOW);
    evict_all(&client);
    CHECK_EQUAL(reclaim_resource(device, ours.resource), 0);
    offer_resource(device, ours.resource, D3DKMT_OFFER_PRIORITY_LOW);
    give_turn(1);

    take_turn(0);
    // Everybody has offered all of it.
    CHECK(backed(shared) >= MEMBERS * BYTES);
    evict_all(&client);
    CHECK(backed(shared) < BYTES);
    CHECK_EQUAL(reclaim_resource(device, ours.resource), 1);
    write_content(device, ours.members[0], BYTES, 20);
    give_turn(1);

    take_turn(0);
    give_turn(1);
    take_turn(0);
    // The other's device is gone with what was open there.
    offer_resource(device, ours.resource, D3DKMT_OFFER_PRIORITY_LOW);
    evict_all(&client);
    CHECK(backed(shared) < BYTES);
    give_turn(1);
    int status;
    CHECK_EQUAL(waitpid(other, &status, 0), other);
    CHECK_EQUAL(status, 0);
    // Lists of both kinds, in one call.
    D3DKMT_HANDLE mixed[3] = {create_one(device, BYTES), ours.members[1], create_one(device, BYTES)};
    BOOL lost[3] = {7, 7, 7};
    offer_one(device, mixed[0], D3DKMT_OFFER_PRIORITY_LOW);
    CHECK_OK(reclaim_v1(device, mixed, 3, lost));
    CHECK_EQUAL(lost[0], 0);
    CHECK_EQUAL(lost[1], 1);
    CHECK_EQUAL(lost[2], 0);
    CHECK_OK(destroy_resource(device, ours.resource));
    close_shared(shared);
    close_client(&client);
    return 0;
}
