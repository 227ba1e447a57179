//! Instances by their heartbeats.

use super::*;
use crate::model::{Details, Port, Registration, SECOND};

const NOW: UnixNanos = UnixNanos::new(1_795_397_400_000_000_000);

fn channel(instance: &str, silent: Duration) -> ChannelSeen {
    ChannelSeen {
        service: "shop".to_owned(),
        instance: instance.to_owned(),
        first_seen: NOW - HOUR,
        last_seen: NOW - silent,
        is_open: silent < HEARTBEAT,
        way: Way::Channel,
    }
}

fn listed(channels: &[ChannelSeen]) -> Instances {
    let mut known = ById::new();
    channels.iter().for_each(|one| add_channel(&mut known, one));
    list(known, NOW)
}

#[test]
fn one_missed_heartbeat_is_late_and_three_are_down() {
    for (silent, liveness, since) in [
        (SECOND, Liveness::Live, HOUR),
        (HEARTBEAT, Liveness::Live, HOUR),
        (HEARTBEAT + SECOND, Liveness::Late, SECOND),
        (HEARTBEAT * 3, Liveness::Late, HEARTBEAT * 2),
        (HEARTBEAT * 3 + SECOND, Liveness::Down, SECOND),
    ] {
        let found = listed(&[channel("a", silent)]).instances;
        assert_eq!(found[0].liveness, liveness, "{silent:?}");
        assert_eq!(found[0].since, Some(NOW - since), "{silent:?}");
    }
    assert_eq!(listed(&[channel("a", HOUR + SECOND)]).instances, []);
}

/// Guarantees: an instance that sends only spans is not reported as down, since it may be idle.
#[test]
fn without_a_heartbeat_nothing_is_down() {
    let seen = InstanceSeen {
        id: "a".to_owned(),
        first_seen: NOW - HOUR,
        last_seen: NOW - MINUTE * 10,
    };
    let mut known = ById::new();
    add_spans(&mut known, "shop", &seen);
    let found = list(known, NOW).instances;
    assert_eq!(found[0].liveness, Liveness::Silent);
    let mut known = ById::new();
    add_spans(&mut known, "shop", &seen);
    add_channel(&mut known, &channel("a", SECOND));
    let found = list(known, NOW).instances;
    assert_eq!((found.len(), found[0].liveness), (1, Liveness::Live));
    assert_eq!(found[0].since, Some(NOW - HOUR));
}

/// Guarantees: an instance that announced its end is neither late, nor down, nor one of many that turned
/// silent, whatever arrives late; a later report makes it live again.
#[test]
fn an_instance_that_ended_is_not_missed() {
    let ended = |heard: UnixNanos, at: UnixNanos| {
        let mut known = ById::new();
        for id in ["a", "b", "c", "d"] {
            let mut seen = channel(id, SECOND);
            seen.last_seen = heard;
            add_channel(&mut known, &seen);
            let id = InstanceId {
                service: "shop".to_owned(),
                instance: id.to_owned(),
            };
            add_end(&mut known, &id, at);
        }
        let found = list(known, NOW);
        let first = &found.instances[0];
        (first.liveness, first.since, found.silent_at_once)
    };
    let at = NOW - MINUTE * 10;
    assert_eq!(ended(at - SECOND, at), (Liveness::Ended, Some(at), None));
    assert_eq!(
        ended(at + SECOND * 2, at),
        (Liveness::Ended, Some(at), None)
    );
    let (liveness, _, silent) = ended(at + MINUTE, at);
    assert_eq!((liveness, silent), (Liveness::Down, Some(4)));
    assert_eq!(ended(NOW, at).0, Liveness::Live);
}

