// A program whose budget is a manager's: what it may use, what it has reserved, what it is told, and
// what goes when others need it. Whoever runs it plays the operator, line by line.

#include "check.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

enum { BYTES = 1 << 20, PATIENCE_SECONDS = 30 };

static struct client client;
static sem_t told;
static _Atomic UINT64 told_budget;

static void budget_changed(const D3DKMT_BUDGETCHANGENOTIFICATION *notice)
{
    CHECK(notice->Context == &client);
    told_budget = notice->Budget;
    sem_post(&told);
}

static D3DKMT_QUERYVIDEOMEMORYINFO query(void)
{
    D3DKMT_QUERYVIDEOMEMORYINFO info = {.hAdapter = client.adapter};
    CHECK_OK(D3DKMTQueryVideoMemoryInfo(&info));
    return info;
}

// What a manager is asked for comes a little later.
static void wait_for_reservation(UINT64 reserved, UINT64 available)
{
    time_t until = time(NULL) + PATIENCE_SECONDS;
    D3DKMT_QUERYVIDEOMEMORYINFO info = query();
    while (info.CurrentReservation != reserved || info.AvailableForReservation != available) {
        CHECK(time(NULL) < until);
        info = query();
    }
}

static NTSTATUS reserve(UINT64 bytes)
{
    D3DKMT_CHANGEVIDEOMEMORYRESERVATION args = {.hAdapter = client.adapter, .Reservation = bytes};
    return D3DKMTChangeVideoMemoryReservation(&args);
}

static void wait_for_budget(UINT64 budget)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_SECONDS;
    while (told_budget != budget)
        CHECK(sem_timedwait(&told, &until) == 0);
    CHECK_EQUAL(query().Budget, budget);
}

static UINT64 next_line(void)
{
    char line[64];
    CHECK(fgets(line, sizeof line, stdin) != NULL);
    return strtoull(line, NULL, 10);
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

int main(void)
{
    CHECK_EQUAL(sem_init(&told, 0, 0), 0);
    UINT64 whole = next_line();
    client = open_client();
    D3DKMT_HANDLE tile = create_one(client.device, BYTES);
    fill(lock(client.device, tile), BYTES, 1);
    CHECK_OK(try_unlock(client.device, tile));
    CHECK_EQUAL(query().Budget, whole);
    CHECK_EQUAL(query().CurrentUsage, BYTES);

    wait_for_reservation(0, whole / 2);
    CHECK_STATUS(reserve(whole / 2 + 1), STATUS_INVALID_PARAMETER);
    CHECK_OK(reserve(BYTES));
    wait_for_reservation(BYTES, whole / 2);

    D3DKMT_REGISTERBUDGETCHANGENOTIFICATION args = {
        .hDevice = client.device, .Callback = budget_changed, .Context = &client};
    CHECK_OK(D3DKMTRegisterBudgetChangeNotification(&args));
    say("registered");
    wait_for_budget(next_line());
    D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION end = {.Handle = args.Handle};
    CHECK_OK(D3DKMTUnregisterBudgetChangeNotification(&end));

    // Within the reservation nobody takes it; beyond, somebody may.
    for (int reserved = 1; reserved >= 0; reserved--) {
        UINT64 half = query().AvailableForReservation;
        CHECK_OK(reserve(reserved ? BYTES : 0));
        wait_for_reservation(reserved ? BYTES : 0, half);
        D3DKMT_OFFERALLOCATIONS offer = {.hDevice = client.device,
                                         .HandleList = &tile,
                                         .NumAllocations = 1,
                                         .Priority = D3DKMT_OFFER_PRIORITY_LOW};
        CHECK_OK(D3DKMTOfferAllocations(&offer));
        say("offered");
        next_line();
        BOOL discarded = -1;
        D3DKMT_RECLAIMALLOCATIONS reclaim = {.hDevice = client.device,
                                             .HandleList = &tile,
                                             .pDiscarded = &discarded,
                                             .NumAllocations = 1};
        CHECK_OK(D3DKMTReclaimAllocations(&reclaim));
        CHECK_EQUAL(discarded, !reserved);
        void *memory = lock(client.device, tile);
        CHECK(discarded || holds(memory, BYTES, 1));
        CHECK_OK(try_unlock(client.device, tile));
    }
    say("done");
    close_client(&client);
    return 0;
}
