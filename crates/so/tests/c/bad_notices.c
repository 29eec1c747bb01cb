// Wrong calls about reservations and notices.

#include "world.h"

CALL(ChangeVideoMemoryReservation, D3DKMT_CHANGEVIDEOMEMORYRESERVATION);
CALL(RegisterBudgetChangeNotification, D3DKMT_REGISTERBUDGETCHANGENOTIFICATION);
CALL(UnregisterBudgetChangeNotification, D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION);
CALL(RegisterTrimNotification, D3DKMT_REGISTERTRIMNOTIFICATION);
CALL(UnregisterTrimNotification, D3DKMT_UNREGISTERTRIMNOTIFICATION);

enum { UNTOUCHED = 0x5A, LIMIT = 4096 };

// ----------------------------------------------------------------------------------- reservations

static UINT64 reserved(void)
{
    return memory_info(world.client.adapter).CurrentReservation;
}

static void change_reservation(void)
{
    UINT64 available = memory_info(world.client.adapter).AvailableForReservation;
    CHECK_EQUAL(available, world.budget / 2);
    D3DKMT_CHANGEVIDEOMEMORYRESERVATION args = {
        .hAdapter = world.client.adapter,
        .MemorySegmentGroup = D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL,
        .Reservation = 5 * BYTES,
    };
    right(&ChangeVideoMemoryReservation, &args);
    args.Reservation = 7 * BYTES;
    wrong_pointers(&ChangeVideoMemoryReservation, &args);
    wrong_handles(&ChangeVideoMemoryReservation, &args, &args.hAdapter, ADAPTER);
    WRONG(ChangeVideoMemoryReservation, args, hProcess, (HANDLE)1);
    WRONG(ChangeVideoMemoryReservation, args, hProcess, (HANDLE)UINTPTR_MAX);
    WRONG(ChangeVideoMemoryReservation, args, PhysicalAdapterIndex, 1);
    WRONG(ChangeVideoMemoryReservation, args, PhysicalAdapterIndex, UINT_MAX);
    WRONG(ChangeVideoMemoryReservation, args, Reservation, available + 1);
    WRONG(ChangeVideoMemoryReservation, args, Reservation, UINT64_MAX);
    WRONG(ChangeVideoMemoryReservation, args, MemorySegmentGroup, (D3DKMT_MEMORY_SEGMENT_GROUP)2);
    WRONG(ChangeVideoMemoryReservation, args, MemorySegmentGroup,
          (D3DKMT_MEMORY_SEGMENT_GROUP)UINT_MAX);
    args.MemorySegmentGroup = D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL;
    WRONG(ChangeVideoMemoryReservation, args, Reservation, 1);
    WRONG(ChangeVideoMemoryReservation, args, Reservation, UINT64_MAX);
    args.Reservation = 0;
    WRONG(ChangeVideoMemoryReservation, args, hProcess, (HANDLE)1);
    right(&ChangeVideoMemoryReservation, &args);
    // None of all that has changed it.
    CHECK_EQUAL(reserved(), 5 * BYTES);
    args.MemorySegmentGroup = D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL;
    args.Reservation = available;
    right(&ChangeVideoMemoryReservation, &args);
    CHECK_EQUAL(reserved(), available);
    args.Reservation = 0;
    right(&ChangeVideoMemoryReservation, &args);
    CHECK_EQUAL(reserved(), 0);
}

// ---------------------------------------------------------------------------------------- notices

// What was refused is never called; what is registered may be, when the world ends.
static void never(void)
{
    expect(0, "a function was called that was not registered");
}

static void never_budget(const D3DKMT_BUDGETCHANGENOTIFICATION *change)
{
    (void)change;
    never();
}

static void never_trim(D3DKMT_TRIMNOTIFICATION *trim)
{
    (void)trim;
    never();
}

static void on_budget(const D3DKMT_BUDGETCHANGENOTIFICATION *change)
{
    CHECK(change->Context == &world);
}

static void on_trim(D3DKMT_TRIMNOTIFICATION *trim)
{
    CHECK(trim->Context == &world);
}

static void on_trim_too(D3DKMT_TRIMNOTIFICATION *trim)
{
    CHECK(trim->Context == &world);
}