/// Guarantees: a lease counts once, not twice; what an instance or an operator says counts while it is heard.
#[test]
fn a_registered_instance_has_its_lease_and_its_status() {
    let registered = |id: &str, status, forced: bool, silent: Duration| {
        let registration = Registration {
            service: "shop".to_owned(),
            instance: id.to_owned(),
            status,
            ..Registration::default()
        };
        let forced = forced.then(|| ForcedStatus {
            status: InstanceStatus::OutOfService,
            by: "kim".to_owned(),
            reason: "it misbehaves".to_owned(),
            since: NOW,
        });
        let registered = Registered {
            registration,
            details: Details::default(),
            forced,
            since: NOW - HOUR,
            changed: NOW - MINUTE,
            status_changed: NOW - MINUTE,
        };
        Listed {
            registered: Arc::new(registered),
            last_renewed: NOW - silent,
            has_registered: true,
        }
    };
    let found = |listed: &[Listed]| {
        let mut known = ById::new();
        listed
            .iter()
            .for_each(|one| add_registered(&mut known, &TelemetryNames::default(), one));
        list(known, NOW)
    };
    let (up, down) = (InstanceStatus::Up, InstanceStatus::Down);
    for (status, forced, silent, liveness, since) in [
        (up, false, 35, Liveness::Live, HOUR),
        (up, false, 36, Liveness::Late, SECOND),
        (up, false, 91, Liveness::Down, SECOND),
        (up, true, 0, Liveness::OutOfService, MINUTE),
        (up, true, 91, Liveness::Down, SECOND),
        (down, true, 0, Liveness::Down, MINUTE),
        (
            InstanceStatus::Starting,
            false,
            0,
            Liveness::Starting,
            MINUTE,
        ),
    ] {
        let one = registered("a", status, forced, SECOND * silent);
        let one = found(&[one]).instances.remove(0);
        let expected = (liveness, Some(NOW - since));
        assert_eq!((one.liveness, one.since), expected, "{status:?} {silent}");
    }
    let four =
        |status, silent| ["a", "b", "c", "d"].map(|id| registered(id, status, false, silent));
    assert_eq!(found(&four(down, SECOND)).silent_at_once, None);
    assert_eq!(found(&four(up, MINUTE)).silent_at_once, Some(4));
}

/// Scenario: the services `review` send telemetry and are registered by Eureka's clients as `REVIEW`, under ids of their own.
/// Guarantees: each is one instance, under the names of its telemetry, where it is clear which one it is.
#[test]
fn telemetry_and_registration_are_one_instance() {
    let found = |telemetry: &[&str], registered: &[Registration]| {
        let mut known = ById::new();
        for id in telemetry {
            add_channel(&mut known, &of_service("review", channel(id, SECOND)));
        }
        let listed = registered.iter().map(|registration| Listed {
            registered: Arc::new(Registered {
                registration: registration.clone(),
                details: Details::default(),
                forced: None,
                since: NOW - HOUR,
                changed: NOW - HOUR,
                status_changed: NOW - HOUR,
            }),
            last_renewed: NOW,
            has_registered: true,
        });
        let listed: Vec<_> = listed.collect();
        let names = names(&known, &listed);
        listed
            .iter()
            .for_each(|one| add_registered(&mut known, &names, one));
        let found = list(known, NOW).instances;
        assert!(found.iter().all(|one| one.is(&one.service, &one.id)));
        let pair = |one: InstanceView| {
            let registered = one.registration.map(|it| it.id);
            (format!("{}/{}", one.service, one.id), registered)
        };
        found.into_iter().map(pair).collect::<Vec<_>>()
    };
    let of_eureka = |id: &str, port| Registration {
        service: "REVIEW".to_owned(),
        instance: id.to_owned(),
        host: "Pod-1".to_owned(),
        ip: "10.0.0.7".to_owned(),
        port: Port {
            number: port,
            is_enabled: true,
        },
        ..Registration::default()
    };
    let spring = of_eureka("pod-1:review:8080", 8080);
    let one = |id: &str| vec![(format!("review/{id}"), Some(spring.instance.clone()))];
    for id in [
        "pod-1:review:8080",
        "pod-1:8080",
        "10.0.0.7:8080",
        "pod-1",
        "10.0.0.7",
    ] {
        assert_eq!(found(&[id], std::slice::from_ref(&spring)), one(id), "{id}");
    }
    let mut named = spring.clone();
    let id = "6f1c".to_owned();
    named.metadata.insert("service.instance.id".to_owned(), id);
    assert_eq!(found(&["6f1c"], &[named]), one("6f1c"));
    // It may be either of two on a host.
    let two = [spring.clone(), of_eureka("pod-1:review:8081", 8081)];
    let unclear = found(&["pod-1"], &two);
    assert_eq!(unclear.len(), 3);
    assert!(unclear.contains(&("review/pod-1".to_owned(), None)));
}

