//! Settings that are rejected, and why.

use super::*;

#[test]
fn defaults_are_valid() {
    assert_eq!(CollectorConfig::new("data").validate(), Ok(()));
    assert_eq!(CollectorConfig::for_test("data").validate(), Ok(()));
}

#[test]
fn an_open_listener_needs_a_token_or_consent() {
    let addr = SocketAddr::from(([0, 0, 0, 0], 4318)).into();
    let open = CollectorConfig {
        otlp_http_addr: addr,
        ..CollectorConfig::new("data")
    };
    assert_eq!(
        open.validate(),
        Err(ConfigError::OpenWithoutToken {
            listener: "OTLP HTTP",
            addr
        })
    );
    let guarded = CollectorConfig {
        token: Some("s3cret-s3cret-s3cret".into()),
        ..open.clone()
    };
    assert_eq!(guarded.validate(), Ok(()));
    let insecure = CollectorConfig {
        insecure: true,
        ..open
    };
    assert_eq!(insecure.validate(), Ok(()));
}

#[test]
fn settings_that_cannot_work_are_named() {
    let no_shards = CollectorConfig {
        shards: 0,
        ..CollectorConfig::new("data")
    };
    assert!(matches!(
        no_shards.validate(),
        Err(ConfigError::Invalid {
            setting: "shards",
            ..
        })
    ));
    let empty = CollectorConfig {
        token: Some("".into()),
        ..CollectorConfig::new("data")
    };
    assert!(matches!(
        empty.validate(),
        Err(ConfigError::Token(TokenError::Length(0)))
    ));
}

/// Guarantees: two streams that would appear as one instance are rejected.
#[test]
fn a_stream_is_pulled_once() {
    let validate = |streams: [&str; 2]| {
        let config = CollectorConfig {
            hystrix_streams: streams.map(|one| one.parse().unwrap()).into(),
            ..CollectorConfig::new("data")
        };
        config.validate().map_err(|refusal| refusal.to_string())
    };
    let a = "shop=http://turbine:8989/turbine.stream?cluster=a";
    let refusal = validate([a, "shop=http://turbine:8989/turbine.stream?cluster=b"]);
    assert!(refusal.unwrap_err().contains("hystrix-stream: must not"));
    let others = [
        "mail=http://turbine:8989/turbine.stream?cluster=b",
        "shop=http://turbine:8990/turbine.stream",
    ];
    for other in others {
        assert_eq!(validate([a, other]), Ok(()));
    }
}

#[test]
fn certificate_authorities_need_an_https_address() {
    let config = |url: &str| CollectorConfig {
        influxdb: Some(InfluxdbOptions {
            ca_file: Some("ca.pem".into()),
            ..InfluxdbOptions::at(url)
        }),
        ..CollectorConfig::new("data")
    };
    assert_eq!(config("https://influxdb.example").validate(), Ok(()));
    let refusal = config("http://influxdb.example").validate().unwrap_err();
    assert!(refusal.to_string().contains("influxdb-ca-file: needs"));
}

#[test]
fn sampling_needs_an_hour_that_is_over_and_a_store_of_its_own() {
    let config = |hours: u64, share| CollectorConfig {
        tail_sampling: Some(TailSampling {
            after: Duration::from_secs(hours * 3_600),
            share,
        }),
        ..CollectorConfig::new("data")
    };
    assert_eq!(config(24, 0.1).validate(), Ok(()));
    let shipped = CollectorConfig {
        influxdb: Some(InfluxdbOptions::at("http://127.0.0.1:8086")),
        ..config(24, 0.1)
    };
    for (config, says) in [
        (config(1, 0.1), "keep-after: must be at least 2 h"),
        (config(168, 0.1), "keep-after: must be at least 2 h"),
        (config(24, 1.5), "keep-share: must be a share"),
        (config(24, f64::NAN), "keep-share: must be a share"),
        (shipped, "keep-after: needs the data directory"),
    ] {
        let refusal = config.validate().unwrap_err().to_string();
        assert!(refusal.starts_with(says), "{refusal}");
    }
}

#[test]
fn settings_that_would_delete_everything_are_refused() {
    let config = CollectorConfig::new("data");
    let brief = CollectorConfig {
        retention: Duration::from_nanos(1),
        ..config.clone()
    };
    let tiny = CollectorConfig {
        disk_budget_bytes: 0,
        ..config.clone()
    };
    let endless = CollectorConfig {
        retention: Duration::MAX,
        ..config.clone()
    };
    let with_influxdb = |token: &str, influxdb_local| CollectorConfig {
        influxdb: Some(InfluxdbOptions {
            token: Some(token.into()),
            ..InfluxdbOptions::at("http://127.0.0.1:8086")
        }),
        influxdb_local,
        ..config.clone()
    };
    let hour = Duration::from_secs(3_600);
    assert_eq!(with_influxdb("t0", hour).validate(), Ok(()));
    let cases = [
        (with_influxdb("t0", Duration::ZERO), "influxdb-local"),
        (with_influxdb("t0", Duration::MAX), "influxdb-local"),
        (with_influxdb("", hour), "influxdb-token"),
        (with_influxdb("a\nb", hour), "influxdb-token"),
        (endless, "retention"),
        (brief, "retention"),
        (tiny, "disk_budget_bytes"),
    ];
    for (config, named) in cases {
        let refusal = config.validate();
        assert!(matches!(refusal, Err(ConfigError::Invalid { setting, .. }) if setting == named));
    }
}
