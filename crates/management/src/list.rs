//! Lists as RabbitMQ answers them: filtered by name, sorted, cut into pages, reduced to columns,
//! all as the query asks.

use crate::error::ApiError;
use crate::samples::Range;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use leveret_engine::auth::Pattern;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;

#[cfg(test)]
mod tests;

/// Items of a page when the query does not say.
const PAGE_SIZE_DEFAULT: usize = 100;

/// Items of the largest page.
const PAGE_SIZE_MAX: usize = 500;

/// What a query asks of a list.
#[derive(Debug, Default)]
pub(crate) struct ListQuery {
    page: Option<usize>,
    page_size: usize,
    name: Option<NameFilter>,
    sort: Option<String>,
    sort_reverse: bool,
    columns: Vec<String>,
    pub(crate) ranges: Ranges,
}

/// Which samples a query asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ranges {
    /// Of `messages` and the like.
    pub(crate) lengths: Option<Range>,
    /// Of `message_stats`.
    pub(crate) messages: Option<Range>,
    /// Of bytes received and sent.
    pub(crate) data: Option<Range>,
}

#[derive(Debug)]
enum NameFilter {
    /// A part of the name in lower case.
    Part(String),
    Pattern(Pattern),
    /// An expression that is none fits no name.
    // rabbitmq: rabbit_mgmt_util filter_value
    Nothing,
}

impl NameFilter {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Part(part) => name.to_lowercase().contains(part),
            Self::Pattern(pattern) => pattern.matches(name),
            Self::Nothing => false,
        }
    }
}

/// An item of a list before it is shown: of a long list only those on the page are.
pub(crate) trait Row {
    /// What the filter looks at.
    fn name(&self) -> Option<&str>;

    /// The value of a column by which a list is sorted. `None` if it takes [`Self::show`] to know it; that is so for all rows
    /// of a list or for none.
    fn column(&self, column: &str) -> Option<Value>;

    /// The item as it is answered.
    fn show(&self) -> Value;
}

/// An item that is shown already.
impl Row for Value {
    fn name(&self) -> Option<&str> {
        self.get("name").and_then(Self::as_str)
    }

    fn column(&self, column: &str) -> Option<Value> {
        let path: Vec<&str> = column.split('.').collect();
        Some(find(self, &path).cloned().unwrap_or_default())
    }

    fn show(&self) -> Value {
        self.clone()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::bad_request(error.body_text()))?;
        Self::new(&pairs)
    }
}