/// Scenario: the service `REVIEW` registered by Eureka's API and sends telemetry as `review`; changes are passed on to its
/// actuator, until that does not answer any more.
/// Guarantees: it is one instance, which says how it gets changes; it is not late as long as it renews its lease.
#[test]
fn what_is_passed_on_to_an_actuator_is_no_sign_of_life() {
    let registration = Registration {
        service: "REVIEW".to_owned(),
        instance: "pod-1:review:8080".to_owned(),
        host: "pod-1".to_owned(),
        status: InstanceStatus::Up,
        ..Registration::default()
    };
    let listed = Listed {
        registered: Arc::new(Registered {
            registration: registration.clone(),
            forced: None,
            since: NOW - HOUR,
            changed: NOW - HOUR,
            status_changed: NOW - HOUR,
            details: Details::default(),
        }),
        last_renewed: NOW - SECOND * 32,
        has_registered: true,
    };
    let seen = InstanceSeen {
        id: "pod-1".to_owned(),
        first_seen: NOW - HOUR,
        last_seen: NOW - MINUTE,
    };
    for (silent, has_channel) in [(SECOND, true), (MINUTE * 5, false)] {
        let passed_on = ChannelSeen {
            way: Way::Actuator,
            ..of_service("REVIEW", channel(&registration.instance, silent))
        };
        let mut known = ById::new();
        add_spans(&mut known, "review", &seen);
        let names = names(&known, std::slice::from_ref(&listed));
        add_registered(&mut known, &names, &listed);
        add_passed_on(&mut known, &[passed_on]);
        let found = list(known, NOW).instances;
        let one = &found[0];
        assert_eq!((found.len(), one.id.as_str()), (1, "pod-1"));
        assert_eq!(
            (one.way, one.has_channel),
            (Some(Way::Actuator), has_channel)
        );
        assert_eq!(one.liveness, Liveness::Live, "{silent:?}");
    }
}

/// Guarantees: an instance with a lease and heartbeats is late only if both are missing.
#[test]
fn any_sign_of_life_counts() {
    let registered = |silent: Duration| Listed {
        registered: Arc::new(Registered {
            registration: Registration {
                service: "shop".to_owned(),
                instance: "a".to_owned(),
                status: InstanceStatus::Up,
                ..Registration::default()
            },
            forced: None,
            since: NOW - HOUR,
            changed: NOW - HOUR,
            status_changed: NOW - HOUR,
            details: Details::default(),
        }),
        last_renewed: NOW - silent,
        has_registered: true,
    };
    let liveness = |polled: Duration, renewed: Duration| {
        let mut known = ById::new();
        add_channel(&mut known, &channel("a", polled));
        add_registered(&mut known, &TelemetryNames::default(), &registered(renewed));
        list(known, NOW).instances[0].liveness
    };
    assert_eq!(liveness(MINUTE * 5, SECOND * 32), Liveness::Live);
    assert_eq!(liveness(SECOND, MINUTE * 5), Liveness::Live);
    assert_eq!(liveness(SECOND * 40, SECOND * 40), Liveness::Late);
    assert_eq!(liveness(SECOND * 91, SECOND * 91), Liveness::Down);
}

fn of_service(service: &str, channel: ChannelSeen) -> ChannelSeen {
    ChannelSeen {
        service: service.to_owned(),
        ..channel
    }
}

#[test]
fn many_that_fall_silent_at_once_are_counted() {
    let names: Vec<String> = (0..20).map(|n| format!("pod-{n}")).collect();
    let with_silent = |silent: &dyn Fn(usize) -> Duration| {
        let channels = names.iter().enumerate();
        let channels: Vec<_> = channels.map(|(n, id)| channel(id, silent(n))).collect();
        listed(&channels).silent_at_once
    };
    let ago = MINUTE * 5;
    assert_eq!(with_silent(&|n| if n < 4 { ago } else { SECOND }), Some(4));
    // 15 % are no more than may be.
    assert_eq!(with_silent(&|n| if n < 3 { ago } else { SECOND }), None);
    // One after the other, as in a rolling update.
    let rolling = |n| {
        if n < 8 {
            ago + MINUTE * 2 * n as u32
        } else {
            SECOND
        }
    };
    assert_eq!(with_silent(&rolling), None);
    assert_eq!(listed(&[channel("a", ago)]).silent_at_once, None);
}
