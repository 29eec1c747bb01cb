// Functions of a program's that are called when the budget has changed or it should trim: what they
// are told, when they are no more called, from many threads, and in children.
//
//     notices all              everything, but the last
//     notices threads          the same without children
//     notices without-agent    where nobody could call them

#include "check.h"

#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 1 << 20, COUNT = 8, THREADS = 4, WAIT_SECONDS = 60, SECONDS = 300 };

static struct client client;

// --------------------------------------------------------------------------------- what was told

// What a function was told, and what it is to do the next time.
struct seen {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned calls;
    UINT64 last;
    UINT flags;
    pthread_t thread;
    // When it is called: says so, and waits.
    int holds;
    int inside;
    // When it is called: ends these registrations.
    VOID *ends_budget;
    VOID *ends_trim;
    D3DKMT_HANDLE ends_device;
    // When it is called: makes a child, where it comes back (1) or does not (2).
    int forks;
    pid_t child;
};

// Nothing seen; its lock is free, whoever had it.
static void renew(struct seen *seen)
{
    pthread_condattr_t attributes;
    memset(seen, 0, sizeof *seen);
    CHECK_EQUAL(pthread_condattr_init(&attributes), 0);
    CHECK_EQUAL(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), 0);
    CHECK_EQUAL(pthread_mutex_init(&seen->mutex, NULL), 0);
    CHECK_EQUAL(pthread_cond_init(&seen->changed, &attributes), 0);
}

static void wait_for_change(struct seen *seen, const char *what, UINT64 wanted)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_SECONDS;
    if (pthread_cond_timedwait(&seen->changed, &seen->mutex, &until) != 0) {
        fprintf(stderr, "waited in vain for %s %llu: %u calls, the last with %llu, %s\n", what,
                (unsigned long long)wanted, seen->calls, (unsigned long long)seen->last,
                seen->inside ? "which still runs" : "none runs");
        check_end();
    }
}

static NTSTATUS end_budget(VOID *handle)
{
    D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION args = {.Handle = handle};
    return D3DKMTUnregisterBudgetChangeNotification(&args);
}

static NTSTATUS end_trim(VOID *handle)
{
    D3DKMT_UNREGISTERTRIMNOTIFICATION args = {.Handle = handle};
    return D3DKMTUnregisterTrimNotification(&args);
}

static void live_as_child_of_a_callback(int comes_back);

static void note(struct seen *seen, UINT64 told, UINT flags)
{
    pthread_mutex_lock(&seen->mutex);
    seen->calls++;
    seen->last = told;
    seen->flags = flags;
    seen->thread = pthread_self();
    seen->inside = 1;
    pthread_cond_broadcast(&seen->changed);
    while (seen->holds)
        wait_for_change(seen, "being let go", 0);
    VOID *budget = seen->ends_budget;
    VOID *trim = seen->ends_trim;
    D3DKMT_HANDLE device = seen->ends_device;
    int forks = seen->forks;
    seen->ends_budget = seen->ends_trim = NULL;
    seen->ends_device = 0;
    seen->forks = 0;
    pthread_mutex_unlock(&seen->mutex);
    if (budget)
        CHECK_OK(end_budget(budget));
    if (trim)
        CHECK_OK(end_trim(trim));
    if (device)
        close_device(device);
    if (forks) {
        fflush(NULL);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            // Its lock may have been another thread's.
            renew(seen);
            live_as_child_of_a_callback(forks == 1);
            return;
        }
        pthread_mutex_lock(&seen->mutex);
        seen->child = child;
        pthread_cond_broadcast(&seen->changed);
        pthread_mutex_unlock(&seen->mutex);
    }
    pthread_mutex_lock(&seen->mutex);
    seen->inside = 0;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->mutex);
}

static void on_budget(const D3DKMT_BUDGETCHANGENOTIFICATION *change)
{
    note(change->Context, change->Budget, 0);
}

