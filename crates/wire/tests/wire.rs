//! Whatever bytes come, decoding ends with a value within its limits or an error; what is said is
//! understood; versions tell each other apart.

use proptest::prelude::*;
use vidmm_wire::*;

fn supply(steps: usize) -> Supply {
    let step = |n: usize| Step {
        rank: u32::try_from(n).expect("few steps"),
        idle_ms: u32::MAX,
        bytes: u64::MAX,
    };
    Supply {
        as_of: u32::MAX,
        unused_bytes: u64::MAX,
        warm_bytes: u64::MAX,
        classes: std::array::from_fn(|_| (0..steps).map(step).collect()),
    }
}

fn discard() -> Discard {
    Discard {
        number: u64::MAX,
        at_ms: u64::MAX,
        allocation: u32::MAX,
        bytes: u64::MAX,
        class: 2,
        rank: u32::MAX,
        reason: 6,
        beneficiary_pid: u32::MAX,
        order: u32::MAX,
    }
}

#[test]
fn the_largest_messages_fit_a_packet_and_come_back() {
    let told = ToManager::Told(Told {
        poll: u32::MAX,
        supply: supply(STEPS_MAX),
        figures: Figures {
            held_bytes: u64::MAX,
            ..Figures::default()
        },
        discards: vec![discard(); DISCARDS_PER_MESSAGE_MAX],
    });
    let bytes = encode(&told).expect("fits");
    assert_eq!(decode::<ToManager>(&bytes), Ok(told));
    let whose = ToOperator::Discards(WhoseEvents {
        pid: 7,
        discards: vec![discard(); DISCARDS_PER_MESSAGE_MAX],
    });
    let bytes = encode(&whose).expect("fits");
    assert_eq!(decode::<ToOperator>(&bytes), Ok(whose));
}

#[test]
fn lists_over_their_limit_are_refused() {
    let ask = ToManager::Ask(Ask {
        request: 1,
        bytes: 1,
        supply: supply(STEPS_MAX + 1),
    });
    let bytes = encode(&ask).expect("fits");
    assert!(matches!(
        decode::<ToManager>(&bytes),
        Err(DecodeError::TooMany { count: 17, .. })
    ));
    let long = vec![0; MESSAGE_BYTES_MAX + 1];
    assert!(matches!(
        decode::<ToManager>(&long),
        Err(DecodeError::TooLong { .. })
    ));
}

#[test]
fn what_a_later_version_adds_is_left_alone() {
    let mut bytes = encode(&ToManager::Returned { bytes: 5 }).expect("fits");
    bytes.extend([1, 2, 3]);
    assert_eq!(
        decode::<ToManager>(&bytes),
        Ok(ToManager::Returned { bytes: 5 })
    );
}

#[test]
fn versions_tell_each_other_apart() {
    let join = Opening::Join(Join::default());
    assert_eq!(Opening::version_of(&join.encode_as(9)), Ok(9));
    assert_eq!(Opening::decode(&join.encode()), Ok(join));
    assert_eq!(
        Opening::version_of(b"GET / HTTP/1.1"),
        Err(DecodeError::NoOpening)
    );
    assert!(Served::by(1).has(1) && !Served::by(1).has(0) && !Served::by(1).has(2));
    assert!(Served::by(9).has(8) && !Served::by(9).has(7));
    let refused = Reception::Refused(Refusal {
        why: WhyRefused::Version,
        text: "served are 8 and 9".to_owned(),
    });
    let bytes = refused.encode(Served::by(9));
    assert_eq!(
        Reception::decode(&bytes),
        Ok((
            Some(refused),
            Served {
                oldest: 8,
                newest: 9
            }
        ))
    );
    // A refusal in a form that is not known here still says which versions are served.
    let mut foreign = bytes[..10].to_vec();
    foreign.extend([0xFF; 5]);
    assert_eq!(Reception::decode(&foreign), Ok((None, Served::by(9))));
}

#[test]
fn a_supply_is_cut_to_what_its_owner_is_counted_at() {
    let mut forged = supply(2);
    clamp_supply(&mut forged, 100);
    assert_eq!((forged.unused_bytes, forged.offered_bytes()), (100, 0));
    let mut honest = Supply {
        unused_bytes: 6,
        warm_bytes: 4,
        ..Supply::default()
    };
    honest.classes[1].push(Step {
        rank: 1,
        idle_ms: 1,
        bytes: 50,
    });
    clamp_supply(&mut honest, 40);
    assert_eq!((honest.unused_bytes, honest.warm_bytes), (6, 4));
    assert_eq!(honest.class_bytes(1), 30);
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(message) = decode::<ToManager>(&bytes) {
            let again = encode(&message).expect("it came in a packet");
            prop_assert_eq!(decode::<ToManager>(&again), Ok(message));
        }
        let _ = decode::<ToClient>(&bytes);
        let _ = decode::<ToOperator>(&bytes);
        let _ = decode::<OperatorRequest>(&bytes);
        let _ = Opening::decode(&bytes);
        let _ = Reception::decode(&bytes);
        let opening = [b"vidmm\0\x01\0", &bytes[..]].concat();
        let _ = Opening::decode(&opening);
    }
}
