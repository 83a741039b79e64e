//! One answer of the Prometheus endpoint in the making: families with RabbitMQ's prefix, and the
//! figures of the process.

use leveret_engine::view::Distribution;
use prometheus::core::{Collector, Opts};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{Gauge, IntCounter, IntGauge, TextEncoder};
use std::fmt::Write as _;

const PREFIX: &str = "rabbitmq";

/// What RabbitMQ has no figure for begins with this.
const OWN: &str = "leveret_";

/// Label names and values.
type Labels<'a> = [(&'a str, &'a str)];

pub(super) struct Page {
    families: Vec<MetricFamily>,
    /// What is written by hand.
    written: String,
}

impl Page {
    pub(super) fn new() -> Self {
        Self { families: ProcessCollector::for_self().collect(), written: String::new() }
    }

    /// A gauge that is always 1 and carries facts as labels.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &Labels<'_>) {
        self.labelled_gauge(name, help, labels, 1);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.labelled_gauge(name, help, &[], value);
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.labelled_counter(name, help, &[], value);
    }

    pub(super) fn labelled_gauge(
        &mut self,
        name: &str,
        help: &str,
        labels: &Labels<'_>,
        value: u64,
    ) {
        let gauge = IntGauge::with_opts(opts(name, help, labels));
        self.add(gauge.inspect(|gauge| gauge.set(i64::try_from(value).unwrap_or(i64::MAX))));
    }

    pub(super) fn labelled_counter(
        &mut self,
        name: &str,
        help: &str,
        labels: &Labels<'_>,
        value: u64,
    ) {
        let counter = IntCounter::with_opts(opts(name, help, labels));
        self.add(counter.inspect(|counter| counter.inc_by(value)));
    }

    /// Values in buckets that somebody else counted.
    pub(super) fn histogram(&mut self, name: &str, help: &str, values: &Distribution) {
        let mut histogram = Histogram::default();
        histogram.set_sample_count(values.count);
        histogram.set_sample_sum(values.sum);
        let bucket = |(bound, count): &(f64, u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(*count);
            bucket
        };
        histogram.set_bucket(values.buckets.iter().map(bucket).collect());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(full_name(name));
        family.set_help(help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        self.families.push(family);
    }

    /// How large messages are. By hand, since RabbitMQ's dashboard compares bounds as texts, in Erlang's form.
    pub(super) fn message_sizes(&mut self, help: &str, protocol: &str, sizes: &[u64], sum: u64) {
        const BOUNDS: [&str; 9] =
            ["100.0", "1000.0", "10000.0", "100000.0", "1e+06", "1e+07", "5e+07", "1e+08", "+Inf"];
        let name = full_name("message_size_bytes");
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} histogram\n");
        let label = format!("protocol=\"{protocol}\"");
        let mut below = 0;
        for (bound, n) in BOUNDS.iter().zip(sizes) {
            below += n;
            let _infallible = writeln!(text, "{name}_bucket{{{label},le=\"{bound}\"}} {below}");
        }
        let _infallible =
            writeln!(text, "{name}_count{{{label}}} {below}\n{name}_sum{{{label}}} {sum}");
        self.written.push_str(&text);
    }

    pub(super) fn float(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::with_opts(opts(name, help, &[]));
        self.add(gauge.inspect(|gauge| gauge.set(value)));
    }

    fn add<C: Collector>(&mut self, collector: prometheus::Result<C>) {
        match collector {
            Ok(collector) => self.families.extend(collector.collect()),
            Err(error) => tracing::error!(%error, "a metric cannot be shown"),
        }
    }

    pub(super) fn text(mut self) -> String {
        self.families.sort_by(|a, b| a.name().cmp(b.name()));
        let encoded = TextEncoder::new().encode_to_string(&self.families);
        let mut text = encoded.unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be shown");
            String::new()
        });
        text.push_str(&self.written);
        text
    }
}

fn opts(name: &str, help: &str, labels: &Labels<'_>) -> Opts {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Opts::new(full_name(name), help).const_labels(labels.collect())
}

/// RabbitMQ's names have its prefix, our own ours.
fn full_name(name: &str) -> String {
    if name.starts_with(OWN) { name.to_owned() } else { format!("{PREFIX}_{name}") }
}