static void on_trim(D3DKMT_TRIMNOTIFICATION *trim)
{
    note(trim->Context, trim->NumBytesToTrim, trim->Flags.Value);
}

// Waits until the last that was told is this, and the function has come back.
static void wait_until_told(struct seen *seen, UINT64 wanted)
{
    pthread_mutex_lock(&seen->mutex);
    while (seen->calls == 0 || seen->last != wanted || seen->inside)
        wait_for_change(seen, "being told", wanted);
    pthread_mutex_unlock(&seen->mutex);
}

static void wait_until_inside(struct seen *seen, int inside)
{
    pthread_mutex_lock(&seen->mutex);
    while (seen->inside != inside)
        wait_for_change(seen, "a call to begin (1) or end (0):", (UINT64)inside);
    pthread_mutex_unlock(&seen->mutex);
}

static void hold(struct seen *seen, int holds)
{
    pthread_mutex_lock(&seen->mutex);
    seen->holds = holds;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->mutex);
}

static unsigned calls_of(struct seen *seen)
{
    pthread_mutex_lock(&seen->mutex);
    unsigned calls = seen->calls;
    pthread_mutex_unlock(&seen->mutex);
    return calls;
}

static VOID *register_budget(D3DKMT_HANDLE device, struct seen *seen)
{
    D3DKMT_REGISTERBUDGETCHANGENOTIFICATION args = {
        .hDevice = device, .Callback = on_budget, .Context = seen};
    CHECK_OK(D3DKMTRegisterBudgetChangeNotification(&args));
    CHECK(args.Handle != NULL);
    return args.Handle;
}

static D3DKMT_REGISTERTRIMNOTIFICATION trim_args(D3DKMT_HANDLE device, struct seen *seen)
{
    return (D3DKMT_REGISTERTRIMNOTIFICATION){
        .AdapterLuid = {VIDMM_ADAPTER_LUID_LOW, VIDMM_ADAPTER_LUID_HIGH},
        .hDevice = device,
        .Callback = on_trim,
        .Context = seen,
    };
}

static VOID *register_trim(D3DKMT_HANDLE device, struct seen *seen)
{
    D3DKMT_REGISTERTRIMNOTIFICATION args = trim_args(device, seen);
    CHECK_OK(D3DKMTRegisterTrimNotification(&args));
    CHECK(args.Handle != NULL);
    return args.Handle;
}

// Every function that was registered before this has been called for every change before it, when it
// returns: they are called one after the other, and before one is called again it is the others' turn. It
// may have two things to be told, one at each turn; another turn was under way.
static void be_sure_that_all_is_told(void)
{
    static UINT64 number;
    struct seen last;
    renew(&last);
    UINT64 before = memory_info(client.adapter).Budget;
    VOID *handle = register_budget(client.device, &last);
    for (int turn = 0; turn < 3; turn++) {
        UINT64 bytes = ((UINT64)1 << 32) + ++number * 4096;
        set_budget(&client, bytes);
        wait_until_told(&last, bytes);
    }
    CHECK_OK(end_budget(handle));
    set_budget(&client, before);
}

// ----------------------------------------------------------------------------------- in one thread

static void a_changed_budget_is_told(void)
{
    struct seen seen;
    renew(&seen);
    VOID *handle = register_budget(client.device, &seen);
    set_budget(&client, COUNT * (UINT64)BYTES);
    wait_until_told(&seen, COUNT * (UINT64)BYTES);
    CHECK_EQUAL(calls_of(&seen), 1);
    CHECK_EQUAL(memory_info(client.adapter).Budget, seen.last);
    CHECK(!pthread_equal(seen.thread, pthread_self()));
    // The same budget is no change.
    set_budget(&client, COUNT * (UINT64)BYTES);
    set_budget(&client, 2 * COUNT * (UINT64)BYTES);
    wait_until_told(&seen, 2 * COUNT * (UINT64)BYTES);
    CHECK_EQUAL(calls_of(&seen), 2);
    CHECK_OK(end_budget(handle));
}