static D3DKMT_REGISTERBUDGETCHANGENOTIFICATION budget_args(D3DKMT_HANDLE device)
{
    return (D3DKMT_REGISTERBUDGETCHANGENOTIFICATION){
        .hDevice = device, .Callback = on_budget, .Context = &world};
}

static D3DKMT_REGISTERTRIMNOTIFICATION trim_args(D3DKMT_HANDLE device)
{
    return (D3DKMT_REGISTERTRIMNOTIFICATION){
        .AdapterLuid = {VIDMM_ADAPTER_LUID_LOW, VIDMM_ADAPTER_LUID_HIGH},
        .hDevice = device,
        .Callback = on_trim,
        .Context = &world,
    };
}

static VOID *registered_budget(D3DKMT_HANDLE device)
{
    D3DKMT_REGISTERBUDGETCHANGENOTIFICATION args = budget_args(device);
    right(&RegisterBudgetChangeNotification, &args);
    CHECK(args.Handle != NULL);
    return args.Handle;
}

static VOID *registered_trim(D3DKMT_HANDLE device)
{
    D3DKMT_REGISTERTRIMNOTIFICATION args = trim_args(device);
    right(&RegisterTrimNotification, &args);
    CHECK(args.Handle != NULL);
    return args.Handle;
}

static void register_budget(void)
{
    D3DKMT_REGISTERBUDGETCHANGENOTIFICATION args = budget_args(world.client.device);
    memset(&args.Handle, UNTOUCHED, sizeof args.Handle);
    args.Callback = never_budget;
    wrong_pointers(&RegisterBudgetChangeNotification, &args);
    wrong_handles(&RegisterBudgetChangeNotification, &args, &args.hDevice, DEVICE | OTHER_DEVICE);
    WRONG(RegisterBudgetChangeNotification, args, Callback, NULL);
    args.Callback = on_budget;
    right(&RegisterBudgetChangeNotification, &args);
    D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION end = {.Handle = args.Handle};
    right(&UnregisterBudgetChangeNotification, &end);
}

static void register_trim(void)
{
    D3DKMT_REGISTERTRIMNOTIFICATION args = trim_args(world.client.device);
    memset(&args.Handle, UNTOUCHED, sizeof args.Handle);
    args.Callback = never_trim;
    wrong_pointers(&RegisterTrimNotification, &args);
    wrong_handles(&RegisterTrimNotification, &args, &args.hDevice, DEVICE | OTHER_DEVICE);
    WRONG(RegisterTrimNotification, args, AdapterLuid.LowPart, 0);
    WRONG(RegisterTrimNotification, args, AdapterLuid.LowPart, VIDMM_ADAPTER_LUID_LOW + 1);
    WRONG(RegisterTrimNotification, args, AdapterLuid.HighPart, 1);
    WRONG(RegisterTrimNotification, args, AdapterLuid.HighPart, -1);
    WRONG(RegisterTrimNotification, args, Callback, NULL);
    args.Callback = on_trim;
    right(&RegisterTrimNotification, &args);
    D3DKMT_UNREGISTERTRIMNOTIFICATION end = {.Handle = args.Handle};
    right(&UnregisterTrimNotification, &end);
}

// Everything that might be taken for a handle, in a field that has the right one.
static void wrong_registrations(const struct call *call, void *argument, VOID **field,
                                VOID *of_the_other_kind)
{
    VOID *right_one = *field;
    uintptr_t number = (uintptr_t)right_one;
    D3DKMT_HANDLE gone_device = open_device(world.client.adapter);
    VOID *gone = registered_budget(gone_device);
    VOID *gone_too = registered_trim(gone_device);
    close_device(gone_device);
    const struct {
        const char *what;
        uintptr_t number;
    } wrong[] = {
        {"no registration", 0},
        {"a small number", 1},
        {"all ones", UINTPTR_MAX},
        {"the lower half of a registration", (uint32_t)number},
        {"the upper half of a registration", number >> 32 << 32},
        {"a number without its highest bits", number << 16 >> 16},
        {"a registration that will be", number + 100},
        {"no registration, by a bit", number ^ (uintptr_t)1 << 47},
        {"a function", (uintptr_t)on_budget},
        {"a context", (uintptr_t)&world},
        {"a registration of the other kind", (uintptr_t)of_the_other_kind},
        {"a registration of a destroyed device", (uintptr_t)gone},
        {"another registration of a destroyed device", (uintptr_t)gone_too},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        *field = (VOID *)wrong[i].number;
        attempt(call, argument, STATUS_INVALID_PARAMETER, wrong[i].what);
    }
    for (unsigned i = 0; i < world.named_count; i++) {
        *field = (VOID *)(uintptr_t)world.named[i].handle;
        attempt(call, argument, STATUS_INVALID_PARAMETER, world.named[i].name);
    }
    *field = right_one;
}

