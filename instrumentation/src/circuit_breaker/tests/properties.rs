//! Where a setting comes from: the name's properties, the code, the properties of all, the defaults.

use std::collections::BTreeMap;

use super::*;
use crate::circuit_breaker::{PoolSettings, Properties, SettingOrigin, SettingValues};

const NAME: &str = "stock";

fn sets(calls: Option<u32>, is_automatic: Option<bool>) -> SettingValues {
    let calls = calls.map(|calls| ("minimum_calls".to_owned(), calls.to_string()));
    let is = is_automatic.map(|is| ("automatic_half_open".to_owned(), is.to_string()));
    calls.into_iter().chain(is).collect()
}

fn registry(default: SettingValues, own: SettingValues) -> Registry {
    let registry = Registry::new();
    let breakers = [(NAME.to_owned(), own)].into();
    let properties = Properties {
        default,
        breakers,
        ..Properties::default()
    };
    registry.set_properties(properties).unwrap();
    registry
}

/// Scenario 34, HystrixCommandPropertiesTest: a number and a flag, set in each combination of places.
#[test]
fn the_name_wins_over_the_code_and_the_code_over_all() {
    let places = [None, Some((5, true)), Some((6, false))];
    for (default, code, own) in places
        .iter()
        .flat_map(|default| places.iter().map(move |code| (default, code)))
        .flat_map(|(default, code)| places.iter().map(move |own| (default, code, own)))
    {
        let part = |of: &Option<(u32, bool)>| sets(of.map(|set| set.0), of.map(|set| set.1));
        let registry = registry(part(default), part(own));
        let builder = CircuitBreaker::builder(NAME).registry(&registry);
        let settings = builder.some_settings(part(code)).build().settings();
        let expected = own.or(*code).or(*default).unwrap_or((20, false));
        let found = (settings.minimum_calls, settings.automatic_half_open);
        assert_eq!(found, expected, "{default:?} {code:?} {own:?}");
    }
}

/// Guarantees: all settings of the code win over the properties of all breakers, but not over those of the name.
#[test]
fn whole_settings_of_the_code_leave_nothing_to_the_defaults() {
    let registry = registry(sets(Some(5), Some(true)), sets(Some(6), None));
    let builder = CircuitBreaker::builder(NAME).registry(&registry);
    let settings = builder.settings(Settings::hystrix()).build().settings();
    assert_eq!(
        (settings.minimum_calls, settings.automatic_half_open),
        (6, false)
    );
}

/// Scenario: properties that work with the defaults do not work with the code's settings.
/// Guarantees: the program goes on with its own.
#[test]
fn properties_that_do_not_fit_the_code_are_left_out() {
    let registry = registry(sets(None, Some(true)), sets(Some(50), None));
    let settings = Settings {
        window: WindowSettings::Count { calls: 20 },
        ..Settings::default()
    };
    let build = || {
        CircuitBreaker::builder(NAME)
            .registry(&registry)
            .settings(settings.clone())
    };
    assert_eq!(*build().build().settings(), settings);
    assert!(build().try_build().is_ok());
}

