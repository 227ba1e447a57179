//! The whole stack over real sockets, real processes and a real browser.

mod access;
mod accessibility;
mod bounds;
mod crash;
mod demo;
mod grafana;
mod grafana_faults;
mod grafana_lint;
mod hostile;
mod hystrix;
mod influxdb;
mod influxql;
mod jaeger;
mod load;
mod pages;
mod panel_data;
mod panel_source;
mod panels;
mod process;
mod restart;
mod sdk;
mod stopping;
mod switches;
mod trace_page;
mod trace_page_views;
mod zipkin;