static void what_a_lower_budget_leaves_is_to_be_trimmed(void)
{
    struct seen budget;
    renew(&budget);
    struct seen trim;
    renew(&trim);
    D3DKMT_HANDLE list[COUNT];
    set_budget(&client, 2 * COUNT * (UINT64)BYTES);
    VOID *budget_handle = register_budget(client.device, &budget);
    VOID *trim_handle = register_trim(client.device, &trim);
    CHECK(budget_handle != trim_handle);
    create_many(client.device, BYTES, COUNT, list);
    CHECK_OK(offer_with(client.device, list, 3, D3DKMT_OFFER_PRIORITY_LOW, 0));
    // What is offered suffices: nobody need trim.
    set_budget(&client, (COUNT - 1) * (UINT64)BYTES);
    wait_until_told(&budget, (COUNT - 1) * (UINT64)BYTES);
    be_sure_that_all_is_told();
    CHECK_EQUAL(calls_of(&trim), 0);
    // And here it does not.
    set_budget(&client, (COUNT - 5) * (UINT64)BYTES);
    wait_until_told(&trim, 2 * (UINT64)BYTES);
    CHECK_EQUAL(trim.flags, 1u << 2);
    CHECK_EQUAL(trim.calls, 1);
    CHECK_EQUAL(bytes_to_trim(&client), 2 * (UINT64)BYTES);
    // Whoever trims as much as was said is within the budget.
    CHECK_OK(offer_with(client.device, list + 3, 2, D3DKMT_OFFER_PRIORITY_LOW, 0));
    evict(&client, 0, list[3]);
    evict(&client, 0, list[4]);
    CHECK_EQUAL(bytes_to_trim(&client), 0);
    CHECK_OK(destroy_list(client.device, list, COUNT));
    CHECK_OK(end_trim(trim_handle));
    CHECK_OK(end_budget(budget_handle));
}