/// Guarantees: properties reach a registered breaker, which keeps its other settings; mistakes change nothing.
#[test]
fn properties_reach_breakers_that_exist() {
    let registry = Registry::new();
    let builder = CircuitBreaker::builder(NAME).registry(&registry);
    let stock = builder.settings(hystrix()).build();
    let set = |json: &str| {
        let properties: Properties = serde_json::from_str(json).unwrap();
        registry.set_properties(properties)
    };
    set(r#"{"breakers": {"stock": {"open_duration": "30s", "timeout": "none"}}}"#).unwrap();
    let settings = stock.settings();
    assert_eq!(settings.open_duration, Duration::from_secs(30));
    assert_eq!(
        (settings.timeout, settings.failure_rate_percent),
        (None, 40.0)
    );
    let again = CircuitBreaker::builder(NAME).registry(&registry);
    assert!(again.settings(hystrix()).try_build().is_ok(), "no conflict");
    let wrong = set(r#"{"breakers": {"stock": {"half_open_probes": "0"}}}"#).unwrap_err();
    assert!(wrong.to_string().contains("half_open_probes"), "{wrong}");
    let longest = set(r#"{"breakers": {"stock": {"open_duration_factor": "2"}}}"#).unwrap_err();
    assert!(longest.to_string().contains("open_duration_max"));
    assert_eq!(stock.settings(), settings);
    let unknown = set(r#"{"default": {"minimum_call": "1"}}"#).unwrap_err();
    assert!(unknown.to_string().contains("minimum_calls"), "{unknown}");
}

/// Guarantees: the properties of a pool's key win over the code and reach a pool that exists, which the code still gets;
/// mistakes change nothing.
#[test]
fn the_key_of_a_pool_wins_over_the_code() {
    let registry = Registry::new();
    let set = |json: &str| {
        let properties: Properties = serde_json::from_str(json).unwrap();
        registry.set_properties(properties)
    };
    let code = PoolSettings {
        core_size: 3,
        max_queue_size: 2,
        ..PoolSettings::default()
    };
    let pool = |key| registry.pool(key, code).unwrap().settings();
    let sizes = |settings: PoolSettings| (settings.core_size, settings.max_queue_size);
    set(r#"{"pools": {"stock": {"core_size": "7"}}}"#).unwrap();
    assert_eq!(
        (sizes(pool("stock")), sizes(pool("price"))),
        ((7, 2), (3, 2))
    );
    set(r#"{"pools": {"stock": {"max_queue_size": "20"}, "price": {"core_size": "5"}}}"#).unwrap();
    assert_eq!(
        (sizes(pool("stock")), sizes(pool("price"))),
        ((7, 20), (5, 2))
    );
    for (wrong, name) in [
        (r#"{"core_size": "0"}"#, "core_size"),
        (r#"{"core_size": "many"}"#, "core_size"),
        (r#"{"core_sise": "7"}"#, "core_size"),
        (r#"{"queue_size_rejection_threshold": "0"}"#, "threshold"),
    ] {
        let refused = set(&format!(r#"{{"pools": {{"stock": {wrong}}}}}"#)).unwrap_err();
        assert!(refused.to_string().contains(name), "{refused}");
    }
    assert_eq!(sizes(pool("stock")), (7, 20));
}

/// Scenario: a breaker is built, or replaced, on one thread while properties are set on two others.
/// Guarantees: it has the settings of the properties that are in force in the end.
#[test]
fn a_new_breaker_misses_no_properties() {
    for round in 0..300 {
        let registry = Registry::new();
        let build = || CircuitBreaker::builder(NAME).registry(&registry);
        if round % 2 == 0 {
            build().build();
        }
        let set = |calls| {
            let breakers = [(NAME.to_owned(), sets(Some(calls), None))].into();
            registry.set_properties(Properties {
                breakers,
                ..Properties::default()
            })
        };
        std::thread::scope(|scope| {
            scope.spawn(|| set(7).unwrap());
            scope.spawn(|| set(8).unwrap());
            scope.spawn(|| drop(build().replace().unwrap()));
        });
        let in_force = &registry.properties().breakers[NAME]["minimum_calls"];
        let settings = registry.get(NAME).unwrap().settings();
        assert_eq!(settings.minimum_calls.to_string(), *in_force);
    }
}

/// Scenario: settings come from all places, then the code and the properties change some, and an operator's change is put on top.
/// Guarantees: each value says where it comes from; what is not listed is the library's.
#[test]
fn each_value_says_where_it_comes_from() {
    use SettingOrigin::{Code, CommonProperties, Properties as Own};
    let registry = Registry::new();
    let set = |json: &str| {
        let properties: Properties = serde_json::from_str(json).unwrap();
        registry.set_properties(properties).unwrap();
    };
    set(
        r#"{"default": {"minimum_calls": "50", "half_open_probes": "3"},
        "breakers": {"stock": {"timeout": "250ms", "half_open_probes": "2"}}}"#,
    );
    let some = [("open_duration", "9s"), ("timeout", "1s")];
    let some = some.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let builder = CircuitBreaker::builder(NAME).registry(&registry);
    let stock = builder.some_settings(some.into()).build();
    let mut expected = BTreeMap::from([
        ("minimum_calls", CommonProperties),
        ("half_open_probes", Own),
        ("timeout", Own),
        ("open_duration", Code),
    ]);
    assert_eq!(stock.setting_origins(), expected);
    let changed = Settings {
        minimum_calls: 40,
        ..Settings::clone(&stock.settings())
    };
    stock.update_settings(changed).unwrap();
    expected.insert("minimum_calls", Code);
    assert_eq!(stock.setting_origins(), expected);
    set(r#"{"breakers": {"stock": {"open_duration": "8s"}}}"#);
    expected.insert("open_duration", Own);
    assert_eq!(stock.setting_origins(), expected);
    let whole = CircuitBreaker::builder("whole").registry(&registry);
    let settings = Settings {
        minimum_calls: 7,
        ..Settings::default()
    };
    let whole = whole.settings(settings).build();
    assert_eq!(
        whole.setting_origins(),
        BTreeMap::from([("minimum_calls", Code)])
    );
}
