//! One answer of the Prometheus endpoint in the making: families with RabbitMQ's prefix, and the
//! figures of the process.

use leveret_engine::view::Distribution;
use prometheus::core::{Collector, Opts};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{IntCounter, IntGauge, TextEncoder};

const PREFIX: &str = "rabbitmq";

/// What RabbitMQ has no figure for begins with this.
const OWN: &str = "leveret_";

/// Label names and values.
type Labels<'a> = [(&'a str, &'a str)];

pub(super) struct Page {
    families: Vec<MetricFamily>,
}

impl Page {
    pub(super) fn new() -> Self {
        Self { families: ProcessCollector::for_self().collect() }
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

    fn add<C: Collector>(&mut self, collector: prometheus::Result<C>) {
        match collector {
            Ok(collector) => self.families.extend(collector.collect()),
            Err(error) => tracing::error!(%error, "a metric cannot be shown"),
        }
    }

    pub(super) fn text(mut self) -> String {
        self.families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&self.families).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be shown");
            String::new()
        })
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