static void what_is_unregistered_is_not_called(void)
{
    struct seen gone;
    renew(&gone);
    struct seen stays;
    renew(&stays);
    VOID *handles[2] = {register_budget(client.device, &gone), register_trim(client.device, &gone)};
    VOID *others = register_budget(client.device, &stays);
    D3DKMT_HANDLE allocation = create_one(client.device, BYTES);
    CHECK_STATUS(end_trim(handles[0]), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(end_budget(handles[1]), STATUS_INVALID_PARAMETER);
    CHECK_OK(end_budget(handles[0]));
    CHECK_OK(end_trim(handles[1]));
    CHECK_STATUS(end_budget(handles[0]), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(end_trim(handles[1]), STATUS_INVALID_PARAMETER);
    set_budget(&client, 0);
    wait_until_told(&stays, 0);
    set_budget(&client, COUNT * (UINT64)BYTES);
    wait_until_told(&stays, COUNT * (UINT64)BYTES);
    be_sure_that_all_is_told();
    CHECK_EQUAL(calls_of(&gone), 0);
    CHECK_OK(end_budget(others));
    CHECK_OK(destroy_list(client.device, &allocation, 1));
}

static void a_registration_can_be_ended_from_within(void)
{
    struct seen own;
    renew(&own);
    struct seen other;
    renew(&other);
    D3DKMT_HANDLE allocation = create_one(client.device, BYTES);
    set_budget(&client, BYTES);
    own.ends_budget = register_budget(client.device, &own);
    own.ends_trim = register_trim(client.device, &other);
    set_budget(&client, BYTES / 2); // also asks for a trim, after that is ended
    wait_until_told(&own, BYTES / 2);
    be_sure_that_all_is_told();
    CHECK_EQUAL(calls_of(&own), 1);
    CHECK_EQUAL(calls_of(&other), 0);
    own.ends_trim = register_trim(client.device, &own);
    set_budget(&client, BYTES / 4);
    wait_until_told(&own, BYTES - BYTES / 4);
    set_budget(&client, 0);
    be_sure_that_all_is_told();
    CHECK_EQUAL(calls_of(&own), 2);
    CHECK_OK(destroy_list(client.device, &allocation, 1));
}

static void a_device_takes_its_registrations_along(void)
{
    struct seen gone;
    renew(&gone);
    struct seen stays;
    renew(&stays);
    VOID *others = register_budget(client.device, &stays);
    for (int from_within = 0; from_within < 2; from_within++) {
        D3DKMT_HANDLE device = open_device(client.adapter);
        VOID *budget = register_budget(device, &gone);
        VOID *trim = register_trim(device, &gone);
        unsigned calls = calls_of(&gone);
        if (from_within) {
            gone.ends_device = device;
            set_budget(&client, 3 * BYTES);
            wait_until_told(&gone, 3 * BYTES);
            calls++;
        } else {
            close_device(device);
        }
        CHECK_STATUS(end_budget(budget), STATUS_INVALID_PARAMETER);
        CHECK_STATUS(end_trim(trim), STATUS_INVALID_PARAMETER);
        set_budget(&client, 5 * BYTES);
        wait_until_told(&stays, 5 * BYTES);
        be_sure_that_all_is_told();
        CHECK_EQUAL(calls_of(&gone), calls);
    }
    CHECK_OK(end_budget(others));
}

static NTSTATUS reserve(UINT64 bytes)
{
    D3DKMT_CHANGEVIDEOMEMORYRESERVATION args = {
        .hAdapter = client.adapter,
        .MemorySegmentGroup = D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL,
        .Reservation = bytes,
    };
    return D3DKMTChangeVideoMemoryReservation(&args);
}

static void check_reservation(UINT64 current, UINT64 available)
{
    D3DKMT_QUERYVIDEOMEMORYINFO info = memory_info(client.adapter);
    CHECK_EQUAL(info.CurrentReservation, current);
    CHECK_EQUAL(info.AvailableForReservation, available);
}

static void a_reservation_is_told_and_raises_no_budget(void)
{
    set_budget(&client, 8 * BYTES);
    check_reservation(0, 4 * BYTES);
    CHECK_OK(reserve(3 * BYTES));
    check_reservation(3 * BYTES, 4 * BYTES);
    CHECK_EQUAL(memory_info(client.adapter).Budget, 8 * BYTES);
    CHECK_STATUS(reserve(4 * BYTES + 1), STATUS_INVALID_PARAMETER);
    check_reservation(3 * BYTES, 4 * BYTES);
    set_budget(&client, 4 * BYTES);
    check_reservation(2 * BYTES, 2 * BYTES);
    set_budget(&client, 8 * BYTES);
    check_reservation(3 * BYTES, 4 * BYTES);
    CHECK_OK(reserve(0));
    check_reservation(0, 4 * BYTES);
}

// --------------------------------------------------------------------------------- in many threads

struct ending {
    struct seen *seen;
    VOID *handle;
    D3DKMT_HANDLE device;
    _Atomic int begun;
};

static void *end_while_it_runs(void *argument)
{
    struct ending *ending = argument;
    atomic_store(&ending->begun, 1);
    if (ending->device)
        close_device(ending->device);
    else
        CHECK_OK(end_budget(ending->handle));
    // It has come back before: it waits for being let go.
    CHECK_EQUAL(ending->seen->inside, 0);
    return NULL;
}

// Whoever ends a registration, or its device, waits for its function, and only for that.
static void the_end_waits_for_what_runs(void)
{
    for (int with_device = 0; with_device < 2; with_device++) {
        struct seen seen;
        renew(&seen);
        struct seen other;
        renew(&other);
        pthread_t thread;
        struct ending ending = {.seen = &seen};
        D3DKMT_HANDLE device = open_device(client.adapter);
        ending.device = with_device ? device : 0;
        ending.handle = register_budget(device, &seen);
        VOID *others = register_budget(client.device, &other);
        set_budget(&client, 8 * BYTES + (UINT64)with_device);
        be_sure_that_all_is_told();
        unsigned calls = calls_of(&seen);
        hold(&seen, 1);
        set_budget(&client, 9 * BYTES);
        wait_until_inside(&seen, 1);
        CHECK_EQUAL(pthread_create(&thread, NULL, end_while_it_runs, &ending), 0);
        while (!atomic_load(&ending.begun))
            sched_yield();
        // Nobody else waits meanwhile: neither for that function nor for whoever ends it.
        CHECK_OK(end_budget(others));
        close_device(open_device(client.adapter));
        if (!with_device) {
            VOID *late = register_budget(device, &other);
            CHECK_OK(end_budget(late));
        }
        for (int i = 0; i < 20; i++)
            sched_yield(); // to whoever would not wait
        hold(&seen, 0);
        CHECK_EQUAL(pthread_join(thread, NULL), 0);
        set_budget(&client, 10 * BYTES);
        be_sure_that_all_is_told();
        CHECK_EQUAL(calls_of(&seen), calls + 1);
        if (!with_device)
            close_device(device);
    }
}

static _Atomic unsigned ended;

static void *end_one_of_all(void *argument)
{
    VOID **handles = argument;
    for (int i = 0; i < 1000; i++) {
        NTSTATUS status = end_budget(handles[i]);
        CHECK(status == STATUS_SUCCESS || status == STATUS_INVALID_PARAMETER);
        ended += status == STATUS_SUCCESS;
    }
    return NULL;
}

static void of_many_that_end_one_registration_one_does(void)
{
    static VOID *handles[1000];
    struct seen seen;
    renew(&seen);
    pthread_t threads[THREADS];
    for (int i = 0; i < 1000; i++)
        handles[i] = register_budget(client.device, &seen);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, end_one_of_all, handles), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    CHECK_EQUAL(ended, 1000);
}

enum { ALIVE = 0x600D };

// Without a lock: a child may be made while a thread that it does not get would hold it.
struct short_lived {
    _Atomic UINT alive;
    sem_t called;
};

static void on_short_lived(const D3DKMT_BUDGETCHANGENOTIFICATION *change)
{
    struct short_lived *context = change->Context;
    CHECK_EQUAL(context->alive, ALIVE);
    sched_yield();
    CHECK_EQUAL(context->alive, ALIVE);
    CHECK_EQUAL(sem_post(&context->called), 0);
    CHECK_EQUAL(context->alive, ALIVE);
}

static VOID *begin_life(struct short_lived *context)
{
    context->alive = ALIVE;
    CHECK_EQUAL(sem_init(&context->called, 0, 0), 0);
    D3DKMT_REGISTERBUDGETCHANGENOTIFICATION args = {
        .hDevice = client.device, .Callback = on_short_lived, .Context = context};
    CHECK_OK(D3DKMTRegisterBudgetChangeNotification(&args));
    return args.Handle;
}

static void end_life(struct short_lived *context, VOID *handle)
{
    CHECK_OK(end_budget(handle));
    context->alive = 0;
    CHECK_EQUAL(sem_destroy(&context->called), 0);
}

static _Atomic int stop;

// Registers, perhaps waits for a call, unregisters, and destroys what the function is given.
static void *come_and_go(void *argument)
{
    uint64_t random = (uint64_t)(intptr_t)argument;
    for (int i = 0; i < 200; i++) {
        struct short_lived *context = allocated(1, sizeof *context);
        VOID *handle = begin_life(context);
        if (random_below(&random, 4) == 0)
            CHECK_EQUAL(sem_wait(&context->called), 0);
        end_life(context, handle);
        memset(context, 0x5A, sizeof *context);
        free(context);
    }
    return NULL;
}

// As often as it is told.
static void *change_the_budget(void *argument)
{
    struct short_lived context;
    VOID *handle = begin_life(&context);
    UINT64 bytes = 16 * BYTES + (UINT64)(intptr_t)argument;
    for (UINT64 i = 0; !stop; i++) {
        set_budget(&client, bytes + i % 1000 * 4096);
        CHECK_EQUAL(sem_wait(&context.called), 0);
    }
    end_life(&context, handle);
    return NULL;
}

static void contexts_live_as_long_as_they_are_used(void)
{
    struct seen newest;
    renew(&newest);
    VOID *handle = register_budget(client.device, &newest);
    pthread_t threads[2 * THREADS];
    stop = 0;
    for (intptr_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, come_and_go, (void *)i), 0);
        CHECK_EQUAL(pthread_create(&threads[THREADS + i], NULL, change_the_budget, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    stop = 1;
    for (int i = THREADS; i < 2 * THREADS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    // Whoever changed it last: what is told last is what holds.
    wait_until_told(&newest, memory_info(client.adapter).Budget);
    be_sure_that_all_is_told();
    CHECK_OK(end_budget(handle));
}

// -------------------------------------------------------------------------------------- in children

static struct seen inherited;
static struct seen inherited_trims;
static VOID *inherited_budget;
static VOID *inherited_trim;

static void use_inheritance(void)
{
    struct seen own;
    renew(&own);
    // The parent's agent did not come along. Nor may a function be waited for that runs there.
    unsigned calls = calls_of(&inherited);
    CHECK_OK(end_trim(inherited_trim));
    set_budget(&client, 3 * BYTES);
    wait_until_told(&inherited, 3 * BYTES);
    CHECK_EQUAL(calls_of(&inherited), calls + 1);
    VOID *handle = register_budget(client.device, &own);
    CHECK(handle != inherited_budget && handle != inherited_trim);
    set_budget(&client, 4 * BYTES);
    wait_until_told(&own, 4 * BYTES);
    CHECK_OK(end_budget(inherited_budget));
    CHECK_STATUS(end_budget(inherited_budget), STATUS_INVALID_PARAMETER);
    calls = calls_of(&inherited);
    set_budget(&client, 5 * BYTES);
    wait_until_told(&own, 5 * BYTES);
    CHECK_EQUAL(calls_of(&inherited), calls);
    close_client(&client);
    CHECK_STATUS(end_budget(handle), STATUS_INVALID_PARAMETER);
}

static void *go_on_as_child(void *argument)
{
    (void)argument;
    use_inheritance();
    _exit(0);
}

static void live_as_child_of_a_callback(int comes_back)
{
    pthread_t thread;
    alarm(WAIT_SECONDS);
    renew(&inherited);
    renew(&inherited_trims);
    // Within the function that would have to be waited for; or on another thread, while this one
    // goes back to where there is nothing more for it to do.
    if (!comes_back)
        go_on_as_child(NULL);
    CHECK_EQUAL(pthread_create(&thread, NULL, go_on_as_child, NULL), 0);
}

static void wait_for_child(pid_t child)
{
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

// The function runs in the parent, and so it does not here; what the parent had still to tell is its own
// business.
static void use_what_runs_elsewhere(void)
{
    CHECK_OK(end_budget(inherited_budget));
    set_budget(&client, 3 * BYTES);
    be_sure_that_all_is_told();
    CHECK_EQUAL(calls_of(&inherited) + calls_of(&inherited_trims), 0);
    set_budget(&client, 0);
    wait_until_told(&inherited_trims, 2 * BYTES);
    CHECK_OK(end_trim(inherited_trim));
}

static void fork_once(void (*live)(void))
{
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(WAIT_SECONDS);
        // The thread that may have had its lock is not here.
        renew(&inherited);
        renew(&inherited_trims);
        live();
        _exit(0);
    }
    wait_for_child(child);
}

static void begin_inheritance(void)
{
    renew(&inherited);
    renew(&inherited_trims);
    set_budget(&client, 64 * BYTES);
    inherited_budget = register_budget(client.device, &inherited);
    inherited_trim = register_trim(client.device, &inherited_trims);
}

static void end_inheritance(void)
{
    // Nothing of what its children did was done here.
    set_budget(&client, 65 * BYTES);
    wait_until_told(&inherited, 65 * BYTES);
    CHECK_OK(end_budget(inherited_budget));
    CHECK_OK(end_trim(inherited_trim));
}

static void children_have_the_registrations(void)
{
    begin_inheritance();
    D3DKMT_HANDLE allocation = create_one(client.device, 2 * BYTES);
    fork_once(use_inheritance);
    hold(&inherited, 1);
    set_budget(&client, BYTES);
    wait_until_inside(&inherited, 1);
    fork_once(use_what_runs_elsewhere);
    hold(&inherited, 0);
    wait_until_told(&inherited_trims, BYTES);
    CHECK_OK(destroy_list(client.device, &allocation, 1));
    end_inheritance();
}

static void children_made_while_others_come_and_go(void)
{
    pthread_t threads[2];
    begin_inheritance();
    stop = 0;
    CHECK_EQUAL(pthread_create(&threads[0], NULL, change_the_budget, NULL), 0);
    CHECK_EQUAL(pthread_create(&threads[1], NULL, come_and_go, NULL), 0);
    // Some registration of a thread that is not there is left in a child, with its context: it ends
    // with its device.
    for (int i = 0; i < 20; i++)
        fork_once(use_inheritance);
    CHECK_EQUAL(pthread_join(threads[1], NULL), 0);
    stop = 1;
    CHECK_EQUAL(pthread_join(threads[0], NULL), 0);
    end_inheritance();
}

static void children_made_in_a_function(void)
{
    for (int forks = 1; forks <= 2; forks++) {
        struct seen maker;
        renew(&maker);
        begin_inheritance();
        VOID *handle = register_budget(client.device, &maker);
        pthread_mutex_lock(&maker.mutex);
        maker.forks = forks;
        pthread_mutex_unlock(&maker.mutex);
        set_budget(&client, 67 * BYTES);
        pthread_mutex_lock(&maker.mutex);
        while (maker.child == 0)
            wait_for_change(&maker, "a child", 1);
        pthread_mutex_unlock(&maker.mutex);
        wait_for_child(maker.child);
        wait_until_told(&maker, 67 * BYTES);
        CHECK_OK(end_budget(handle));
        end_inheritance();
    }
}

// ---------------------------------------------------------------------------------- without an agent

static void nobody_can_be_told(void)
{
    struct seen seen;
    renew(&seen);
    D3DKMT_REGISTERBUDGETCHANGENOTIFICATION budget = {
        .hDevice = client.device, .Callback = on_budget, .Context = &seen};
    D3DKMT_REGISTERTRIMNOTIFICATION trim = trim_args(client.device, &seen);
    CHECK_STATUS(D3DKMTRegisterBudgetChangeNotification(&budget), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(D3DKMTRegisterTrimNotification(&trim), STATUS_INVALID_PARAMETER);
    CHECK(budget.Handle == NULL && trim.Handle == NULL);
    a_reservation_is_told_and_raises_no_budget();
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    alarm(SECONDS);
    client = open_client();
    if (strcmp(argv[1], "without-agent") == 0) {
        nobody_can_be_told();
    } else {
        int with_children = strcmp(argv[1], "all") == 0;
        CHECK(with_children || strcmp(argv[1], "threads") == 0);
        a_changed_budget_is_told();
        what_a_lower_budget_leaves_is_to_be_trimmed();
        what_is_unregistered_is_not_called();
        a_registration_can_be_ended_from_within();
        a_device_takes_its_registrations_along();
        a_reservation_is_told_and_raises_no_budget();
        the_end_waits_for_what_runs();
        of_many_that_end_one_registration_one_does();
        contexts_live_as_long_as_they_are_used();
        if (with_children) {
            children_have_the_registrations();
            children_made_while_others_come_and_go();
            children_made_in_a_function();
        }
    }
    close_client(&client);
    puts("done");
    return 0;
}
