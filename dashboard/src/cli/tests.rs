//! Tests of the configuration that flags and variables result in.

use std::time::Duration;

use clap::CommandFactory;
use clap::builder::{BoolishValueParser, ValueParser};
use fusebox_collector::{CollectorConfig, ListenAddr};

use super::*;

#[test]
fn flags_have_names_of_their_own() {
    Cli::command().debug_assert();
    let args = [
        "fusebox",
        "--token",
        "sender-sender-01",
        "--influxdb",
        "http://127.0.0.1:8086",
    ];
    let args = args.into_iter().chain(["--influxdb-token", "b"]);
    let config = Cli::parse_from(args).server.config().unwrap();
    assert_eq!(config.token, Some("sender-sender-01".into()));
    assert_eq!(config.influxdb.unwrap().token, Some("b".into()));
}

#[test]
fn every_flag_of_the_collector_is_accepted_after_a_subcommand() {
    let command = Cli::command();
    let own = command.get_arguments().filter(|arg| !arg.is_global_set());
    let own: Vec<_> = own.map(|arg| arg.get_id().as_str()).collect();
    assert!(own.is_empty(), "{own:?}");
}

fn config(args: &[&str]) -> Result<CollectorConfig, String> {
    let args = ["fusebox", "--data-dir", "d"].iter().chain(args);
    let cli = Cli::try_parse_from(args).map_err(|error| error.to_string())?;
    let config = cli.server.config().map_err(|error| error.to_string())?;
    config.validate().map_err(|error| error.to_string())?;
    Ok(config)
}

#[test]
fn flags_are_accepted_before_and_after_the_subcommand() {
    for args in [
        &["--retention", "24h", "--listen", "127.0.0.1:1", "demo"][..],
        &["demo", "--listen", "127.0.0.1:1", "--retention", "24h"],
        &["--listen", "127.0.0.1:1", "demo", "--retention", "24h"],
    ] {
        let config = config(args).unwrap();
        assert_eq!(config.retention, Duration::from_secs(24 * 3_600));
        assert_eq!(config.web_addr, "127.0.0.1:1".parse().unwrap());
    }
}

#[test]
fn localhost_is_an_address_for_every_listener() {
    let args = [
        "--listen",
        "localhost:1",
        "--otlp-grpc-listen",
        "localhost:2",
    ];
    let config = config(&[&args[..], &["--otlp-http-listen", "localhost:3"]].concat()).unwrap();
    let addresses = [
        config.web_addr,
        config.otlp_grpc_addr,
        config.otlp_http_addr,
    ];
    assert_eq!(addresses, [1, 2, 3].map(ListenAddr::Localhost));
}

#[test]
fn a_switch_of_the_environment_takes_the_usual_words() {
    for (name, id) in [
        ("FUSEBOX_INSECURE", "insecure"),
        ("FUSEBOX_INFLUXDB_ONBOARD", "influxdb-onboard"),
    ] {
        let command = Cli::command();
        let switch = command.get_arguments().find(|arg| arg.get_id() == id);
        let switch = switch.unwrap();
        assert_eq!(switch.get_env().unwrap(), name);
        let parser = switch.get_value_parser();
        assert_eq!(
            format!("{parser:?}"),
            format!("{:?}", ValueParser::new(BoolishValueParser::new()))
        );
    }
}

#[test]
fn numbers_that_cannot_work_are_refused() {
    for args in [
        ["--spans", "0"],
        ["--connections", "0"],
        ["--connections", "10001"],
        ["--spans-per-request", "0"],
        ["--spans-per-request", "99999999"],
        ["--rate", "0"],
        ["--rate", "18446744073709551615"],
    ] {
        let args = ["fusebox", "load"].iter().chain(&args);
        let refusal = Cli::try_parse_from(args).unwrap_err().to_string();
        assert!(refusal.contains(" is not in "), "{refusal}");
    }
}

#[test]
fn settings_that_would_lose_data_are_refused() {
    for (args, says) in [
        (["--disk-gib", "0"], "from 1 to 17179869183"),
        (["--disk-gib", "17179869184"], "from 1 to 17179869183"),
        (["--retention", "1ns"], "at least 1 h"),
        (["--retention", "99999h"], "at most 87600 h"),
        (["--retention", "0h"], "at least 1 h"),
        (["--retention", "99999999999h"], "a number and a unit"),
    ] {
        let refusal = config(&args).unwrap_err();
        assert!(refusal.contains(says), "{refusal}");
    }
}

#[test]
fn a_part_of_a_certificate_does_not_mean_plain_http() {
    let tls = |args: &[&str]| config(args).map(|config| config.tls);
    let both = ["--tls-cert", "c", "--tls-key", "k"];
    let files = tls(&both).unwrap().unwrap();
    assert_eq!(
        (files.cert.to_str(), files.key.to_str()),
        (Some("c"), Some("k"))
    );
    let with_clients = [&both[..], &["--tls-client-ca", "a", "demo"]].concat();
    let files = tls(&with_clients).unwrap().unwrap();
    assert_eq!(files.client_ca.unwrap().to_str(), Some("a"));
    for part in ["--tls-cert", "--tls-key", "--tls-client-ca"] {
        let refusal = tls(&[part, "f"]).unwrap_err();
        assert_eq!(refusal, "TLS needs both --tls-cert and --tls-key");
    }
    assert_eq!(tls(&[]), Ok(None));
}
