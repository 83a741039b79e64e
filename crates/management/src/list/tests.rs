//! What the query does to a list.

use super::*;

fn items() -> Vec<Value> {
    vec![
        json!({"name": "Orders", "messages": 10, "stats": {"rate": 2.5, "n": 1}}),
        json!({"name": "audit", "messages": 2, "stats": {"rate": 0.5, "n": 2}}),
        json!({"name": "reorder", "messages": 3}),
    ]
}

fn shaped(query: &[(&str, &str)]) -> Result<Value, ApiError> {
    let pairs: Vec<(String, String)> =
        query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    ListQuery::new(&pairs)?.shape(items())
}

fn names(value: &Value) -> Vec<&str> {
    let items = value.as_array().or_else(|| value["items"].as_array()).unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// A row that counts how often one is shown.
struct Counted<'a>(Value, &'a std::cell::Cell<usize>);

impl Row for Counted<'_> {
    fn name(&self) -> Option<&str> {
        self.0.name()
    }

    fn column(&self, column: &str) -> Option<Value> {
        (column != "stats.rate").then(|| self.0.column(column)).flatten()
    }

    fn show(&self) -> Value {
        self.1.set(self.1.get() + 1);
        self.0.clone()
    }
}

#[test]
fn of_a_long_list_only_the_page_is_shown_unless_a_column_needs_more() {
    for (query, wanted, shown) in [
        (&[("page", "1"), ("page_size", "1")][..], "Orders", 1),
        (&[("page", "2"), ("page_size", "1"), ("sort", "messages")], "reorder", 1),
        (&[("page", "1"), ("page_size", "1"), ("name", "AUD")], "audit", 1),
        (&[("page", "3"), ("page_size", "1"), ("sort", "stats.rate")], "Orders", 3),
    ] {
        let pairs: Vec<_> = query.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let count = std::cell::Cell::new(0);
        let rows = items().into_iter().map(|item| Counted(item, &count)).collect();
        let page = ListQuery::new(&pairs).unwrap().shape(rows).unwrap();
        assert_eq!((names(&page), count.get()), (vec![wanted], shown), "{query:?}");
        assert_eq!(page["total_count"], 3);
    }
}

#[test]
fn without_a_query_the_list_is_bare() {
    assert_eq!(shaped(&[]).unwrap(), Value::Array(items()));
}

#[test]
fn a_page_tells_where_it_is() {
    let page = shaped(&[("page", "2"), ("page_size", "2"), ("pagination", "true")]).unwrap();
    assert_eq!(names(&page), ["reorder"]);
    for (key, n) in [
        ("total_count", 3),
        ("item_count", 1),
        ("filtered_count", 3),
        ("page", 2),
        ("page_size", 2),
        ("page_count", 2),
    ] {
        assert_eq!(page[key], n, "{key}");
    }
}

#[test]
fn names_are_filtered_by_part_or_pattern_in_any_case() {
    let filtered =
        |name, regex| shaped(&[("page", "1"), ("name", name), ("use_regex", regex)]).unwrap();
    assert_eq!(names(&filtered("ORDER", "false")), ["Orders", "reorder"]);
    assert_eq!(names(&filtered("^order", "true")), ["Orders"]);
    let none = filtered("nothing", "false");
    assert_eq!([&none["page_count"], &none["filtered_count"]], [0, 0]);
    let none = shaped(&[("page", "1"), ("name", "("), ("use_regex", "true")]).unwrap();
    assert_eq!(none["filtered_count"], 0);
}

#[test]
fn pages_that_do_not_exist_are_refused() {
    let error = shaped(&[("page", "9")]).unwrap_err();
    let reason = "Page out of range, page: 9 page size: 100, len: 3";
    assert_eq!(error, ApiError::bad("page_out_of_range", reason));
    for query in [
        [("page", "0"), ("x", "")],
        [("page", "x"), ("x", "")],
        [("page", "1"), ("page_size", "501")],
    ] {
        assert!(shaped(&query).is_err(), "{query:?}");
    }
}

#[test]
fn lists_are_sorted_by_dotted_columns() {
    let sorted = |column, reverse| shaped(&[("sort", column), ("sort_reverse", reverse)]).unwrap();
    assert_eq!(names(&sorted("messages", "false")), ["audit", "reorder", "Orders"]);
    assert_eq!(names(&sorted("stats.rate", "true")), ["Orders", "audit", "reorder"]);
}

#[test]
fn columns_keep_their_nesting() {
    let reduced = shaped(&[("columns", "name,stats.n,absent.x")]).unwrap();
    assert_eq!(reduced[1], json!({"name": "audit", "stats": {"n": 2}}));
    assert_eq!(reduced[2], json!({"name": "reorder"}));
}