impl ListQuery {
    fn new(pairs: &[(String, String)]) -> Result<Self, ApiError> {
        let get =
            |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let is_true = |key: &str| get(key) == Some("true");
        let (page, page_size) = pages(get("page"), get("page_size"))?;
        let name = get("name").filter(|text| !text.is_empty());
        Ok(Self {
            page,
            page_size,
            name: name.map(|text| name_filter(text, is_true("use_regex"))),
            sort: get("sort").filter(|text| !text.is_empty()).map(str::to_owned),
            sort_reverse: is_true("sort_reverse"),
            columns: get("columns")
                .map(|text| text.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
            ranges: Ranges {
                lengths: range(get("lengths_age"), get("lengths_incr"))?,
                messages: range(get("msg_rates_age"), get("msg_rates_incr"))?,
                data: range(get("data_rates_age"), get("data_rates_incr"))?,
            },
        })
    }

    /// Answers with the list as it was asked for.
    // rabbitmq: rabbit_mgmt_util reply_list_or_paginate
    pub(crate) fn reply<R: Row>(&self, rows: Vec<R>) -> Result<Response, ApiError> {
        self.shape(rows).map(|shaped| axum::Json(shaped).into_response())
    }

    fn shape<R: Row>(&self, rows: Vec<R>) -> Result<Value, ApiError> {
        let tells = |column: &str| rows.first().is_none_or(|row| row.column(column).is_some());
        match self.page {
            // Only what is on the page is shown.
            Some(page) if self.sort.as_deref().is_none_or(tells) => self.cut(page, rows),
            Some(page) => self.cut(page, rows.iter().map(Row::show).collect()),
            // Without a page the name is not looked at.
            None => {
                let shown = self.sorted(rows.iter().map(Row::show).collect());
                Ok(Value::Array(self.reduce(shown)))
            }
        }
    }

    fn cut<R: Row>(&self, page: usize, mut rows: Vec<R>) -> Result<Value, ApiError> {
        let total = rows.len();
        if let Some(filter) = &self.name {
            rows.retain(|row| row.name().is_some_and(|name| filter.matches(name)));
        }
        let rows = self.sorted(rows);
        let filtered = rows.len();
        let size = self.page_size;
        let first = (page - 1).saturating_mul(size);
        if first >= filtered && page > 1 {
            let reason =
                format!("Page out of range, page: {page} page size: {size}, len: {filtered}");
            return Err(ApiError::bad("page_out_of_range", reason));
        }
        let items: Vec<Value> = rows.iter().skip(first).take(size).map(Row::show).collect();
        Ok(json!({
            "total_count": total,
            "item_count": items.len(),
            "filtered_count": filtered,
            "page": page,
            "page_size": size,
            "page_count": filtered.div_ceil(size),
            "items": self.reduce(items),
        }))
    }

    fn sorted<R: Row>(&self, mut rows: Vec<R>) -> Vec<R> {
        if let Some(column) = &self.sort {
            let mut keyed: Vec<_> = rows.into_iter().map(|row| (row.column(column), row)).collect();
            keyed.sort_by(|(a, _), (b, _)| compare(a.as_ref(), b.as_ref()));
            rows = keyed.into_iter().map(|(_, row)| row).collect();
        }
        if self.sort_reverse {
            rows.reverse();
        }
        rows
    }

    fn reduce(&self, items: Vec<Value>) -> Vec<Value> {
        if self.columns.is_empty() {
            return items;
        }
        items.iter().map(|item| self.reduce_one(item)).collect()
    }

    /// The object with the columns that were asked for; also for single objects.
    pub(crate) fn reduce_one(&self, item: &Value) -> Value {
        if self.columns.is_empty() {
            return item.clone();
        }
        let mut kept = Map::new();
        for column in &self.columns {
            let path: Vec<&str> = column.split('.').collect();
            if let Some(value) = find(item, &path) {
                put(&mut kept, &path, value.clone());
            }
        }
        // Erlang cannot tell an object without fields from an empty list.
        if kept.is_empty() { Value::Array(Vec::new()) } else { Value::Object(kept) }
    }
}

/// The page that is asked for, if any, and how many items it has.
// rabbitmq: rabbit_mgmt_util pagination_params
fn pages(page: Option<&str>, size: Option<&str>) -> Result<(Option<usize>, usize), ApiError> {
    let Some(page) = page else { return Ok((None, PAGE_SIZE_DEFAULT)) };
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| ApiError::bad_request("Pagination parameters are invalid"))
    };
    let (page, size) = (number(page)?, size.map(number).transpose()?);
    let fits = |n: i64, max: usize| usize::try_from(n).ok().filter(|n| (1..=max).contains(n));
    let default = PAGE_SIZE_DEFAULT as i64;
    match (fits(page, usize::MAX), fits(size.unwrap_or(default), PAGE_SIZE_MAX)) {
        (Some(page), Some(size)) => Ok((Some(page), size)),
        _ => {
            let size = size.map_or_else(|| "undefined".to_owned(), |size| size.to_string());
            let reason =
                format!("Invalid pagination parameters: page number {page}, page size {size}");
            Err(ApiError::bad("invalid_pagination_parameters", reason))
        }
    }
}

/// Seconds back and seconds from one sample to the next; no samples unless both are there.
fn range(age: Option<&str>, step: Option<&str>) -> Result<Option<Range>, ApiError> {
    let (Some(age), Some(step)) = (age, step) else { return Ok(None) };
    let ms = |text: &str| match text.parse::<u64>() {
        Ok(seconds) if seconds > 0 => Ok(seconds.saturating_mul(1000)),
        _ => Err(ApiError::bad_value("not_integer", text)),
    };
    Ok(Some(Range { age_ms: ms(age)?, step_ms: ms(step)? }))
}

fn name_filter(text: &str, use_regex: bool) -> NameFilter {
    if !use_regex {
        return NameFilter::Part(text.to_lowercase());
    }
    Pattern::new(&format!("(?i){text}")).map_or(NameFilter::Nothing, NameFilter::Pattern)
}

fn find<'a>(item: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(item, |value, key| value.get(key))
}

fn put(into: &mut Map<String, Value>, path: &[&str], value: Value) {
    let Some((key, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        into.insert((*key).to_owned(), value);
        return;
    }
    let inner = into.entry(*key).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

/// Numbers before texts; what is absent comes first.
fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let rank = |value: Option<&Value>| match value {
        None | Some(Value::Null) => 0,
        Some(Value::Number(_)) => 1,
        Some(Value::Bool(_)) => 2,
        Some(_) => 3,
    };
    match (a, b) {
        (Some(Value::Number(x)), Some(Value::Number(y))) => {
            x.as_f64().unwrap_or_default().total_cmp(&y.as_f64().unwrap_or_default())
        }
        (Some(Value::String(x)), Some(Value::String(y))) => x.cmp(y),
        (Some(Value::Bool(x)), Some(Value::Bool(y))) => x.cmp(y),
        _ => rank(a).cmp(&rank(b)),
    }
}
