//! The list of cases.

mod budget;
mod content;
mod death;
mod groups;
mod lists;
mod offer;
mod reclaim;
mod victims;

use crate::Case;

/// Hands the list of cases to another macro: rule, module, name.
#[doc(hidden)]
#[macro_export]
macro_rules! each_case {
    ([$($callback:tt)*] ($($arguments:tt)*)) => {
        $($callback)*! { ($($arguments)*)
            "2.1" offer a_lock_forbids_the_offer_and_nested_locks_all_have_to_go;
            "2.1" offer renewing_an_offer_renews_its_class;
            "2.1" offer renewing_an_offer_renews_its_age;
            "9.4" offer offering_what_is_discarded_leaves_it_discarded;
            "9.13" offer offering_immediately_forces_no_discard;
            "2.6" offer what_is_offered_cannot_be_locked;
            "2.6" offer what_is_offered_can_be_destroyed;
            "9.7" offer after_a_reclaim_it_can_be_locked_at_once;
            "2.2" reclaim answers_come_in_the_callers_order;
            "2.2" reclaim reclaiming_what_is_not_offered_answers_intact;
            "2.2" reclaim after_either_answer_it_is_committed_and_usable;
            "2.2" reclaim a_shortage_leaves_class_and_age_of_its_own_items;
            "2.2" reclaim a_shortage_loses_nothing_of_its_own_items;
            "2.2" reclaim room_is_never_taken_from_items_of_the_same_call;
            "2.2" reclaim room_is_taken_from_what_else_is_offered;
            "2.4" reclaim without_a_result_array_it_is_reclaimed_all_the_same;
            "2.4" reclaim without_a_result_array_a_shortage_fails_all_the_same;
            "9.12" death not_committed_is_answered_by_a_full_second_version_call_only;
            "9.12" death in_debt_it_is_answered_too;
            "9.12" death what_can_be_supplied_is_discarded_not_dead;
            "9.12" death without_allow_decommit_nothing_dies;
            "9.4" death a_new_offer_of_what_is_discarded_says_whether_it_may_die;
            "2.2" death what_is_dead_stays_dead_and_can_be_destroyed;
            "2.2" death a_call_that_fails_kills_nothing;
            "2.2" death the_others_of_the_list_come_back;
            "2.3" content intact_is_every_byte_of_any_size;
            "2.3" content discarded_is_discarded_whole;
            "2.9" content what_was_discarded_shares_no_memory_with_what_came_after;
            "2.4" content new_memory_reads_as_zero;
            "2.4" content new_memory_reads_as_zero_where_others_wrote_before;
            "2.4" content zeros_are_still_owed_after_an_intact_reclaim;
            "2.4" content not_zeroed_memory_is_warm_and_usable;
            "2.3" content what_was_never_touched_can_be_discarded_and_used;
            "2.5" groups a_group_goes_as_one_victim;
            "2.5" groups a_group_ranks_in_the_highest_class_of_its_offered_members;
            "2.5" groups a_group_ranks_anew_when_its_dearest_member_comes_back;
            "2.5" groups members_that_are_not_offered_are_never_touched;
            "2.5" groups a_group_answers_the_worst_of_its_members;
            "2.5" groups not_committed_is_worse_than_discarded;
            "2.5" groups a_locked_member_keeps_the_whole_group_from_being_offered;
            "2.5" groups a_shortage_leaves_all_members_offered;
            "9.11" groups an_empty_group_is_intact;
            "9.11" groups members_can_be_offered_one_by_one;
            "9.18" groups an_offered_group_can_be_destroyed;
            "2.5" groups groups_of_a_list_answer_each_for_itself;
            "2.7" lists a_wrong_handle_at_900_of_1000_changes_nothing;
            "2.7" lists a_locked_item_at_900_of_1000_changes_nothing;
            "2.7" lists a_name_that_was_destroyed_names_nothing_again;
            "9.3" lists a_name_may_be_offered_twice;
            "9.3" lists an_intact_name_may_appear_twice;
            "9.3" lists a_discarded_name_may_appear_twice;
            "9.3" lists a_shortage_with_names_that_appear_twice_changes_nothing;
            "9.1" lists lists_of_none_and_of_too_many_are_refused;
            "2.8" victims lower_classes_go_first;
            "2.8" victims within_a_class_the_oldest_goes_first;
            "2.8" victims a_lower_offer_goes_before_a_list_made_earlier;
            "2.8" victims a_lower_renewal_goes_before_a_list_made_earlier;
            "2.1" victims a_later_renewal_leaves_the_list_made_earlier;
            "2.1" victims auto_follows_the_priority_when_the_victim_is_chosen;
            "2.8" victims a_priority_lowered_late_goes_before_a_list_made_earlier;
            "2.8" victims what_is_not_offered_is_never_discarded;
            "2.8" victims no_more_goes_than_has_to;
            "2.8" victims own_need_takes_the_lowest_class;
            "9.14" victims unused_memory_goes_before_anything_offered;
            "I3" budget the_budget_is_exact;
            "I3" budget a_budget_below_what_is_committed_becomes_a_debt_that_shrinks;
            "I3" budget in_debt_what_needs_room_fails_cleanly;
            "I3" budget in_debt_no_unused_memory_is_kept;
            "I3" budget a_budget_of_nothing_and_back;
            "I3" budget memory_never_exceeds_the_budget_while_it_turns_over;
            "2.7" budget what_cannot_be_had_costs_nobody_anything;
            "2.7" budget a_size_of_nothing_is_refused;
            "2.7" budget a_size_beyond_the_budget_is_refused_and_costs_nobody_anything;
        }
    };
}

macro_rules! list_of_cases {
    (() $($rule:literal $module:ident $name:ident;)*) => {
        /// All cases.
        #[must_use]
        pub fn cases() -> Vec<Case> {
            vec![$(Case { name: stringify!($name), rule: $rule, run: $module::$name }),*]
        }
    };
}

each_case!([list_of_cases]());