static void unregister_budget(void)
{
    D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION args = {
        .Handle = registered_budget(world.client.device)};
    VOID *trim = registered_trim(world.client.device);
    wrong_pointers(&UnregisterBudgetChangeNotification, &args);
    wrong_registrations(&UnregisterBudgetChangeNotification, &args, &args.Handle, trim);
    right(&UnregisterBudgetChangeNotification, &args);
    attempt(&UnregisterBudgetChangeNotification, &args, STATUS_INVALID_PARAMETER,
            "what is unregistered already");
    D3DKMT_UNREGISTERTRIMNOTIFICATION end = {.Handle = trim, .Callback = on_trim};
    right(&UnregisterTrimNotification, &end);
}

static void unregister_trim(void)
{
    D3DKMT_UNREGISTERTRIMNOTIFICATION args = {.Handle = registered_trim(world.client.device)};
    VOID *budget = registered_budget(world.client.device);
    for (int named = 0; named < 2; named++) {
        args.Callback = named ? on_trim : NULL;
        wrong_pointers(&UnregisterTrimNotification, &args);
        wrong_registrations(&UnregisterTrimNotification, &args, &args.Handle, budget);
    }
    WRONG(UnregisterTrimNotification, args, Callback, on_trim_too);
    WRONG(UnregisterTrimNotification, args, Callback, never_trim);
    args.Callback = on_trim;
    right(&UnregisterTrimNotification, &args);
    attempt(&UnregisterTrimNotification, &args, STATUS_INVALID_PARAMETER,
            "what is unregistered already");
    args.Handle = registered_trim(world.other_device);
    args.Callback = NULL;
    right(&UnregisterTrimNotification, &args);
    attempt(&UnregisterTrimNotification, &args, STATUS_INVALID_PARAMETER,
            "what is unregistered already");
    D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION end = {.Handle = budget};
    right(&UnregisterBudgetChangeNotification, &end);
}

// There is an end to registrations, of both kinds together, and to their number only.
static void too_many(void)
{
    static VOID *handles[LIMIT];
    D3DKMT_HANDLE device = open_device(world.client.adapter);
    for (int i = 0; i < LIMIT; i++)
        handles[i] = i % 2 ? registered_trim(device) : registered_budget(device);
    D3DKMT_REGISTERBUDGETCHANGENOTIFICATION budget = budget_args(device);
    D3DKMT_REGISTERTRIMNOTIFICATION trim = trim_args(device);
    budget.Callback = never_budget;
    trim.Callback = never_trim;
    attempt(&RegisterBudgetChangeNotification, &budget, STATUS_NO_MEMORY, "as many as there can be");
    attempt(&RegisterTrimNotification, &trim, STATUS_NO_MEMORY, "as many as there can be");
    D3DKMT_UNREGISTERTRIMNOTIFICATION end = {.Handle = handles[LIMIT / 2 + 1]};
    right(&UnregisterTrimNotification, &end);
    VOID *newest = registered_budget(device);
    for (int i = 0; i < LIMIT; i++)
        CHECK(handles[i] != newest); // not even that of one that is gone
    attempt(&RegisterTrimNotification, &trim, STATUS_NO_MEMORY, "as many as there can be");
    close_device(device);
    for (int i = 0; i < 16; i++)
        handles[i] = registered_trim(world.client.device);
    for (int i = 0; i < 16; i++) {
        end.Handle = handles[i];
        right(&UnregisterTrimNotification, &end);
    }
}

int main(void)
{
    static void (*const sections[])(void) = {
        change_reservation,
        register_budget,
        register_trim,
        unregister_budget,
        unregister_trim,
        too_many,
    };
    return run_sections(sections, sizeof sections / sizeof *sections);
}
